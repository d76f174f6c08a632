#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the include graph of src/ against src/layers.txt. Usage: tools/check_layers.py
Fails on an include of a folder that layers.txt does not allow, on an unlisted folder, and on a third-party header
outside its owning folder."""
import pathlib
import re
import sys

SRC = pathlib.Path(__file__).resolve().parent.parent / "src"


def read_layers():
    allowed, owners, third = {}, {}, False
    for line in (SRC / "layers.txt").read_text().splitlines():
        line = line.split("#")[0].strip()
        if line == "[third party]":
            third = True
        elif line:
            name, _, rest = line.partition(":")
            if third:
                for prefix in rest.split():
                    owners.setdefault(prefix, []).append(name)
            else:
                allowed[name] = {name, *rest.split()}
    return allowed, owners


def main():
    allowed, owners = read_layers()
    problems = []
    for path in sorted(SRC.rglob("*")):
        if path.suffix not in (".h", ".cc"):
            continue
        folder = path.relative_to(SRC).parts[0]
        where = path.relative_to(SRC.parent)
        if folder not in allowed:
            problems.append(f"{where}: folder {folder} is not in src/layers.txt")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            quoted = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            angled = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
            if not quoted and not angled:
                continue
            name = (quoted or angled).group(1)
            owner = next((o for p, o in owners.items() if name.startswith(p)), None)
            if owner is not None:
                if folder not in owner:
                    problems.append(f"{where}:{number}: {name} belongs to {', '.join(owner)}")
            elif quoted and name.split("/")[0] not in allowed[folder]:
                problems.append(f"{where}:{number}: {folder} may not include {name}")
    print("\n".join(problems) or "layers: ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
