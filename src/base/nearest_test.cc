// SPDX-License-Identifier: Apache-2.0
#include "base/nearest.h"

#include <gtest/gtest.h>

namespace planish {
namespace {

TEST(Nearest, EditDistanceCountsInsertionsDeletionsAndSubstitutions) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("weight", "wieght"), 2u);
}

TEST(Nearest, ABeginningWinsAndStrangersHaveNoNearest) {
  const std::vector<std::string> names = {"learning_rate", "lr", "warmup_tokens"};
  EXPECT_EQ(Nearest("warm", names), "warmup_tokens");
  EXPECT_EQ(Nearest("learnin_rate", names), "learning_rate");
  EXPECT_EQ(Nearest("xylophone", names), "");
  EXPECT_EQ(Nearest("x", {}), "");
}

}  // namespace
}  // namespace planish
