// SPDX-License-Identifier: Apache-2.0
// Reading and writing model folders.
#include <gtest/gtest.h>

#include <cerrno>
#include <cmath>
#include <map>

#include "base/limits.h"
#include "base/random.h"
#include "tensor/blocks.h"
#include "tensor/format_testing.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

namespace fs = std::filesystem;

constexpr char kIndex[] = "model.safetensors.index.json";

Tensor Counting(Shape shape, float start) {
  Tensor tensor = Tensor::F32(shape);
  for (size_t i = 0; i < tensor.elements(); ++i) tensor.f32()[i] = start + static_cast<float>(i);
  return tensor;
}

// Writes shards a.safetensors {x} and b.safetensors {y} and the index text.
void MakeShards(const TemporaryFolder& folder, const std::string& index) {
  const Tensor x = Counting({2, 3}, 0);
  const Tensor y = Counting({4}, 10);
  WriteSafetensors(folder / "a.safetensors", {ToWrite("x", x)});
  WriteSafetensors(folder / "b.safetensors", {ToWrite("y", y)});
  WriteFile(folder / kIndex, index);
}

std::string IndexOf(const std::string& map, const std::string& size = "40") {
  return "{\"metadata\":{\"total_size\":" + size + "},\"weight_map\":{" + map + "}}";
}

std::vector<StoredTensor> Read(const TemporaryFolder& folder) {
  return ReadSafetensorsFolder(folder.path(), FileBytes::Access::kRead);
}

TEST(SafetensorsFolder, ShardsAreJoinedWhateverTotalSizeSays) {
  for (const char* size : {"40", "41", "-1", "\"many\"", "1e99", "null"}) {
    TemporaryFolder folder;
    MakeShards(folder, IndexOf(R"("y":"b.safetensors","x":"a.safetensors")", size));
    const std::vector<StoredTensor> tensors = Read(folder);
    ASSERT_EQ(tensors.size(), 2u);
    EXPECT_EQ(tensors[0].name, "x");
    EXPECT_EQ(ToFloats(tensors[1].view), (std::vector<float>{10, 11, 12, 13}));
  }
}

TEST(SafetensorsFolder, IndexThatDoesNotAgreeWithTheShardsIsRefused) {  // S30
  const auto refused = [](const std::string& index, std::vector<std::string> parts) {
    TemporaryFolder folder;
    MakeShards(folder, index);
    parts.insert(parts.begin(), kIndex);
    ExpectBadFile([&] { Read(folder); }, parts);
  };
  refused(IndexOf(R"("x":"a.safetensors","y":"c.safetensors")"), {"'c.safetensors'", "missing"});
  refused(IndexOf(R"("x":"a.safetensors","x":"b.safetensors")"), {"'x'", "twice"});
  refused(IndexOf(R"("x":"b.safetensors","y":"b.safetensors")"), {"'x'", "b.safetensors"});
  refused(IndexOf(R"("x":"a.safetensors","y":"b.safetensors","z":"a.safetensors")"), {"'z'"});
  refused(IndexOf(R"("x":"a.safetensors","y":1)"), {"'y'", "file name"});
  refused(IndexOf(""), {"no tensor"});
  refused("{}", {"weight_map", "missing"});
  refused(R"({"weight_map":[]})", {"weight_map"});
  refused(R"({"weight_map":{"x":"a.safetensors"},"weight_map":{"x":"a.safetensors"}})", {"twice"});
  refused("[]", {"object"});
  refused("", {"object"});
  refused("{\"weight_map\":{\"x\":\"a.safetensors\"}", {"JSON"});
}

TEST(SafetensorsFolder, ShardNamesCannotLeaveTheFolder) {  // S30
  for (const std::string name :
       {"../a.safetensors", "./a.safetensors", "sub/a.safetensors", "/etc/passwd", "..", ".", "",
        "a\\\\b", "a\\u0000.safetensors", "a\\n", "\\u002e\\u002e/a.safetensors"}) {
    TemporaryFolder folder;
    MakeShards(folder, IndexOf("\"x\":\"" + name + "\",\"y\":\"b.safetensors\""));
    ExpectBadFile([&] { Read(folder); }, {kIndex, "shard name"});
  }
}

TEST(SafetensorsFolder, LinksMayPointInsideTheFolderOrIntoTheHubCacheOnly) {
  const std::string index = IndexOf(R"("x":"a.safetensors","y":"b.safetensors")");
  TemporaryFolder base;
  const fs::path repo = fs::path(base.path()) / "models--x";
  for (const bool is_cache : {true, false}) {
    const fs::path folder = repo / (is_cache ? "snapshots" : "elsewhere") / "0123abcd";
    fs::create_directories(folder);
    fs::create_directories(repo / "blobs");
    const Tensor x = Counting({2}, 0);
    const Tensor y = Counting({2}, 5);
    WriteSafetensors((repo / "blobs" / "f00d").string(), {ToWrite("x", x)});
    WriteSafetensors((folder / "inner").string(), {ToWrite("y", y)});
    WriteFile((folder / kIndex).string(), index);
    fs::create_symlink("../../blobs/f00d", folder / "a.safetensors");
    fs::create_symlink("inner", folder / "b.safetensors");
    const auto read = [&] {
      return ReadSafetensorsFolder(folder.string(), FileBytes::Access::kRead);
    };
    if (is_cache) {
      EXPECT_EQ(read().size(), 2u);
      fs::remove(folder / "a.safetensors");
      WriteSafetensors((repo / "other").string(), {ToWrite("x", x)});
      fs::create_symlink("../../other", folder / "a.safetensors");
      ExpectBadFile([&] { read(); }, {kIndex, "a.safetensors", "leaves the folder"});
    } else {
      ExpectBadFile([&] { read(); }, {kIndex, "a.safetensors", "leaves the folder"});
    }
  }
}

TEST(SafetensorsFolder, WeightInTwoShardsIsRefused) {
  TemporaryFolder folder;
  MakeShards(folder, IndexOf(R"("x":"a.safetensors","y":"b.safetensors")"));
  const Tensor x = Counting({2, 3}, 0);
  const Tensor y = Counting({4}, 10);
  WriteSafetensors(folder / "b.safetensors", {ToWrite("y", y), ToWrite("x", x)});
  ExpectBadFile([&] { Read(folder); },
                {kIndex, "'x'", "two shards", "a.safetensors", "b.safetensors"});
}

TEST(SafetensorsFolder, FolderWithoutWeightsSaysWhatIsExpected) {
  TemporaryFolder folder;
  ExpectBadFile([&] { Read(folder); }, {folder.path(), "model.safetensors"});
}

TEST(SafetensorsFolder, ShardCountIsBounded) {
  const auto index_with = [](uint64_t shards) {
    std::string map;
    for (uint64_t i = 0; i < shards; ++i) {
      map += fmt::format("{}\"t{}\":\"{}.safetensors\"", i == 0 ? "" : ",", i, i);
    }
    return IndexOf(map);
  };
  TemporaryFolder folder;
  WriteFile(folder / kIndex, index_with(limits::kShards));
  ExpectBadFile([&] { Read(folder); }, {kIndex, "missing"});
  WriteFile(folder / kIndex, index_with(limits::kShards + 1));
  ExpectBadFile([&] { Read(folder); }, {kIndex, "1025 shards"});
}

// ---- writing

std::vector<Tensor> SomeTensors() {
  std::vector<Tensor> tensors;
  Random random(3);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kF8E4M3, DType::kU8,
                            DType::kI64, DType::kF64, DType::kBool}) {
    for (const Shape& shape :
         {Shape({3, 5}), Shape({7}), Shape(), Shape({2, 0}), Shape({1, 2, 3, 4})}) {
      Tensor tensor(dtype, shape);
      for (size_t i = 0; i < tensor.bytes(); ++i) {
        tensor.data()[i] = static_cast<std::byte>(random.Below(dtype == DType::kBool ? 2 : 256));
      }
      tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

std::vector<TensorToWrite> Named(const std::vector<Tensor>& tensors) {
  std::vector<TensorToWrite> out;
  for (size_t i = 0; i < tensors.size(); ++i) {
    out.push_back(ToWrite(fmt::format("t\u00e9 \"{}\"\n", i), tensors[i]));
  }
  return out;
}

void ExpectEqual(const std::vector<StoredTensor>& found, const std::vector<Tensor>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  std::map<std::string, const StoredTensor*> by_name;
  for (const StoredTensor& tensor : found) by_name[tensor.name] = &tensor;
  const std::vector<TensorToWrite> named = Named(expected);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(by_name.count(named[i].name), 1u);
    const TensorView& view = by_name[named[i].name]->view;
    EXPECT_EQ(view.dtype, expected[i].dtype());
    EXPECT_EQ(view.shape, expected[i].shape());
    ASSERT_EQ(view.bytes(), expected[i].bytes());
    if (view.bytes() > 0) {
      EXPECT_EQ(std::memcmp(view.data, expected[i].data(), view.bytes()), 0);
    }
  }
}

TEST(SafetensorsWriter, WhatIsWrittenIsReadBackIdentically) {
  TemporaryFolder folder;
  const std::vector<Tensor> tensors = SomeTensors();
  const std::string path = folder / "m.safetensors";
  Json metadata = Json::MakeObject();
  metadata.Set("note", "quoted \" and \u00e9");
  WriteSafetensors(path, Named(tensors), metadata);
  const SafetensorsFile file = ReadSafetensors(path, FileBytes::Access::kRead);
  ExpectEqual(file.tensors, tensors);
  EXPECT_EQ(file.metadata.Find("note")->AsString(), "quoted \" and \u00e9");
  EXPECT_EQ(file.metadata.Find("format")->AsString(), "pt");
  const std::string first = ReadWhole(path);
  WriteSafetensors(path, Named(tensors), metadata);
  EXPECT_EQ(ReadWhole(path), first);
  EXPECT_EQ(folder.Names(), std::vector<std::string>{"m.safetensors"});
}

TEST(SafetensorsWriter, DataBeginsAtACacheLineAndKeepsTheGivenOrder) {
  TemporaryFolder folder;
  for (size_t name = 1; name < 70; ++name) {
    const Tensor z = Counting({2}, 1);
    const Tensor a = Counting({2}, 7);
    const std::string path = folder / "m.safetensors";
    WriteSafetensors(path, {ToWrite(std::string(name, 'z'), z), ToWrite("a", a)});
    const std::string bytes = ReadWhole(path);
    uint64_t length;
    std::memcpy(&length, bytes.data(), 8);
    EXPECT_EQ((8 + length) % 64, 0u);
    EXPECT_EQ(ReadSafetensors(path, FileBytes::Access::kRead).tensors[1].name, "a");
  }
}

TEST(SafetensorsWriter, FoldersAreCutIntoShardsAndSwitchBetweenForms) {
  TemporaryFolder folder;
  const std::vector<Tensor> tensors = SomeTensors();
  uint64_t total = 0;
  for (const Tensor& tensor : tensors) total += tensor.bytes();
  const auto read = [&] { return ReadSafetensorsFolder(folder.path(), FileBytes::Access::kMap); };
  WriteSafetensorsFolder(folder.path(), Named(tensors), total);
  EXPECT_EQ(folder.Names(), std::vector<std::string>{"model.safetensors"});
  ExpectEqual(read(), tensors);

  WriteSafetensorsFolder(folder.path(), Named(tensors), total - 1);
  EXPECT_EQ(folder.Names(), (std::vector<std::string>{"model-00001-of-00002.safetensors",
                                                      "model-00002-of-00002.safetensors", kIndex}));
  ExpectEqual(read(), tensors);
  const Json index = ParseJson(ReadWhole(folder / kIndex), kIndex);
  EXPECT_EQ(index.Find("metadata")->Find("total_size")->AsUint(), total);
  EXPECT_EQ(index.Find("weight_map")->AsObject().size(), tensors.size());

  WriteSafetensorsFolder(folder.path(), Named(tensors), 1);  // every tensor alone
  ExpectEqual(read(), tensors);
  WriteSafetensorsFolder(folder.path(), Named(tensors));
  EXPECT_FALSE(FileExists(folder / kIndex));
  ExpectEqual(read(), tensors);
}

TEST(SafetensorsWriter, TypesAndNamesTheFormatLacksAreUsageErrors) {
  TemporaryFolder folder;
  const Tensor blocks(DType::kQ8_0, {1, 32});
  const Tensor plain(DType::kU8, {1});
  for (const TensorToWrite& tensor : {ToWrite("w", blocks), ToWrite("__metadata__", plain)}) {
    try {
      WriteSafetensors(folder / "m.safetensors", {tensor});
      ADD_FAILURE() << tensor.name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      EXPECT_NE(std::string(error.what()).find(tensor.name), std::string::npos);
    }
  }
  EXPECT_THROW(WriteSafetensors(folder / "m.safetensors", {ToWrite("\xff", plain)}), Error);
  EXPECT_TRUE(folder.Names().empty());
}

TEST(SafetensorsWriter, FailureOfAnyCallLeavesTheOldFile) {
  TemporaryFolder folder;
  const std::string path = folder / "m.safetensors";
  const Tensor old_tensor = Counting({3}, 0);
  WriteSafetensors(path, {ToWrite("old", old_tensor)});
  const std::string before = ReadWhole(path);
  const Tensor large = Counting({1 << 19}, 0);  // two megabytes: several writes
  int failures = 0;
  int replaced = 0;
  for (int n = 1;; ++n) {
    int calls = 0;
    std::string failed;
    SetFaultHook([&](std::string_view call) {
      if (++calls != n) return 0;
      failed = call;
      return ENOSPC;
    });
    bool threw = false;
    try {
      WriteSafetensors(path, {ToWrite("new", large)});
    } catch (const Error& error) {
      threw = true;
      EXPECT_EQ(error.code(), ExitCode::kFailure) << failed;
    }
    SetFaultHook(nullptr);
    EXPECT_EQ(folder.Names(), std::vector<std::string>{"m.safetensors"}) << failed;
    if (failed.empty()) {
      EXPECT_FALSE(threw);
      break;
    }
    EXPECT_TRUE(threw) << failed;
    ++failures;
    // Only the sync of the folder comes after the rename, when the new file is in place and whole.
    const std::string now = ReadWhole(path);
    if (now != before) {
      EXPECT_EQ(ReadSafetensors(path, FileBytes::Access::kRead).tensors[0].name, "new");
      WriteFile(path, before);
      ++replaced;
    }
  }
  EXPECT_GE(failures, 5);
  EXPECT_LE(replaced, 2);  // opening and syncing the folder
}

// ---- golden folders

TEST(SafetensorsFolder, GoldenModelFoldersLoadAndRoundTrip) {
  const std::string models = GoldenFolder() + "/models";
  if (!IsDirectory(models)) GTEST_SKIP() << models << " is missing";
  int folders = 0;
  for (const auto& entry : fs::directory_iterator(models)) {
    const std::string folder = entry.path().string();
    if (!FileExists(folder + "/model.safetensors") && !FileExists(folder + "/" + kIndex)) continue;
    SCOPED_TRACE(folder);
    const std::vector<StoredTensor> tensors =
        ReadSafetensorsFolder(folder, FileBytes::Access::kMap);
    ASSERT_FALSE(tensors.empty());
    const std::vector<StoredTensor> copies =
        ReadSafetensorsFolder(folder, FileBytes::Access::kRead);
    TemporaryFolder temporary;
    std::vector<TensorToWrite> to_write;
    uint64_t total = 0;
    for (const StoredTensor& tensor : tensors) {
      const TensorView view = tensor.view;
      total += view.bytes();
      to_write.push_back(ToWrite(tensor.name, view));
      for (const float value : ToFloats(view)) ASSERT_TRUE(std::isfinite(value)) << tensor.name;
    }
    WriteSafetensorsFolder(temporary.path(), to_write, total / 3);
    const std::vector<StoredTensor> back =
        ReadSafetensorsFolder(temporary.path(), FileBytes::Access::kRead);
    ASSERT_EQ(back.size(), tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      EXPECT_EQ(back[i].name, tensors[i].name);
      EXPECT_EQ(back[i].view.dtype, tensors[i].view.dtype);
      EXPECT_EQ(back[i].view.shape, tensors[i].view.shape);
      const size_t bytes = tensors[i].view.bytes();
      EXPECT_EQ(std::memcmp(back[i].view.data, tensors[i].view.data, bytes), 0) << back[i].name;
      EXPECT_EQ(std::memcmp(copies[i].view.data, tensors[i].view.data, bytes), 0);
    }
    if (FileExists(folder + "/" + kIndex)) {
      const Json index = ParseJson(ReadWhole(folder + "/" + kIndex), kIndex);
      EXPECT_EQ(index.Find("metadata")->Find("total_size")->AsUint(), total);
      EXPECT_EQ(index.Find("weight_map")->AsObject().size(), tensors.size());
    }
    ++folders;
  }
  EXPECT_GE(folders, 1);
}

}  // namespace
}  // namespace planish
