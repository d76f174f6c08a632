// SPDX-License-Identifier: Apache-2.0
#include "tensor/blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "base/random.h"
#include "tensor/format_testing.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

std::map<std::string, StoredTensor> ByName(const std::string& path) {
  std::map<std::string, StoredTensor> tensors;
  for (StoredTensor& tensor : ReadSafetensors(path, FileBytes::Access::kRead).tensors) {
    tensors.emplace(tensor.name, tensor);
  }
  return tensors;
}

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

TEST(Blocks, GoldenRawBlocksDequantiseToTheReferenceValues) {
  const std::string path = GoldenFolder() + "/gguf/blocks.safetensors";
  if (!FileExists(path)) GTEST_SKIP() << path << " is missing";
  const auto tensors = ByName(path);
  int cases = 0;
  for (const auto& [name, raw] : tensors) {
    if (!name.ends_with(".raw")) continue;
    const std::string type = name.substr(0, name.size() - 4);
    const auto dtype = DTypeFromName(Lower(type));
    ASSERT_TRUE(dtype.has_value()) << type;
    ASSERT_EQ(raw.view.shape.last(), Traits(*dtype).block_bytes) << type;
    const std::vector<float> expected = ToFloats(tensors.at(type + ".dequant").view);
    std::vector<float> found(expected.size());
    DequantizeRow(*dtype, raw.view.data, found.data(), found.size());
    ExpectSameFloats(found, expected, type);
    ++cases;
  }
  EXPECT_EQ(cases, 13);  // the block types of dtype.h
}

TEST(Blocks, GoldenValuesQuantiseToTheReferenceBytes) {
  const std::string path = GoldenFolder() + "/gguf/blocks.safetensors";
  if (!FileExists(path)) GTEST_SKIP() << path << " is missing";
  const auto tensors = ByName(path);
  int cases = 0;
  for (const auto& [name, input] : tensors) {
    if (!name.ends_with(".quant_in")) continue;
    const std::string type = name.substr(0, name.size() - 9);
    const auto dtype = DTypeFromName(Lower(type));
    ASSERT_TRUE(dtype.has_value()) << type;
    const std::vector<float> in = ToFloats(input.view);
    const TensorView& raw = tensors.at(type + ".quant_raw").view;
    std::vector<uint8_t> out(BytesOf(*dtype, in.size()));
    ASSERT_EQ(out.size(), raw.bytes()) << type;
    QuantizeRow(*dtype, in.data(), out.data(), in.size());
    for (size_t i = 0; i < out.size(); ++i) {
      ASSERT_EQ(out[i], static_cast<uint8_t>(raw.data[i])) << type << " byte " << i;
    }
    if (const auto expected = tensors.find(type + ".quant_dequant"); expected != tensors.end()) {
      std::vector<float> back(in.size());
      DequantizeRow(*dtype, out.data(), back.data(), back.size());
      ExpectSameFloats(back, ToFloats(expected->second.view), type);
    }
    ++cases;
  }
  EXPECT_GE(cases, 7);
}

TEST(Blocks, GoldenFp8TablesAndRoundingAreBitExact) {
  const std::string path = GoldenFolder() + "/fp8/fp8.safetensors";
  if (!FileExists(path)) GTEST_SKIP() << path << " is missing";
  const auto tensors = ByName(path);
  for (const auto& [type, dtype] :
       {std::pair<std::string, DType>{"e4m3", DType::kF8E4M3}, {"e5m2", DType::kF8E5M2}}) {
    const std::vector<float> table = ToFloats(tensors.at(type + ".table").view);
    ASSERT_EQ(table.size(), 256u);
    for (int code = 0; code < 256; ++code) {
      const auto byte = static_cast<uint8_t>(code);
      float value;
      DequantizeRow(dtype, &byte, &value, 1);
      if (std::isnan(table[code])) {
        ASSERT_TRUE(std::isnan(value)) << type << " code " << code;
      } else {
        ASSERT_EQ(std::bit_cast<uint32_t>(value), std::bit_cast<uint32_t>(table[code]))
            << type << " code " << code;
      }
    }
    const std::vector<float> in = ToFloats(tensors.at(type + ".round_in").view);
    const std::vector<float> rounded = ToFloats(tensors.at(type + ".round_out").view);
    const std::byte* codes = tensors.at(type + ".round_code").view.data;
    std::vector<uint8_t> out(in.size());
    QuantizeRow(dtype, in.data(), out.data(), in.size());
    for (size_t i = 0; i < in.size(); ++i) {
      float back;
      DequantizeRow(dtype, &out[i], &back, 1);
      if (std::isnan(rounded[i])) {
        ASSERT_TRUE(std::isnan(back)) << type << " of " << in[i];
        continue;
      }
      ASSERT_EQ(out[i], static_cast<uint8_t>(codes[i])) << type << " of " << in[i];
      ASSERT_EQ(std::bit_cast<uint32_t>(back), std::bit_cast<uint32_t>(rounded[i]))
          << type << " of " << in[i];
    }
  }
}

const DType kWritable[] = {DType::kF32,    DType::kF16,  DType::kBF16, DType::kF8E4M3,
                           DType::kF8E5M2, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1,
                           DType::kQ5_0,   DType::kQ5_1, DType::kMXFP4};

// Largest error of a format for values in [-1, 1]: half a step of its grid, plus the rounding of
// the F16 scale. MXFP4's widest gap is 2 of 8 units; its largest value 6 clips what lies above.
double LargestError(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 0.0;
    case DType::kF16:
      return 0x1p-11;
    case DType::kBF16:
      return 0x1p-9;
    case DType::kF8E4M3:
      return 0x1p-4;
    case DType::kF8E5M2:
      return 0x1p-3;
    case DType::kQ8_0:
      return 0.5 / 127 + 0x1p-10;
    case DType::kQ4_0:
      return 1.0 / 8 + 0x1p-10;  // +max itself is one step out of range
    case DType::kQ4_1:
      return 1.0 / 15 + 0x1p-9;
    case DType::kQ5_0:
      return 1.0 / 16 + 0x1p-10;
    case DType::kQ5_1:
      return 1.0 / 31 + 0x1p-9;
    case DType::kMXFP4:
      return 2.0 / 8;
    default:
      return -1.0;
  }
}

TEST(Blocks, WritingAndReadingStaysInsideHalfAStep) {
  Random random(7);
  std::vector<float> in(32 * 64), out(in.size());
  for (float& value : in) value = static_cast<float>(2 * random.Uniform() - 1);
  for (const DType dtype : kWritable) {
    ASSERT_TRUE(CanQuantize(dtype));
    std::vector<uint8_t> bytes(BytesOf(dtype, in.size()));
    QuantizeRow(dtype, in.data(), bytes.data(), in.size());
    DequantizeRow(dtype, bytes.data(), out.data(), out.size());
    for (size_t i = 0; i < in.size(); ++i) {
      ASSERT_LE(std::fabs(in[i] - out[i]), LargestError(dtype)) << Name(dtype) << " " << in[i];
    }
  }
}

TEST(Blocks, Q8RoundsHalfAwayFromZero) {
  std::vector<float> in(32, 0.0f);
  in[0] = 127.0f;  // scale 1
  in[1] = 0.5f;
  in[2] = -0.5f;
  in[3] = 2.5f;
  std::vector<uint8_t> bytes(34);
  QuantizeRow(DType::kQ8_0, in.data(), bytes.data(), 32);
  EXPECT_EQ(static_cast<int8_t>(bytes[3]), 1);
  EXPECT_EQ(static_cast<int8_t>(bytes[4]), -1);
  EXPECT_EQ(static_cast<int8_t>(bytes[5]), 3);
}

TEST(Blocks, ZeroTinyHugeAndNonFiniteValuesAreDefined) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float value : {0.0f, -0.0f, 1e-45f, 1e-38f, 3e38f, -3e38f, inf, -inf, nan}) {
    for (const DType dtype : kWritable) {
      std::vector<float> in(32, value), out(32);
      in[5] = 1.0f;
      std::vector<uint8_t> bytes(BytesOf(dtype, 32));
      QuantizeRow(dtype, in.data(), bytes.data(), 32);
      DequantizeRow(dtype, bytes.data(), out.data(), 32);
      if (value == 0.0f) {
        EXPECT_EQ(out[0], 0.0f) << Name(dtype);
        EXPECT_NEAR(out[5], 1.0f, 1e-3) << Name(dtype);
      }
    }
  }
}

TEST(Blocks, ReadsAndWritesAtUnalignedAddresses) {
  Random random(11);
  std::vector<float> in(512), aligned(512), shifted(512);
  for (float& value : in) value = static_cast<float>(random.Normal());
  for (size_t i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (!IsDequantisable(dtype)) continue;
    const size_t size = BytesOf(dtype, 512);
    std::vector<uint8_t> bytes(size), moved(size + 1);
    if (CanQuantize(dtype)) {
      QuantizeRow(dtype, in.data(), bytes.data(), 512);
      QuantizeRow(dtype, in.data(), moved.data() + 1, 512);
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), moved.begin() + 1)) << Name(dtype);
    } else {
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.Below(256));
      std::copy(bytes.begin(), bytes.end(), moved.begin() + 1);
    }
    DequantizeRow(dtype, bytes.data(), aligned.data(), 512);
    DequantizeRow(dtype, moved.data() + 1, shifted.data(), 512);
    ExpectSameFloats(shifted, aligned, std::string(Name(dtype)));
  }
}

TEST(Blocks, TypesThatCannotBeWrittenAreAUsageError) {
  std::vector<float> in(256);
  std::vector<uint8_t> out(1024);
  for (const DType dtype : {DType::kI32, DType::kF64, DType::kBool}) {
    EXPECT_FALSE(CanQuantize(dtype));
    try {
      QuantizeRow(dtype, in.data(), out.data(), 256);
      ADD_FAILURE() << Name(dtype);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      EXPECT_NE(std::string(error.what()).find(Name(dtype)), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace planish
