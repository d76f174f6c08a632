// SPDX-License-Identifier: Apache-2.0
#include "tensor/safetensors.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "base/random.h"
#include "tensor/format_testing.h"

namespace planish {
namespace {

// The file whose header is `header` (not padded) with `data_bytes` counting bytes behind it.
std::string FileWith(const std::string& header, size_t data_bytes) {
  std::string file;
  AppendRaw(&file, uint64_t{header.size()});
  file += header;
  for (size_t i = 0; i < data_bytes; ++i) file += static_cast<char>(i);
  return file;
}

SafetensorsFile Parse(const std::string& file) {
  return ParseSafetensors(AsBytes(file), "x.safetensors", nullptr);
}

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

void ExpectRefused(const std::string& file, std::vector<std::string> parts) {
  parts.insert(parts.begin(), "x.safetensors");
  ExpectBadFile([&] { Parse(file); }, parts);
}
void ExpectHeaderRefused(const std::string& header, size_t data_bytes,
                         std::vector<std::string> parts) {
  ExpectRefused(FileWith(header, data_bytes), std::move(parts));
}

TEST(Safetensors, TensorsComeInOffsetOrderWithTheirBytes) {
  const std::string bytes = FileWith(
      "{" + Entry("b", "F32", "[1,2]", "[4,12]") + "," + Entry("a", "I16", "[2]", "[0,4]") +
          ",\"__metadata__\":{\"format\":\"pt\",\"n\":\"\\u00e9\"}}   ",
      12);
  const SafetensorsFile file = Parse(bytes);
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.tensors[0].name, "a");
  EXPECT_EQ(file.tensors[0].view.dtype, DType::kI16);
  EXPECT_EQ(file.tensors[0].view.shape, Shape({2}));
  EXPECT_EQ(file.tensors[1].name, "b");
  EXPECT_EQ(file.tensors[1].view.data[0], std::byte{4});
  EXPECT_EQ(file.metadata.Find("n")->AsString(), "\u00e9");
}

TEST(Safetensors, EveryDTypeOfTheFormatIsRead) {
  for (size_t i = 0; i < kDTypeCount; ++i) {
    const DTypeTraits& traits = Traits(static_cast<DType>(i));
    if (traits.safetensors.empty()) continue;
    const size_t size = 3 * traits.block_bytes;
    const std::string bytes = FileWith(
        "{" + Entry("t", std::string(traits.safetensors), "[3]", fmt::format("[0,{}]", size)) + "}",
        size);
    const SafetensorsFile file = Parse(bytes);
    ASSERT_EQ(file.tensors.size(), 1u);
    EXPECT_EQ(file.tensors[0].view.dtype, traits.dtype);
    Tensor::ToF32(file.tensors[0].view);  // data starts unaligned: the sanitizers watch
  }
}

// The items are those of spec reliability 4.1.
TEST(Safetensors, LengthThatLiesIsRefused) {
  for (size_t n = 0; n < 8; ++n) ExpectRefused(std::string(n, '\1'), {fmt::format("{} bytes", n)});
  ExpectRefused(FileWith("", 0), {"header"});                           // S2
  for (const uint64_t length : {uint64_t{3}, uint64_t{100'000'000}}) {  // S3
    std::string file;
    AppendRaw(&file, length);
    ExpectRefused(file + "{}", {"header", "2 follow"});
  }
  for (const uint64_t length : {uint64_t{1} << 63, ~uint64_t{0}, uint64_t{100'000'001}}) {  // S4 S5
    std::string file;
    AppendRaw(&file, length);
    ExpectRefused(file + "{}", {"header", fmt::format("{}", length), "100000000"});
  }
}

TEST(Safetensors, HeaderThatIsNotPlainJsonIsRefused) {
  ExpectHeaderRefused(" {}", 0, {"header", "' '"});      // S6
  ExpectHeaderRefused("\xEF\xBB\xBF{}", 0, {"header"});  // S7
  ExpectHeaderRefused(std::string("{\0}", 3), 0, {"header", "\\x00"});
  ExpectHeaderRefused("{" + Entry("a\xff", "U8", "[1]", "[0,1]") + "}", 1, {"header"});
  ExpectHeaderRefused("{" + Entry("a", "U8\xc3", "[1]", "[0,1]") + "}", 1, {"'a'"});
  ExpectHeaderRefused("{\"__metadata__\":{\"k\":\"\xc0\x80\"}}", 0, {"__metadata__"});
  EXPECT_TRUE(Parse(FileWith("{}    \n\t ", 0)).tensors.empty());  // S8
  ExpectHeaderRefused("{} x", 0, {"header", "'x'"});               // S9
  ExpectHeaderRefused("{}{}", 0, {"header"});
  ExpectHeaderRefused(std::string("{}\0", 3), 0, {"header", "\\x00"});
  ExpectHeaderRefused("{\"a\":", 0, {"header"});
  ExpectHeaderRefused("{\"a\":[]}", 0, {"'a'", "an object"});
  ExpectHeaderRefused("{\"a\":null}", 0, {"'a'", "an object"});
}

TEST(Safetensors, DuplicatesAreRefusedAndUnknownInnerKeysAreNot) {
  const std::string a = Entry("a", "U8", "[1]", "[0,1]");
  ExpectHeaderRefused("{" + a + "," + a + "}", 1, {"'a'", "twice"});  // S10
  ExpectHeaderRefused("{" + a + "," + Entry("\\u0061", "U8", "[1]", "[1,2]") + "}", 2,
                      {"'a'", "twice"});  // the same name in another spelling
  ExpectHeaderRefused(R"({"a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}})", 1,
                      {"'a'", "shape", "twice"});  // S11
  EXPECT_EQ(Parse(FileWith(R"({"a":{"x":[{}],"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1))
                .tensors.size(),
            1u);
  ExpectHeaderRefused(R"({"__metadata__":{},"__metadata__":{}})", 0, {"__metadata__", "twice"});
  ExpectHeaderRefused(R"({"__metadata__":{"a":"1","a":"1"}})", 0, {"__metadata__", "'a'", "twice"});
}

TEST(Safetensors, NestingIsBounded) {
  const auto nested = [](size_t depth) {  // depth of the whole header
    const size_t n = depth - 2;
    return FileWith("{\"a\":{\"x\":" + std::string(n, '[') + std::string(n, ']') +
                        ",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                    1);
  };
  EXPECT_EQ(Parse(nested(63)).tensors.size(), 1u);
  EXPECT_EQ(Parse(nested(64)).tensors.size(), 1u);
  ExpectRefused(nested(65), {"'a'", "nested"});  // S12
  ExpectRefused(nested(20'000), {"'a'", "nested"});
}

TEST(Safetensors, OffsetsThatAreNoPlainIntegersAreRefused) {  // S13
  for (const char* offsets : {"[1,0]",
                              "[-1,0]",
                              "[-0,1]",
                              "[0.0,1]",
                              "[0,1.0]",
                              "[0,1e0]",
                              "[\"0\",1]",
                              "[0,null]",
                              "[0,9007199254740993]",
                              "[0,18446744073709551615]",
                              "[0,18446744073709551616]",
                              "[0,1e400]",
                              "[0]",
                              "[0,1,2]",
                              "[]",
                              "{}",
                              "0",
                              "null",
                              "[[0],1]",
                              "[0,true]"}) {
    ExpectHeaderRefused("{" + Entry("a", "U8", "[1]", offsets) + "}", 1, {"'a'"});
  }
  for (const char* shape :
       {"[-1]", "[1.0]", "[\"1\"]", "1", "null", "[1e0]", "{}", "[true]", "[-0]"}) {
    ExpectHeaderRefused("{" + Entry("a", "U8", shape, "[0,1]") + "}", 1, {"'a'"});
  }
  ExpectHeaderRefused(R"({"a":{"dtype":"U8","shape":[1]}})", 1, {"'a'", "data_offsets"});
  ExpectHeaderRefused(R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1, {"'a'", "shape"});
  ExpectHeaderRefused(R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1, {"'a'", "dtype"});
}

TEST(Safetensors, DataThatDoesNotTileTheFileIsRefused) {
  const std::string a = Entry("a", "U8", "[4]", "[0,4]");
  ExpectHeaderRefused("{" + a + "," + Entry("b", "U8", "[4]", "[3,7]") + "}", 7,
                      {"'b'", "overlap"});  // S14
  ExpectHeaderRefused("{" + a + "," + Entry("b", "U8", "[4]", "[0,4]") + "}", 4,
                      {"'b'", "overlap"});
  ExpectHeaderRefused("{" + a + "," + Entry("b", "U8", "[4]", "[5,9]") + "}", 9,
                      {"'b'", "hole"});  // S15
  ExpectHeaderRefused("{" + Entry("a", "U8", "[4]", "[1,5]") + "}", 5, {"'a'", "hole"});
  ExpectHeaderRefused("{" + a + "}", 3, {"'a'", "3 bytes"});  // S16
  ExpectHeaderRefused("{" + a + "}", 5, {"5 bytes", "4"});    // S17
  ExpectHeaderRefused("{}", 1, {"1 bytes"});
}

TEST(Safetensors, ShapeAndSizeMustAgree) {
  ExpectHeaderRefused("{" + Entry("a", "U8", "[4294967296,4294967296,2]", "[0,8]") + "}", 8,
                      {"'a'", "overflows"});  // S18
  ExpectHeaderRefused("{" + Entry("a", "F64", "[1099511627776,2097152]", "[0,8]") + "}", 8,
                      {"'a'", "overflows"});
  ExpectHeaderRefused("{" + Entry("a", "F32", "[2]", "[0,4]") + "}", 4, {"'a'", "8"});  // S19
  ExpectHeaderRefused("{" + Entry("a", "U8", "[1099511627777]", "[0,4]") + "}", 4,
                      {"'a'", "dimension"});
  EXPECT_EQ(Parse(FileWith("{" + Entry("a", "U8", "[1,1,2,2]", "[0,4]") + "}", 4)).tensors.size(),
            1u);
  ExpectHeaderRefused("{" + Entry("a", "U8", "[1,1,1,2,2]", "[0,4]") + "}", 4,
                      {"'a'", "5 dimensions"});
  EXPECT_EQ(
      Parse(FileWith("{" + Entry("a", "F16", "[]", "[0,2]") + "}", 2)).tensors[0].view.elements(),
      1u);  // S21
}

TEST(Safetensors, EmptyTensorsMayShareTheirPlace) {  // S20
  const SafetensorsFile file = Parse(
      FileWith("{" + Entry("b", "U8", "[2]", "[0,2]") + "," + Entry("a", "F32", "[0,7]", "[0,0]") +
                   "," + Entry("c", "F32", "[1099511627776,0]", "[2,2]") + "}",
               2));
  ASSERT_EQ(file.tensors.size(), 3u);
  EXPECT_EQ(file.tensors[0].name, "a");
  EXPECT_EQ(file.tensors[0].view.bytes(), 0u);
  EXPECT_EQ(file.tensors[2].name, "c");
  EXPECT_TRUE(Parse(FileWith("{}", 0)).tensors.empty());
}

TEST(Safetensors, DTypesThatAreNotSupportedAreNamed) {  // S22
  for (const char* dtype : {"F4", "F8_E8M0", "F6_E2M3", "C64", "f32", "Q4_0", ""}) {
    ExpectHeaderRefused("{" + Entry("a", dtype, "[2]", "[0,8]") + "}", 8, {"'a'", "dtype", dtype});
  }
}

TEST(Safetensors, MetadataHoldsStringsOnly) {
  for (const char* value : {"1", "null", "[\"a\"]", "{}", "true"}) {
    ExpectHeaderRefused(fmt::format("{{\"__metadata__\":{{\"k\":{}}}}}", value), 0,
                        {"__metadata__", "'k'"});  // S23
  }
  ExpectHeaderRefused("{\"__metadata__\":[]}", 0, {"__metadata__"});
  ExpectHeaderRefused("{" + Entry("__metadata__", "U8", "[1]", "[0,1]") + "}", 1,
                      {"__metadata__"});  // S24
}

std::string ManyTensors(uint64_t count) {
  std::string header = "{";
  for (uint64_t i = 0; i < count; ++i) {
    header += (i == 0 ? "" : ",") + Entry(fmt::format("{}", i), "U8", "[0]", "[0,0]");
  }
  return FileWith(header + "}", 0);
}

TEST(Safetensors, TensorCountIsBounded) {  // S26
  EXPECT_EQ(Parse(ManyTensors(limits::kTensorsPerFile)).tensors.size(), limits::kTensorsPerFile);
  ExpectRefused(ManyTensors(limits::kTensorsPerFile + 1), {"65536 tensors"});
  ExpectRefused(ManyTensors(1'000'000), {"65536 tensors"});
}

TEST(Safetensors, OddNamesAreOnlyNames) {  // S27
  for (const std::string name :
       {"../../x", "/etc/passwd", "a\\u0001b", "a\\u0000b", "", "con:\\\\nul"}) {
    EXPECT_EQ(Parse(FileWith("{" + Entry(name, "U8", "[1]", "[0,1]") + "}", 1)).tensors.size(), 1u);
  }
  const auto with_name = [](size_t bytes) {
    return FileWith("{" + Entry(std::string(bytes, 'n'), "U8", "[1]", "[0,1]") + "}", 1);
  };
  const size_t limit = limits::kSafetensorsNameBytes;
  EXPECT_EQ(Parse(with_name(limit)).tensors[0].name.size(), limit);
  ExpectRefused(with_name(limit + 1), {"1048577 bytes"});
}

TEST(Safetensors, PiecesOfTheHeaderAreBounded) {
  const auto with_filler = [](size_t bytes) {  // the entry's text has `bytes` bytes
    const std::string front = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":")";
    return FileWith("{\"a\":" + front + std::string(bytes - front.size() - 2, 'x') + "\"}}", 1);
  };
  const size_t limit = limits::kSafetensorsEntryBytes;
  EXPECT_EQ(Parse(with_filler(limit)).tensors.size(), 1u);
  ExpectRefused(with_filler(limit + 1), {"'a'", "65537 bytes"});
  const auto with_metadata = [](size_t bytes) {
    return FileWith("{\"__metadata__\":{\"k\":\"" + std::string(bytes - 2, 'x') + "\"}}", 0);
  };
  const size_t value_limit = limits::kSafetensorsMetadataBytes;
  EXPECT_EQ(Parse(with_metadata(value_limit)).metadata.Find("k")->AsString().size(),
            value_limit - 2);
  ExpectRefused(with_metadata(value_limit + 1), {"__metadata__", "16777217 bytes"});
}

// A header of the largest size, full of values that a tree would blow up.
TEST(Safetensors, LargestHeaderIsRefusedQuicklyAndInLittleMemory) {
  std::string header = "{\"a\":[";
  while (header.size() < limits::kSafetensorsHeaderBytes - 8) header += "0,";
  header += "0]}";
  header.resize(limits::kSafetensorsHeaderBytes, ' ');
  const std::string file = FileWith(header, 0);
  const uint64_t before = PeakResidentBytes();
  ExpectRefused(file, {"'a'", "expected at most 65536"});
  EXPECT_LT(PeakResidentBytes() - before, uint64_t{16} << 20);
  ExpectRefused(FileWith(header + " ", 0), {"100000001"});
}

std::string TwoKilobytes() {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}";
  size_t offset = 0;
  for (int i = 0; i < 8; ++i) {
    header += "," + Entry(fmt::format("layer.{}.weight", i), "F32", "[4,8]",
                          fmt::format("[{},{}]", offset, offset + 128));
    offset += 128;
  }
  return FileWith(header + "}  ", offset);
}

TEST(Safetensors, TruncationAtEveryByteIsRefused) {  // S28
  const std::string file = TwoKilobytes();
  ASSERT_GT(file.size(), 1500u);
  ASSERT_EQ(Parse(file).tensors.size(), 8u);
  for (size_t size = 0; size < file.size(); ++size) ExpectRefused(file.substr(0, size), {});
}

TEST(Safetensors, RandomMutationsAreRefusedOrLoad) {
  const std::string original = TwoKilobytes();
  const size_t header_end = original.size() - 1024;
  Random random(20'250'101);
  int refused = 0;
  for (int run = 0; run < 2000; ++run) {
    std::string file = original;
    const uint64_t edits = 1 + random.Below(4);
    for (uint64_t e = 0; e < edits; ++e) {
      const size_t at = random.Below(header_end);
      switch (random.Below(5)) {
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
          file.insert(at, 1, "0123456789{}[]\",:-e."[random.Below(20)]);
          break;
        case 4:
          file.insert(at, file.substr(random.Below(header_end), random.Below(80)));
          break;
      }
    }
    try {
      const SafetensorsFile parsed = Parse(file);
      for (const StoredTensor& tensor : parsed.tensors) {
        ASSERT_GE(tensor.view.data, AsBytes(file).data());
        ASSERT_LE(tensor.view.data + tensor.view.bytes(), AsBytes(file).data() + file.size());
        Tensor::ToF32(tensor.view);
      }
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ExitCode::kBadFile) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);  // or the mutations do nothing
}

TEST(Safetensors, MappedAndReadFilesAreTheSame) {
  TemporaryFolder folder;
  const std::string path = folder / "m.safetensors";
  WriteFile(path, TwoKilobytes());
  const SafetensorsFile mapped = ReadSafetensors(path, FileBytes::Access::kMap);
  const SafetensorsFile read = ReadSafetensors(path, FileBytes::Access::kRead);
  ASSERT_EQ(mapped.tensors.size(), read.tensors.size());
  EXPECT_TRUE(mapped.tensors[0].file->is_mapped());
  EXPECT_FALSE(read.tensors[0].file->is_mapped());
  for (size_t i = 0; i < read.tensors.size(); ++i) {
    const TensorView& a = mapped.tensors[i].view;
    EXPECT_EQ(std::memcmp(a.data, read.tensors[i].view.data, a.bytes()), 0);
  }
  ExpectBadFile([&] { ReadSafetensors(folder / "absent", FileBytes::Access::kMap); }, {"absent"});
  ExpectBadFile([&] { ReadSafetensors(folder.path(), FileBytes::Access::kRead); }, {folder.path()});
  WriteFile(path, "");
  ExpectBadFile([&] { ReadSafetensors(path, FileBytes::Access::kMap); }, {path, "too short"});
}

}  // namespace
}  // namespace planish
