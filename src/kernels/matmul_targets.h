// SPDX-License-Identifier: Apache-2.0
// The Highway targets of the matrix product and of isa.cc: scalar, AVX2, AVX-512, NEON. Include
// before hwy/foreach_target.h. SSSE3 and SSE4 are left out (two more targets to compile for
// machines that the design does not name; they get the scalar code), SVE because its vectors have
// no size at compile time, so that arrays of accumulators are impossible. No include guard:
// foreach_target.h reads the file several times, the definition stays the same.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
