// SPDX-License-Identifier: Apache-2.0
#include "data/document.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/testing.h"

namespace planish {
namespace {

namespace fs = std::filesystem;
using testing::ZstdPacked;
using Strings = std::vector<std::string>;

class DocumentTest : public ::testing::Test {
 protected:
  DocumentTest() : folder_(::testing::TempDir() + "document." + std::to_string(getpid())) {
    fs::create_directories(folder_);
    SetLogLevel(LogLevel::kQuiet);
  }
  ~DocumentTest() override {
    fs::remove_all(folder_);
    SetLogLevel(LogLevel::kInfo);
  }
  std::string Put(const std::string& name, const std::string& content) {
    const std::string path = folder_ + "/" + name;
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << content;  // thousands of files: without fsync
    return path;
  }
  Strings Read(const Strings& inputs, const DocumentOptions& options = {}) {
    DocumentReader reader(inputs, options);
    Strings texts;
    DocumentBatch batch;
    while (reader.Next(&batch))
      texts.insert(texts.end(), batch.texts().begin(), batch.texts().end());
    EXPECT_EQ(reader.documents(), texts.size());
    drops_ = reader.DropText();
    return texts;
  }
  // With is_strict, the message; without, the drops counted (and no text).
  void ExpectBad(const std::string& path, const std::string& drops, const std::string& message,
                 DocumentOptions options = {}) {
    EXPECT_EQ(Read({path}, options), Strings{}) << path;
    EXPECT_EQ(drops_, drops);
    options.is_strict = true;
    try {
      Read({path}, options);
      FAIL() << "strict accepts " << path;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadFile);
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
    }
  }
  std::string folder_, drops_;
};

TEST_F(DocumentTest, ReadsJsonlInOrderWithEscapesBlankLinesAndAnyLineEnd) {
  const std::string lines =
      "\xEF\xBB\xBF{\"text\": \"a\\n\\u00e9\\ud83d\\ude00\", \"id\": 1}\r\n\n  \n"
      "{\"id\": [{}], \"text\": \"b\"}\n{\"text\":\"\"}\n{\"text\":\"last\"}";
  const Strings expected = {"a\n\xC3\xA9\xF0\x9F\x98\x80", "b", "last"};
  EXPECT_EQ(Read({Put("a.jsonl", lines)}), expected);
  EXPECT_EQ(drops_, "1 dropped: 1 empty");
  EXPECT_EQ(Read({Put("b.jsonl.zst", ZstdPacked(lines))}), expected);
  EXPECT_EQ(Read({Put("c", lines)}, {.format = DocumentOptions::Format::kJsonl}), expected);
  EXPECT_EQ(Read({Put("d.jsonl", "{\"body\": \"x\", \"text\": 1}\n")}, {.field = "body"}),
            Strings{"x"});
}

TEST_F(DocumentTest, ReadsTextWholeOrCutAtSeparators) {
  const std::string path = Put("a.txt", "one\ntwo\n\nthree\n\n\n\nfour\n");
  EXPECT_EQ(Read({path}), Strings{"one\ntwo\n\nthree\n\n\n\nfour\n"});
  EXPECT_EQ(Read({path}, {.separator = "\n\n"}), (Strings{"one\ntwo", "three", "four\n"}));
  EXPECT_EQ(Read({path}, {.separator = "##"}).size(), 1u);
  EXPECT_EQ(Read({Put("b.txt", "")}), Strings{});
  EXPECT_EQ(Read({Put("c.txt", "x")}), Strings{"x"});
  // A separator across the borders of what is read at once.
  std::string text;
  Strings expected;
  for (int i = 0; i < 300; ++i) {
    expected.push_back(
        std::string(1000 + static_cast<size_t>(i) * 7, static_cast<char>('a' + i % 26)));
    text += (i == 0 ? "" : "<|sep|>") + expected.back();
  }
  EXPECT_EQ(Read({Put("d.txt", text)}, {.separator = "<|sep|>"}), expected);
}

TEST_F(DocumentTest, WalksFoldersInOrderOfPathsAndSkipsOtherFiles) {
  Put("f/b.txt", "b");
  Put("f/a/z.jsonl", "{\"text\":\"z\"}");
  Put("f/c.md.zst", ZstdPacked("c"));
  Put("f/.hidden/x.txt", "x");
  Put("f/program.py", "p");
  EXPECT_EQ(Read({folder_ + "/f"}), (Strings{"z", "b", "c"}));
  EXPECT_EQ(Read({folder_ + "/f/b.txt", folder_ + "/f"}), (Strings{"b", "z", "b", "c"}));
  fs::create_directories(folder_ + "/empty");
  EXPECT_THROW(Read({folder_ + "/empty"}), Error);
  EXPECT_THROW(Read({folder_ + "/none.txt"}), Error);
}

TEST_F(DocumentTest, BadRecordsAreCountedByKindOrEndAStrictRun) {
  ExpectBad(Put("a.jsonl", "{\"text\": \"a\"\n"), "1 dropped: 1 bad_json",
            "line 1: is not valid JSON");
  ExpectBad(Put("b.jsonl", "{\"text\": \"a\"} x\n"), "1 dropped: 1 bad_json", "line 1");
  ExpectBad(Put("c.jsonl", "\n{\"text\": \"a\", \"text\": \"b\"}\n"), "1 dropped: 1 bad_json",
            "line 2: has 2 fields 'text'");
  ExpectBad(Put("d.jsonl", "{\"body\": \"a\"}\n"), "1 dropped: 1 no_text", "has no field 'text'");
  ExpectBad(Put("e.jsonl", "[1]\n7\n{\"text\": 7}\n"), "3 dropped: 3 no_text",
            "line 1: is no JSON object");
  ExpectBad(Put("f.jsonl", "{\"text\": \"\xFF\"}\n"), "1 dropped: 1 bad_utf8", "not valid UTF-8");
  ExpectBad(Put("g.jsonl", "{\"text\": \"a\\u0000b\"}\n"), "1 dropped: 1 nul", "U+0000");
  ExpectBad(Put("h.jsonl", "{\"text\": \"a\", \"x\": " + std::string(5000, '[') +
                               std::string(5000, ']') + "}\n"),
            "1 dropped: 1 too_deep", "nested deeper");
  ExpectBad(Put("i.txt", "a\xC0z"), "1 dropped: 1 bad_utf8", "document 1: is not valid UTF-8");
  ExpectBad(Put("j.txt", std::string("a\0b", 3)), "1 dropped: 1 nul", "U+0000");
  ExpectBad(Put("k.jsonl", std::string("{\"text\":\"a\0b\"}\n", 15)), "1 dropped: 1 bad_json",
            "JSON");
  ExpectBad(Put("l.jsonl.zst", ZstdPacked("{\"text\":\"abcdefgh\"}\n").substr(0, 20)),
            "1 dropped: 1 damaged", "zstd");
  for (const char* half : {"\\ud800", "\\udc00", "\\ud800x", "\\ud800\\u0041"})
    EXPECT_EQ(
        Read({Put("m.jsonl", std::string("{\"text\":\"") + half + "\"}\n{\"text\":\"ok\"}\n")}),
        Strings{"ok"})
        << half;
}

TEST_F(DocumentTest, LongLinesAreDroppedInBoundedMemoryAndTheNextOnesRead) {
  const std::string longest = "{\"text\":\"" + std::string(989, 'x') + "\"}";
  ASSERT_EQ(longest.size(), 1000u);
  std::string lines = longest + "\n" + longest.substr(0, 20) + "y" + longest.substr(20) + "\n";
  lines += std::string(3'000'000, 'z') + "\n{\"text\":\"after\"}\n" + std::string(2000, 'q');
  const Strings texts = Read({Put("a.jsonl", lines)}, {.max_bytes = 1000});
  EXPECT_EQ(texts, (Strings{std::string(989, 'x'), "after"}));
  EXPECT_EQ(drops_, "3 dropped: 3 oversize");
  ExpectBad(Put("b.txt", std::string(1'000'000, 'x')), "1 dropped: 1 oversize",
            "document 1: longer than 1000 bytes", {.max_bytes = 1000});
}

TEST_F(DocumentTest, DamagedArchiveLosesOnlyTheRecordsAroundTheDamage) {
  std::string first, second;
  for (int i = 0; i < 2000; ++i) {
    first += "{\"text\":\"first " + std::to_string(i * 7919) + "\"}\n";
    second += "{\"text\":\"second " + std::to_string(i) + "\"}\n";
  }
  std::string frame = ZstdPacked(first);
  for (size_t i = 8; i < 40; ++i) frame[i] = '\xFF';  // no such block type
  const Strings texts = Read({Put("a.jsonl.zst", frame + ZstdPacked(second))});
  EXPECT_EQ(std::count_if(texts.begin(), texts.end(),
                          [](const std::string& t) { return t.starts_with("second"); }),
            2000);
  EXPECT_NE(drops_.find("damaged"), std::string::npos);
}

TEST_F(DocumentTest, TextsAndDropsAreTheSameForAnyNumberOfThreads) {
  std::string lines;
  for (int i = 0; i < 30000; ++i) {
    lines += i % 97 == 0 ? "{broken\n"
                         : "{\"text\":\"" + std::string(static_cast<size_t>(i * 31 % 900), 'w') +
                               "\\n" + std::to_string(i) + "\"}\n";
  }
  const std::string path = Put("a.jsonl", lines);
  SetThreadCount(1);
  const Strings one = Read({path});
  const std::string drops = drops_;
  SetThreadCount(3);
  EXPECT_EQ(Read({path}), one);
  EXPECT_EQ(drops_, drops);
  EXPECT_EQ(one.size(), 30000u - 310u);
  SetThreadCount(0);
}

// Every way to damage a file of two lines by one byte, and to cut it, ends in texts or counted drops.
TEST_F(DocumentTest, MutatedFilesNeverFailWithoutStrict) {
  const std::string plain =
      "{\"text\":\"one \\u00e9\",\"n\":[1,{\"a\":null}]}\n{\"text\":\"two\"}\n";
  for (const std::string& whole : {plain, ZstdPacked(plain)}) {
    for (size_t i = 0; i < whole.size(); ++i) {
      for (const char byte : {'\n', '"', '\xFF'}) {
        std::string damaged = whole;
        damaged[i] = byte;
        EXPECT_LE(Read({Put("m.jsonl", damaged)}).size(), 3u);
      }
      EXPECT_LE(Read({Put("m.jsonl", whole.substr(0, i))}).size(), 2u);
    }
  }
  SetThreadCount(0);
}

}  // namespace
}  // namespace planish
