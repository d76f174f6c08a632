// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"
#include "cli/verb.h"

int main(int argc, char** argv) {
  planish::LimitSpinning(argv);
  return planish::RunCommandLine(argc, argv, PLANISH_VERSION " (" PLANISH_REVISION ")");
}
