// SPDX-License-Identifier: Apache-2.0
// Folders with FP8 matrices: codes with one scale, one a row or one a block give the logits of the same numbers stored as
// float; a scale that is missing or of the wrong shape is refused by name.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <random>

#include "base/error.h"
#include "base/testing.h"
#include "model/export.h"
#include "tensor/blocks.h"
#include "tensor/gguf.h"

namespace planish {
namespace {

using testing::TemporaryDir;

// Sizes that are no multiples of 128, so that blocks at the right and lower edge are cut.
constexpr size_t kHidden = 160, kWidth = 288, kVocab = 64;
constexpr const char* kConfig =
    R"({"model_type": "llama", "hidden_size": 160, "intermediate_size": 288, "num_hidden_layers": 2,
    "num_attention_heads": 5, "num_key_value_heads": 5, "vocab_size": 64, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "max_position_embeddings": 256, "tie_word_embeddings": true, "torch_dtype": "bfloat16"})";

enum class ScaleForm { kScalar, kOne, kRows, kRowsByOne, kBlocks };
struct Fp8Kind {
  const char* name;
  ScaleForm form;
  DType scale_dtype;
  size_t block_out = 128, block_in = 128;
};

struct Matrix {
  Shape shape;
  std::vector<uint8_t> codes;
  Shape scale_shape;
  std::vector<float> scales;  // as stored: rounded to the type of the file
  std::vector<float> values;  // code * scale
};

// A tiny Llama whose projections are FP8, as a set of tensors that tests can spoil before writing.
class Fp8Folder {
 public:
  Fp8Folder(const Fp8Kind& kind, uint32_t seed) : kind_(kind), random_(seed) {
    AddPlain("model.embed_tokens.weight", {kVocab, kHidden});
    AddPlain("model.norm.weight", {kHidden});
    for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
      AddPlain(layer + "input_layernorm.weight", {kHidden});
      AddPlain(layer + "post_attention_layernorm.weight", {kHidden});
      for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"})
        AddMatrix(layer + "self_attn." + name + ".weight", kHidden, kHidden);
      AddMatrix(layer + "mlp.gate_proj.weight", kWidth, kHidden);
      AddMatrix(layer + "mlp.up_proj.weight", kWidth, kHidden);
      AddMatrix(layer + "mlp.down_proj.weight", kHidden, kWidth);
    }
  }

  std::map<std::string, Matrix>& matrices() { return matrices_; }

  // With FP8 codes and scales, or with the float values they stand for.
  void Write(const std::string& folder, bool as_fp8) const {
    MakeDirectories(folder);
    std::vector<TensorToWrite> tensors;
    for (const auto& [name, tensor] : plain_) tensors.push_back(ToWrite(name, tensor));
    for (const auto& [name, matrix] : matrices_) {
      if (!as_fp8) {
        tensors.push_back(ToWrite(name, View(DType::kF32, matrix.shape, matrix.values)));
        continue;
      }
      tensors.push_back(ToWrite(name, View(DType::kF8E4M3, matrix.shape, matrix.codes)));
      if (matrix.scales.empty()) continue;
      const char* suffix = kind_.form == ScaleForm::kBlocks ? "_scale_inv" : "_scale";
      const DType dtype = kind_.scale_dtype;
      tensors.push_back({name + suffix, dtype, matrix.scale_shape,
                         [&matrix = matrix, dtype](size_t begin, size_t end, std::byte* out) {
                           const size_t columns = matrix.scale_shape.last();
                           QuantizeRow(dtype, matrix.scales.data() + begin * columns, out,
                                       (end - begin) * columns);
                         }});
    }
    WriteSafetensorsFolder(folder, tensors);
    Json config = ParseJson(kConfig, "kConfig");
    if (as_fp8) {
      Json quantization = Json::MakeObject();
      quantization.Set("quant_method", "fp8");
      if (kind_.form == ScaleForm::kBlocks) {
        quantization.Set("weight_block_size", Json::Array{Json(uint64_t{kind_.block_out}),
                                                          Json(uint64_t{kind_.block_in})});
      }
      config.Set("quantization_config", std::move(quantization));
    }
    std::ofstream(folder + "/config.json") << DumpJson(config);
  }

 private:
  template <typename T>
  static TensorView View(DType dtype, const Shape& shape, const std::vector<T>& values) {
    return {dtype, shape, reinterpret_cast<const std::byte*>(values.data())};
  }

  float Normal() { return std::normal_distribution<float>()(random_); }

  void AddPlain(const std::string& name, Shape shape) {
    Tensor tensor = Tensor::F32(shape);
    for (size_t i = 0; i < tensor.elements(); ++i)
      tensor.f32()[i] = shape.rank() == 1 ? 1.0f + 0.1f * Normal() : Normal();
    plain_.emplace(name, std::move(tensor));
  }

  void AddMatrix(const std::string& name, size_t out, size_t in) {
    Matrix matrix{.shape = {out, in},
                  .codes = std::vector<uint8_t>(out * in),
                  .scale_shape = {},
                  .scales = {},
                  .values = std::vector<float>(out * in)};
    size_t block_out = out, block_in = in;
    switch (kind_.form) {
      case ScaleForm::kScalar:
        break;
      case ScaleForm::kOne:
        matrix.scale_shape = {1};
        break;
      case ScaleForm::kRows:
        matrix.scale_shape = {out}, block_out = 1;
        break;
      case ScaleForm::kRowsByOne:
        matrix.scale_shape = {out, 1}, block_out = 1;
        break;
      case ScaleForm::kBlocks:
        block_out = kind_.block_out, block_in = kind_.block_in;
        matrix.scale_shape = {(out + block_out - 1) / block_out, (in + block_in - 1) / block_in};
        break;
    }
    matrix.scales.resize(matrix.scale_shape.elements());
    for (float& scale : matrix.scales) {
      scale =
          std::exp(Normal()) / 100.0f;  // far enough apart that a scale in the wrong place shows
      if (kind_.scale_dtype == DType::kBF16) scale = FloatFromBF16(BF16FromFloat(scale));
    }
    const size_t columns = (in + block_in - 1) / block_in;
    for (size_t r = 0; r < out; ++r) {
      for (size_t c = 0; c < in; ++c) {
        const uint8_t code = F8E4M3FromFloat(8.0f * Normal());
        matrix.codes[r * in + c] = code;
        matrix.values[r * in + c] =
            FloatFromF8E4M3(code) * matrix.scales[r / block_out * columns + c / block_in];
      }
    }
    matrices_.emplace(name, std::move(matrix));
  }

  Fp8Kind kind_;
  std::mt19937 random_;
  std::map<std::string, Tensor> plain_;
  std::map<std::string, Matrix> matrices_;
};

Pretrained Open(const std::string& path) {
  return OpenPretrained(path, {.needs_tokenizer = false});
}

std::vector<float> Logits(const Model& model) {
  std::vector<int32_t> ids;
  for (int32_t t = 0; t < 21; ++t) ids.push_back((t * 37 + 5) % static_cast<int32_t>(kVocab));
  Workspace workspace;
  std::vector<float> hidden(ids.size() * kHidden), logits(ids.size() * kVocab);
  model.Forward(ids, SeqLayout(ids.size()), hidden.data(), &workspace);
  model.Head(hidden.data(), ids.size(), logits.data());
  return logits;
}

std::string Refusal(const std::string& folder) {
  try {
    Open(folder);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadFile) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "opened";
  return {};
}

constexpr Fp8Kind kKinds[] = {
    {"scalar", ScaleForm::kScalar, DType::kF32},
    {"scalar, bf16", ScaleForm::kScalar, DType::kBF16},
    {"[1]", ScaleForm::kOne, DType::kF32},
    {"[out]", ScaleForm::kRows, DType::kF32},
    {"[out], bf16", ScaleForm::kRows, DType::kBF16},
    {"[out, 1]", ScaleForm::kRowsByOne, DType::kF32},
    {"[out, 1], bf16", ScaleForm::kRowsByOne, DType::kBF16},
    {"128 x 128", ScaleForm::kBlocks, DType::kF32},
    {"128 x 128, bf16", ScaleForm::kBlocks, DType::kBF16},
    {"64 x 32", ScaleForm::kBlocks, DType::kF32, 64, 32},
};

TEST(Fp8Folder, EveryFormOfScaleGivesTheLogitsOfTheValuesInFloat) {
  uint32_t seed = 1;
  for (const Fp8Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    const TemporaryDir temporary;
    const Fp8Folder source(kind, seed++);
    source.Write(temporary / "fp8", /*as_fp8=*/true);
    source.Write(temporary / "f32", /*as_fp8=*/false);
    const Pretrained fp8 = Open(temporary / "fp8"), f32 = Open(temporary / "f32");
    const std::vector<float> found = Logits(*fp8.model), expected = Logits(*f32.model);
    float worst = 0, largest = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      if (!(std::abs(found[i] - expected[i]) <= worst)) worst = std::abs(found[i] - expected[i]);
    }
    EXPECT_GT(largest, 1.0f);
    // The same products in another order of rounding: a few hundred roundings of float a logit, two layers deep.
    EXPECT_LE(worst, 2e-5f * largest) << "worst difference";
  }
}

TEST(Fp8Folder, ConvertedToGgufItHoldsTheValuesInBf16) {
  const TemporaryDir temporary;
  Fp8Folder source({"128 x 128", ScaleForm::kBlocks, DType::kF32}, 77);
  source.Write(temporary / "fp8", /*as_fp8=*/true);
  Pretrained opened = Open(temporary / "fp8");
  ExportGguf(&opened, temporary / "a.gguf", std::nullopt);
  const GgufFile file = GgufFile::Open(temporary / "a.gguf", FileBytes::Access::kRead);
  const StoredTensor* stored = file.FindTensor("blk.1.ffn_down.weight");
  ASSERT_NE(stored, nullptr);
  ASSERT_EQ(Name(stored->view.dtype), "bf16");
  const Tensor found = Tensor::ToF32(stored->view);
  const Matrix& expected = source.matrices().at("model.layers.1.mlp.down_proj.weight");
  for (size_t i = 0; i < found.elements(); ++i) {
    ASSERT_EQ(found.f32()[i], FloatFromBF16(BF16FromFloat(expected.values[i]))) << "element " << i;
  }
  // And a folder made of that file is plain bf16, with no trace of the quantisation in its config.
  Pretrained middle = Open(temporary / "a.gguf");
  ExportHf(&middle, temporary / "back", std::nullopt, uint64_t{1} << 30);
  EXPECT_EQ(Open(temporary / "back").config.source.Find("quantization_config"), nullptr);
}

TEST(Fp8Folder, MissingScaleIsRefusedByName) {
  for (const Fp8Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    const TemporaryDir temporary;
    Fp8Folder source(kind, 5);
    source.matrices().at("model.layers.1.mlp.up_proj.weight").scales.clear();
    source.Write(temporary / "fp8", /*as_fp8=*/true);
    const std::string message = Refusal(temporary / "fp8");
    EXPECT_NE(message.find("model.layers.1.mlp.up_proj.weight_scale"), std::string::npos)
        << message;
    EXPECT_EQ(message.find("model.layers.0"), std::string::npos) << message;
  }
}

TEST(Fp8Folder, ScalesOfTheWrongShapeAreRefusedByName) {
  // Neither one, nor one a row, nor one a block of a [160, 288] matrix.
  for (const Shape& shape : {Shape{2}, Shape{159}, Shape{288}, Shape{1, 160}, Shape{3, 2},
                             Shape{2, 2}, Shape{160, 3}, Shape{1, 2, 3}}) {
    SCOPED_TRACE(shape.ToString());
    const TemporaryDir temporary;
    Fp8Folder source({"128 x 128", ScaleForm::kBlocks, DType::kF32}, 6);
    Matrix& matrix = source.matrices().at("model.layers.0.mlp.down_proj.weight");
    matrix.scale_shape = shape;
    matrix.scales.assign(shape.elements(), 1.0f);
    source.Write(temporary / "fp8", /*as_fp8=*/true);
    const std::string message = Refusal(temporary / "fp8");
    EXPECT_NE(message.find("model.layers.0.mlp.down_proj.weight_scale_inv is " + shape.ToString()),
              std::string::npos)
        << message;
  }
}

}  // namespace
}  // namespace planish
