#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tests of base, tensor and kernels in build-aarch64/ under qemu-user, on three CPUs: one with int8 and bf16 matrix
# products, one with dot products only, one with plain NEON. Usage: tools/test_aarch64.sh [JOBS]   (called by
# `make test-aarch64`). Prints a line a run; the logs stay in build-aarch64/.
set -euo pipefail
cd "$(dirname "$0")/../build-aarch64"
export GOMP_SPINCOUNT=300 # an emulated spin is a long one

# run_one TEST CPU LEVEL SKIP: LEVEL (or -) is the best level that must have been tested on that CPU; SKIP: tests left out,
# those of the lower levels, which are the best ones of another CPU.
run_one() {
  local log="$1-$2.log" ok=1
  # Emulated, the first takes longer than the second of CPU time it allows, the others minutes each.
  local slow='Safetensors.TensorCountIsBounded:MatMulBf16Test.RowsDoNotDependOnTheBatchOrTheThreads/*'
  slow+=':Attention.FastModesMatchReferenceOnTheirRoundedNumbers:Attention.FastPromptRowsKeepTheirBits*'
  slow+=':Attention.RowBitsDoNotDependOnHowManyRowsACallHas:Attention.JobsGiveTheBitsOfSeparateCalls*'
  qemu-aarch64 -cpu "$2" "./$1" --gtest_filter="-$slow:$4" > "$log" 2>&1 || ok=0
  if [ "$3" != - ] && ! grep -q "OK.*EveryLevel.*/$3 " "$log"; then
    echo "$1 on $2: level $3 was not tested" >&2
    ok=0
  fi
  if [ $ok = 0 ]; then
    echo "$1 on $2: FAILED, log: build-aarch64/$log" >&2
    grep -aE -B 12 '^\[  FAILED|Failure$' "$log" | head -60 >&2 || tail -5 "$log" >&2
    return 1
  fi
  local level=""
  [ "$3" = - ] || level=" (best level: $3)"
  echo "$1 on $2$level: $(sed -nE 's/^\[  PASSED  \] ([0-9]+) tests?\./\1 passed/p' "$log")"
}
export -f run_one
printf '%s\n' 'kernels_test max i8mm */neon:*/dotprod' 'kernels_test neoverse-n1 dotprod */neon' \
    'kernels_test cortex-a72 neon -' 'tensor_test max - -' 'base_test max - -' |
  xargs -P "${1:-$(nproc)}" -L 1 bash -euo pipefail -c 'run_one "$@"' run_one
