// SPDX-License-Identifier: Apache-2.0
// In which type each matrix of a model is stored: one type for the matrices of the blocks, eight bits for what is sensitive
// (embedding; head at least 6), and exceptions by name.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "compress/round_matrix.h"
#include "model/model.h"

namespace planish {

struct StoragePlanOptions {
  StorageType base;
  // "PATTERN=TYPE": PATTERN is a Hugging Face name with * for any characters, or one of embedding, head, dt (Mamba-2's in_proj,
  // whose last rows set the decay: one tensor has one type, so all of it). Later ones win.
  std::vector<std::string> keeps;
};

// By name, all matrices. Rows that do not fill the blocks of a type get WritableType's. Error(kUsage) for a pattern that
// names no matrix, and for an unknown type.
std::map<std::string, StorageType> PlanStorage(Model* model, const StoragePlanOptions& options);

// Of the matrices that `keeps` name; Error(kUsage) as above.
std::map<std::string, StorageType> KeptTypes(Model* model, const std::vector<std::string>& keeps);

// Bytes of a matrix in this type, scales included.
uint64_t BytesOf(const StorageType& storage, const Shape& shape);

bool MatchesPattern(std::string_view pattern, std::string_view name);

}  // namespace planish
