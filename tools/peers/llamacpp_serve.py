#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts `planish serve` and llama.cpp's server side by side on one GGUF file, with the same requests from `planish bench serve`.

  tools/peers/llamacpp_serve.py throughput --model m.gguf --clients 1,4,16   # output tokens/s, first token, gaps
  tools/peers/llamacpp_serve.py turns --model m.gguf --turns 8               # a chat that thinks: first token by turn

Build llama.cpp first: `tools/peers/llamacpp.py build`. Each server runs alone, in turn with the other, --rounds times; figures
are medians. llama.cpp gets its cache at its best: a checkpoint of recurrent states for every prompt (-ctxcp 32 -cms 0), its prompt
cache in memory, one slot a client. The planish rows of `throughput` also say which share they are of `planish bench` at the same
batch: of the time that it takes for these prompts and these answers, one after the other. In `turns`, `new` counts tokens that the template did not leave from the turn before: the prompt of a turn minus that
of the one before; `kept` is cached / prompt of the turn before. Both are given for each server, whose answers differ.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import llamacpp  # noqa: E402


class Server:
    """One of the two on a free port, until the end of the block."""

    def __init__(self, options, name, clients, context):
        port = str(llamacpp.free_port())
        self.url = f"http://127.0.0.1:{port}"
        model = os.path.abspath(options.model)
        if name == "planish":
            self.command = [options.planish, "serve", "-q", "-m", model, "--port", port, "--slots", str(clients), "--ctx",
                            str(context), "-t", str(options.threads), "--max-connections-per-address", "1000"]
        else:
            self.command = [llamacpp.tool(options, "llama-server"), "-m", model, "--host", "127.0.0.1", "--port", port, "-np",
                            str(clients), "-c", str(context * clients), "-t", str(options.threads), "-ctxcp", "32", "-cms", "0",
                            "--cache-ram", "8192"]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(1200):
            if self.process.poll() is not None:
                raise RuntimeError(f"{' '.join(self.command)}: exit status {self.process.returncode}")
            try:
                urllib.request.urlopen(self.url + "/health", timeout=5).read()
                return self
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        raise RuntimeError(f"{self.command[0]} did not start within two minutes")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)


def load(options, name, clients, context, *arguments):
    vocabulary = options.vocabulary or json.loads(
        llamacpp.run([options.planish, "info", "-q", "-m", options.model, "--json"]))["vocab_size"]
    with Server(options, name, clients, context) as server:
        out = llamacpp.run([options.planish, "bench", "serve", "-q", "--url", server.url, "--vocabulary", str(vocabulary),
                            "--concurrency", str(clients), "-o", "json", *arguments])
    report = json.loads(out)
    if report["failed"]:
        raise RuntimeError(f"{name}: {report['failed']} requests failed: {report['errors']}")
    return report


def bench_rate(options, batch, length, answer):
    """Output tokens/s of prompts and answers of these lengths, by `planish bench`."""
    seconds = 0
    for n_prompt, n_gen, depth in ((length, 0, 0), (0, answer, length)):
        out = llamacpp.run([options.planish, "bench", "-q", "-m", options.model, "-p", str(n_prompt), "-n", str(n_gen), "-d", str(depth),
                            "-b", str(batch), "-r", "2", "-t", str(options.threads), "-o", "json"])
        seconds += batch * (n_prompt + n_gen) / json.loads(out)["results"][0]["avg_ts"]
    return batch * answer / seconds


def throughput(options):
    length, answer = options.input_len, options.output_len
    print(f"{os.path.basename(options.model)}, {options.threads} threads, prompts of {length}, answers of {answer} tokens; median of "
          f"{options.rounds}\n\n| clients | server | output tokens/s | of `planish bench` | first token ms | token p50 / p99 ms | ratio |\n"
          "|---|---|---|---|---|---|---|")
    for clients in options.clients:
        reports = {"planish": [], "llama.cpp": []}
        bench = []
        for _ in range(options.rounds):
            bench.append(bench_rate(options, clients, length, answer))
            for name in options.servers:
                reports[name].append(load(options, name, clients, length + answer + 64, "--num-prompts", str(2 * clients),
                                          "--num-warmups", str(min(clients, 4)), "--input-len", str(length), "--output-len",
                                          str(answer)))
        rates = {name: median(reports[name], "output_throughput") for name in options.servers}
        for name in options.servers:
            r = reports[name]
            share = f"{100 * rates[name] / statistics.median(bench):.0f} %" if name == "planish" else ""
            ratio = f"{rates[name] / rates['llama.cpp']:.2f}" if name == "planish" and "llama.cpp" in rates else ""
            print(f"| {clients} | {name} | {rates[name]:.1f} | {share} | {median(r, 'mean_ttft_ms'):.0f} | "
                  f"{median(r, 'median_itl_ms'):.1f} / {median(r, 'p99_itl_ms'):.1f} | {ratio} |", flush=True)
    return 0


def turns(options):
    rows = {name: [] for name in options.servers}
    for _ in range(options.rounds):
        for name in options.servers:
            report = load(options, name, 1, options.context, "--dataset", "multiturn", "--turns", str(options.turns), "--num-prompts",
                          "1", "--input-len", str(options.input_len), "--output-len", str(options.output_len), "--system-len",
                          str(options.system_len), "--budget", str(options.budget))
            rows[name].append(report["turns"])
    print(f"{os.path.basename(options.model)}, {options.threads} threads, messages of about {options.input_len} tokens, answers of "
          f"{options.output_len}, reasoning of at most {options.budget}; median of {options.rounds}\n\n"
          "| turn | server | prompt | new | cached | kept | first token ms | ms per new token |\n|---|---|---|---|---|---|---|---|")
    for turn in range(options.turns):
        for name in options.servers:
            now = [r[turn] for r in rows[name]]
            prompt, cached = median(now, "total_input"), median(now, "cached_tokens")
            before = median([r[turn - 1] for r in rows[name]], "total_input") if turn else 0
            kept = f"{100 * cached / before:.1f} %" if turn else ""
            ttft = median(now, "median_ttft_ms")
            print(f"| {turn + 1} | {name} | {prompt:.0f} | {prompt - before:.0f} | {cached:.0f} | {kept} | {ttft:.0f} | "
                  f"{ttft / (prompt - before):.2f} |")
    return 0


def median(reports, key):
    return statistics.median(report[key] for report in reports)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, work, length, answer in (("throughput", throughput, 64, 64), ("turns", turns, 96, 96)):
        verb = verbs.add_parser(name)
        verb.set_defaults(work=work)
        verb.add_argument("--model", required=True)
        verb.add_argument("--planish", default="build/planish")
        verb.add_argument("--cache", default=llamacpp.default_cache())
        verb.add_argument("--servers", default="planish,llama.cpp", type=lambda text: text.split(","))
        verb.add_argument("--threads", type=int, default=2)
        verb.add_argument("--rounds", type=int, default=3)
        verb.add_argument("--vocabulary", type=int, default=0, help="0: what `planish info` says")
        verb.add_argument("--input-len", type=int, default=length)
        verb.add_argument("--output-len", type=int, default=answer)
    verbs.choices["throughput"].add_argument("--clients", default=[16], type=lambda text: [int(n) for n in text.split(",")])
    verb = verbs.choices["turns"]
    verb.add_argument("--turns", type=int, default=8)
    verb.add_argument("--system-len", type=int, default=384)
    verb.add_argument("--budget", type=int, default=48)
    verb.add_argument("--context", type=int, default=8192)
    options = parser.parse_args()
    try:
        return options.work(options)
    except RuntimeError as error:
        print(f"{os.path.basename(sys.argv[0])}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
