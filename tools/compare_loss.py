#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the losses of two training runs step by step.
Usage: tools/compare_loss.py A B [--tolerance X] [--key loss] [--skip N]
A and B are run folders or their log.jsonl. Prints each step that differs by more than the tolerance (at most 20), the largest
and the mean difference. Exit status: 0 all steps within the tolerance (default 0: equal to the last digit), 1 not, 2 if the
logs share no step or cannot be read."""
import argparse
import json
import math
import pathlib
import sys


def read(path, key):
    """step -> value; the last line of a step counts (a resumed run repeats steps)."""
    file = pathlib.Path(path)
    values = {}
    for line in (file / "log.jsonl" if file.is_dir() else file).read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue  # the last line of a running log may be cut
        if record.get("kind") == "step" and key in record:
            value = record[key]
            values[record["step"]] = math.nan if value is None else value
    return values


def main():
    parser = argparse.ArgumentParser(description="Compares the losses of two training runs.")
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--tolerance", type=float, default=0.0, help="largest absolute difference")
    parser.add_argument("--key", default="loss", help="loss, grad_norm, lr, ...")
    parser.add_argument("--skip", type=int, default=0, help="steps at the beginning that do not count")
    args = parser.parse_args()
    try:
        a, b = read(args.a, args.key), read(args.b, args.key)
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    steps = sorted(step for step in a.keys() & b.keys() if step > args.skip)
    if not steps:
        print(f"no step of {args.a} is in {args.b}", file=sys.stderr)
        return 2
    differences = [abs(a[step] - b[step]) for step in steps]
    bad = [s for s, d in zip(steps, differences) if not (d <= args.tolerance or a[s] == b[s])]
    for step in bad[:20]:
        print(f"step {step}: {a[step]:.8g} and {b[step]:.8g}, difference {a[step] - b[step]:.3g}")
    if len(bad) > 20:
        print(f"... and {len(bad) - 20} more")
    known = [d for d in differences if not math.isnan(d)]
    print(f"{len(steps)} steps in both, {len(bad)} differ by more than {args.tolerance:g}; "
          f"largest {max(known, default=math.nan):.3g}, mean {sum(known) / max(len(known), 1):.3g}; "
          f"only in one: {len(a.keys() ^ b.keys())}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
