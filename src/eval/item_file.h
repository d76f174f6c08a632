// SPDX-License-Identifier: Apache-2.0
// Items of a task from a JSONL file (plain or zstd), and the choice of some of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "eval/task.h"

namespace planish {

// One item a line that is not blank; its id is the row's "id" or the line number. Error(kBadFile) "FILE: line 3: ..." for what
// is no JSON object or what `read` refuses, for two equal ids, and for a file without rows.
using RowReader = std::function<EvalItem(const JsonReader& row)>;
std::vector<EvalItem> ReadItems(const std::string& path, const RowReader& read);

// At most `limit` items (0: all) in their order: a pseudo-random subset by (seed, id) with the shares of the skills kept.
std::vector<EvalItem> ChooseItems(std::vector<EvalItem> items, uint64_t seed, size_t limit);

// The value of a row's field as text, whether it is a string, a number or true and false (then "yes" and "no"); lists with
// commas.
std::string FieldAsText(const JsonReader& row, std::string_view key);

}  // namespace planish
