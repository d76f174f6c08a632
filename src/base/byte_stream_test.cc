// SPDX-License-Identifier: Apache-2.0
#include "base/byte_stream.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"

namespace planish {
namespace {

using testing::ZstdPacked;

class ByteStreamTest : public ::testing::Test {
 protected:
  ByteStreamTest() : path_(::testing::TempDir() + "byte_stream." + std::to_string(getpid())) {}
  ~ByteStreamTest() override { std::filesystem::remove(path_); }

  // All bytes, and what was damaged on the way.
  std::string ReadAll(const std::string& content, std::vector<std::string>* damages) {
    std::ofstream(path_, std::ios::binary) << content;  // thousands of files: without fsync
    ByteStream stream(path_);
    std::string all, chunk(1000, '\0');
    for (;;) {
      const size_t n = stream.Read(chunk.data(), chunk.size());
      all.append(chunk, 0, n);
      if (n > 0) continue;
      if (stream.damage().empty()) break;
      damages->push_back(stream.damage());
    }
    EXPECT_EQ(stream.consumed(), content.size());
    return all;
  }
  std::string path_;
};

std::string Lines(int from, int to) {
  std::string text;
  for (int i = from; i < to; ++i) text += "line " + std::to_string(i * 7919) + "\n";
  return text;
}

TEST_F(ByteStreamTest, GivesPlainBytesAndUnpacksFramesOneAfterTheOther) {
  std::vector<std::string> damages;
  const std::string a = Lines(0, 5000), b = Lines(5000, 5010);
  EXPECT_EQ(ReadAll(a, &damages), a);
  EXPECT_EQ(ReadAll("", &damages), "");
  EXPECT_EQ(ReadAll("x", &damages), "x");
  EXPECT_EQ(ReadAll(ZstdPacked(a) + ZstdPacked("") + ZstdPacked(b), &damages), a + b);
  EXPECT_TRUE(damages.empty());
}

TEST_F(ByteStreamTest, GoesOnAtTheNextFrameAfterDamage) {
  const std::string a = Lines(0, 3000), b = Lines(3000, 6000), c = Lines(6000, 9000);
  std::string middle = ZstdPacked(b);
  for (size_t i = 8; i < 40; ++i) middle[i] = '\xFF';  // no such block type
  std::vector<std::string> damages;
  const std::string all = ReadAll(ZstdPacked(a) + middle + ZstdPacked(c), &damages);
  EXPECT_GE(damages.size(), 1u);
  EXPECT_TRUE(all.starts_with(a));
  EXPECT_TRUE(all.ends_with(c));
}

TEST_F(ByteStreamTest, CutAtAnyByteGivesTheBeginAndSaysSo) {
  const std::string a = Lines(0, 300), packed = ZstdPacked(a);
  for (size_t size = 4; size < packed.size(); ++size) {
    std::vector<std::string> damages;
    const std::string all = ReadAll(packed.substr(0, size), &damages);
    ASSERT_EQ(damages.size(), 1u) << size;
    ASSERT_TRUE(a.starts_with(all));
  }
}

TEST_F(ByteStreamTest, StopsABomb) {
  const std::string packed = ZstdPacked(std::string(50 << 20, '\0'));
  std::vector<std::string> damages;
  const std::string all = ReadAll(packed, &damages);
  ASSERT_EQ(damages.size(), 1u);
  EXPECT_NE(damages[0].find("unpacks to more than 200 times"), std::string::npos);
  EXPECT_LT(all.size(), size_t{8} << 20);
}

TEST_F(ByteStreamTest, RefusesFoldersMissingFilesAndGzip) {
  EXPECT_THROW(ByteStream(::testing::TempDir()), Error);
  EXPECT_THROW(ByteStream(path_ + ".none"), Error);
  WriteFile(path_, "\x1F\x8B\x08 rest");
  EXPECT_THROW(ByteStream{path_}, Error);
}

}  // namespace
}  // namespace planish
