// SPDX-License-Identifier: Apache-2.0
// The instruction-set level of the SIMD kernels: chosen once from the CPU, limited by PLANISH_ISA.
// Results may differ in the last bits between levels (vectors of other lengths sum in another
// order), never within one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace planish {

// The level in use: "scalar", "avx2", "avx512" or "neon".
std::string IsaName();

// The levels that this program has and this CPU can run, slowest first.
std::vector<std::string> IsaLevels();

// From now on no kernel uses more than `level`; empty lifts the limit. "vnni" and "bf16" mean
// "avx512" until kernels of their own exist. Throws UsageError for a name that is no level, or that
// this CPU lacks. Not while kernels run.
void LimitIsa(std::string_view level);

// LimitIsa by the environment variable PLANISH_ISA, if it is set and not empty. Called once by
// main.
void ApplyIsaOverride();

}  // namespace planish
