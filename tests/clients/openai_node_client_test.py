#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The `openai` package of Node against a live `planish serve` with a tiny model.
Usage: openai_node_client_test.py PLANISH GOLDEN_DIR NODE_MODULES   (exit status 77: Node or the package is not installed)"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from live_server import LiveServer, check, tiny_model

PLANISH, GOLDEN, MODULES = sys.argv[1:4]
KEY = "a-secret-key"


def main():
    node = shutil.which("node")
    if node is None or not os.path.isdir(os.path.join(MODULES, "openai")):
        print("skipped: Node's openai package is not installed here (make test-clients installs it)")
        sys.exit(77)
    script = pathlib.Path(__file__).with_name("openai_node_client.cjs")
    with tempfile.TemporaryDirectory() as folder:
        with LiveServer(PLANISH, tiny_model(GOLDEN, folder), key=KEY) as server:
            environment = dict(os.environ, NODE_PATH=MODULES, PLANISH_URL=server.url, PLANISH_KEY=KEY)
            status = subprocess.run([node, str(script)], env=environment, timeout=240).returncode
        check(status == 0, f"the client ended with {status}; the server said:\n{server.log}")


if __name__ == "__main__":
    main()
