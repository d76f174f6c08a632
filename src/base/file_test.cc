// SPDX-License-Identifier: Apache-2.0
// Atomic writing under injected faults; bounded reading of files, lines and zstd; mappings.
#include "base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/testing.h"

namespace planish {
namespace {

using testing::Listing;
using testing::TemporaryDir;

constexpr uint64_t kMax = 64u << 20;

template <typename Body>
std::string MessageOf(ExitCode code, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return {};
}

void ExpectContains(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos)
      << "message: " << message << ", expected to contain: " << part;
}

// Writes without waiting for the disk.
void Put(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

// Fails the n-th system call (from 0) of all writers while it lives, and counts them.
class FaultAt {
 public:
  FaultAt(int n, int error) : n_(n) {
    SetFaultHook([this, error](std::string_view call) {
      calls_.emplace_back(call);
      return static_cast<int>(calls_.size()) - 1 == n_ ? error : 0;
    });
  }
  ~FaultAt() { SetFaultHook(nullptr); }
  const std::vector<std::string>& calls() const { return calls_; }

 private:
  int n_;
  std::vector<std::string> calls_;
};

TEST(FileWriter, WritesAtomicallyAndLeavesNoTemporary) {
  const TemporaryDir folder;
  const std::string path = folder / "a";
  WriteFile(path, "old");
  FileWriter writer(path);
  writer.Write("new");
  writer.Write(" text");
  EXPECT_EQ(writer.written(), 8u);
  EXPECT_EQ(ReadFile(path, kMax), "old");
  writer.Commit();
  EXPECT_EQ(ReadFile(path, kMax), "new text");
  EXPECT_EQ(Listing(folder.path()), std::vector<std::string>{"a"});
}

TEST(FileWriter, WithoutCommitTheOldFileStaysAndTheTemporaryGoes) {
  const TemporaryDir folder;
  WriteFile(folder / "a", "old");
  {
    FileWriter writer(folder / "a");
    writer.Write(std::string(3u << 20, 'x'));  // beyond the buffer: on disk already
    EXPECT_EQ(Listing(folder.path()).size(), 2u);
  }
  EXPECT_EQ(Listing(folder.path()), std::vector<std::string>{"a"});
  EXPECT_EQ(ReadFile(folder / "a", kMax), "old");
}

TEST(FileWriter, AFaultAtAnyCallLeavesTheOldFileIntactAndNoTemporary) {
  const TemporaryDir folder;
  const std::string path = folder / "a", old = "old content", next(5u << 19, 'n');  // 2.5 buffers
  size_t n_calls = 0;
  {
    WriteFile(path, old);
    const FaultAt none(-1, 0);
    WriteFile(path, next);
    EXPECT_EQ(none.calls(), (std::vector<std::string>{"open", "write", "write", "write", "fsync",
                                                      "close", "rename"}));
    n_calls = none.calls().size();
  }
  for (const int error : {ENOSPC, EIO, EDQUOT}) {
    for (size_t n = 0; n < n_calls; ++n) {
      WriteFile(path, old);
      std::string message;
      std::string call;
      {
        const FaultAt fault(static_cast<int>(n), error);
        message = MessageOf(ExitCode::kFailure, [&] { WriteFile(path, next); });
        call = fault.calls().back();
        EXPECT_EQ(fault.calls().size(), n + 1) << "calls went on after a failed " << call;
      }
      ExpectContains(message, path);
      ExpectContains(message, std::generic_category().message(error));
      EXPECT_EQ(ReadFile(path, kMax), old) << "after a failed " << call;
      EXPECT_EQ(Listing(folder.path()), std::vector<std::string>{"a"}) << "after a failed " << call;
    }
  }
}

TEST(FileWriter, AnInterruptedWriteGoesOn) {
  const TemporaryDir folder;
  const FaultAt fault(1, EINTR);
  WriteFile(folder / "a", "text");
  EXPECT_EQ(fault.calls()[1], "write");
  EXPECT_EQ(ReadFile(folder / "a", kMax), "text");
}

TEST(FileWriter, FolderThatIsMissingAndTargetThatIsAFolderAreErrors) {
  const TemporaryDir folder;
  ExpectContains(MessageOf(ExitCode::kFailure, [&] { WriteFile(folder / "no/a", "x"); }),
                 "cannot be written");
  MakeDirectories(folder / "sub");
  ExpectContains(MessageOf(ExitCode::kFailure, [&] { WriteFile(folder / "sub", "x"); }),
                 "rename failed");
  EXPECT_EQ(Listing(folder.path()), std::vector<std::string>{"sub"});
  MakeDirectories(folder / "p/q/r");
  MakeDirectories(folder / "p/q/r");
  EXPECT_TRUE(IsDirectory(folder / "p/q/r"));
  WriteFile(folder / "f", "");
  EXPECT_NE(MessageOf(ExitCode::kFailure, [&] { MakeDirectories(folder / "f/x"); }), "");
}

TEST(ReadFile, IsBoundedAndRefusesWhatIsNoRegularFile) {
  const TemporaryDir folder;
  WriteFile(folder / "five", "12345");
  EXPECT_EQ(ReadFile(folder / "five", 5), "12345");
  ExpectContains(MessageOf(ExitCode::kBadFile, [&] { ReadFile(folder / "five", 4); }),
                 "is 5 bytes, expected at most 4");
  ExpectContains(MessageOf(ExitCode::kBadFile, [&] { ReadFile(folder / "none", 5); }),
                 "cannot be opened");
  ExpectContains(MessageOf(ExitCode::kBadFile, [&] { ReadFile(folder.path(), 5); }),
                 "is not a regular file");
  WriteFile(folder / "empty", "");
  EXPECT_EQ(ReadFile(folder / "empty", 0), "");
  // A pipe that nobody writes to: an error at once, not waiting for ever.
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  ExpectContains(MessageOf(ExitCode::kBadFile, [&] { ReadFile(folder / "pipe", 5); }),
                 "is not a regular file");
  EXPECT_EQ(ReadFilePrefix(folder / "pipe", 4), "");
  EXPECT_EQ(ReadFilePrefix(folder / "five", 3), "123");
  EXPECT_EQ(ReadFilePrefix(folder / "five", 9), "12345");
  EXPECT_EQ(ReadFilePrefix(folder / "none", 9), "");
  EXPECT_EQ(ReadFilePrefix(folder.path(), 9), "");
  EXPECT_TRUE(FileExists(folder / "five") && FileExists(folder.path()) &&
              !FileExists(folder / "none"));
  EXPECT_TRUE(IsDirectory(folder.path()) && !IsDirectory(folder / "five") &&
              !IsDirectory(folder / "none"));
}

std::string Compressed(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

// Hard to pack, so that a limit on size is met before the one on the ratio.
std::string Noise(size_t size) {
  std::string text(size, '\0');
  uint32_t state = 1;
  for (char& c : text) c = static_cast<char>((state = state * 1664525u + 1013904223u) >> 24);
  return text;
}

TEST(Zstd, IsUnpackedByItsMagicAndPlainFilesStayAsTheyAre) {
  const TemporaryDir folder;
  for (const std::string& text :
       {std::string(), std::string("text"), Noise(300'000), std::string(100'000, 'a')}) {
    Put(folder / "a", Compressed(text));
    EXPECT_EQ(ReadFileMaybeZstd(folder / "a", kMax), text);
    Put(folder / "a", text);
    EXPECT_EQ(ReadFileMaybeZstd(folder / "a", kMax), text);
  }
  Put(folder / "two", Compressed("one ") + Compressed("two"));
  EXPECT_EQ(ReadFileMaybeZstd(folder / "two", kMax), "one two");
}

TEST(Zstd, BombsStopAtTheSizeAndAtTheRatio) {
  const TemporaryDir folder;
  const std::string noise = Noise(200'000);
  Put(folder / "a", Compressed(noise));
  EXPECT_EQ(ReadFileMaybeZstd(folder / "a", 201'000).size(), noise.size());
  ExpectContains(MessageOf(ExitCode::kBadFile, [&] { ReadFileMaybeZstd(folder / "a", 199'999); }),
                 "at most 199999");  // even packed
  Put(folder / "b", Compressed(noise + std::string(100'000, 'a')));
  ExpectContains(MessageOf(ExitCode::kBadFile, [&] { ReadFileMaybeZstd(folder / "b", 299'999); }),
                 "unpacks to more than 299999 bytes");
  const std::string bomb = Compressed(std::string(32u << 20, '\0'));
  ASSERT_LT(bomb.size(), 8'000u);
  Put(folder / "c", bomb);
  ExpectContains(MessageOf(ExitCode::kBadFile, [&] { ReadFileMaybeZstd(folder / "c", kMax); }),
                 "more than 200 times its size");
}

TEST(Zstd, EveryTruncationAndDamageIsAnErrorOrUnpacksUnderTheLimit) {
  const TemporaryDir folder;
  const std::string packed = Compressed(Noise(600) + std::string(600, 'b'));
  for (size_t n = 4; n < packed.size(); n += 7) {
    Put(folder / "a", packed.substr(0, n));
    const std::string message =
        MessageOf(ExitCode::kBadFile, [&] { ReadFileMaybeZstd(folder / "a", kMax); });
    EXPECT_NE(message, "") << n << " of " << packed.size() << " bytes were taken for whole";
  }
  for (size_t n = 4; n < packed.size(); n += 5) {
    std::string damaged = packed;
    damaged[n] = static_cast<char>(damaged[n] ^ 0x55);
    Put(folder / "a", damaged);
    try {
      EXPECT_LE(ReadFileMaybeZstd(folder / "a", 4'000).size(), 4'000u);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadFile);
    }
  }
}

// Lines of a file, until the end or an error (whose message goes to `error`).
std::vector<std::string> Lines(const std::string& path, uint64_t max_bytes,
                               std::string* error = nullptr) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  LineReader reader(fd, "lines", max_bytes);
  std::vector<std::string> lines;
  std::string line;
  try {
    while (reader.Next(&line)) {
      lines.push_back(line);
      EXPECT_EQ(reader.line_number(), lines.size());
    }
    EXPECT_FALSE(reader.Next(&line)) << "lines after the end";
  } catch (const Error& caught) {
    if (error == nullptr)
      ADD_FAILURE() << caught.what();
    else
      *error = caught.what();
  }
  close(fd);
  return lines;
}

TEST(LineReader, GivesEveryLineWithAndWithoutAFinalNewline) {
  const TemporaryDir folder;
  const auto lines = [&](std::string_view text) {
    Put(folder / "a", text);
    return Lines(folder / "a", 100);
  };
  using List = std::vector<std::string>;
  EXPECT_EQ(lines(""), List{});
  EXPECT_EQ(lines("a"), List{"a"});
  EXPECT_EQ(lines("a\n"), List{"a"});
  EXPECT_EQ(lines("\n"), List{""});
  EXPECT_EQ(lines("a\n\nb"), (List{"a", "", "b"}));
  EXPECT_EQ(lines("a\r\nb\n"), (List{"a\r", "b"}));
  EXPECT_EQ(lines(std::string_view("a\0b\nc", 5)), (List{std::string("a\0b", 3), "c"}));
}

TEST(LineReader, LongLinesAreReadToTheLimitAndRefusedBeyondIt) {
  const TemporaryDir folder;
  for (const size_t limit : {size_t{10}, size_t{64u << 10}, size_t{200'000}}) {
    for (const char* end : {"", "\n", "\nnext\n"}) {
      for (const size_t size : {limit - 1, limit, limit + 1, 3 * limit}) {
        Put(folder / "a", "first\n" + std::string(size, 'x') + end);
        std::string error;
        const auto lines = Lines(folder / "a", limit, &error);
        ASSERT_GE(lines.size(), 1u);
        EXPECT_EQ(lines[0], "first");
        if (size <= limit) {
          EXPECT_EQ(error, "");
          ASSERT_GE(lines.size(), 2u);
          EXPECT_EQ(lines[1].size(), size);
          EXPECT_EQ(lines.size(), std::string_view(end).size() > 1 ? 3u : 2u);
        } else {
          EXPECT_EQ(error, fmt::format("lines: line 2 is longer than {} bytes", limit)) << size;
          EXPECT_EQ(lines.size(), 1u);
        }
      }
    }
  }
}

TEST(LineReader, ReadsAPipeWhoseLinesComeInPieces) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::thread writer([fd = ends[1]] {
    for (const char* piece : {"on", "e\ntw", "o", "\n", "three"}) {
      EXPECT_EQ(write(fd, piece, strlen(piece)), static_cast<ssize_t>(strlen(piece)));
      std::this_thread::yield();
    }
    close(fd);
  });
  LineReader reader(ends[0], "pipe", 100);
  std::vector<std::string> lines;
  for (std::string line; reader.Next(&line);) lines.push_back(line);
  writer.join();
  close(ends[0]);
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two", "three"}));
}

TEST(LineReader, ADescriptorThatCannotBeReadIsAnError) {
  const TemporaryDir folder;
  const int fd = open(folder.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  LineReader reader(fd, "folder", 10);
  std::string line;
  ExpectContains(MessageOf(ExitCode::kBadFile, [&] { reader.Next(&line); }), "folder: read failed");
  close(fd);
}

TEST(FileBytes, MappedAndReadBytesAreTheSameAndOutliveTheFile) {
  const TemporaryDir folder;
  const std::string text = Noise(3u << 20);
  for (const auto access : {FileBytes::Access::kMap, FileBytes::Access::kRead}) {
    WriteFile(folder / "a", text);
    const auto file = FileBytes::Open(folder / "a", access);
    unlink((folder / "a").c_str());
    EXPECT_EQ(file->is_mapped(), access == FileBytes::Access::kMap);
    EXPECT_EQ(file->path(), folder / "a");
    ASSERT_EQ(file->size(), text.size());
    EXPECT_EQ(std::memcmp(file->bytes().data(), text.data(), text.size()), 0);
    file->Release(1, text.size() - 1);  // read back from the file when touched again
    file->Release(0, 10 * text.size());
    EXPECT_EQ(std::memcmp(file->bytes().data(), text.data(), text.size()), 0);
  }
}

TEST(FileBytes, EmptyFilesFoldersAndMissingFilesAreDefined) {
  const TemporaryDir folder;
  WriteFile(folder / "empty", "");
  for (const auto access : {FileBytes::Access::kMap, FileBytes::Access::kRead}) {
    const auto empty = FileBytes::Open(folder / "empty", access);
    EXPECT_EQ(empty->size(), 0u);
    EXPECT_TRUE(empty->bytes().empty());
    empty->Release(0, 1);
    ExpectContains(MessageOf(ExitCode::kBadFile, [&] { FileBytes::Open(folder.path(), access); }),
                   "is not a regular file");
    ExpectContains(MessageOf(ExitCode::kBadFile, [&] { FileBytes::Open(folder / "none", access); }),
                   "cannot be opened");
    // Names from outside do not reach the terminal raw.
    ExpectContains(
        MessageOf(ExitCode::kBadFile, [&] { FileBytes::Open(folder / "a\x1b[2J\n", access); }),
        "\\x1b[2J\\n");
  }
}

TEST(AppendFile, KeepsWhatItIsToldAndGrowsAtTheEnd) {
  const TemporaryDir folder;
  const std::string path = folder / "log";
  {
    AppendFile file(path, 0);
    file.Append("one\n");
    file.Append("two\n");
    EXPECT_EQ(file.size(), 8u);
    EXPECT_EQ(ReadFile(path, kMax), "one\ntwo\n");  // there already
  }
  {
    AppendFile file(path, 4);
    EXPECT_EQ(ReadFile(path, kMax), "one\n");
    file.Append("three\n");
    EXPECT_EQ(ReadFile(path, kMax), "one\nthree\n");
  }
  ExpectContains(MessageOf(ExitCode::kFailure, [&] { AppendFile(path, 11); }),
                 "is 10 bytes, expected at least 11");
  ExpectContains(MessageOf(ExitCode::kFailure, [&] { AppendFile(folder.path(), 0); }),
                 "cannot be written");
  for (const int n : {0, 1, 2}) {
    const FaultAt fault(n, ENOSPC);
    ExpectContains(MessageOf(ExitCode::kFailure, [&] { AppendFile(path, 4).Append("lost"); }),
                   "No space left on device");
  }
  EXPECT_EQ(ReadFile(path, kMax), "one\n");
}

TEST(Folders, AreRenamedExchangedAndRemovedAsAWhole) {
  const TemporaryDir folder;
  MakeDirectories(folder / "a/inner");
  Put(folder / "a/inner/file", "of a");
  MakeDirectories(folder / "b");
  Put(folder / "b/file", "of b");
  SyncFolder(folder / "a");
  ExpectContains(MessageOf(ExitCode::kFailure, [&] { RenamePath(folder / "a", folder / "b"); }),
                 "renamed");
  ExchangePaths(folder / "a", folder / "b");
  EXPECT_EQ(ReadFile(folder / "a/file", kMax), "of b");
  EXPECT_EQ(ReadFile(folder / "b/inner/file", kMax), "of a");
  RenamePath(folder / "b", folder / "c");
  EXPECT_EQ(Listing(folder.path()), (std::vector<std::string>{"a", "c"}));
  RemoveTree(folder / "c");
  RemoveTree(folder / "c");  // no error
  EXPECT_EQ(Listing(folder.path()), std::vector<std::string>{"a"});
  ExpectContains(
      MessageOf(ExitCode::kFailure, [&] { ExchangePaths(folder / "a", folder / "none"); }),
      "cannot be exchanged");
  ExpectContains(MessageOf(ExitCode::kFailure, [&] { SyncFolder(folder / "none"); }),
                 "cannot be opened");
  EXPECT_GT(FreeDiskBytes(folder.path()), 0u);
}

TEST(Folders, FaultsReachEveryCall) {
  const TemporaryDir folder;
  MakeDirectories(folder / "a");
  MakeDirectories(folder / "b");
  const std::vector<std::pair<std::string, std::function<void()>>> calls = {
      {"mkdir", [&] { MakeDirectories(folder / "c"); }},
      {"rename", [&] { RenamePath(folder / "a", folder / "d"); }},
      {"rename", [&] { ExchangePaths(folder / "a", folder / "b"); }},
      {"fsync", [&] { SyncFolder(folder / "a"); }},
      {"remove", [&] { RemoveTree(folder / "a"); }}};
  for (const auto& [name, call] : calls) {
    const FaultAt fault(0, EIO);
    ExpectContains(MessageOf(ExitCode::kFailure, call), "Input/output error");
    EXPECT_EQ(fault.calls(), std::vector<std::string>{name});
  }
  EXPECT_EQ(Listing(folder.path()), (std::vector<std::string>{"a", "b"}));
  const FaultAt skipped(0, kFaultSkip);
  RemoveTree(folder / "a");
  EXPECT_TRUE(IsDirectory(folder / "a"));
}

}  // namespace
}  // namespace planish
