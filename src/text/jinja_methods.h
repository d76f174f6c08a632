// SPDX-License-Identifier: Apache-2.0
// Python's methods of str, list and dict, as far as they cannot change anything. Mutating and
// private ones count as unsafe.
#pragma once

#include <optional>
#include <string_view>

#include "text/jinja_value.h"

namespace planish::jinja {

enum class Method : uint8_t {
  // str
  kCapitalize,
  kCasefold,
  kCenter,
  kCount,
  kEndswith,
  kExpandtabs,
  kFind,
  kFormat,
  kIndex,
  kIsalnum,
  kIsalpha,
  kIsascii,
  kIsdecimal,
  kIsdigit,
  kIsidentifier,
  kIslower,
  kIsnumeric,
  kIsprintable,
  kIsspace,
  kIstitle,
  kIsupper,
  kJoin,
  kLjust,
  kLower,
  kLstrip,
  kPartition,
  kRemoveprefix,
  kRemovesuffix,
  kReplace,
  kRfind,
  kRindex,
  kRjust,
  kRpartition,
  kRsplit,
  kRstrip,
  kSplit,
  kSplitlines,
  kStartswith,
  kStrip,
  kSwapcase,
  kTitle,
  kUpper,
  kZfill,
  // list, tuple, range
  kSeqCount,
  kSeqIndex,
  kSeqCopy,
  // dict
  kGet,
  kItems,
  kKeys,
  kValues,
  kDictCopy,
  // loop, cycler, joiner
  kLoopCycle,
  kLoopChanged,
  kCyclerNext,
  kCyclerReset,
};

// The method `name` of this value's type.
std::optional<Method> FindMethod(const Value& self, std::string_view name);
// Whether Python has such an attribute which the sandbox refuses (list.append, dict.pop, anything
// private).
bool IsUnsafeAttribute(const Value& self, std::string_view name);

}  // namespace planish::jinja
