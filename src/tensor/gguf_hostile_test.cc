// SPDX-License-Identifier: Apache-2.0
// Files that lie: the items of spec reliability 4.2 that concern the container.
#include <gtest/gtest.h>

#include "base/limits.h"
#include "base/random.h"
#include "tensor/gguf_testing.h"

namespace planish {
namespace {

constexpr uint32_t kF32 = 0;
constexpr uint32_t kQ8 = 8;

std::string Small() {
  GgufBuilder b;
  b.String("general.architecture", "llama").Scalar("llama.block_count", GgufType::kUint32, 2u);
  b.Array("tokens", 8, 3, GgufBuilder::Text("a") + GgufBuilder::Text("bc") + GgufBuilder::Text(""));
  b.Array("flags", 7, 2, std::string("\0\1", 2));
  b.Tensor("token_embd.weight", {32, 8}, kF32, 0).Tensor("blk.0.w", {64, 4}, kQ8, 1024);
  b.data_bytes = 1024 + 272;
  return b.Bytes();
}

TEST(GgufHostile, MagicAndVersionAreChecked) {  // G1
  for (const char* magic : {"GGML", "gguf", "FUGG", "\0GGU"}) {
    GgufBuilder b;
    b.magic = std::string(magic, 4);
    ExpectGgufRefused(b.Bytes(), {"GGUF"});
  }
  for (size_t n = 0; n < 24; ++n) ExpectGgufRefused(GgufBuilder().Bytes().substr(0, n), {});
  for (const uint32_t version : {0u, 1u, 4u, ~0u}) {
    GgufBuilder b;
    b.version = version;
    ExpectGgufRefused(b.Bytes(), {"version", fmt::format("{}", version)});
  }
  for (const uint32_t version : {0x02000000u, 0x03000000u}) {
    GgufBuilder b;
    b.version = version;
    ExpectGgufRefused(b.Bytes(), {"big-endian"});
  }
  EXPECT_TRUE(ParseGguf(GgufBuilder().Bytes()).tensors().empty());
}

TEST(GgufHostile, CountsAreBoundedBeforeAnyAllocation) {  // G2
  for (const uint64_t count :
       {~uint64_t{0}, uint64_t{1} << 61, uint64_t{1} << 63, uint64_t{65'537}, uint64_t{65'536}}) {
    GgufBuilder b;
    b.tensor_count = count;
    ExpectGgufRefused(b.Bytes(), {"tensors", fmt::format("{}", count)});
    b.tensor_count = 0;
    b.pair_count = count;
    ExpectGgufRefused(b.Bytes(), {"keys", fmt::format("{}", count)});
  }
}

TEST(GgufHostile, StringLengthsAreBounded) {  // G3
  for (const uint64_t length : {~uint64_t{0}, uint64_t{1} << 40, uint64_t{1} << 63, uint64_t{6}}) {
    std::string bytes;
    AppendRaw(&bytes, length);
    GgufBuilder b;
    b.Pair("k", 8, bytes + "short");
    ExpectGgufRefused(b.Bytes(), {fmt::format("{}", length)});
    if (length > 6) {  // a key of six bytes is legal
      GgufBuilder key;
      key.pairs = bytes + std::string(25, 'k');
      key.pair_count = 1;
      ExpectGgufRefused(key.Bytes(), {"key", fmt::format("{}", length)});
    }
    GgufBuilder array;
    array.Array("k", 8, 1, bytes + "short");
    ExpectGgufRefused(array.Bytes(), {fmt::format("{}", length)});
  }
  GgufBuilder empty;
  empty.String("", "x");
  ExpectGgufRefused(empty.Bytes(), {"key", "empty"});
  for (const int extra : {-1, 0, 1}) {
    GgufBuilder value, key;
    value.String("k", std::string(limits::kGgufStringBytes + extra, 'x'));
    key.String(std::string(limits::kGgufKeyBytes + extra, 'k'), "v");
    if (extra <= 0) {
      EXPECT_EQ(ParseGguf(value.Bytes()).String("k").size(), limits::kGgufStringBytes + extra);
      EXPECT_EQ(ParseGguf(key.Bytes()).metadata().size(), 1u);
    } else {
      ExpectGgufRefused(value.Bytes(), {"16777217"});
      ExpectGgufRefused(key.Bytes(), {"65536"});
    }
  }
}

TEST(GgufHostile, ValueTypesAndArraysAreChecked) {  // G4
  for (const uint32_t type : {13u, 255u, ~0u}) {
    GgufBuilder scalar, array;
    scalar.Pair("k", type, "12345678");
    ExpectGgufRefused(scalar.Bytes(), {"'k'", fmt::format("{}", type)});
    array.Array("k", type, 1, "12345678");
    ExpectGgufRefused(array.Bytes(), {"'k'", fmt::format("{}", type)});
  }
  std::string inner;  // arrays of arrays, three deep
  AppendRaw(&inner, uint32_t{9});
  AppendRaw(&inner, uint64_t{1});
  GgufBuilder nested;
  nested.Array("k", 9, 1, inner + inner);
  ExpectGgufRefused(nested.Bytes(), {"'k'", "array of arrays"});
  for (const char value : {'\2', '\xff'}) {
    GgufBuilder scalar, array;
    scalar.Pair("k", 7, std::string(1, value));
    ExpectGgufRefused(scalar.Bytes(), {"'k'", "bool"});
    array.Array("k", 7, 3, std::string("\0\1", 2) + value);
    ExpectGgufRefused(array.Bytes(), {"'k'", "bool"});
  }
  for (const uint64_t count : {~uint64_t{0}, uint64_t{1} << 61, uint64_t{1} << 62, uint64_t{3}}) {
    for (const uint32_t type : {0u, 4u, 8u, 10u}) {
      GgufBuilder b;
      b.Array("k", type, count, type == 0 ? "12" : "1234567");
      ExpectGgufRefused(b.Bytes(), {"'k'", fmt::format("{}", count)});
    }
  }
}

TEST(GgufHostile, ArrayElementCountIsBounded) {
  const auto with = [](uint64_t count) {
    GgufBuilder b;
    b.Array("k", 0, count, std::string(count, '\1'));
    return b.Bytes();
  };
  EXPECT_EQ(ParseGguf(with(limits::kGgufArrayElements)).Ints("k").size(),
            limits::kGgufArrayElements);
  ExpectGgufRefused(with(limits::kGgufArrayElements + 1), {"'k'", "16777217 elements"});
}

TEST(GgufHostile, DuplicateKeysAndNamesAreRefused) {  // G5
  GgufBuilder keys;
  keys.String("a", "1").String("b", "1").String("a", "2");
  ExpectGgufRefused(keys.Bytes(), {"key", "'a'", "twice"});
  GgufBuilder names;
  names.Tensor("t", {8}, kF32, 0).Tensor("u", {8}, kF32, 32).Tensor("t", {8}, kF32, 64);
  names.data_bytes = 96;
  ExpectGgufRefused(names.Bytes(), {"tensor", "'t'", "twice"});
}

TEST(GgufHostile, AlignmentIsAPowerOfTwoInRange) {  // G6
  for (const uint32_t alignment : {0u, 1u, 3u, 4u, 24u, 131'072u, 1u << 31, ~0u}) {
    GgufBuilder b;
    b.Scalar("general.alignment", GgufType::kUint32, alignment);
    ExpectGgufRefused(b.Bytes(), {"general.alignment", fmt::format("{}", alignment)});
  }
  GgufBuilder wide, text;
  wide.Scalar("general.alignment", GgufType::kUint64, uint64_t{32});
  ExpectGgufRefused(wide.Bytes(), {"general.alignment", "u32"});
  text.String("general.alignment", "32");
  ExpectGgufRefused(text.Bytes(), {"general.alignment", "u32"});
  for (const uint32_t alignment : {8u, 64u, 65'536u}) {
    GgufBuilder b;
    b.alignment = alignment;
    b.Scalar("general.alignment", GgufType::kUint32, alignment);
    b.Tensor("a", {2}, kF32, 0).Tensor("b", {1}, kF32, alignment);
    b.data_bytes = alignment + 4;
    const std::string bytes = b.Bytes();
    EXPECT_EQ(ParseGguf(bytes).tensors()[1].view.data[0], static_cast<std::byte>(alignment));
  }
}

TEST(GgufHostile, ShapesAreChecked) {  // G7
  const auto refused = [](const std::vector<uint64_t>& dims, uint32_t type,
                          const std::vector<std::string>& parts) {
    GgufBuilder b;
    b.Tensor("t", dims, type, 0);
    b.data_bytes = 4096;
    std::vector<std::string> all = {"'t'"};
    all.insert(all.end(), parts.begin(), parts.end());
    ExpectGgufRefused(b.Bytes(), all);
  };
  refused({}, kF32, {"0 dimensions"});
  refused({1, 1, 1, 1, 1}, kF32, {"5 dimensions"});
  refused({0}, kF32, {"dimension of 0"});
  refused({4, 0}, kF32, {"dimension of 0"});
  refused({(uint64_t{1} << 42) + 1}, kF32, {"dimension"});
  refused({(uint64_t{1} << 40) + 1}, kF32, {"dimension"});
  refused({~uint64_t{0}}, kF32, {"dimension"});
  refused({uint64_t{1} << 63, 2}, kF32, {"dimension"});
  refused({uint64_t{1} << 32, uint64_t{1} << 32}, kF32, {"overflow"});
  refused({4, uint64_t{1} << 40, uint64_t{1} << 40}, kF32, {"overflow"});
  refused({uint64_t{1} << 40, uint64_t{1} << 20, 4}, kF32, {"overflow"});
  refused({uint64_t{1} << 40}, kF32, {"truncated"});
  refused({33}, kQ8, {"33", "multiple of 32"});
  refused({16, 2}, kQ8, {"16", "multiple of 32"});
  refused({32}, 12, {"32", "multiple of 256"});
  GgufBuilder many;
  many.tensors = GgufBuilder::Text("t");
  AppendRaw(&many.tensors, ~uint32_t{0});
  many.tensors += std::string(64, '\1');
  many.tensor_count = 1;
  ExpectGgufRefused(many.Bytes(), {"'t'", "dimensions"});
}

TEST(GgufHostile, TypesThatAreNotReadAreNamed) {
  const std::pair<uint32_t, const char*> types[] = {
      {4, "Q4_2"},   {5, "Q4_3"},    {9, "Q8_1"},   {15, "Q8_K"},     {16, "IQ2_XXS"},
      {19, "IQ1_S"}, {21, "IQ3_S"},  {29, "IQ1_M"}, {31, "Q4_0_4_4"}, {34, "TQ1_0"},
      {35, "TQ2_0"}, {36, "IQ4_NL"}, {40, "NVFP4"}, {41, "41"},       {~0u, "4294967295"}};
  for (const auto& [type, name] : types) {
    GgufBuilder b;
    b.Tensor("blk.0.w", {256}, type, 0);
    b.data_bytes = 2048;
    ExpectGgufRefused(b.Bytes(), {"'blk.0.w'", fmt::format("type {}", type), name});
  }
}

TEST(GgufHostile, OffsetsAreCheckedAgainstTableAndFile) {  // G8
  const auto refused = [](uint64_t second, size_t data_bytes, const char* part) {
    GgufBuilder b;
    b.Tensor("a", {16}, kF32, 0).Tensor("b", {16}, kF32, second);
    b.data_bytes = data_bytes;
    ExpectGgufRefused(b.Bytes(), {"'b'", part});
  };
  refused(65, 256, "multiple of 32");
  refused(32, 256, "overlap");
  refused(0, 256, "overlap");
  refused(96, 256, "hole");
  refused(~uint64_t{0} - 31, 256, "hole");
  refused(uint64_t{1} << 63, 256, "hole");
  refused(64, 127, "truncated");
  refused(64, 64, "truncated");
  GgufBuilder b;
  b.Tensor("a", {16}, kF32, 0).Tensor("b", {16}, kF32, 64);
  b.data_bytes = 128;
  EXPECT_EQ(ParseGguf(b.Bytes()).tensors().size(), 2u);
  GgufBuilder first;
  first.Tensor("a", {16}, kF32, 32);
  first.data_bytes = 96;
  ExpectGgufRefused(first.Bytes(), {"'a'", "hole"});
  GgufBuilder wrap;  // sizes whose padded sum would wrap
  wrap.Tensor("a", {uint64_t{1} << 31, uint64_t{1} << 30}, kF32, 0)
      .Tensor("b", {uint64_t{1} << 31, uint64_t{1} << 30}, kF32, uint64_t{1} << 63);
  wrap.data_bytes = 64;
  ExpectGgufRefused(wrap.Bytes(), {"'a'", "truncated"});
}

TEST(GgufHostile, TensorNamesAreBounded) {
  const auto with = [](size_t bytes) {
    GgufBuilder b;
    b.Tensor(std::string(bytes, 'n'), {1}, kF32, 0);
    b.data_bytes = 4;
    return b.Bytes();
  };
  EXPECT_EQ(ParseGguf(with(62)).tensors().size(), 1u);
  EXPECT_EQ(ParseGguf(with(63)).tensors().size(), 1u);
  ExpectGgufRefused(with(64), {"tensor name", "64 bytes"});
  ExpectGgufRefused(with(0), {"empty name"});
}

TEST(GgufHostile, TensorAndKeyCountsAreBounded) {
  const auto tensors = [](uint64_t count) {
    GgufBuilder b;
    for (uint64_t i = 0; i < count; ++i) b.Tensor(fmt::format("{}", i), {1}, 24, i * 32);
    b.data_bytes = count * 32;
    return b.Bytes();
  };
  EXPECT_EQ(ParseGguf(tensors(limits::kTensorsPerFile)).tensors().size(), limits::kTensorsPerFile);
  ExpectGgufRefused(tensors(limits::kTensorsPerFile + 1), {"65537 tensors"});
  const auto keys = [](uint64_t count) {
    GgufBuilder b;
    for (uint64_t i = 0; i < count; ++i)
      b.Scalar(fmt::format("{}", i), GgufType::kUint8, uint8_t{1});
    return b.Bytes();
  };
  EXPECT_EQ(ParseGguf(keys(limits::kGgufKeys)).metadata().size(), limits::kGgufKeys);
  ExpectGgufRefused(keys(limits::kGgufKeys + 1), {"65537 keys"});
}

TEST(GgufHostile, BadFileCostsNoMemoryForItsArrays) {
  GgufBuilder b;  // small numbers that would widen to eight bytes, small strings to thirty-two
  const uint64_t count = 8u << 20;
  b.Array("numbers", 0, count, std::string(count, '\1'));
  b.Array("strings", 8, 1u << 20, std::string(size_t{8} << 20, '\0'));
  b.Array("flag", 7, 1, "\2");
  const std::string bytes = b.Bytes();
  const uint64_t before = PeakResidentBytes();
  ExpectGgufRefused(bytes, {"'flag'"});
  EXPECT_LT(PeakResidentBytes() - before, uint64_t{16} << 20);
}

TEST(GgufHostile, TruncationAtEveryByteIsRefused) {  // G16
  const std::string file = Small();
  ASSERT_EQ(ParseGguf(file).tensors().size(), 2u);
  for (size_t size = 0; size < file.size(); ++size) ExpectGgufRefused(file.substr(0, size), {});
}

TEST(GgufHostile, GoldenFilesTruncatedAtEvery64BytesAreRefused) {  // G16
  const std::string folder = GoldenFolder() + "/gguf";
  if (!IsDirectory(folder)) GTEST_SKIP() << folder << " is missing";
  std::string path;  // the smallest file will do
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    if (path.empty() || entry.file_size() < std::filesystem::file_size(path)) {
      path = entry.path().string();
    }
  }
  if (path.empty()) GTEST_SKIP() << folder << " holds no GGUF files";
  const std::string bytes = ReadWhole(path);
  const auto all = AsBytes(bytes);
  EXPECT_GT(GgufFile::Parse(all, path, nullptr).tensors().size(), 1u);
  for (size_t size = 0; size + 32 < bytes.size(); size += 64) {
    ExpectBadFile([&] { GgufFile::Parse(all.subspan(0, size), path, nullptr); }, {path});
  }
}

TEST(GgufHostile, RandomMutationsAreRefusedOrLoad) {
  const std::string original = Small();
  const size_t header_end = original.size() - (1024 + 272);
  Random random(20'250'102);
  int refused = 0;
  for (int run = 0; run < 2000; ++run) {
    std::string file = original;
    const uint64_t edits = 1 + random.Below(3);
    for (uint64_t e = 0; e < edits; ++e) {
      const size_t at = random.Below(header_end - 8);
      switch (random.Below(6)) {
        case 0:
          file[at] = static_cast<char>(random.Below(256));
          break;
        case 1:
          file[at] ^= static_cast<char>(1 << random.Below(8));
          break;
        case 2:
          file.erase(at, 1 + random.Below(9));
          break;
        case 3:
          file.insert(at, random.Below(9), static_cast<char>(random.Below(256)));
          break;
        case 4: {
          const uint64_t numbers[] = {0, 1, ~uint64_t{0}, uint64_t{1} << random.Below(64)};
          std::memcpy(file.data() + at, &numbers[random.Below(4)], 8);
          break;
        }
        case 5:
          file.resize(file.size() - random.Below(300));
          break;
      }
    }
    try {
      const GgufFile parsed = ParseGguf(file);
      for (const StoredTensor& tensor : parsed.tensors()) {
        ASSERT_GE(tensor.view.data, AsBytes(file).data());
        ASSERT_LE(tensor.view.data + tensor.view.bytes(), AsBytes(file).data() + file.size());
        Tensor::ToF32(tensor.view);
      }
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ExitCode::kBadFile) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);  // or the mutations do nothing
}

}  // namespace
}  // namespace planish
