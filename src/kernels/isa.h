// SPDX-License-Identifier: Apache-2.0
// The instruction-set level of the kernels: chosen once from the CPU, limited by PLANISH_ISA. The portable SIMD files know
// scalar, avx2, avx512 and neon; the dot-product kernels of their own files add vnni, bf16 and amx above avx512, dotprod and
// i8mm above neon (i8mm: the int8 and the bf16 matrix products, both part of Armv8.6). Results may differ in the last bits
// between levels (vectors of other lengths sum in another order, bf16 units round in their own way), never within one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace planish {

// Of one architecture, each includes those before it.
enum class Isa { kScalar, kAvx2, kAvx512, kVnni, kBf16, kAmx, kNeon, kDotprod, kI8mm };

// This CPU and system have the level, and no limit is below it.
bool Has(Isa level);

// The level in use: "scalar", "avx2", "avx512", "vnni", "bf16", "amx", "neon", "dotprod" or "i8mm".
std::string IsaName();

// The levels that this program has and this CPU can run, slowest first.
std::vector<std::string> IsaLevels();
// Those among them that the portable SIMD files distinguish.
std::vector<std::string> SimdLevels();

// From now on no kernel uses more than `level`; empty lifts the limit. Throws UsageError for a name that is no level, or
// that this CPU lacks. Not while kernels run.
void LimitIsa(std::string_view level);

// LimitIsa by the environment variable PLANISH_ISA, if it is set and not empty. Called once by
// main.
void ApplyIsaOverride();

}  // namespace planish
