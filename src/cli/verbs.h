// SPDX-License-Identifier: Apache-2.0
// The makers of all verbs, one a file.
#pragma once

#include "cli/verb.h"

namespace planish {

std::unique_ptr<Verb> MakeBench();
std::unique_ptr<Verb> MakeChat();
std::unique_ptr<Verb> MakeCompare();
std::unique_ptr<Verb> MakeConvert();
std::unique_ptr<Verb> MakeData();
std::unique_ptr<Verb> MakeDemo();
std::unique_ptr<Verb> MakeDistill();
std::unique_ptr<Verb> MakeEval();
std::unique_ptr<Verb> MakeFuse();
std::unique_ptr<Verb> MakeGenerate();
std::unique_ptr<Verb> MakeInfo();
std::unique_ptr<Verb> MakeInit();
std::unique_ptr<Verb> MakeLogits();
std::unique_ptr<Verb> MakeMerge();
std::unique_ptr<Verb> MakePlan();
std::unique_ptr<Verb> MakePretrain();
std::unique_ptr<Verb> MakePrune();
std::unique_ptr<Verb> MakePull();
std::unique_ptr<Verb> MakeQuantize();
std::unique_ptr<Verb> MakeReport();
std::unique_ptr<Verb> MakeSearch();
std::unique_ptr<Verb> MakeServe();
std::unique_ptr<Verb> MakeSft();
std::unique_ptr<Verb> MakeTemplate();
std::unique_ptr<Verb> MakeTokenize();

}  // namespace planish
