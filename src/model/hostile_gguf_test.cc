// SPDX-License-Identifier: Apache-2.0
// GGUF files whose keys lie about the model: sizes, per-layer arrays, vocabulary. Every key of every golden file is spoiled
// in every way that its type allows; the result is refused or opens and runs.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <ctime>
#include <fstream>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/log.h"
#include "base/testing.h"
#include "model/pretrained.h"
#include "tensor/gguf.h"
#include "tensor/gguf_testing.h"

namespace planish {
namespace {

using testing::GoldenDir;
using testing::Listing;
using testing::TemporaryDir;

constexpr double kSecondsEach = 2.0;  // processor time; a sound tiny model opens in milliseconds
using Metadata = std::vector<std::pair<std::string, GgufValue>>;

// One file of each model: type f32 if there is one, so that the data has no say.
std::map<std::string, std::string> GoldenFiles() {
  std::map<std::string, std::string> files;
  for (const std::string& name : Listing(GoldenDir() + "/gguf", ".gguf")) {
    const std::string model = name.substr(0, name.find('.'));
    if (!files.contains(model) || name.ends_with(".f32.gguf"))
      files[model] = GoldenDir() + "/gguf/" + name;
  }
  return files;
}

void AppendScalar(std::string* out, GgufType type, const GgufValue& from, size_t i) {
  const auto number = [&](auto as) {
    using T = decltype(as);
    return std::visit(
        [&](const auto& v) -> T {
          using V = std::decay_t<decltype(v)>;
          if constexpr (std::is_arithmetic_v<V>)
            return static_cast<T>(v);
          else if constexpr (std::is_same_v<V, std::string> ||
                             std::is_same_v<V, std::vector<std::string>>)
            return T{};
          else
            return static_cast<T>(v[i]);
        },
        from.value);
  };
  switch (type) {
    case GgufType::kUint8:
      return AppendRaw(out, number(uint8_t{}));
    case GgufType::kInt8:
      return AppendRaw(out, number(int8_t{}));
    case GgufType::kBool:
      return AppendRaw(out, number(uint8_t{}));
    case GgufType::kUint16:
      return AppendRaw(out, number(uint16_t{}));
    case GgufType::kInt16:
      return AppendRaw(out, number(int16_t{}));
    case GgufType::kUint32:
      return AppendRaw(out, number(uint32_t{}));
    case GgufType::kInt32:
      return AppendRaw(out, number(int32_t{}));
    case GgufType::kUint64:
      return AppendRaw(out, number(uint64_t{}));
    case GgufType::kInt64:
      return AppendRaw(out, number(int64_t{}));
    case GgufType::kFloat32:
      return AppendRaw(out, number(float{}));
    case GgufType::kFloat64:
      return AppendRaw(out, number(double{}));
    case GgufType::kString:
      *out += GgufBuilder::Text(from.is_array() ? std::get<std::vector<std::string>>(from.value)[i]
                                                : std::get<std::string>(from.value));
      return;
    case GgufType::kArray:
      FAIL() << "array in an array";
  }
}

size_t CountOf(const GgufValue& array) {
  return std::visit(
      [](const auto& v) -> size_t {
        if constexpr (requires { v.size(); })
          return v.size();
        else
          return 0;
      },
      array.value);
}

// The file with other keys. Written plainly: hundreds of files need no fsync.
void WriteWithKeys(const GgufFile& source, const Metadata& metadata, const std::string& path) {
  GgufBuilder builder;
  for (const auto& [key, value] : metadata) {
    std::string bytes;
    if (value.is_array()) {
      AppendRaw(&bytes, static_cast<uint32_t>(value.element_type));
      AppendRaw(&bytes, uint64_t{CountOf(value)});
      for (size_t i = 0; i < CountOf(value); ++i)
        AppendScalar(&bytes, value.element_type, value, i);
    } else {
      AppendScalar(&bytes, value.type, value, 0);
    }
    builder.Pair(key, static_cast<uint32_t>(value.type), bytes);
  }
  std::string data;
  for (const StoredTensor& tensor : source.tensors()) {
    std::vector<uint64_t> dims;
    for (size_t i = tensor.view.shape.rank(); i > 0; --i) dims.push_back(tensor.view.shape[i - 1]);
    builder.Tensor(tensor.name, dims, static_cast<uint32_t>(Traits(tensor.view.dtype).gguf_id),
                   data.size());
    data.append(reinterpret_cast<const char*>(tensor.view.data), tensor.view.bytes());
    data.resize((data.size() + 31) / 32 * 32);
  }
  std::ofstream(path, std::ios::binary | std::ios::trunc) << builder.Bytes() << data;
}

double ProcessorSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// True if it opened and ran; any failure but "bad file" or "does not fit" fails the test.
bool OpensAndRuns(const std::string& path, std::string* message) {
  const double start = ProcessorSeconds();
  bool opened = false;
  try {
    const Pretrained pretrained = OpenPretrained(path, {.needs_tokenizer = false});
    const Model& model = *pretrained.model;
    Workspace workspace;
    const std::vector<int32_t> ids = {0, static_cast<int32_t>(pretrained.config.vocab_size - 1), 1};
    std::vector<float> hidden(ids.size() * pretrained.config.hidden_size),
        logits(pretrained.config.vocab_size);
    model.Forward(ids, SeqLayout(ids.size()), hidden.data(), &workspace);
    model.Head(hidden.data(), 1, logits.data());
    if (pretrained.tokenizer != nullptr)
      pretrained.tokenizer->Encode("Every file of strangers is read with care. 123");
    opened = true;
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ExitCode::kBadFile || error.code() == ExitCode::kNoMemory)
        << error.what();
    *message = error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "threw " << error.what();
  }
  EXPECT_LT(ProcessorSeconds() - start, kSecondsEach);
  return opened;
}

template <typename T>
std::vector<GgufValue> SpoiledArrays(const GgufValue& old, const std::vector<T>& items,
                                     const std::vector<T>& bad_items) {
  std::vector<GgufValue> spoiled;
  const auto add = [&](std::vector<T> changed) {
    GgufValue value = old;
    value.value = std::move(changed);
    spoiled.push_back(std::move(value));
  };
  add({});
  if (items.empty()) return spoiled;
  std::vector<T> shorter(items.begin(), items.end() - 1), longer = items;
  longer.push_back(items.back());
  add(shorter);
  add(longer);
  for (const T& bad : bad_items) {
    std::vector<T> changed = items;
    changed[items.size() / 2] = bad;
    add(changed);
  }
  return spoiled;
}

// The value in all the ways it can lie.
std::vector<GgufValue> Spoiled(const GgufValue& old) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  std::vector<GgufValue> values = {GgufValue::String("x"),        GgufValue::String(""),
                                   GgufValue::F32(0.5f),          GgufValue::I32(-1),
                                   GgufValue::Bool(true),         GgufValue::U32s({1, 2}),
                                   GgufValue::Strings({"a", "b"})};
  const auto add_same_type = [&](auto v) {
    GgufValue value = old;
    value.value = v;
    values.push_back(std::move(value));
  };
  if (const auto* v = std::get_if<uint64_t>(&old.value)) {
    for (const uint64_t bad : {uint64_t{0}, uint64_t{1}, uint64_t{3}, *v + 1, *v - 1, *v * 2,
                               *v * 1000, uint64_t{1} << 31, uint64_t{0xFFFFFFFF}}) {
      add_same_type(bad & 0xFFFFFFFF);
    }
  } else if (const auto* s = std::get_if<std::string>(&old.value)) {
    add_same_type(*s + *s);
    add_same_type(std::string(100'000, '{'));
    add_same_type(s->empty() ? std::string("\xff\xfe") : s->substr(1));
  } else if (std::holds_alternative<double>(old.value)) {
    for (const double bad : {0.0, -1.0, 1e-40, 1e38, kInf, -kInf, std::nan("")}) add_same_type(bad);
  }
  const auto extend = [&](std::vector<GgufValue> more) {
    values.insert(values.end(), more.begin(), more.end());
  };
  if (const auto* a = std::get_if<std::vector<uint64_t>>(&old.value))
    extend(SpoiledArrays<uint64_t>(old, *a, {0, 1, 3, 0x7FFFFFFF}));
  if (const auto* a = std::get_if<std::vector<int64_t>>(&old.value))
    extend(SpoiledArrays<int64_t>(old, *a, {-1, 0, 3, 6, 0x7FFFFFFF}));
  if (const auto* a = std::get_if<std::vector<std::string>>(&old.value))
    extend(SpoiledArrays<std::string>(old, *a, {"", "\xff", "a b c", "<0x-1>", a->front()}));
  return values;
}

TEST(HostileGguf, GoldenFilesWithOneSpoiledKeyAreRefusedOrOpen) {
  size_t opened = 0, refused = 0;
  const LogLevel level = GetLogLevel();
  SetLogLevel(LogLevel::kQuiet);
  for (const auto& [name, golden] : GoldenFiles()) {
    const GgufFile source = GgufFile::Open(golden, FileBytes::Access::kRead);
    const TemporaryDir temporary;
    const std::string path = temporary / "spoiled.gguf";
    std::string message;
    WriteWithKeys(source, source.metadata(), path);
    ASSERT_TRUE(OpensAndRuns(path, &message)) << name << " unspoiled: " << message;
    for (size_t k = 0; k < source.metadata().size(); ++k) {
      std::vector<GgufValue> values = Spoiled(source.metadata()[k].second);
      for (size_t i = 0; i <= values.size(); ++i) {  // the last time: without the key
        Metadata metadata = source.metadata();
        SCOPED_TRACE(fmt::format("{}: {} spoiled in way {} of {}", name, metadata[k].first, i,
                                 values.size()));
        if (i == values.size())
          metadata.erase(metadata.begin() + static_cast<ptrdiff_t>(k));
        else
          metadata[k].second = values[i];
        WriteWithKeys(source, metadata, path);
        ++(OpensAndRuns(path, &message) ? opened : refused);
        if (HasFailure()) break;
      }
    }
  }
  SetLogLevel(level);
  if (opened + refused == 0)
    GTEST_SKIP() << "no GGUF files under " << GoldenDir() << "/gguf: set PLANISH_GOLDEN";
  RecordProperty("opened", static_cast<int>(opened));
  RecordProperty("refused", static_cast<int>(refused));
  EXPECT_GT(opened, refused / 20);
  EXPECT_GT(refused, opened / 4);
}

struct Lie {
  const char* file;  // golden file, without its type
  const char* key;
  GgufValue value;
  const char* complaint;  // must be in the message
};

TEST(HostileGguf, GoldenLiesAboutSizesAreRefusedByName) {
  const auto u32 = [](uint32_t v) { return GgufValue::U32(v); };
  const Lie lies[] = {
      {"llama_a", "llama.block_count", u32(0x80000000), "block_count"},
      {"llama_a", "llama.block_count", u32(5), "blk.4."},
      {"llama_a", "llama.block_count", u32(3), "blk.3."},
      {"llama_a", "llama.attention.head_count", u32(0), "heads"},
      {"llama_a", "llama.attention.head_count_kv", u32(0), "heads"},
      {"llama_a", "llama.attention.head_count_kv", u32(3), "heads"},
      {"llama_a", "llama.attention.head_count", u32(8), "attn_q.weight"},
      {"llama_a", "llama.attention.head_count", GgufValue::U32s({4, 4, 4}), "head_count"},
      {"llama_a", "llama.attention.key_length", u32(0), "key_length"},
      {"llama_a", "llama.embedding_length", u32(65), "expected [512, 65]"},
      {"llama_a", "llama.embedding_length", u32(0xFFFFFFFF), "embedding_length"},
      {"llama_a", "llama.feed_forward_length", u32(0), "feed_forward_length"},
      {"llama_a", "llama.feed_forward_length", u32(1 << 24), "ffn_up.weight"},
      {"llama_a", "llama.context_length", u32(0), "context_length"},
      {"llama_a", "llama.expert_count", u32(8), "expert"},
      {"llama_a", "llama.rope.scaling.type", GgufValue::String("yarn"), "rope.scaling.type"},
      {"llama_a", "llama.attention.layer_norm_rms_epsilon", GgufValue::F32(0), "epsilon"},
      {"llama_a", "general.architecture", GgufValue::String("mamba"), "general.architecture"},
      {"llama_a", "tokenizer.ggml.bos_token_id", u32(512), "bos_token_id"},
      {"llama_a", "tokenizer.ggml.eos_token_id", u32(0xFFFFFFFF), "eos_token_id"},
      {"llama_a", "tokenizer.ggml.eot_token_id", u32(512), "eot_token_id"},
      {"llama_a", "tokenizer.ggml.token_type", GgufValue::I32s({1, 1}), "token_type"},
      {"llama_a", "tokenizer.ggml.token_type", GgufValue::Strings({"a"}), "token_type"},
      {"llama_a", "tokenizer.ggml.merges", GgufValue::Strings({"not-there neither"}), "merge"},
      {"llama_a", "tokenizer.ggml.model", GgufValue::String("llama"), "tokenizer.ggml.model"},
      {"nemotron_h_a", "nemotron_h.ssm.group_count", u32(0), "group_count"},
      {"nemotron_h_a", "nemotron_h.ssm.group_count", u32(3), "group_count"},
      {"nemotron_h_a", "nemotron_h.ssm.state_size", u32(17), "ssm_"},
      {"nemotron_h_a", "nemotron_h.ssm.inner_size", u32(136), "ssm_"},
      {"nemotron_h_a", "nemotron_h.ssm.time_step_rank", u32(0), "time_step_rank"},
      {"nemotron_h_a", "nemotron_h.ssm.time_step_rank", u32(4), "ssm_"},
      {"nemotron_h_a", "nemotron_h.ssm.conv_kernel", u32(3), "ssm_conv1d.weight"},
      {"nemotron_h_a", "nemotron_h.ssm.conv_kernel", u32(0), "conv_kernel"},
      {"nemotron_h_a", "nemotron_h.attention.head_count_kv", GgufValue::U32s({0, 0, 0}),
       "head_count_kv"},
      {"nemotron_h_a", "nemotron_h.feed_forward_length", GgufValue::U32s({0}),
       "feed_forward_length"},
      {"deci_gguf", "deci.attention.head_count_kv", GgufValue::U32s({2, 2}), "head_count_kv"},
      // Keys that would change the result silently.
      {"llama_a", "llama.attention.sliding_window", u32(8), "sliding_window"},
      {"llama_a", "llama.attention.causal", GgufValue::Bool(false), "attention.causal"},
      {"llama_a", "llama.attention.scale", GgufValue::F32(4), "attention.scale"},
      {"llama_a", "llama.logit_scale", GgufValue::F32(4), "logit_scale"},
      {"llama_a", "llama.final_logit_softcapping", GgufValue::F32(30), "softcapping"},
  };
  const std::map<std::string, std::string> files = GoldenFiles();
  size_t checked = 0;
  for (const Lie& lie : lies) {
    const auto found = files.find(lie.file);
    if (found == files.end()) continue;
    SCOPED_TRACE(fmt::format("{}: {} in case {}", lie.file, lie.key, &lie - lies));
    const GgufFile source = GgufFile::Open(found->second, FileBytes::Access::kRead);
    Metadata metadata = source.metadata();
    std::erase_if(metadata, [&](const auto& entry) { return entry.first == lie.key; });
    metadata.emplace_back(lie.key, lie.value);
    const TemporaryDir temporary;
    WriteWithKeys(source, metadata, temporary / "lie.gguf");
    std::string message;
    EXPECT_FALSE(OpensAndRuns(temporary / "lie.gguf", &message));
    EXPECT_NE(message.find(lie.complaint), std::string::npos)
        << "no " << lie.complaint << " in: " << message;
    ++checked;
  }
  if (checked == 0)
    GTEST_SKIP() << "no golden GGUF files under " << GoldenDir() << "/gguf: set PLANISH_GOLDEN";
}

TEST(HostileGguf, GoldenRotaryDivisorsThatAreNoScalingAreRefused) {
  const std::map<std::string, std::string> files = GoldenFiles();
  size_t checked = 0;
  for (const auto& [model, path] : files) {
    const GgufFile source = GgufFile::Open(path, FileBytes::Access::kRead);
    const StoredTensor* divisors = source.FindTensor("rope_freqs.weight");
    if (divisors == nullptr) continue;
    const std::string bytes = ReadFile(path, 64u << 20);
    const size_t offset = static_cast<size_t>(divisors->view.data - divisors->file->bytes().data());
    for (const float bad : {std::nanf(""), 0.5f, -3.0f, 0.0f, HUGE_VALF}) {
      std::string spoiled = bytes;
      for (size_t i = 0; i < divisors->view.elements(); ++i)
        std::memcpy(spoiled.data() + offset + i * sizeof bad, &bad, sizeof bad);
      const TemporaryDir temporary;
      WriteFile(temporary / "bad.gguf", spoiled);
      std::string message;
      EXPECT_FALSE(OpensAndRuns(temporary / "bad.gguf", &message)) << model << " " << bad;
      EXPECT_NE(message.find("rope_freqs.weight"), std::string::npos) << message;
    }
    ++checked;
  }
  if (checked == 0)
    GTEST_SKIP() << "no golden GGUF file with rope_freqs.weight: set PLANISH_GOLDEN";
}

}  // namespace
}  // namespace planish
