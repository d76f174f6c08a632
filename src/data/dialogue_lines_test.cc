// SPDX-License-Identifier: Apache-2.0
#include "data/dialogue_lines.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"

namespace planish {
namespace {

class DialogueLinesTest : public ::testing::Test {
 protected:
  std::vector<std::string> LinesOf(const std::string& name, const std::string& bytes) {
    WriteFile(dir_ / name, bytes);
    DialogueLines lines(dir_ / name);
    std::vector<std::string> found;
    for (std::string line; lines.NextLine(&line);)
      found.push_back(lines.place().substr((dir_ / name).size()) + " " + line);
    return found;
  }
  testing::TemporaryDir dir_;
};

TEST_F(DialogueLinesTest, LinesAreNumberedEmptyOnesPassedOverAndZstdUndone) {
  const std::string bytes = "a\n\n \t\r\nbb\n" + std::string(200'000, 'c') + "\nd";
  const std::vector<std::string> want = {":1 a", ":4 bb", ":5 " + std::string(200'000, 'c'),
                                         ":6 d"};
  EXPECT_EQ(LinesOf("a.jsonl", bytes), want);
  EXPECT_EQ(LinesOf("a.jsonl.zst", testing::ZstdPacked(bytes)), want);
  EXPECT_TRUE(LinesOf("empty.jsonl", "").empty());
  EXPECT_TRUE(LinesOf("blank.jsonl", "\n\n").empty());
}

TEST_F(DialogueLinesTest, DamagedZstdAndFilesThatAreNoneAreErrorsWithTheirPlace) {
  // Noise, which does not shrink: what is cut off is lines, not the end of one block.
  std::string bytes = "first\n";
  for (uint32_t i = 0, x = 1; i < 300'000; ++i, x = x * 1664525 + 1013904223)
    bytes += static_cast<char>('!' + (x >> 24) % 90);
  const std::string packed = testing::ZstdPacked(bytes);
  try {
    LinesOf("cut.jsonl.zst", packed.substr(0, packed.size() / 2));
    FAIL() << "half a frame was read to its end";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadFile);
    EXPECT_NE(std::string(error.what()).find("cut.jsonl.zst:2: "), std::string::npos)
        << error.what();
  }
  EXPECT_THROW(DialogueLines(dir_ / "none.jsonl"), Error);
}

TEST_F(DialogueLinesTest, NextParsesTheLine) {
  WriteFile(dir_ / "c.jsonl.zst",
            testing::ZstdPacked(R"({"messages":[{"role":"user","content":"hi"},)"
                                R"({"role":"assistant","content":"hello"}]})"
                                "\nnonsense\n"));
  DialogueLines lines(dir_ / "c.jsonl.zst");
  EXPECT_TRUE(lines.Next().has_value());
  EXPECT_THROW(lines.Next(), Error);
  EXPECT_FALSE(lines.Next().has_value());
}

}  // namespace
}  // namespace planish
