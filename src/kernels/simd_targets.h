// SPDX-License-Identifier: Apache-2.0
// Include before hwy/foreach_target.h. Leaves out the targets whose vectors have no length known at compile time: the
// kernels here count lanes exactly.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
