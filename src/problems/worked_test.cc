// SPDX-License-Identifier: Apache-2.0
#include "problems/worked.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "problems/statements_testing.h"

namespace planish {
namespace {

using testing::FalseStatement;

TEST(Worked, ShowsItsColumns) {
  EXPECT_EQ(WorkedSum(47, 85), "47+85=132");
  EXPECT_EQ(WorkedSum(347, 285), "347+285(7+5=12,4+8+1=13,3+2+1=6)=632");
  EXPECT_EQ(WorkedSum(999, 1), "999+1(9+1=10,9+0+1=10,9+0+1=10)=1000");
  EXPECT_EQ(WorkedDifference(503, 268), "503-268(13-8=5,10-6-1=3,5-2-1=2)=235");
  EXPECT_EQ(WorkedProduct(347, 6), "347*6(7*6=42,4*6+4=28,3*6+2=20)=2082");
  EXPECT_EQ(WorkedProduct(47, 30), "47*30=1410");
  EXPECT_EQ(WorkedProduct(347, 30), "347*30(7*3=21,4*3+2=14,3*3+1=10)=10410");
  EXPECT_EQ(WorkedProduct(47, 36),
            "47*36[47*6=282,47*30=1410,282+1410(2+0=2,8+1=9,2+4=6,0+1=1)=1692]=1692");
  EXPECT_EQ(WorkedQuotient(2082, 6), "2082/6(20/6=3r2,28/6=4r4,42/6=7r0)=347");
  EXPECT_EQ(WorkedQuotient(123, 60), "123/60=2r3");
  EXPECT_EQ(WorkedQuotient(6, 7), "6/7=0r6");
  EXPECT_EQ(WorkedSum(450, 275, 2), "4.50+2.75(0+5=5,5+7=12,4+2+1=7)=7.25");
  EXPECT_EQ(WorkedProduct(450, 3, 2), "4.50*3=13.50");
}

// Every statement of random work is true, and what it says at the end is the result.
TEST(Worked, EveryStatementHolds) {
  Random random(7);
  size_t statements = 0;
  const auto check = [&](const std::string& work, int64_t result) {
    EXPECT_EQ(FalseStatement(work, &statements), "") << work;
    EXPECT_EQ(work.substr(work.rfind('=') + 1), std::to_string(result)) << work;
  };
  const auto number = [&] {
    int64_t limit = 10;
    for (uint64_t digits = random.Below(5); digits > 0; --digits) limit *= 10;
    return static_cast<int64_t>(random.Below(static_cast<uint64_t>(limit)));
  };
  for (int i = 0; i < 2000; ++i) {
    const int64_t a = number(), b = number(), small = 1 + static_cast<int64_t>(random.Below(99));
    check(WorkedSum(a, b), a + b);
    check(WorkedDifference(std::max(a, b), std::min(a, b)), std::abs(a - b));
    check(WorkedProduct(a, small), a * small);
    check(WorkedProduct(a % 1000, b % 1000), a % 1000 * (b % 1000));
    check(WorkedQuotient(a * small, small), a);
    EXPECT_EQ(FalseStatement(WorkedQuotient(a, small), &statements), "");
  }
  EXPECT_GT(statements, 30000u);
}

TEST(Worked, FalseStatementsAreSeen) {
  for (const char* wrong : {"347+285(7+5=12,4+8+1=13,3+2+1=7)=632", "47+85=133", "20/6=3r3",
                            "2082/6(20/6=3r2,28/6=4r4,42/6=7r0)=348", "4.50*3=13.05", "7<5: 7",
                            "47*36[47*6=282,47*30=1410,282+1410(2+0=2,8+1=8)=1692]=1692"}) {
    EXPECT_FALSE(FalseStatement(wrong).empty()) << wrong;
  }
}

}  // namespace
}  // namespace planish
