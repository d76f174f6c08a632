#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages of a list that are missing. Usage: tools/install_packages.sh [LIST]   (default packages.txt)
# Does nothing, and asks for nothing, when all are there. Architectures of `name:arch` lines are made known to dpkg.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t wanted < <(grep -vE '^\s*(#|$)' "${1:-packages.txt}")
missing=()
native=$(dpkg --print-architecture 2>/dev/null || true)
for package in "${wanted[@]}"; do
  arch=$native # a package may be there for several architectures: the one that is wanted counts
  [[ $package == *:* ]] && arch=${package##*:}
  dpkg-query -W -f='${db:Status-Status} ${Architecture}\n' "$package" 2>/dev/null | grep -qE "^installed ($arch|all)\$" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
command -v apt-get >/dev/null || { echo "planish: these Debian packages are missing: ${missing[*]}" >&2; exit 1; }
run=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "planish: run as root: apt-get install ${missing[*]}" >&2; exit 1; }
  run=(sudo)
fi
echo "installing: ${missing[*]}"
for arch in $(printf '%s\n' "${missing[@]}" | sed -n 's/.*://p' | sort -u); do
  "${run[@]}" dpkg --add-architecture "$arch"
done
"${run[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
