// SPDX-License-Identifier: Apache-2.0
#include "tensor/weight.h"

#include <gtest/gtest.h>

#include <map>

#include "base/memory.h"
#include "tensor/blocks.h"
#include "tensor/format_testing.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

Weight CountingF8(size_t out, size_t in) {
  Weight weight("w", out, in, DType::kF8E4M3);
  for (size_t i = 0; i < out * in; ++i) {
    weight.mutable_data()[i] = static_cast<std::byte>(F8E4M3FromFloat(static_cast<float>(i % 13)));
  }
  return weight;
}

// Sets scales of blocks [block_out, block_in], then compares every element with code * scale.
void CheckScales(size_t out, size_t in, size_t block_out, size_t block_in) {
  Weight weight = CountingF8(out, in);
  const size_t rows = (out + block_out - 1) / block_out;
  const size_t cols = (in + block_in - 1) / block_in;
  Weight::Scales scales{Tensor::F32({rows, cols}), block_out, block_in};
  for (size_t i = 0; i < rows * cols; ++i) scales.values.f32()[i] = 0.5f + static_cast<float>(i);
  weight.SetScales(std::move(scales));
  std::vector<float> row(in);
  for (size_t r = 0; r < out; ++r) {
    weight.DequantizeRow(r, row.data());
    for (size_t c = 0; c < in; ++c) {
      const float scale = 0.5f + static_cast<float>(r / block_out * cols + c / block_in);
      ASSERT_EQ(row[c], static_cast<float>((r * in + c) % 13) * scale) << r << ", " << c;
    }
  }
}

TEST(Weight, Fp8ScalesApplyPerTensorRowAndBlock) {
  CheckScales(6, 10, 6, 10);        // one for the tensor
  CheckScales(6, 10, 1, 10);        // one a row
  CheckScales(200, 300, 128, 128);  // blocks, cut at the edge
  CheckScales(128, 256, 128, 128);
}

TEST(Weight, GoldenFp8BlocksDequantiseExactly) {
  const std::string path = GoldenFolder() + "/fp8/fp8.safetensors";
  if (!FileExists(path)) GTEST_SKIP() << path << " is missing";
  const SafetensorsFile file = ReadSafetensors(path, FileBytes::Access::kMap);
  std::map<std::string, const StoredTensor*> tensors;
  for (const StoredTensor& tensor : file.tensors) tensors[tensor.name] = &tensor;
  int cases = 0;
  for (const auto& [name, codes] : tensors) {
    if (!name.ends_with(".code")) continue;
    const std::string stem = name.substr(0, name.size() - 5);
    const TensorView& view = codes->view;
    Weight weight(stem, view.shape[0], view.shape[1], DType::kF8E4M3, view.data, codes->file);
    EXPECT_TRUE(weight.is_mapped());
    const size_t block_out = stem.starts_with("a1x128") ? 1 : 128;
    weight.SetScales({Tensor::ToF32(tensors.at(stem + ".scale")->view), block_out, 128});
    const std::vector<float> expected = ToFloats(tensors.at(stem + ".dequant")->view);
    std::vector<float> found(expected.size());
    for (size_t r = 0; r < weight.out(); ++r) {
      weight.DequantizeRow(r, found.data() + r * weight.in());
    }
    ExpectSameFloats(found, expected, stem);
    // The codes themselves: cast(clamp(x / scale)), by division.
    const std::vector<float> in = ToFloats(tensors.at(stem + ".in")->view);
    const Tensor& scale = weight.scales().values;
    for (size_t i = 0; i < in.size(); ++i) {
      const size_t r = i / weight.in();
      const size_t c = i % weight.in();
      const uint8_t code = F8E4M3FromFloat(in[i] / scale.row(r / block_out)[c / 128]);
      ASSERT_EQ(code, static_cast<uint8_t>(view.data[i])) << stem << " at " << i;
    }
    ++cases;
  }
  EXPECT_GE(cases, 1);
}

TEST(Weight, RowsOfBlockTypesAreFoundByTheirBytes) {
  Weight weight("w", 3, 64, DType::kQ8_0);
  EXPECT_EQ(weight.row_bytes(), 68u);
  EXPECT_EQ(weight.bytes(), 204u);
  std::vector<float> in(64), out(64);
  for (size_t r = 0; r < 3; ++r) {
    for (size_t c = 0; c < 64; ++c)
      in[c] = static_cast<float>(127 * (r + 1)) * (c % 2 == 0 ? 1 : -1);
    QuantizeRow(DType::kQ8_0, in.data(), weight.mutable_data() + r * weight.row_bytes(), 64);
  }
  for (size_t r = 0; r < 3; ++r) {
    weight.DequantizeRow(r, out.data());
    EXPECT_EQ(out[0], static_cast<float>(127 * (r + 1)));
    EXPECT_EQ(out[63], -static_cast<float>(127 * (r + 1)));
  }
}

TEST(Weight, PackedViewsAreStaleAfterTouch) {
  Weight weight("w", 2, 4);
  EXPECT_EQ(weight.packed("rows"), nullptr);
  weight.SetPacked("rows", {AlignedBuffer(64), weight.version()});
  ASSERT_NE(weight.packed("rows"), nullptr);
  EXPECT_EQ(weight.packed("rows")->data.size(), 64u);
  EXPECT_EQ(weight.packed("columns"), nullptr);
  weight.Touch();
  EXPECT_EQ(weight.packed("rows"), nullptr);
  weight.SetPacked("rows", {AlignedBuffer(128), weight.version()});
  ASSERT_NE(weight.packed("rows"), nullptr);
  EXPECT_EQ(weight.packed("rows")->data.size(), 128u);
}

TEST(Weight, OwnedStorageSurvivesAMove) {
  Weight weight("w", 2, 4);
  for (int i = 0; i < 8; ++i) {
    reinterpret_cast<float*>(weight.mutable_data())[i] = static_cast<float>(i);
  }
  const Weight moved = std::move(weight);
  std::vector<float> row(4);
  moved.DequantizeRow(1, row.data());
  EXPECT_EQ(row, (std::vector<float>{4, 5, 6, 7}));
  EXPECT_FALSE(moved.is_mapped());
}

TEST(Weight, EvictGivesMappedPagesBackAndTheValuesStay) {
  const TemporaryFolder folder;
  constexpr size_t kOut = 4096, kIn = 1024;
  std::string content(100 + kOut * kIn * 4, '\0');  // the weight begins inside a page
  for (size_t i = 0; i < kOut * kIn; ++i) {
    const float value = static_cast<float>(i % 1000);
    std::memcpy(content.data() + 100 + 4 * i, &value, 4);
  }
  WriteFile(folder / "w", content);
  const auto sum = [](const Weight& w) {
    double total = 0;
    std::vector<float> row(kIn);
    for (size_t r = 0; r < kOut; ++r) {
      w.DequantizeRow(r, row.data());
      for (const float v : row) total += v;
    }
    return total;
  };
  for (const FileBytes::Access access : {FileBytes::Access::kMap, FileBytes::Access::kRead}) {
    const auto file = FileBytes::Open(folder / "w", access);
    const Weight w("w", kOut, kIn, DType::kF32, file->bytes().data() + 100, file);
    const double before = sum(w);
    const uint64_t resident = ResidentBytes();
    w.Evict();
    if (access == FileBytes::Access::kMap) {
      EXPECT_LT(ResidentBytes() + w.bytes() / 2, resident);
    }
    EXPECT_EQ(sum(w), before);
  }
  const Weight owned("owned", 2, 32);
  owned.Evict();  // nothing to give back
}

}  // namespace
}  // namespace planish
