// SPDX-License-Identifier: Apache-2.0
// Arithmetic written out so that each character follows from those before by a small table. Numbers of two digits at most
// are added, subtracted, and multiplied by one digit at once; longer ones column by column from the right:
//   347+285(7+5=12,4+8+1=13,3+2+1=6)=632        a sum of two digits carries 1
//   503-268(13-8=5,10-6-1=3,5-2-1=2)=235        a raised column takes 1 from the next
//   347*6(7*6=42,4*6+4=28,3*6+2=20)=2082        the tens carry
//   47*36[47*6=282,47*30=1410,282+1410(...)=1692]=1692
//   2082/6(20/6=3r2,28/6=4r4,42/6=7r0)=347      long division: the remainder stands before the next digit
// What stands in brackets can be left out and a true statement remains. Numbers are not negative. `decimals` digits of each
// number stand behind the point (money: 2); factors and divisors are whole.
#pragma once

#include <cstdint>
#include <string>

namespace planish {

std::string WorkedSum(int64_t a, int64_t b, int decimals = 0);
std::string WorkedDifference(int64_t a, int64_t b, int decimals = 0);  // a >= b
std::string WorkedProduct(int64_t a, int64_t b, int decimals = 0);
// a/b=q, or a/b=qrR if b does not divide a. Whole numbers, or cents that divide without rest.
std::string WorkedQuotient(int64_t a, int64_t b, int decimals = 0);

std::string DecimalText(int64_t value, int decimals);  // 4.50
int DigitCount(int64_t value);                         // of |value|; 1 for 0

}  // namespace planish
