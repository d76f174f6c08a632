#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_guard.py with programs that only pretend to measure: what it compares, marks and stores."""
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

GUARD = Path(__file__).with_name("bench_guard.py")
PEAKS = {"cpu": "some CPU", "isa": "avx2", "threads": 2}


class BenchGuard(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.build = Path(self.folder.name)
        self.reference = self.build / "reference.json"
        results = [{"test": "pp512", "threads": 2, "share_of_limit": 0.5}]
        self.script("planish", f"""if [ "$2" = machine ]; then echo '{json.dumps(PEAKS)}'
            else echo '{json.dumps({"act": "f32", "results": results})}'; fi""")

    def tearDown(self):
        self.folder.cleanup()

    def script(self, name, text):
        path = self.build / name
        path.write_text("#!/bin/sh\n" + text + "\n")
        path.chmod(0o755)

    def rows(self, **shares):
        self.script("matmul_bench", "".join(
            f"printf '{name}\\t{share}\\n' >> $PLANISH_BENCH_ROWS\n" for name, share in shares.items()))

    def guard(self, *more):
        return subprocess.run(
            [sys.executable, GUARD, "--build", self.build, "--reference", self.reference, *more],
            capture_output=True, text=True, check=False)

    def test_a_loss_over_five_percent_is_marked_and_a_smaller_one_is_not(self):
        self.rows(gemm=0.60, scan=0.40, head=0.10)
        stored = self.guard("--store")
        self.assertEqual(stored.returncode, 0, stored.stderr)
        self.assertEqual(self.guard().returncode, 0)
        self.rows(gemm=0.56, scan=0.385, head=0.30)  # ratios 0.93, 0.96, 3
        found = self.guard()
        self.assertEqual(found.returncode, 1, found.stdout)
        losses = [line for line in found.stdout.splitlines() if line.startswith("LOSS")]
        self.assertEqual(losses, ["LOSS of more than 5 %: gemm"])

    def test_new_and_gone_rows_are_said_and_storing_keeps_rows_of_other_runs(self):
        self.rows(gemm=0.6)
        self.guard("--store", "--model", "m.gguf")
        self.rows(scan=0.4)
        found = self.guard()
        self.assertEqual(found.returncode, 0)
        self.assertIn("| gemm | - | 60.0 % | - | gone |", found.stdout)
        self.assertIn("| scan | 40.0 % | - | - | new |", found.stdout)
        self.guard("--store")
        stored = json.loads(self.reference.read_text())["some CPU | avx2 | 2 threads"]
        self.assertEqual(stored, {"gemm": 0.6, "scan": 0.4, "m.gguf f32 pp512 2t": 0.5})

    def test_figures_of_another_cpu_are_not_compared(self):
        self.rows(gemm=0.6)
        self.reference.write_text(json.dumps({"other CPU | avx2 | 2 threads": {"gemm": 0.9}}))
        found = self.guard()
        self.assertEqual(found.returncode, 0)
        self.assertIn("nothing is stored for this CPU", found.stdout)
        self.guard("--store")
        self.assertEqual(len(json.loads(self.reference.read_text())), 2)


if __name__ == "__main__":
    unittest.main()
