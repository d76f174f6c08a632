// SPDX-License-Identifier: Apache-2.0
#include "cli/verbs.h"

namespace planish {

std::vector<std::unique_ptr<Verb>> AllVerbs() {
  std::vector<std::unique_ptr<Verb>> verbs;
  for (const auto make :
       {MakeInit,    MakePretrain, MakeSft,      MakeConvert, MakeMerge, MakeTokenize, MakeTemplate,
        MakeDistill, MakeData,     MakePull,     MakePrune,   MakeFuse,  MakeSearch,   MakeQuantize,
        MakeChat,    MakeServe,    MakeGenerate, MakeDemo,    MakeInfo,  MakePlan,     MakeLogits,
        MakeCompare, MakeEval,     MakeReport,   MakeBench}) {
    verbs.push_back(make());
  }
  return verbs;
}

}  // namespace planish
