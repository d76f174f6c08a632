// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cerrno>

#include "base/limits.h"
#include "base/random.h"
#include "tensor/gguf_testing.h"

namespace planish {
namespace {

using Metadata = std::vector<std::pair<std::string, GgufValue>>;

Metadata EveryKind() {
  Metadata metadata = {
      {"general.architecture", GgufValue::String("llama")},
      {"u32", GgufValue::U32(4'000'000'000)},
      {"i32", GgufValue::I32(-7)},
      {"f32", GgufValue::F32(1e-5f)},
      {"yes", GgufValue::Bool(true)},
      {"strings", GgufValue::Strings({"", "a", std::string("\0\xff", 2)})},
      {"i32s", GgufValue::I32s({-1, 0, INT32_MAX})},
      {"u32s", GgufValue::U32s({0, UINT32_MAX})},
      {"f32s", GgufValue::F32s({0.5, -1e30})},
      {"bools", GgufValue::Bools({true, false})},
      {"none", GgufValue::Strings({})},
  };
  metadata.push_back({"u8", {GgufType::kUint8, GgufType::kUint8, uint64_t{255}}});
  metadata.push_back({"i16", {GgufType::kInt16, GgufType::kInt16, int64_t{-32768}}});
  metadata.push_back({"u64", {GgufType::kUint64, GgufType::kUint64, ~uint64_t{0}}});
  metadata.push_back({"f64", {GgufType::kFloat64, GgufType::kFloat64, 0.1}});
  metadata.push_back({"i8s", {GgufType::kArray, GgufType::kInt8, std::vector<int64_t>{-128, 127}}});
  return metadata;
}

std::vector<Tensor> SomeTensors() {
  std::vector<Tensor> tensors;
  Random random(5);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_K, DType::kMXFP4}) {
    const size_t in = Traits(dtype).block_elems == 1 ? 5 : 256;
    for (const Shape& shape :
         {Shape({in}), Shape({3, in}), Shape({2, 3, in}), Shape({1, 2, 1, in})}) {
      Tensor tensor(dtype, shape);
      for (size_t i = 0; i < tensor.bytes(); ++i) {
        tensor.data()[i] = static_cast<std::byte>(random.Below(256));
      }
      tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

std::vector<TensorToWrite> Named(const std::vector<Tensor>& tensors) {
  std::vector<TensorToWrite> out;
  for (size_t i = 0; i < tensors.size(); ++i)
    out.push_back(ToWrite(fmt::format("t{}", i), tensors[i]));
  return out;
}

TEST(GgufWriter, WhatIsWrittenIsReadBackIdentically) {
  TemporaryFolder folder;
  const std::vector<Tensor> tensors = SomeTensors();
  for (const uint32_t alignment : {0u, 8u, 32u, 4096u}) {
    Metadata metadata = EveryKind();
    if (alignment != 0) metadata.push_back({"general.alignment", GgufValue::U32(alignment)});
    WriteGguf(folder / "m.gguf", metadata, Named(tensors));
    EXPECT_EQ(folder.Names(), std::vector<std::string>{"m.gguf"});
    const GgufFile file = GgufFile::Open(folder / "m.gguf", FileBytes::Access::kMap);
    ASSERT_EQ(file.metadata().size(), metadata.size());
    for (size_t i = 0; i < metadata.size(); ++i) {
      EXPECT_EQ(file.metadata()[i].first, metadata[i].first);
      EXPECT_EQ(file.metadata()[i].second.type, metadata[i].second.type);
      EXPECT_EQ(file.metadata()[i].second.element_type, metadata[i].second.element_type);
      if (metadata[i].first != "f32s") {
        EXPECT_EQ(file.metadata()[i].second.value, metadata[i].second.value) << metadata[i].first;
      }
    }
    EXPECT_EQ(file.Numbers("f32s"), (std::vector<double>{0.5, static_cast<double>(-1e30f)}));
    ASSERT_EQ(file.tensors().size(), tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      const TensorView& view = file.tensors()[i].view;
      EXPECT_EQ(view.dtype, tensors[i].dtype());
      EXPECT_EQ(view.shape, tensors[i].shape());
      EXPECT_EQ(std::memcmp(view.data, tensors[i].data(), view.bytes()), 0);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(view.data) % (alignment == 0 ? 32 : alignment), 0u);
    }
  }
}

TEST(GgufWriter, FileWithoutTensorsOrKeysIsLegal) {
  TemporaryFolder folder;
  WriteGguf(folder / "m.gguf", {}, {});
  const GgufFile file = GgufFile::Open(folder / "m.gguf", FileBytes::Access::kRead);
  EXPECT_TRUE(file.tensors().empty());
  EXPECT_TRUE(file.metadata().empty());
}

TEST(GgufWriter, TensorsThatGgufCannotHoldAreUsageErrors) {
  TemporaryFolder folder;
  std::vector<std::pair<std::string, Tensor>> cases;
  cases.emplace_back("fp8", Tensor(DType::kF8E4M3, {4}));
  cases.emplace_back("u8", Tensor(DType::kU8, {4}));
  cases.emplace_back("scalar", Tensor(DType::kF32, {}));
  cases.emplace_back("empty", Tensor(DType::kF32, {0, 4}));
  cases.emplace_back("row", Tensor(DType::kQ8_0, {32, 1}));
  cases.emplace_back(std::string(64, 'n'), Tensor(DType::kF32, {1}));
  for (const auto& [name, tensor] : cases) {
    try {
      WriteGguf(folder / "m.gguf", {}, {ToWrite(name, tensor)});
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  }
  EXPECT_TRUE(folder.Names().empty());
}

TEST(GgufWriter, FailureOfAnyCallLeavesTheOldFile) {
  TemporaryFolder folder;
  const std::string path = folder / "m.gguf";
  const Tensor small = Tensor::ZerosF32({3});
  WriteGguf(path, {}, {ToWrite("old", small)});
  const std::string before = ReadWhole(path);
  const Tensor large = Tensor::ZerosF32({1 << 19});  // two megabytes: several writes
  int failures = 0;
  int replaced = 0;
  for (int n = 1;; ++n) {
    int calls = 0;
    std::string failed;
    SetFaultHook([&](std::string_view call) {
      if (++calls != n) return 0;
      failed = call;
      return EIO;
    });
    bool threw = false;
    try {
      WriteGguf(path, EveryKind(), {ToWrite("new", large)});
    } catch (const Error& error) {
      threw = true;
      EXPECT_EQ(error.code(), ExitCode::kFailure) << failed;
    }
    SetFaultHook(nullptr);
    EXPECT_EQ(folder.Names(), std::vector<std::string>{"m.gguf"}) << failed;
    EXPECT_EQ(threw, !failed.empty()) << failed;
    if (failed.empty()) break;
    ++failures;
    // Only the sync of the folder comes after the rename, when the new file is in place and whole.
    if (ReadWhole(path) != before) {
      EXPECT_NE(GgufFile::Open(path, FileBytes::Access::kRead).FindTensor("new"), nullptr);
      WriteFile(path, before);
      ++replaced;
    }
  }
  EXPECT_GE(failures, 5);
  EXPECT_LE(replaced, 2);  // opening and syncing the folder
}

}  // namespace
}  // namespace planish
