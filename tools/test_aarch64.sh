#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tests of base, tensor and kernels in build-aarch64/ under qemu-user, on three CPUs: one with int8 and bf16 matrix
# products, one with dot products only, one with plain NEON. Usage: tools/test_aarch64.sh [JOBS]   (called by
# `make test-aarch64`). Prints a line a run; the logs stay in build-aarch64/.
set -euo pipefail
cd "$(dirname "$0")/../build-aarch64"
export GOMP_SPINCOUNT=300 # an emulated spin is a long one

# run_one TEST CPU LEVEL: LEVEL (or -) is the best level that must have been tested on that CPU.
run_one() {
  local log="$1-$2.log" ok=1
  # One test of base's limits allows a second of CPU time, which emulation exceeds.
  qemu-aarch64 -cpu "$2" "./$1" --gtest_filter=-Safetensors.TensorCountIsBounded > "$log" 2>&1 || ok=0
  if [ "$3" != - ] && ! grep -q "OK.*EveryLevel.*/$3 " "$log"; then
    echo "$1 on $2: level $3 was not tested" >&2
    ok=0
  fi
  if [ $ok = 0 ]; then
    echo "$1 on $2: FAILED, log: build-aarch64/$log" >&2
    grep -aE -B 12 '^\[  FAILED|Failure$' "$log" | head -60 >&2 || tail -5 "$log" >&2
    return 1
  fi
  local levels
  levels=$(sed -nE 's/.*OK.*EveryLevel.*\/([a-z0-9]+) .*/\1/p' "$log" | paste -sd ' ')
  echo "$1 on $2${levels:+ (levels $levels)}: $(sed -nE 's/^\[  PASSED  \] ([0-9]+) tests?\./\1 passed/p' "$log")"
}
export -f run_one
printf '%s\n' 'kernels_test max i8mm' 'kernels_test neoverse-n1 dotprod' 'kernels_test cortex-a72 neon' \
    'tensor_test max -' 'base_test max -' |
  xargs -P "${1:-$(nproc)}" -L 1 bash -euo pipefail -c 'run_one "$@"' run_one
