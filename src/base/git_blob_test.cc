// SPDX-License-Identifier: Apache-2.0
#include "base/git_blob.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/testing.h"

namespace planish {
namespace {

TEST(GitBlob, NamesContentAsGitDoes) {
  testing::TemporaryDir work;
  WriteFile(work / "empty", "");
  EXPECT_EQ(GitBlobHexOfFile(work / "empty"), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  WriteFile(work / "hello", "hello\n");  // git hash-object
  EXPECT_EQ(GitBlobHexOfFile(work / "hello"), "ce013625030ba8dba906f756967f9e9ca394464a");
}

}  // namespace
}  // namespace planish
