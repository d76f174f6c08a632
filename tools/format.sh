#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Formats all C++ sources by .clang-format. Usage: tools/format.sh [--check]
set -euo pipefail
cd "$(dirname "$0")/.."
command -v clang-format >/dev/null || { echo "planish: clang-format is missing: apt-get install clang-format" >&2; exit 1; }
mode=(-i)
[ "${1:-}" = --check ] && mode=(--dry-run --Werror)
git ls-files 'src/*.h' 'src/*.cc' 'tests/*.cc' | xargs clang-format "${mode[@]}"
