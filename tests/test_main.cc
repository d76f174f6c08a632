// SPDX-License-Identifier: Apache-2.0
// main of every test binary: as in the program, waiting threads do not spin for long, also when a binary is started by hand.
#include <gtest/gtest.h>

#include "base/parallel.h"

int main(int argc, char** argv) {
  planish::LimitSpinning(argv);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
