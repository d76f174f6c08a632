// SPDX-License-Identifier: Apache-2.0
// Typed access, splits and golden files; hostile files are in gguf_hostile_test.cc.
#include "tensor/gguf.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "base/limits.h"
#include "tensor/blocks.h"
#include "tensor/gguf_testing.h"

namespace planish {
namespace {

namespace fs = std::filesystem;

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

template <typename T>
std::string Packed(const std::vector<T>& values) {
  std::string out;
  for (const T value : values) AppendRaw(&out, value);
  return out;
}

GgufFile WithEveryType() {
  GgufBuilder b;
  b.Scalar("u8", GgufType::kUint8, uint8_t{200}).Scalar("i8", GgufType::kInt8, int8_t{-100});
  b.Scalar("u16", GgufType::kUint16, uint16_t{60000})
      .Scalar("i16", GgufType::kInt16, int16_t{-30000});
  b.Scalar("u32", GgufType::kUint32, uint32_t{4000000000})
      .Scalar("i32", GgufType::kInt32, int32_t{-5});
  b.Scalar("u64", GgufType::kUint64, ~uint64_t{0}).Scalar("i64", GgufType::kInt64, INT64_MIN);
  b.Scalar("f32", GgufType::kFloat32, 0.1f).Scalar("f64", GgufType::kFloat64, 0.1);
  b.Scalar("nan", GgufType::kFloat32, NAN);
  b.Scalar("yes", GgufType::kBool, uint8_t{1}).Scalar("no", GgufType::kBool, uint8_t{0});
  b.String("text", std::string("a\0b", 3));
  b.Array("bools", 7, 3, std::string("\1\0\1", 3));
  b.Array("u8s", 0, 2, std::string("\1\xff", 2));
  b.Array("i32s", 5, 3, Packed<int32_t>({-1, 2, 3}));
  b.Array("u64s", 10, 1, Packed<uint64_t>({~uint64_t{0}}));
  b.Array("f32s", 6, 2, Packed<float>({0.5f, -INFINITY}));
  b.Array("strings", 8, 2, GgufBuilder::Text("one") + GgufBuilder::Text(""));
  b.Array("none", 8, 0, "");
  return ParseGguf(b.Bytes());
}

TEST(Gguf, EveryValueTypeIsRead) {
  const GgufFile file = WithEveryType();
  EXPECT_EQ(file.metadata().size(), 21u);
  EXPECT_EQ(file.metadata()[0].first, "u8");
  EXPECT_EQ(file.Int("u8", 0, 255), 200);
  EXPECT_EQ(file.Int("i8", -128, 127), -100);
  EXPECT_EQ(file.Int("u16", 0, 65535), 60000);
  EXPECT_EQ(file.Int("i16", INT16_MIN, 0), -30000);
  EXPECT_EQ(file.Int("u32", 0, INT64_MAX), 4000000000);
  EXPECT_EQ(file.Int("i32", -5, -5), -5);
  EXPECT_EQ(file.Int("i64", INT64_MIN, 0), INT64_MIN);
  EXPECT_EQ(file.Number("f32"), static_cast<double>(0.1f));
  EXPECT_EQ(file.Number("f64"), 0.1);
  EXPECT_EQ(file.Number("i8"), -100.0);
  EXPECT_TRUE(file.BoolOr("yes", false));
  EXPECT_FALSE(file.BoolOr("no", true));
  EXPECT_EQ(file.String("text"), std::string("a\0b", 3));
  EXPECT_EQ(std::get<std::vector<bool>>(file.Find("bools")->value),
            (std::vector<bool>{true, false, true}));
  EXPECT_EQ(file.Ints("u8s"), (std::vector<int64_t>{1, 255}));
  EXPECT_EQ(file.Ints("i32s"), (std::vector<int64_t>{-1, 2, 3}));
  EXPECT_EQ(file.Numbers("i32s"), (std::vector<double>{-1, 2, 3}));
  EXPECT_EQ(file.Numbers("f32s"), (std::vector<double>{0.5, -INFINITY}));
  EXPECT_EQ(file.Strings("strings"), (std::vector<std::string>{"one", ""}));
  EXPECT_TRUE(file.Strings("none").empty());
  EXPECT_EQ(file.Find("bools")->element_type, GgufType::kBool);
  EXPECT_EQ(file.Find("absent"), nullptr);
  EXPECT_EQ(file.IntOr("absent", 0, 1, 7), 7);
  EXPECT_EQ(file.NumberOr("absent", 0.5), 0.5);
  EXPECT_EQ(file.StringOr("absent", "d"), "d");
  EXPECT_TRUE(file.BoolOr("absent", true));
  EXPECT_EQ(file.IntPerLayer("i32s", 3, -1, 3), (std::vector<int64_t>{-1, 2, 3}));
  EXPECT_EQ(file.IntPerLayer("u8", 3, 0, 255), (std::vector<int64_t>{200, 200, 200}));
}

TEST(Gguf, WrongTypesAndRangesNameTheKey) {
  const GgufFile file = WithEveryType();
  const auto refused = [&](const std::function<void()>& read, std::vector<std::string> parts) {
    parts.insert(parts.begin(), "x.gguf");
    ExpectBadFile(read, parts);
  };
  refused([&] { file.Int("absent", 0, 1); }, {"'absent'", "missing"});
  refused([&] { file.Int("text", 0, 1); }, {"'text'", "string"});
  refused([&] { file.Int("yes", 0, 1); }, {"'yes'", "bool"});
  refused([&] { file.Int("f32", 0, 1); }, {"'f32'"});
  refused([&] { file.Int("i32s", 0, 1); }, {"'i32s'", "array of i32"});
  refused([&] { file.Int("u8", 0, 199); }, {"'u8'", "200", "[0, 199]"});
  refused([&] { file.Int("i8", 0, 9); }, {"'i8'", "-100"});
  refused([&] { file.Int("u64", 0, INT64_MAX); }, {"'u64'", "18446744073709551615"});
  refused([&] { file.IntOr("text", 0, 1, 0); }, {"'text'"});
  refused([&] { file.Number("nan"); }, {"'nan'", "finite"});
  refused([&] { file.Number("text"); }, {"'text'"});
  refused([&] { file.Number("f32s"); }, {"'f32s'"});
  refused([&] { file.BoolOr("u8", true); }, {"'u8'", "bool"});
  refused([&] { file.String("u8"); }, {"'u8'", "string"});
  refused([&] { file.StringOr("strings", ""); }, {"'strings'"});
  refused([&] { file.Strings("text"); }, {"'text'"});
  refused([&] { file.Strings("i32s"); }, {"'i32s'"});
  refused([&] { file.Ints("f32s"); }, {"'f32s'"});
  refused([&] { file.Ints("u64s"); }, {"'u64s'", "18446744073709551615"});
  refused([&] { file.Ints("bools"); }, {"'bools'"});
  refused([&] { file.Numbers("strings"); }, {"'strings'"});
  refused([&] { file.Numbers("f32"); }, {"'f32'"});
  refused([&] { file.IntPerLayer("i32s", 2, -1, 3); }, {"'i32s'", "3 elements", "2"});
  refused([&] { file.IntPerLayer("i32s", 3, 0, 3); }, {"'i32s'", "-1"});
  refused([&] { file.IntPerLayer("text", 3, 0, 3); }, {"'text'"});
  refused([&] { file.IntPerLayer("absent", 3, 0, 3); }, {"'absent'"});
}

TEST(Gguf, ShapesAreRowMajorAndTensorsAreFoundByName) {
  for (const uint32_t version : {2u, 3u}) {
    GgufBuilder b;
    b.version = version;
    b.Tensor("w", {32, 3}, 8, 0).Tensor("a", {2, 3, 4, 5}, 0, 128).Tensor("v", {7}, 24, 608);
    b.data_bytes = 615;
    const std::string bytes = b.Bytes();
    const GgufFile file = ParseGguf(bytes);
    ASSERT_EQ(file.tensors().size(), 3u);
    EXPECT_EQ(file.tensors()[0].name, "w");
    EXPECT_EQ(file.FindTensor("w")->view.shape, Shape({3, 32}));
    EXPECT_EQ(file.FindTensor("w")->view.dtype, DType::kQ8_0);
    EXPECT_EQ(file.FindTensor("w")->view.bytes(), 102u);
    EXPECT_EQ(file.FindTensor("a")->view.shape, Shape({5, 4, 3, 2}));
    EXPECT_EQ(file.FindTensor("v")->view.data[0], static_cast<std::byte>(608 % 256));
    EXPECT_EQ(file.FindTensor("x"), nullptr);
    const GgufFile copy = file;
    EXPECT_EQ(copy.FindTensor("v")->view.dtype, DType::kI8);
  }
}

// ---- splits

struct Part {
  int64_t no, count, tensors;
  std::string tensor;
};

std::string PartBytes(const Part& part) {
  GgufBuilder b;
  if (part.no >= 0) b.Scalar("split.no", GgufType::kUint16, static_cast<uint16_t>(part.no));
  if (part.count >= 0)
    b.Scalar("split.count", GgufType::kUint16, static_cast<uint16_t>(part.count));
  if (part.tensors >= 0) {
    b.Scalar("split.tensors.count", GgufType::kInt32, static_cast<int32_t>(part.tensors));
  }
  b.String("general.name", fmt::format("part {}", part.no));
  if (!part.tensor.empty()) b.Tensor(part.tensor, {4}, 0, 0);
  b.data_bytes = part.tensor.empty() ? 0 : 16;
  return b.Bytes();
}

// Writes parts as m-0000i-of-0000N.gguf, N = `names`.
void WriteParts(const TemporaryFolder& folder, const std::vector<Part>& parts, size_t names) {
  for (size_t i = 0; i < parts.size(); ++i) {
    WriteFile(folder / fmt::format("m-{:05}-of-{:05}.gguf", i + 1, names), PartBytes(parts[i]));
  }
}

TEST(GgufSplit, PartsAreJoinedUnderTheFirstOnesMetadata) {
  TemporaryFolder folder;
  WriteParts(folder, {{0, 3, 2, ""}, {1, 3, 2, "a"}, {2, 3, 2, "b"}}, 3);
  for (const auto access : {FileBytes::Access::kRead, FileBytes::Access::kMap}) {
    const GgufFile file = GgufFile::Open(folder / "m-00001-of-00003.gguf", access);
    EXPECT_EQ(file.String("general.name"), "part 0");
    ASSERT_EQ(file.tensors().size(), 2u);
    EXPECT_EQ(file.FindTensor("b")->view.data[3], std::byte{3});
    EXPECT_NE(file.FindTensor("a")->file, file.FindTensor("b")->file);
  }
}

TEST(GgufSplit, LaterPartNamesTheFirst) {
  TemporaryFolder folder;
  WriteParts(folder, {{0, 2, 2, "a"}, {1, 2, 2, "b"}}, 2);
  ExpectBadFile(
      [&] { GgufFile::Open(folder / "m-00002-of-00002.gguf", FileBytes::Access::kRead); },
      {"m-00002-of-00002.gguf", "part 2 of 2", "open the first part", "m-00001-of-00002.gguf"});
}

TEST(GgufSplit, PartsThatDoNotFitTogetherAreRefused) {  // G14
  const auto refused = [](const std::vector<Part>& parts, size_t names,
                          const std::vector<std::string>& message) {
    TemporaryFolder folder;
    WriteParts(folder, parts, names);
    const std::string first = fmt::format("m-00001-of-{:05}.gguf", names);
    ExpectBadFile([&] { GgufFile::Open(folder / first, FileBytes::Access::kRead); }, message);
  };
  const Part a = {0, 2, 2, "a"};
  refused({a}, 2, {"m-00002-of-00002.gguf", "missing"});
  refused({a, {1, 3, 2, "b"}}, 2, {"m-00002-of-00002.gguf", "part 2 of 3"});
  refused({a, {0, 2, 2, "b"}}, 2, {"m-00002-of-00002.gguf", "part 1 of 2"});  // cyclic
  refused({a, {-1, 2, 2, "b"}}, 2, {"m-00002-of-00002.gguf", "split.no"});
  refused({a, {1, -1, 2, "b"}}, 2, {"m-00002-of-00002.gguf", "split.count"});
  refused({a, {1, 2, 2, "a"}}, 2, {"m-00001-of-00002.gguf", "'a'", "twice"});
  refused({{0, 2, 3, "a"}, {1, 2, 3, "b"}}, 2,
          {"m-00001-of-00002.gguf", "split.tensors.count", "3"});
  refused({{0, 2, -1, "a"}, {1, 2, 2, "b"}}, 2, {"split.tensors.count"});
  refused({a, {1, 2, 2, "b"}}, 3, {"m-00001-of-00003.gguf", "-00001-of-00002.gguf"});
  refused({{2, 2, 2, "a"}}, 2, {"part 3 of 2"});
  refused({{1, 0, 2, "a"}}, 2, {"part 2 of 0"});
  refused({{0, static_cast<int64_t>(limits::kShards) + 1, 2, "a"}}, 2, {"split.count", "1025"});
  TemporaryFolder folder;
  WriteFile(folder / "m.gguf", PartBytes(a));
  ExpectBadFile([&] { GgufFile::Open(folder / "m.gguf", FileBytes::Access::kRead); },
                {"m.gguf", "-00001-of-00002.gguf"});
  WriteFile(folder / "one.gguf", PartBytes({0, 1, 1, "a"}));
  EXPECT_EQ(GgufFile::Open(folder / "one.gguf", FileBytes::Access::kRead).tensors().size(), 1u);
}

// ---- golden files

struct GoldenFile {
  std::string path, model, format;  // "nemotron_h_a", "q8_0"
};

std::vector<GoldenFile> GoldenFiles() {
  std::vector<GoldenFile> files;
  if (!IsDirectory(GoldenFolder() + "/gguf")) return files;
  for (const auto& entry : fs::directory_iterator(GoldenFolder() + "/gguf")) {
    const fs::path& path = entry.path();
    if (path.extension() != ".gguf") continue;
    const std::string stem = path.stem().string();
    const size_t dot = stem.rfind('.');
    files.push_back({path.string(), stem.substr(0, dot), stem.substr(dot + 1)});
  }
  return files;
}

void ExpectValue(const GgufFile& file, const std::string& key, const Json& expected) {
  SCOPED_TRACE(key);
  ASSERT_TRUE(file.Has(key));
  if (expected.is_bool()) {
    EXPECT_EQ(file.BoolOr(key, !expected.AsBool()), expected.AsBool());
  } else if (expected.is_integer()) {
    EXPECT_EQ(file.Int(key, INT64_MIN, INT64_MAX), expected.AsInt());
  } else if (expected.is_number()) {
    EXPECT_EQ(file.Number(key), expected.AsDouble());
  } else if (expected.is_array()) {
    const std::vector<double> found = file.Numbers(key);
    ASSERT_EQ(found.size(), expected.AsArray().size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i], expected.AsArray()[i].AsDouble());
    }
  } else if (const std::string& text = expected.AsString(); text.ends_with(" items]")) {
    const GgufValue& value = *file.Find(key);
    ASSERT_TRUE(value.is_array());
    const size_t size = value.element_type == GgufType::kString ? file.Strings(key).size()
                                                                : file.Numbers(key).size();
    EXPECT_EQ(text, fmt::format("[{} items]", size));
  } else {
    EXPECT_EQ(file.String(key), text);
  }
}

TEST(Gguf, GoldenFilesHoldTheListedKeysAndTensors) {
  const std::vector<GoldenFile> files = GoldenFiles();
  if (files.empty()) GTEST_SKIP() << GoldenFolder() << "/gguf holds no GGUF files";
  const Json root = ParseJson(ReadWhole(GoldenFolder() + "/gguf/gguf.json"), "gguf.json");
  const Json& models = *root.Find("models");
  for (const GoldenFile& golden : files) {
    SCOPED_TRACE(golden.path);
    const GgufFile file = GgufFile::Open(golden.path, FileBytes::Access::kMap);
    const Json* summary = models.Find(golden.model + "." + golden.format);
    ASSERT_NE(summary, nullptr);
    EXPECT_EQ(summary->Find("bytes")->AsUint(), fs::file_size(golden.path));
    const Json* expected = models.Find(golden.model);
    ASSERT_NE(expected, nullptr);
    for (const auto& [key, value] : expected->Find("kv")->AsObject()) {
      if (key == "general.file_type") continue;  // of the f32 file
      ExpectValue(file, key, value);
    }
    EXPECT_EQ(file.metadata().size(), expected->Find("kv")->AsObject().size());
    const Json::Object& tensors = expected->Find("tensors")->AsObject();
    EXPECT_EQ(file.tensors().size(), tensors.size());
    for (const auto& [name, entry] : tensors) {
      const StoredTensor* tensor = file.FindTensor(name);
      ASSERT_NE(tensor, nullptr) << name;
      const Json::Array& dims = entry.AsArray()[0].AsArray();
      ASSERT_EQ(tensor->view.shape.rank(), dims.size()) << name;
      for (size_t i = 0; i < dims.size(); ++i) {
        EXPECT_EQ(tensor->view.shape[dims.size() - 1 - i], dims[i].AsUint()) << name;
      }
      if (golden.format == "f32") {
        EXPECT_EQ(Name(tensor->view.dtype), Lower(entry.AsArray()[1].AsString())) << name;
      }
      for (const float value : ToFloats(tensor->view)) ASSERT_TRUE(std::isfinite(value)) << name;
    }
  }
}

// `stored` must be what our quantiser makes of `values`.
void ExpectQuantised(const StoredTensor& stored, const std::vector<float>& values) {
  const TensorView& view = stored.view;
  ASSERT_EQ(view.elements(), values.size()) << stored.name;
  std::vector<std::byte> bytes(view.bytes());
  QuantizeRow(view.dtype, values.data(), bytes.data(), values.size());
  EXPECT_EQ(std::memcmp(bytes.data(), view.data, bytes.size()), 0) << stored.name;
}

TEST(Gguf, GoldenQuantisedFilesAreWhatOurQuantiserMakesOfTheF32File) {
  int compared = 0;
  for (const GoldenFile& golden : GoldenFiles()) {
    const std::string plain = GoldenFolder() + "/gguf/" + golden.model + ".f32.gguf";
    if (golden.format == "f32" || !FileExists(plain)) continue;
    SCOPED_TRACE(golden.path);
    const GgufFile source = GgufFile::Open(plain, FileBytes::Access::kMap);
    const GgufFile file = GgufFile::Open(golden.path, FileBytes::Access::kRead);
    for (const StoredTensor& tensor : file.tensors()) {
      ExpectQuantised(tensor, ToFloats(source.FindTensor(tensor.name)->view));
    }
    ++compared;
  }
  if (compared == 0)
    GTEST_SKIP() << "no pair of an f32 GGUF and another type in " << GoldenFolder();
}

TEST(Gguf, GoldenEmbeddingAndLastNormEqualTheModelFolder) {
  int compared = 0;
  for (const GoldenFile& golden : GoldenFiles()) {
    const std::string folder = GoldenFolder() + "/models/" + golden.model;
    if (!IsDirectory(folder)) continue;
    SCOPED_TRACE(golden.path);
    const GgufFile file = GgufFile::Open(golden.path, FileBytes::Access::kRead);
    for (const StoredTensor& tensor : ReadSafetensorsFolder(folder, FileBytes::Access::kRead)) {
      const bool is_embedding = tensor.name.find("embed") != std::string::npos;
      const bool is_norm =
          tensor.name == "model.norm.weight" || tensor.name.ends_with("norm_f.weight");
      if (!is_embedding && !is_norm) continue;
      const char* name = is_embedding ? "token_embd.weight" : "output_norm.weight";
      ASSERT_NE(file.FindTensor(name), nullptr);
      ExpectQuantised(*file.FindTensor(name), ToFloats(tensor.view));
      ++compared;
    }
  }
  if (compared == 0) GTEST_SKIP() << "no GGUF with its model folder in " << GoldenFolder();
}

TEST(Gguf, GoldenFilesRoundTripToTheSameBytes) {
  const std::vector<GoldenFile> files = GoldenFiles();
  if (files.empty()) GTEST_SKIP() << GoldenFolder() << "/gguf holds no GGUF files";
  TemporaryFolder folder;
  for (const GoldenFile& golden : files) {
    const GgufFile file = GgufFile::Open(golden.path, FileBytes::Access::kMap);
    std::vector<TensorToWrite> tensors;
    for (const StoredTensor& tensor : file.tensors()) {
      tensors.push_back(ToWrite(tensor.name, tensor.view));
    }
    WriteGguf(folder / "copy.gguf", file.metadata(), tensors);
    EXPECT_EQ(ReadWhole(folder / "copy.gguf"), ReadWhole(golden.path)) << golden.path;
  }
}

}  // namespace
}  // namespace planish
