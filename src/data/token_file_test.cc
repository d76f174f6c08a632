// SPDX-License-Identifier: Apache-2.0
#include "data/token_file.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>

#include "base/hash.h"
#include "base/limits.h"
#include "base/random.h"
#include "base/testing.h"

namespace planish {
namespace {

using testing::TemporaryDir;

const std::string kHash = Sha256Hex("a tokenizer"), kOtherHash = Sha256Hex("another tokenizer");

struct Document {
  std::vector<TokenId> ids;
  std::vector<uint8_t> mask;
  uint64_t source_bytes;
};

std::vector<Document> RandomDocuments(size_t count, uint64_t vocab_size, bool has_mask,
                                      uint64_t seed) {
  Random random(seed);
  std::vector<Document> documents(count);
  for (Document& document : documents) {
    const size_t length = 1 + random.Below(40);
    for (size_t i = 0; i < length; ++i) {
      document.ids.push_back(static_cast<TokenId>(random.Below(vocab_size)));
      if (has_mask) document.mask.push_back(static_cast<uint8_t>(random.Below(2)));
    }
    document.source_bytes = random.Below(200);
  }
  return documents;
}

void WriteDocuments(const std::string& path, const TokenFileInfo& info,
                    const std::vector<Document>& documents) {
  TokenFileWriter writer(path, info);
  for (const Document& document : documents)
    writer.Append(document.ids, document.source_bytes, document.mask);
  writer.Commit();
}

// Thousands of damaged files are tried: nothing here waits for the disk, as WriteFile does, and as some file systems do
// when a file is cut to nothing and written again.
void Overwrite(const std::string& path, std::string_view content) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

std::string FailureOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadFile) << error.what();
    return error.what();
  }
  return "";
}

TEST(TokenFile, GivesBackWhatWasWrittenForNarrowAndWideIdsWithAndWithoutMask) {
  const TemporaryDir dir;
  for (const uint64_t vocab_size : {1u, 300u, 65'536u, 65'537u, 200'000u}) {
    for (const bool has_mask : {false, true}) {
      const auto documents = RandomDocuments(57, vocab_size, has_mask, vocab_size);
      const std::string path = dir / "a.tokens";
      WriteDocuments(path, {vocab_size, kHash, "little", has_mask}, documents);
      const auto file = TokenFile::Open(path);
      EXPECT_EQ(file->info().vocab_size, vocab_size);
      EXPECT_EQ(file->info().tokenizer_hash, kHash);
      EXPECT_EQ(file->info().tokenizer_name, "little");
      EXPECT_EQ(file->info().has_mask, has_mask);
      ASSERT_EQ(file->document_count(), documents.size());
      uint64_t tokens = 0, bytes = 0, trained = 0, largest = 0;
      for (size_t d = 0; d < documents.size(); ++d) {
        const Document& document = documents[d];
        ASSERT_EQ(file->document_begin(d), tokens);
        ASSERT_EQ(file->document_length(d), document.ids.size());
        EXPECT_EQ(file->SourceBytesBefore(tokens), bytes);
        EXPECT_EQ(file->DocumentOf(tokens), d);
        EXPECT_EQ(file->DocumentOf(tokens + document.ids.size() - 1), d);
        std::vector<TokenId> ids(document.ids.size());
        file->ReadIds(tokens, ids);
        EXPECT_EQ(ids, document.ids);
        std::vector<uint8_t> mask(ids.size());
        file->ReadMask(tokens, mask);
        EXPECT_EQ(mask, has_mask ? document.mask : std::vector<uint8_t>(ids.size(), 1));
        trained += std::accumulate(mask.begin(), mask.end(), uint64_t{0});
        for (const TokenId id : ids) largest = std::max<uint64_t>(largest, id);
        tokens += ids.size();
        bytes += document.source_bytes;
      }
      EXPECT_EQ(file->token_count(), tokens);
      EXPECT_EQ(file->source_bytes(), bytes);
      EXPECT_EQ(file->SourceBytesBefore(tokens), bytes);
      EXPECT_EQ(file->trained_tokens(), trained);
      EXPECT_EQ(file->largest_id(), largest);
    }
  }
}

TEST(TokenFile, SourceBytesOfPartsOfADocumentAddUp) {
  const TemporaryDir dir;
  WriteDocuments(dir / "a.tokens", {10, kHash, "", false}, {{{1, 2, 3}, {}, 10}, {{4}, {}, 7}});
  const auto file = TokenFile::Open(dir / "a.tokens");
  EXPECT_EQ(file->SourceBytesBefore(0), 0u);
  EXPECT_EQ(file->SourceBytesBefore(1), 3u);
  EXPECT_EQ(file->SourceBytesBefore(2), 6u);
  EXPECT_EQ(file->SourceBytesBefore(3), 10u);
  EXPECT_EQ(file->SourceBytesBefore(4), 17u);
}

TEST(TokenFile, EmptyDocumentsAreLeftOutAndTheirBytesKept) {
  const TemporaryDir dir;
  WriteDocuments(dir / "a.tokens", {10, kHash, "", false},
                 {{{}, {}, 5}, {{1}, {}, 1}, {{}, {}, 2}, {{2, 3}, {}, 3}, {{}, {}, 4}});
  const auto file = TokenFile::Open(dir / "a.tokens");
  EXPECT_EQ(file->document_count(), 2u);
  EXPECT_EQ(file->SourceBytesBefore(1), 6u);
  EXPECT_EQ(file->source_bytes(), 15u);
  WriteDocuments(dir / "empty.tokens", {10, kHash, "", true}, {});
  EXPECT_EQ(TokenFile::Open(dir / "empty.tokens")->token_count(), 0u);
}

TEST(TokenFile, IdsOutsideTheVocabularyAreRefusedByTheWriter) {
  const TemporaryDir dir;
  TokenFileWriter writer(dir / "a.tokens", {10, kHash, "", false});
  EXPECT_NE(FailureOf([&] {
              writer.Append(std::vector<TokenId>{1, 10}, 0);
            }).find("holds id 10"),
            std::string::npos);
  EXPECT_NE(FailureOf([&] { writer.Append(std::vector<TokenId>{-1}, 0); }).find("holds id -1"),
            std::string::npos);
}

TEST(TokenFile, AnotherTokenizerAndATooSmallModelAreNamed) {
  const TemporaryDir dir;
  WriteDocuments(dir / "a.tokens", {1000, kHash, "little", false}, {{{5, 700, 3}, {}, 9}});
  const auto file = TokenFile::Open(dir / "a.tokens");
  file->RequireTokenizer(kHash, "little");
  const std::string text = FailureOf([&] { file->RequireTokenizer(kOtherHash, "big"); });
  for (const std::string& part :
       {std::string("little"), kHash.substr(0, 16), std::string("big"), kOtherHash.substr(0, 16)})
    EXPECT_NE(text.find(part), std::string::npos) << text;
  file->RequireVocabulary(701);
  EXPECT_NE(FailureOf([&] { file->RequireVocabulary(700); }).find("holds id 700"),
            std::string::npos);
}

TEST(TokenFile, TruncatedAtAnyByteOrGrownItDoesNotOpen) {
  const TemporaryDir dir;
  for (const bool has_mask : {false, true}) {
    WriteDocuments(dir / "a.tokens", {300, kHash, "little", has_mask},
                   RandomDocuments(9, 300, has_mask, 1));
    const std::string whole = ReadFile(dir / "a.tokens", 1 << 20);
    for (size_t size = 0; size < whole.size(); ++size) {
      Overwrite(dir / "b.tokens", whole.substr(0, size));
      EXPECT_NE(FailureOf([&] { TokenFile::Open(dir / "b.tokens"); }), "") << size;
    }
    for (const size_t more : {1u, 64u, 128u}) {
      Overwrite(dir / "b.tokens", whole + std::string(more, '\0'));
      EXPECT_NE(FailureOf([&] { TokenFile::Open(dir / "b.tokens"); }), "") << more;
      Overwrite(dir / "b.tokens", whole + whole.substr(whole.size() - more));
      EXPECT_NE(FailureOf([&] { TokenFile::Open(dir / "b.tokens"); }), "") << more;
    }
  }
}

TEST(TokenFile, EveryFlippedBitIsNoticed) {
  const TemporaryDir dir;
  WriteDocuments(dir / "a.tokens", {300, kHash, "little", true}, RandomDocuments(9, 300, true, 1));
  const std::string whole = ReadFile(dir / "a.tokens", 1 << 20);
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
    Overwrite(dir / "b.tokens", damaged);
    EXPECT_NE(FailureOf([&] { TokenFile::Open(dir / "b.tokens"); }), "") << i;
  }
}

// Without the pass over the contents, nothing a file says may lead outside of it.
TEST(TokenFile, LyingNumbersAreErrorsOrHarmlessWithoutTheCheckOfContents) {
  const TemporaryDir dir;
  WriteDocuments(dir / "a.tokens", {300, kHash, "little", true}, RandomDocuments(9, 300, true, 1));
  const std::string whole = ReadFile(dir / "a.tokens", 1 << 20);
  size_t opened = 0;
  const uint64_t lies[] = {0,
                           1,
                           3,
                           64,
                           299,
                           300,
                           65'536,
                           uint64_t{1} << 31,
                           uint64_t{1} << 61,
                           ~uint64_t{0} - 63,
                           ~uint64_t{0}};
  for (size_t at = 0; at + 8 <= whole.size(); at += 8) {
    for (const uint64_t lie : lies) {
      std::string damaged = whole;
      std::memcpy(damaged.data() + at, &lie, 8);
      Overwrite(dir / "b.tokens", damaged);
      std::shared_ptr<const TokenFile> file;
      FailureOf([&] { file = TokenFile::Open(dir / "b.tokens", TokenFile::Check::kStructure); });
      if (file == nullptr) continue;
      ++opened;
      std::vector<TokenId> ids(file->token_count());
      FailureOf([&] {
        file->ReadIds(0, ids);
        for (const TokenId id : ids) ASSERT_LT(static_cast<uint64_t>(id), file->info().vocab_size);
      });
      std::vector<uint8_t> mask(ids.size());
      file->ReadMask(0, mask);
      for (uint64_t t = 0; t < ids.size(); ++t) {
        ASSERT_LT(file->DocumentOf(t), file->document_count());
        ASSERT_LE(file->SourceBytesBefore(t), file->source_bytes());
      }
    }
  }
  EXPECT_GT(opened, 100u);  // or this test shows nothing
}

TEST(TokenFile, UnorderedDocumentsAndIdsBeyondTheVocabularyAreNamed) {
  const TemporaryDir dir;
  WriteDocuments(dir / "a.tokens", {300, kHash, "", false}, {{{1, 2, 3}, {}, 4}, {{4, 5}, {}, 3}});
  const std::string whole = ReadFile(dir / "a.tokens", 1 << 20);
  const auto failure_with = [&](size_t at, uint64_t value, size_t bytes) {
    std::string damaged = whole;
    std::memcpy(damaged.data() + at, &value, bytes);
    Overwrite(dir / "b.tokens", damaged);
    return FailureOf([&] { TokenFile::Open(dir / "b.tokens"); });
  };
  // ids at 128 (10 bytes), document starts at 192, source bytes at 256, footer at 320.
  ASSERT_EQ(whole.size(), 384u);
  EXPECT_NE(failure_with(200, 0, 8).find("document 0 starts at token 0 and ends at 0"),
            std::string::npos);
  EXPECT_NE(failure_with(200, 6, 8).find("document 1 starts at token 6"), std::string::npos);
  EXPECT_NE(failure_with(264, 8, 8).find("document 1 starts at source byte 8"), std::string::npos);
  EXPECT_NE(failure_with(352, 300, 8).find("holds id 300"), std::string::npos);
  EXPECT_NE(failure_with(8, 2, 4).find("version 2"), std::string::npos);
  std::string damaged = whole;
  damaged[129] = 9;  // the first id becomes 2305
  Overwrite(dir / "b.tokens", damaged);
  const auto file = TokenFile::Open(dir / "b.tokens", TokenFile::Check::kStructure);
  std::vector<TokenId> ids(5);
  EXPECT_NE(FailureOf([&] { file->ReadIds(0, ids); }).find("holds id 2305"), std::string::npos);
}

TEST(TokenFile, AFailedWriteLeavesTheOldFile) {
  const TemporaryDir dir;
  const std::string path = dir / "a.tokens";
  WriteDocuments(path, {300, kHash, "", false}, {{{1}, {}, 1}});
  for (const std::string_view failing : {"open", "write", "fsync", "close", "rename"}) {
    SetFaultHook([&](std::string_view call) { return call == failing ? ENOSPC : 0; });
    EXPECT_THROW(WriteDocuments(path, {300, kHash, "", false}, {{{2, 3}, {}, 1}}), Error);
    SetFaultHook(nullptr);
    EXPECT_EQ(TokenFile::Open(path)->token_count(), 1u);
    EXPECT_EQ(testing::Listing(dir.path()).size(), 1u);
  }
}

TEST(TokenFile, TheHashOfATokenizerDependsOnItsContentAlone) {
  const auto load = [](const std::string& name) {
    const std::string path = testing::GoldenDir() + "/tokenizer/" + name + "/tokenizer.json";
    return Tokenizer::FromJson(ReadFile(path, limits::kTokenizerBytes), path);
  };
  const auto tokenizer = load("model_bpe");
  const std::string hash = TokenizerHash(*tokenizer);
  EXPECT_EQ(hash.size(), 64u);
  EXPECT_EQ(TokenizerHash(*Tokenizer::FromJson(DumpJson(tokenizer->ToJson(), JsonStyle::kPython, 2),
                                               "written")),
            hash);
  EXPECT_NE(TokenizerHash(*load("bpe_qwen_style")), hash);
}

}  // namespace
}  // namespace planish
