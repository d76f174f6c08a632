#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed of this build beside the stored one of the same CPU: `make bench`, and `make bench-store` to renew it.

Runs the programs of the build folder that report shares and, with --model, `planish bench -m`. All figures are shares of the
machine's peaks measured by `planish bench machine`, so that a slower clock does not count as a loss. A row that lost
more than 5 % of its share is marked and the exit status is 1; rows that are new or gone are said so. A benchmark, never
a test: neighbours on the machine change it.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LOSS = 0.05
# The programs that call ReportBenchRow, with what they are to measure.
REPORTING = [
    ["matmul_bench"],
    ["matmul_int8_bench"],
    ["matmul_bf16_bench", "0.3", "22656x4480"],
    ["ssm_bench", "decode", "prefill_fast"],
    ["attention_bench", "decode", "0.5", "bf16", "32768"],
    ["attention_bench", "decode", "0.5", "q8_0", "32768"],
]


def key_of(peaks):
    """Stored figures are those of one CPU, instruction level and team."""
    return f"{peaks['cpu']} | {peaks['isa']} | {peaks['threads']} threads"


def parse_rows(text):
    """Lines NAME<tab>SHARE; a name given twice keeps its best."""
    rows = {}
    for line in text.splitlines():
        name, _, share = line.rpartition("\t")
        rows[name] = max(float(share), rows.get(name, 0.0))
    return rows


def compare(rows, stored):
    """Lines of the table, and the names of the rows that lost more than LOSS."""
    lines = ["| row | share of peak | stored | ratio | |", "|---|---|---|---|---|"]
    losses = []
    for name in sorted(rows | stored):
        if name not in rows:
            lines.append(f"| {name} | - | {100 * stored[name]:.1f} % | - | gone |")
        elif name not in stored:
            lines.append(f"| {name} | {100 * rows[name]:.1f} % | - | - | new |")
        else:
            ratio = rows[name] / stored[name] if stored[name] > 0 else 1.0
            is_loss = ratio < 1 - LOSS
            if is_loss:
                losses.append(name)
            lines.append(
                f"| {name} | {100 * rows[name]:.1f} % | {100 * stored[name]:.1f} % | {ratio:.2f} | "
                f"{'LOSS' if is_loss else ''} |"
            )
    return lines, losses


def measure(build, model):
    """Peaks of the machine and all rows; what the programs print goes to stderr."""
    program = str(build / "planish")
    peaks = json.loads(subprocess.check_output([program, "bench", "machine", "-o", "json"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        path.touch()
        for name, *what in REPORTING:
            if not (build / name).exists():
                continue
            subprocess.run(
                [str(build / name), *what], check=True, stdout=sys.stderr,
                env=os.environ | {"PLANISH_BENCH_ROWS": str(path)},
            )
        rows = parse_rows(path.read_text())
    if model:
        shapes = ["-p", "512", "-n", "64", "-d", "0,4096", "-b", "1,8"]
        found = json.loads(subprocess.check_output([program, "bench", "-m", model, *shapes, "-o", "json"]))
        for row in found["results"]:
            name = f"{Path(model).name} {found['act']} {row['test']} {row['threads']}t"
            rows[name] = row["share_of_limit"]
    return peaks, rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"), help="build folder")
    parser.add_argument("--model", help="model whose prefill and decode are measured too")
    parser.add_argument("--reference", type=Path, default=Path(__file__).with_name("bench_reference.json"))
    parser.add_argument("--store", action="store_true", help="keep this run's figures as the reference")
    options = parser.parse_args()

    peaks, rows = measure(options.build, options.model)
    reference = json.loads(options.reference.read_text()) if options.reference.exists() else {}
    key = key_of(peaks)
    stored = reference.get(key, {})
    lines, losses = compare(rows, stored)
    print(f"{key}\n" + "\n".join(lines))
    if options.store:
        # Rows that this run had no model or program for stay.
        reference[key] = stored | {name: round(share, 4) for name, share in rows.items()}
        options.reference.write_text(json.dumps(reference, indent=1, sort_keys=True) + "\n")
        print(f"stored {len(rows)} rows in {options.reference}")
        return 0
    if not stored:
        print("nothing is stored for this CPU: make bench-store")
    for name in losses:
        print(f"LOSS of more than {100 * LOSS:.0f} %: {name}")
    return 1 if losses else 0


if __name__ == "__main__":
    sys.exit(main())
