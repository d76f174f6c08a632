// SPDX-License-Identifier: Apache-2.0
#include "serve/api_keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"

namespace planish {
namespace {

HttpRequest With(const std::string& name, const std::string& value) {
  HttpRequest request;
  request.headers.push_back({name, value});
  return request;
}

TEST(ApiKeys, AdmitsTheRightKeyInEitherHeader) {
  const ApiKeys none({}, "");
  EXPECT_TRUE(none.empty());
  EXPECT_TRUE(none.Admits({}));
  const ApiKeys keys({"first", "second-key"}, "");
  EXPECT_TRUE(keys.Admits(With("authorization", "Bearer second-key")));
  EXPECT_TRUE(keys.Admits(With("authorization", "bearer first")));
  EXPECT_TRUE(keys.Admits(With("x-api-key", "first")));
  for (const char* wrong : {"Bearer ", "Bearer firs", "Bearer first ", "first", "Basic first", ""})
    EXPECT_FALSE(keys.Admits(With("authorization", wrong))) << wrong;
  EXPECT_FALSE(keys.Admits({}));
}

TEST(ApiKeys, ReadsAFileOfThisUserAloneAndReadsItAgain) {
  const testing::TemporaryDir work;
  const std::string path = work / "keys";
  WriteFile(path, "# comment\none\n\n  two-with-blank \r\n");
  chmod(path.c_str(), 0600);
  EXPECT_THROW(ApiKeys({}, path), Error) << "a blank before a key";
  WriteFile(path, "# comment\none\n\ntwo\r\n");
  chmod(path.c_str(), 0644);
  EXPECT_THROW(ApiKeys({}, path), Error) << "others may read it";
  chmod(path.c_str(), 0600);
  ApiKeys keys({}, path);
  EXPECT_TRUE(keys.Admits(With("x-api-key", "two")));
  EXPECT_FALSE(keys.Admits(With("x-api-key", "# comment")));
  WriteFile(path, "three\n");
  chmod(path.c_str(), 0600);
  keys.Reload();
  EXPECT_FALSE(keys.Admits(With("x-api-key", "two")));
  EXPECT_TRUE(keys.Admits(With("x-api-key", "three")));
  WriteFile(path, "\n");
  chmod(path.c_str(), 0600);
  EXPECT_THROW(keys.Reload(), Error);
  EXPECT_TRUE(keys.Admits(With("x-api-key", "three"))) << "the old ones stay";
  EXPECT_THROW(ApiKeys({""}, ""), Error);
  EXPECT_THROW(ApiKeys({"a b"}, ""), Error);
}

}  // namespace
}  // namespace planish
