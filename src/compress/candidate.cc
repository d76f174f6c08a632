// SPDX-License-Identifier: Apache-2.0
#include "compress/candidate.h"

#include <cmath>

#include "base/error.h"
#include "base/limits.h"

namespace planish {
namespace {

constexpr int64_t kHeads = static_cast<int64_t>(limits::kHeads);
constexpr int64_t kMaxWidth = 4096;                       // of a head, an SSM state
constexpr const char* kFfnKinds[] = {"relu2", "swiglu"};  // by FfnKind

Json Int(size_t value) { return static_cast<int64_t>(value); }

size_t Size(const JsonReader& reader, const char* key, int64_t low, int64_t high) {
  return static_cast<size_t>(reader.Int(key, low, high));
}

struct Writer {
  Json* json;
  void operator()(const AttentionConfig& a) const {
    json->Set("n_heads", Int(a.n_heads));
    json->Set("n_kv_heads", Int(a.n_kv_heads));
    json->Set("head_dim", Int(a.head_dim));
    json->Set("has_rope", a.has_rope);
    json->Set("has_qk_norm", a.has_qk_norm);
  }
  void operator()(const Mamba2Config& m) const {
    json->Set("n_heads", Int(m.n_heads));
    json->Set("head_dim", Int(m.head_dim));
    json->Set("state_size", Int(m.state_size));
    json->Set("n_groups", Int(m.n_groups));
    json->Set("conv_kernel", Int(m.conv_kernel));
    json->Set("chunk_size", Int(m.chunk_size));
    json->Set("has_conv_bias", m.has_conv_bias);
    json->Set("time_step_low", m.time_step_low);
    // JSON has no infinity.
    json->Set("time_step_high", std::isinf(m.time_step_high) ? Json() : Json(m.time_step_high));
  }
  void operator()(const FfnConfig& f) const {
    json->Set("intermediate_size", Int(f.intermediate_size));
    json->Set("activation", kFfnKinds[static_cast<size_t>(f.kind)]);
  }
  void operator()(const LinearConfig&) const {}
};

AttentionConfig ReadAttention(const JsonReader& reader) {
  AttentionConfig a;
  a.n_heads = Size(reader, "n_heads", 1, kHeads);
  a.n_kv_heads = Size(reader, "n_kv_heads", 1, kHeads);
  if (a.n_heads % a.n_kv_heads != 0)
    reader.Fail("n_kv_heads", fmt::format("a divisor of n_heads {}", a.n_heads));
  a.head_dim = Size(reader, "head_dim", 1, kMaxWidth);
  a.has_rope = reader.BoolOr("has_rope", true);
  if (a.has_rope && a.head_dim % 2 != 0) reader.Fail("head_dim", "an even number, for RoPE");
  a.has_qk_norm = reader.BoolOr("has_qk_norm", false);
  return a;
}

Mamba2Config ReadMamba(const JsonReader& reader) {
  Mamba2Config m;
  m.n_heads = Size(reader, "n_heads", 1, kHeads);
  m.head_dim = Size(reader, "head_dim", 1, kMaxWidth);
  m.state_size = Size(reader, "state_size", 1, kMaxWidth);
  m.n_groups = Size(reader, "n_groups", 1, kHeads);
  if (m.n_heads % m.n_groups != 0)
    reader.Fail("n_groups", fmt::format("a divisor of n_heads {}", m.n_heads));
  m.conv_kernel = Size(reader, "conv_kernel", 2, 64);
  m.chunk_size = Size(reader, "chunk_size", 1, 65536);
  m.has_conv_bias = reader.BoolOr("has_conv_bias", true);
  m.time_step_low = reader.NumberOr("time_step_low", 0.0, 1e30, 0.0);
  m.time_step_high = std::numeric_limits<double>::infinity();
  if (reader.Has("time_step_high"))
    m.time_step_high = reader.Number("time_step_high", m.time_step_low, 1e300);
  return m;
}

FfnConfig ReadFfn(const JsonReader& reader) {
  FfnConfig f;
  f.intermediate_size =
      Size(reader, "intermediate_size", 1, static_cast<int64_t>(limits::kIntermediateSize));
  const std::string activation = reader.String("activation");
  if (activation != kFfnKinds[0] && activation != kFfnKinds[1])
    reader.Fail("activation", "relu2 or swiglu");
  f.kind = activation == kFfnKinds[0] ? FfnKind::kReluSquared : FfnKind::kSwiGlu;
  return f;
}

}  // namespace

Json MixerToJson(const std::optional<MixerConfig>& mixer) {
  if (!mixer) return Json();
  Json json = Json::MakeObject();
  json.Set("kind", kMixerNames[mixer->index()]);
  std::visit(Writer{&json}, *mixer);
  return json;
}

std::optional<MixerConfig> MixerFromJson(const Json& json, const std::string& where) {
  if (json.is_null()) return std::nullopt;
  const JsonReader reader(json, where);
  const std::string kind = reader.String("kind");
  if (kind == "attention") return ReadAttention(reader);
  if (kind == "mamba2") return ReadMamba(reader);
  if (kind == "ffn") return ReadFfn(reader);
  if (kind == "linear") return LinearConfig{};
  reader.Fail("kind", "attention, mamba2, ffn or linear");
}

Json CandidateToJson(const Candidate& candidate) {
  Json json = Json::MakeObject();
  json.Set("name", candidate.name);
  json.Set("is_parent", candidate.is_parent);
  json.Set("mixer", MixerToJson(candidate.mixer));
  if (!candidate.weights.empty()) json.Set("weights", candidate.weights);
  json.Set("initial_loss", candidate.initial_loss);
  json.Set("bld_loss", candidate.bld_loss);
  if (std::isfinite(candidate.score)) json.Set("score", candidate.score);
  return json;
}

Candidate CandidateFromJson(const Json& json, const std::string& where) {
  const JsonReader reader(json, where);
  Candidate candidate;
  candidate.name = reader.String("name");
  candidate.is_parent = reader.BoolOr("is_parent", false);
  if (const Json* mixer = json.Find("mixer"); mixer != nullptr)
    candidate.mixer = MixerFromJson(*mixer, reader.PathOf("mixer"));
  candidate.weights = reader.StringOr("weights", "");
  // The name is joined to the library's folder: it must not lead out of it.
  if (candidate.weights.find("..") != std::string::npos || candidate.weights.starts_with('/'))
    reader.Fail("weights", "the name of a file inside the library's folder");
  if (candidate.is_parent && !candidate.weights.empty())
    reader.Fail("weights", "nothing, because is_parent is true");
  candidate.initial_loss = reader.NumberOr("initial_loss", 0, 1e300, 0);
  candidate.bld_loss = reader.NumberOr("bld_loss", 0, 1e300, 0);
  candidate.score = reader.NumberOr("score", -1e300, 1e300, candidate.score);
  return candidate;
}

}  // namespace planish
