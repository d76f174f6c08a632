# SPDX-License-Identifier: Apache-2.0
"""A running `planish serve` for tests with real clients: a free port of the loopback address, a log, a clean end."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.request

NANO = pathlib.Path(__file__).parents[2] / "models/planish-nano"


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tiny_model(golden, folder):
    """A hybrid of random weights with a chat template that thinks."""
    model = pathlib.Path(folder) / "tiny"
    shutil.copytree(pathlib.Path(golden) / "models/nemotron_h_a", model)
    shutil.copy(pathlib.Path(golden) / "chat/nano2.jinja", model / "chat_template.jinja")
    return model


class LiveServer:
    """with LiveServer(planish, model, "--demo-tools") as server: ... server.url"""

    def __init__(self, planish, model, *options, key=None):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = key
        self.environment = dict(os.environ, GOMP_SPINCOUNT="300")
        if key:
            self.environment["PLANISH_API_KEY"] = key
        self.command = [str(planish), "serve", "-m", str(model), "--port", str(self.port), "-t", "1", *options]
        self.health = [str(planish), "serve", "--check", "--port", str(self.port)]
        self.log = ""

    def __enter__(self):
        self.process = subprocess.Popen(self.command, env=self.environment, stderr=subprocess.PIPE, text=True)
        for _ in range(1200):
            if subprocess.run(self.health, capture_output=True).returncode == 0:
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.process.kill()
        raise AssertionError(f"the server did not start: {self.process.stderr.read()}")

    def stop(self, signal):
        """Sends the signal and returns the exit status."""
        self.process.send_signal(signal)
        return self.process.wait(30)

    def __exit__(self, *_):
        self.process.kill()
        self.log = self.process.communicate()[1]

    def post(self, path, body):
        """For routes that no client package has."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"content-type": "application/json"})
        if self.key:
            request.add_header("authorization", f"Bearer {self.key}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
