// SPDX-License-Identifier: Apache-2.0
// Hugging Face folder -> GGUF -> Hugging Face folder gives the same tensors, config and token ids; GGUF -> folder -> GGUF
// the same bytes. Cut-off exports leave nothing that opens.
#include <gtest/gtest.h>

#include <cerrno>
#include <cmath>
#include <limits>
#include <map>

#include "base/testing.h"
#include "model/export.h"
#include "model/gguf_map.h"
#include "tensor/blocks.h"
#include "tensor/gguf.h"

namespace planish {
namespace {

using testing::GoldenDir;
using testing::Listing;
using testing::TemporaryDir;

constexpr uint64_t kShardBytes = uint64_t{4} << 30;
const OpenOptions kAnyTokenizer = {.needs_tokenizer = false};

std::vector<std::string> ModelFolders() {
  std::vector<std::string> folders;
  for (const std::string& name : Listing(GoldenDir() + "/models"))
    folders.push_back(GoldenDir() + "/models/" + name);
  return folders;
}
std::vector<std::string> GgufFiles() {
  std::vector<std::string> files;
  for (const std::string& name : Listing(GoldenDir() + "/gguf", ".gguf"))
    files.push_back(GoldenDir() + "/gguf/" + name);
  return files;
}

// GGUF has no place for a linear FFN, nor for attention beside an absent FFN (DeciLM).
bool HasGguf(const ModelConfig& config) {
  if (config.family != Family::kDeci) return true;
  std::vector<int> attention(config.n_layers), ffn(config.n_layers);
  for (const BlockConfig& block : config.blocks) {
    if (block.slot == Slot::kFfn && std::holds_alternative<LinearConfig>(block.mixer)) return false;
    ++(block.slot == Slot::kFfn ? ffn : attention)[block.layer];
  }
  for (size_t layer = 0; layer < config.n_layers; ++layer) {
    if (attention[layer] > 0 && ffn[layer] == 0) return false;
  }
  return true;
}

std::map<std::string, StoredTensor> TensorsOf(const std::string& folder) {
  std::map<std::string, StoredTensor> tensors;
  for (StoredTensor& tensor : ReadSafetensorsFolder(folder, FileBytes::Access::kRead))
    tensors.emplace(tensor.name, std::move(tensor));
  return tensors;
}

uint32_t UlpDistance(float a, float b) {
  const auto ordered = [](float x) {
    const int32_t bits = std::bit_cast<int32_t>(x);
    return bits < 0 ? std::numeric_limits<int32_t>::min() - int64_t{bits} : int64_t{bits};
  };
  return static_cast<uint32_t>(std::abs(ordered(a) - ordered(b)));
}

// GGUF keeps A = -exp(A_log), so the logarithm comes back to within rounding, and A itself to the bit.
void ExpectSameA(const StoredTensor& before, const StoredTensor& after) {
  ASSERT_EQ(after.view.dtype, before.view.dtype) << before.name;
  ASSERT_EQ(after.view.shape, before.view.shape) << before.name;
  const Tensor expected = Tensor::ToF32(before.view), found = Tensor::ToF32(after.view);
  for (size_t h = 0; h < expected.elements(); ++h) {
    const float a = expected.f32()[h], b = found.f32()[h];
    if (before.view.dtype != DType::kF32) {
      EXPECT_EQ(b, a) << before.name << " head " << h;
      continue;
    }
    EXPECT_LE(UlpDistance(a, b), 2u)
        << before.name << " head " << h << ": " << b << ", expected " << a;
    EXPECT_EQ(static_cast<float>(-std::exp(static_cast<double>(b))),
              static_cast<float>(-std::exp(static_cast<double>(a))))
        << before.name << " head " << h;
  }
}

void ExpectSameTensors(const std::string& before, const std::string& after) {
  const auto expected = TensorsOf(before), found = TensorsOf(after);
  for (const auto& [name, tensor] : found)
    EXPECT_TRUE(expected.contains(name)) << name << " is new";
  for (const auto& [name, tensor] : expected) {
    const auto other = found.find(name);
    if (other == found.end()) {
      ADD_FAILURE() << name << " is lost";
    } else if (name.ends_with(".A_log")) {
      ExpectSameA(tensor, other->second);
    } else {
      const TensorView &a = tensor.view, &b = other->second.view;
      EXPECT_EQ(Name(b.dtype), Name(a.dtype)) << name;
      EXPECT_EQ(b.shape.ToString(), a.shape.ToString()) << name;
      EXPECT_TRUE(a.bytes() == b.bytes() && std::memcmp(a.data, b.data, a.bytes()) == 0)
          << name << " has other bytes";
    }
  }
}

Json ReadJson(const std::string& path) {
  return ParseJson(ReadFile(path, limits::kTokenizerBytes), path, {.allow_non_finite = true});
}

// Texts of the golden tokenizer cases; token ids of any vocabulary can be compared on them.
std::vector<std::string> GoldenTexts() {
  std::vector<std::string> texts;
  for (const std::string& name : Listing(GoldenDir() + "/tokenizer")) {
    const std::string path = GoldenDir() + "/tokenizer/" + name + "/golden.json";
    if (!FileExists(path)) continue;
    const Json json = ReadJson(path);
    for (const Json& item : json.Find("cases")->AsArray())
      texts.push_back(item.Find("text")->AsString());
  }
  return texts;
}

void ExpectSameTokenizers(const Tokenizer& before, const Tokenizer& after,
                          const std::vector<std::string>& texts) {
  for (const bool add_special : {false, true}) {
    for (const std::string& text : texts) {
      const EncodeOptions options{.add_special = add_special};
      const std::vector<TokenId> ids = before.Encode(text, options);
      ASSERT_EQ(after.Encode(text, options), ids) << Quoted(text);
      ASSERT_EQ(after.Decode(ids, add_special), before.Decode(ids, add_special)) << Quoted(text);
    }
  }
}

TEST(Convert, GoldenFoldersComeBackUnchangedThroughGguf) {
  const std::vector<std::string> texts = GoldenTexts();
  size_t checked = 0, refused = 0;
  for (const std::string& folder : ModelFolders()) {
    for (const std::optional<DType> type : {std::optional<DType>(), std::optional(DType::kF32)}) {
      SCOPED_TRACE(folder + (type ? " as f32" : ""));
      const TemporaryDir temporary;
      Pretrained source = OpenPretrained(folder, kAnyTokenizer);
      if (!HasGguf(source.config)) {
        try {
          ExportGguf(&source, temporary / "a.gguf", type);
          ADD_FAILURE() << "accepted a model that GGUF cannot hold";
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ExitCode::kUsage);
          EXPECT_NE(std::string(error.what()).find("layer"), std::string::npos) << error.what();
        }
        EXPECT_TRUE(Listing(temporary.path()).empty());
        ++refused;
        continue;
      }
      ExportGguf(&source, temporary / "a.gguf", type);
      Pretrained middle = OpenPretrained(temporary / "a.gguf", kAnyTokenizer);
      EXPECT_EQ(middle.eos_ids, source.eos_ids);
      EXPECT_EQ(middle.generation, source.generation);
      EXPECT_EQ(middle.config.bos_id, source.config.bos_id);
      ExportHf(&middle, temporary / "back", std::nullopt, kShardBytes);
      ExpectSameTensors(folder, temporary / "back");
      EXPECT_EQ(ReadJson(temporary / "back/config.json"), ReadJson(folder + "/config.json"));
      const Pretrained back = OpenPretrained(temporary / "back", kAnyTokenizer);
      EXPECT_EQ(back.eos_ids, source.eos_ids);
      EXPECT_EQ(back.generation, source.generation);
      ASSERT_EQ(middle.tokenizer != nullptr, source.tokenizer != nullptr);
      ASSERT_EQ(back.tokenizer != nullptr, source.tokenizer != nullptr);
      if (source.tokenizer != nullptr && !type) {
        ExpectSameTokenizers(*source.tokenizer, *middle.tokenizer, texts);
        ExpectSameTokenizers(*source.tokenizer, *back.tokenizer, texts);
      }
      ++checked;
    }
  }
  if (checked + refused == 0)
    GTEST_SKIP() << "no models under " << GoldenDir() << "/models: set PLANISH_GOLDEN";
}

std::vector<float> Logits(const Model& model, const std::vector<int32_t>& ids) {
  Workspace workspace;
  std::vector<float> hidden(ids.size() * model.config().hidden_size),
      logits(ids.size() * model.config().vocab_size);
  model.Forward(ids, SeqLayout(ids.size()), hidden.data(), &workspace);
  model.Head(hidden.data(), ids.size(), logits.data());
  return logits;
}

std::vector<int32_t> SomeIds(const ModelConfig& config, size_t count) {
  std::vector<int32_t> ids(count);
  for (size_t t = 0; t < count; ++t)
    ids[t] = static_cast<int32_t>((t * 7919 + 13) % config.vocab_size);
  return ids;
}

float LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  float worst = a.size() == b.size() ? 0.0f : std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (!(std::abs(a[i] - b[i]) <= worst)) worst = std::abs(a[i] - b[i]);
  }
  return worst;
}

TEST(Convert, GoldenGgufFilesOfAForeignWriterComeBackUnchangedThroughAFolder) {
  size_t checked = 0;
  for (const std::string& path : GgufFiles()) {
    SCOPED_TRACE(path);
    const TemporaryDir temporary;
    Pretrained source = OpenPretrained(path, kAnyTokenizer);
    ASSERT_TRUE(source.config.source.is_null())
        << "a file that planish wrote is no test of a foreign one";
    ExportHf(&source, temporary / "hf", std::nullopt, kShardBytes);
    Pretrained folder = OpenPretrained(temporary / "hf", kAnyTokenizer);
    EXPECT_EQ(folder.config.rope_scaling.kind, source.config.rope_scaling.kind);
    EXPECT_EQ(folder.eos_ids, source.eos_ids);
    ExportGguf(&folder, temporary / "back.gguf", std::nullopt);
    const GgufFile before = GgufFile::Open(path, FileBytes::Access::kRead);
    const GgufFile after = GgufFile::Open(temporary / "back.gguf", FileBytes::Access::kRead);
    bool is_lossless = true;
    for (const StoredTensor& tensor : before.tensors()) {
      const StoredTensor* other = after.FindTensor(tensor.name);
      ASSERT_NE(other, nullptr) << tensor.name << " is lost";
      EXPECT_EQ(other->view.shape.ToString(), tensor.view.shape.ToString()) << tensor.name;
      if (IsQuantised(tensor.view.dtype)) {
        is_lossless = false;  // a folder holds it rounded to bf16
        continue;
      }
      const bool same = other->view.dtype == tensor.view.dtype &&
                        std::memcmp(other->view.data, tensor.view.data, tensor.view.bytes()) == 0;
      EXPECT_TRUE(same) << tensor.name << " is " << Name(other->view.dtype)
                        << ", expected the bytes of " << Name(tensor.view.dtype);
    }
    EXPECT_EQ(after.tensors().size(), before.tensors().size());
    if (is_lossless) {
      // The very same numbers meet the very same kernels; only A may differ, by the rounding of its logarithm.
      const std::vector<int32_t> ids = SomeIds(source.config, 50);
      EXPECT_LE(LargestDifference(Logits(*source.model, ids), Logits(*folder.model, ids)),
                source.config.CountBlocks(1) > 0 ? 1e-5f : 0.0f);
    }
    ++checked;
  }
  if (checked == 0)
    GTEST_SKIP() << "no GGUF files under " << GoldenDir() << "/gguf: set PLANISH_GOLDEN";
}

TEST(Convert, GoldenLlama3ScalingIsRecoveredFromItsDivisors) {
  size_t checked = 0;
  for (const std::string& folder : ModelFolders()) {
    const ModelConfig config = ReadConfig(folder);
    if (config.rope_scaling.kind != RopeScaling::Kind::kLlama3 || !HasGguf(config)) continue;
    SCOPED_TRACE(folder);
    const TemporaryDir temporary;
    Pretrained source = OpenPretrained(folder, kAnyTokenizer);
    ExportGguf(&source, temporary / "a.gguf", std::nullopt);
    const GgufFile file = GgufFile::Open(temporary / "a.gguf", FileBytes::Access::kRead);
    ASSERT_NE(file.FindTensor("rope_freqs.weight"), nullptr);
    const RopeScaling found = ConfigFromGguf(file).rope_scaling;
    EXPECT_EQ(found.kind, RopeScaling::Kind::kLlama3);
    EXPECT_EQ(found.factor, config.rope_scaling.factor);
    for (const BlockConfig& block : config.blocks) {
      const auto* attention = std::get_if<AttentionConfig>(&block.mixer);
      if (attention == nullptr) continue;
      EXPECT_EQ(
          RopeInverseFrequencies(attention->head_dim, config.rope_theta, found),
          RopeInverseFrequencies(attention->head_dim, config.rope_theta, config.rope_scaling));
      break;
    }
    ++checked;
  }
  if (checked == 0)
    GTEST_SKIP() << "no model with llama3 scaling under " << GoldenDir()
                 << "/models: set PLANISH_GOLDEN";
}

TEST(Convert, GoldenQuantisedFilesHoldEachRowAsTheQuantiserMakesIt) {
  size_t checked = 0;
  for (const std::string& folder : ModelFolders()) {
    if (!HasGguf(ReadConfig(folder))) continue;
    for (const DType type : {DType::kQ8_0, DType::kQ4_0, DType::kF16, DType::kBF16}) {
      SCOPED_TRACE(folder + " as " + std::string(Name(type)));
      const TemporaryDir temporary;
      Pretrained source = OpenPretrained(folder, kAnyTokenizer);
      ExportGguf(&source, temporary / "q.gguf", type);
      const GgufFile file = GgufFile::Open(temporary / "q.gguf", FileBytes::Access::kRead);
      // Through the reader, which puts permuted rows back in place.
      Pretrained quantised = OpenPretrained(temporary / "q.gguf", kAnyTokenizer);
      std::map<std::string, const Weight*> found;
      quantised.model->VisitParams([&](const Param& param) { found[param.name] = param.weight; });
      source.model->VisitParams([&](const Param& param) {
        const StoredTensor* stored = file.FindTensor(*GgufTensorName(param.name));
        ASSERT_NE(stored, nullptr) << param.name;
        if (param.vector != nullptr) {
          EXPECT_EQ(stored->view.dtype, DType::kF32) << param.name;
          return;
        }
        const size_t out = param.weight->out(), in = param.weight->in();
        const DType expected = in % Traits(type).block_elems == 0 ? type : DType::kF16;
        const Weight& weight = *found.at(param.name);
        ASSERT_EQ(Name(weight.dtype()), Name(expected)) << param.name;
        std::vector<float> row(in);
        std::vector<std::byte> bytes(BytesOf(expected, in));
        for (size_t r = 0; r < out; ++r) {
          param.weight->DequantizeRow(r, row.data());
          QuantizeRow(expected, row.data(), bytes.data(), in);
          ASSERT_EQ(std::memcmp(weight.row(r), bytes.data(), bytes.size()), 0)
              << param.name << " row " << r;
        }
      });
      ++checked;
    }
  }
  if (checked == 0)
    GTEST_SKIP() << "no models under " << GoldenDir() << "/models: set PLANISH_GOLDEN";
}

TEST(Convert, GoldenMistralIsWrittenAsLlamaAndComesBackAsMistral) {
  size_t checked = 0;
  for (const std::string& folder : ModelFolders()) {
    if (ReadConfig(folder).family != Family::kMistral) continue;
    SCOPED_TRACE(folder);
    const TemporaryDir temporary;
    Pretrained source = OpenPretrained(folder, kAnyTokenizer);
    ExportGguf(&source, temporary / "a.gguf", std::nullopt);
    const GgufFile file = GgufFile::Open(temporary / "a.gguf", FileBytes::Access::kRead);
    EXPECT_EQ(file.String("general.architecture"), "llama");
    for (const auto& [key, value] : file.metadata())
      EXPECT_FALSE(key.starts_with("mistral.")) << key;
    const Pretrained middle = OpenPretrained(temporary / "a.gguf", kAnyTokenizer);
    const std::vector<int32_t> ids = SomeIds(source.config, 40);
    EXPECT_EQ(Logits(*middle.model, ids), Logits(*source.model, ids));
    ++checked;
  }
  if (checked == 0)
    GTEST_SKIP() << "no mistral under " << GoldenDir() << "/models: set PLANISH_GOLDEN";
}

TEST(Convert, GoldenEndOfTextIdsAndSamplingDefaultsSurviveGguf) {
  size_t checked = 0;
  for (const std::string& folder : ModelFolders()) {
    if (!HasGguf(ReadConfig(folder))) continue;
    SCOPED_TRACE(folder);
    const TemporaryDir temporary;
    Pretrained source = OpenPretrained(folder, kAnyTokenizer);
    source.eos_ids = {2, 5, 7, 9};
    source.generation = {.temperature = 0.6,
                         .top_p = 0.95,
                         .min_p = 0.01,
                         .repetition_penalty = 1.1,
                         .top_k = 20,
                         .do_sample = true};
    ExportGguf(&source, temporary / "a.gguf", std::nullopt);
    const GgufFile file = GgufFile::Open(temporary / "a.gguf", FileBytes::Access::kRead);
    // What other programs see: GGUF has names for three of the ids.
    EXPECT_EQ(file.Int("tokenizer.ggml.eos_token_id", 0, 511), 2);
    EXPECT_EQ(file.Int("tokenizer.ggml.eot_token_id", 0, 511), 5);
    EXPECT_EQ(file.Int("tokenizer.ggml.eom_token_id", 0, 511), 7);
    Pretrained middle = OpenPretrained(temporary / "a.gguf", kAnyTokenizer);
    EXPECT_EQ(middle.eos_ids, source.eos_ids);
    EXPECT_EQ(middle.generation, source.generation);
    ExportHf(&middle, temporary / "hf", std::nullopt, kShardBytes);
    const Pretrained back = OpenPretrained(temporary / "hf", kAnyTokenizer);
    EXPECT_EQ(back.eos_ids, source.eos_ids);
    EXPECT_EQ(back.generation, source.generation);
    ++checked;
  }
  if (checked == 0)
    GTEST_SKIP() << "no models under " << GoldenDir() << "/models: set PLANISH_GOLDEN";
}

TEST(Convert, GoldenLayersThatConfigJsonCannotSayAreRefusedBeforeAnythingIsWritten) {
  size_t checked = 0;
  for (const std::string& path : GgufFiles()) {
    Pretrained opened = OpenPretrained(path, kAnyTokenizer);
    if (opened.config.family == Family::kDeci || opened.config.family == Family::kNemotronH)
      continue;  // whose config.json describes each layer
    SCOPED_TRACE(path);
    for (auto block = opened.config.blocks.rbegin(); block != opened.config.blocks.rend();
         ++block) {
      if (auto* ffn = std::get_if<FfnConfig>(&block->mixer)) {
        ffn->intermediate_size += 32;
        break;
      }
    }
    const TemporaryDir temporary;
    try {
      ExportHf(&opened, temporary / "hf", std::nullopt, kShardBytes);
      ADD_FAILURE() << "wrote a config.json that describes another model";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage) << error.what();
    }
    EXPECT_TRUE(Listing(temporary.path()).empty());
    ++checked;
  }
  if (checked == 0)
    GTEST_SKIP() << "no GGUF files under " << GoldenDir() << "/gguf: set PLANISH_GOLDEN";
}

// Fails every system call of the writers in turn, until one run has no failure left to inject.
template <typename Export>
size_t FailEachCall(const Export& export_once) {
  size_t n = 0;
  for (bool was_hit = true; was_hit; ++n) {
    size_t calls = 0;
    was_hit = false;
    SetFaultHook([&](std::string_view) {
      const bool hit = calls++ == n;
      was_hit |= hit;
      return hit ? ENOSPC : 0;
    });
    export_once(n, &was_hit);
    SetFaultHook(nullptr);
    if (::testing::Test::HasFailure()) break;
  }
  return n;
}

TEST(Convert, GoldenExportsThatAreCutOffLeaveNothingThatOpensAsAModel) {
  const std::string folder = GoldenDir() + "/models/llama_a";
  if (!FileExists(folder + "/config.json"))
    GTEST_SKIP() << "no " << folder << ": set PLANISH_GOLDEN";
  Pretrained source = OpenPretrained(folder, kAnyTokenizer);
  const size_t gguf_calls = FailEachCall([&](size_t n, const bool* was_hit) {
    const TemporaryDir temporary;
    try {
      ExportGguf(&source, temporary / "a.gguf", std::nullopt);
      EXPECT_FALSE(*was_hit) << "call " << n << " failed unnoticed";
    } catch (const Error& error) {
      SetFaultHook(nullptr);
      EXPECT_EQ(error.code(), ExitCode::kFailure) << error.what();
      EXPECT_TRUE(Listing(temporary.path()).empty()) << "call " << n << " left a file";
    }
  });
  EXPECT_GE(gguf_calls, 5u);
  const size_t folder_calls = FailEachCall([&](size_t n, const bool* was_hit) {
    const TemporaryDir temporary;
    try {
      ExportHf(&source, temporary / "hf", std::nullopt, 200'000);
      EXPECT_FALSE(*was_hit) << "call " << n << " failed unnoticed";
    } catch (const Error& error) {
      SetFaultHook(nullptr);
      EXPECT_EQ(error.code(), ExitCode::kFailure) << error.what();
      EXPECT_THROW(OpenPretrained(temporary / "hf", kAnyTokenizer), Error)
          << "call " << n << " left a model";
      EXPECT_TRUE(Listing(temporary / "hf", ".tmp").empty())
          << "call " << n << " left a temporary file";
      // A second try in the same place succeeds and gives the same model.
      if (n % 8 != 0) return;
      ExportHf(&source, temporary / "hf", std::nullopt, kShardBytes);
      ExpectSameTensors(folder, temporary / "hf");
    }
  });
  EXPECT_GE(folder_calls, 20u);
}

}  // namespace
}  // namespace planish
