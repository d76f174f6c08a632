#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cmake --install` into an empty prefix, and the program run from there: nothing of it may look into the build folder.
Usage: install_test.py CMAKE BUILD_DIR"""
import os
import pathlib
import subprocess
import sys
import tempfile

CMAKE, BUILD = sys.argv[1:3]


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main():
    with tempfile.TemporaryDirectory() as name:
        prefix = pathlib.Path(name) / "usr"
        run(CMAKE, "--install", BUILD, "--prefix", prefix)
        planish = prefix / "bin/planish"
        assert os.access(planish, os.X_OK), "no bin/planish"
        assert (prefix / "lib/planish/libplanish_mpi.so").is_file(), "no plugin for several ranks"
        tags = run("readelf", "-d", planish)
        assert str(pathlib.Path(BUILD)) not in tags, "the program looks for libraries in the build folder:\n" + tags
        home = {"PATH": "/usr/bin:/bin", "HOME": name, "GOMP_SPINCOUNT": "300"}
        assert run(planish, "--version", env=home, cwd=name).startswith("planish ")
        assert "serve" in run(planish, "--help", env=home, cwd=name)
        model = prefix / "share/planish/models/planish-nano"
        assert "mamba2" in run(planish, "info", "-m", model, env=home, cwd=name).lower()
        answer = run(planish, "generate", "-m", model, "-n", "8", "--temperature", "0", "Once", env=home, cwd=name)
        assert answer.strip(), "nothing was generated"
        left = sorted(str(p.relative_to(prefix)) for p in prefix.rglob("*") if p.is_file())
        strangers = [p for p in left if not p.startswith(("bin/planish", "lib/planish/", "share/planish/", "share/doc/planish/"))]
        assert not strangers, f"installed beside the program: {strangers}"
    print("ok")


if __name__ == "__main__":
    main()
