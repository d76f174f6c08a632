// SPDX-License-Identifier: Apache-2.0
#include "cli/verbs.h"

namespace planish {

std::vector<std::unique_ptr<Verb>> AllVerbs() {
  std::vector<std::unique_ptr<Verb>> verbs;
  for (const auto make :
       {MakeInit, MakeConvert, MakeTokenize, MakeTemplate, MakeData, MakeChat, MakeGenerate,
        MakeDemo, MakeInfo, MakePlan, MakeLogits, MakeCompare, MakeBench, MakePretrain, MakeSft}) {
    verbs.push_back(make());
  }
  return verbs;
}

}  // namespace planish
