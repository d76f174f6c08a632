// SPDX-License-Identifier: Apache-2.0
#include "compress/output_folder.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"

namespace planish {
namespace {

TEST(OutputFolder, AppearsWholeOrNotAtAll) {
  const testing::TemporaryDir folder;
  const std::string path = folder.path() + "/out";
  {
    OutputFolder out(path + "/", "fuse");
    WriteFile(out.part() + "/fuse.json", "1");
    EXPECT_FALSE(FileExists(path));
  }
  EXPECT_FALSE(FileExists(path));
  EXPECT_FALSE(FileExists(path + ".part"));
  OutputFolder out(path, "fuse");
  WriteFile(out.part() + "/fuse.json", "1");
  out.Commit();
  EXPECT_EQ(ReadFile(path + "/fuse.json", 100), "1");
  EXPECT_FALSE(FileExists(path + ".part"));
  EXPECT_FALSE(FileExists(path + "/unfinished"));
}

TEST(OutputFolder, ReplacesOnlyWhatItsVerbWrote) {
  const testing::TemporaryDir folder;
  const std::string path = folder.path() + "/out";
  MakeDirectories(path);
  WriteFile(path + "/letters.txt", "dear");
  EXPECT_THROW(OutputFolder(path, "fuse"), Error);
  EXPECT_EQ(ReadFile(path + "/letters.txt", 100), "dear");
  WriteFile(path + "/fuse.json", "1");
  EXPECT_THROW(OutputFolder(path, "prune"), Error);
  OutputFolder out(path, "fuse");
  WriteFile(out.part() + "/fuse.json", "2");
  EXPECT_EQ(ReadFile(path + "/fuse.json", 100), "1");
  out.Commit();
  EXPECT_EQ(ReadFile(path + "/fuse.json", 100), "2");
  EXPECT_FALSE(FileExists(path + "/letters.txt"));
}

TEST(OutputFolder, ClearsWhatAKilledRunLeftButNothingElse) {
  const testing::TemporaryDir folder;
  const std::string path = folder.path() + "/out";
  MakeDirectories(path + ".part");
  WriteFile(path + ".part/letters.txt", "dear");
  EXPECT_THROW(OutputFolder(path, "fuse"), Error);
  EXPECT_EQ(ReadFile(path + ".part/letters.txt", 100), "dear");
  WriteFile(path + ".part/unfinished", "");
  const OutputFolder out(path, "fuse");
  EXPECT_FALSE(FileExists(out.part() + "/letters.txt"));
}

}  // namespace
}  // namespace planish
