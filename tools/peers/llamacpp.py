#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts planish and llama.cpp side by side on one GGUF file.

  tools/peers/llamacpp.py build                                     # llama.cpp's tools from source, once
  tools/peers/llamacpp.py bench --model m.gguf -p 512 -n 128 -t 1,2 # speed: alternating, medians, a markdown table
  tools/peers/llamacpp.py bench --model m.gguf -n 16 -d 0,8192 -b 4,16
  tools/peers/llamacpp.py compare --model m.gguf --text 'The capital of France is'  # token ids, distributions, greedy text

build: the source of llama.cpp comes inside the Python package llama-cpp-python, fetched by pip with a fixed checksum and
built by CMake for this very CPU (GGML_NATIVE; AMX too where the compiler knows it) into --cache.
bench: each round runs planish and then llama.cpp on the same file with the same threads; a row is the median of the rounds.
Batches start from a prompt that all sequences share, or, where llama.cpp cannot do that (hybrids), from one each. A ratio below 1 is marked "loses".
compare: llama.cpp's server with float caches and no flash attention. Its API gives log-probabilities, which differ from
logits by one constant a position. Exit status 1 if ids differ or --max-logprob or --max-kl is exceeded. Needs numpy.
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request

try:
    import numpy as np  # for compare only
except ImportError:
    np = None

VERSION = "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
TOOLS = ["llama-bench", "llama-batched-bench", "llama-perplexity", "llama-server"]
OPTIONS = ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DGGML_NATIVE=ON", "-DGGML_OPENMP=ON", "-DLLAMA_CURL=OFF",
           "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF",
           "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF"]
TEXTS = ["Hello world", " leading space", "a\n\n\tb  c\r\n", "x=12345*67890", "naïve Straße Ωμέγα 你好 🙂👩‍👩‍👧", "don't I'll WE'VE",
         "def f(x):\n    return {'a': [x, 1e-5]}\n", "<|im_start|>user\nHi<|im_end|>"]


# --- building ----------------------------------------------------------------------------------------------------------

def default_cache():
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "planish", "llama.cpp")


def fetch_source(cache):
    name = f"llama_cpp_python-{VERSION}"
    archive = cache / f"{name}.tar.gz"
    if not archive.exists():
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:",
                        "-d", str(cache), f"llama-cpp-python=={VERSION}"], check=True)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise RuntimeError(f"{archive}: SHA-256 is {found}, expected {SHA256}")
    source = cache / name / "vendor" / "llama.cpp"
    if not source.exists():
        with tarfile.open(archive) as tar:
            tar.extractall(cache)
    # GCC's _tile_loadconfig claims to read only 8 of the 64 bytes of the tile configuration, so the optimizer drops the
    # stores of the others and the processor faults. The instruction itself, with all of it as operand:
    mmq = source / "ggml/src/ggml-cpu/amx/mmq.cpp"
    text = mmq.read_text()
    fixed = text.replace("_tile_loadconfig(&tc);", '__asm__ volatile("ldtilecfg %0" : : "m"(tc));')
    if fixed != text:
        mmq.write_text(fixed)
    return source


def build(options):
    cache = pathlib.Path(options.cache).absolute()
    cache.mkdir(parents=True, exist_ok=True)
    source, folder = fetch_source(cache), cache / "build"
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    subprocess.run(["cmake", *generator, "-S", str(source), "-B", str(folder), *OPTIONS], check=True)
    subprocess.run(["cmake", "--build", str(folder), "-j", str(options.jobs), "--target", *TOOLS], check=True)
    print(folder / "bin")
    return 0


def tool(options, name):
    path = pathlib.Path(options.cache).absolute() / "build" / "bin" / name
    if not path.exists():
        raise RuntimeError(f"{path} is missing: run `tools/peers/llamacpp.py build` first")
    return str(path)


def run(command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: exit status {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


# --- speed -------------------------------------------------------------------------------------------------------------

def plan_rows(options):
    """(label, prompt, generated, depth, batch, threads) of every row asked for."""
    rows = []
    for threads in options.threads:
        rows += [(f"pp{p}", p, 0, 0, 1, threads) for p in options.prompt if p]
        for n in options.generate:
            if n:
                rows += [(f"tg{n}" + (f" @ {d}" if d else ""), 0, n, d, 1, threads) for d in options.depth]
                rows += [(f"tg{n} batch {b}" + (f" @ {d}" if d else ""), 0, n, d, b, threads)
                         for b in options.batch if b > 1 for d in options.depth]
    return rows


def ours_rate(options, row):
    _, prompt, generated, depth, batch, threads = row
    out = run([options.planish, "bench", "-q", "-m", options.model, "-p", str(prompt), "-n", str(generated), "-d", str(depth),
               "-b", str(batch), "-r", "1", "-t", str(threads), "-o", "json"])
    report = json.loads(out)
    options.peaks = report["peaks"]
    wanted = [r for r in report["results"]
              if (r["n_prompt"] > 0) == (prompt > 0) and (r["n_gen"] > 0) == (generated > 0)]
    if len(wanted) != 1:
        raise RuntimeError(f"planish bench: {len(wanted)} results for {row[0]}, expected 1")
    return wanted[0]["avg_ts"]


def peer_rate(options, row):
    _, prompt, generated, depth, batch, threads = row
    if batch == 1:
        out = run([tool(options, "llama-bench"), "-m", options.model, "-p", str(prompt), "-n", str(generated), "-d", str(depth),
                   "-r", "1", "-t", str(threads), "-o", "json"])
        return json.loads(out)[0]["avg_ts"]
    length = max(depth, 16)  # of the prompt
    def command(positions, *more):
        return [tool(options, "llama-batched-bench"), "-m", options.model, "-c", str(positions + 256 * batch), "-b", "2048", "-ub", "512",
                "-npp", str(length), "-ntg", str(generated), "-npl", str(batch), "-t", str(threads), *more]
    try:
        out = run(command(length + batch * generated, "-pps"))
    except RuntimeError:  # llama.cpp cannot share the prompt of models with recurrent states: each sequence reads its own
        out = run(command(batch * (length + generated)))
    for line in out.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        # | PP | TG | B | N_KV | T_PP s | S_PP t/s | T_TG s | S_TG t/s | ...
        if len(cells) > 8 and cells[3] == str(batch):
            return float(cells[8])
    raise RuntimeError("llama-batched-bench printed no row")


def bench(options):
    rows = plan_rows(options)
    if not rows:
        raise RuntimeError("nothing to measure: give -p or -n")
    rates = {row: ([], []) for row in rows}
    for _ in range(options.rounds):  # rows inside rounds: a slow minute of the machine touches all of them
        for row in rows:
            rates[row][0].append(ours_rate(options, row))
            rates[row][1].append(peer_rate(options, row))
    version = run([options.planish, "--version"]).strip().splitlines()
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    report = {"model": os.path.basename(options.model), "cpu": cpu.group(1) if cpu else "unknown", "planish": version,
              "peer": f"llama.cpp of llama-cpp-python {VERSION}, GGML_NATIVE", "rounds": options.rounds,
              "load_average": os.getloadavg()[0], "peaks": options.peaks, "rows": []}
    for row, (ours, theirs) in rates.items():
        a, b = statistics.median(ours), statistics.median(theirs)
        report["rows"].append({"row": row[0], "threads": row[5], "planish": a, "llama_cpp": b, "ratio": a / b,
                               "planish_samples": ours, "llama_cpp_samples": theirs})
    if options.json:
        print(json.dumps(report))
        return 0
    print(f"{report['model']} on {report['cpu']}; {'; '.join(version)}; {report['peer']}; median of {options.rounds}, "
          f"alternating; load {report['load_average']:.2f}\n")
    print_peaks(report["peaks"])
    print("| row | threads | planish t/s | llama.cpp t/s | ratio | |\n|---|---|---|---|---|---|")
    for r in report["rows"]:
        print(f"| {r['row']} | {r['threads']} | {r['planish']:.2f} | {r['llama_cpp']:.2f} | {r['ratio']:.2f} | "
              f"{'loses' if r['ratio'] < 1 else ''} |")
    return 0


def print_peaks(peaks):
    scaling, read = peaks["thread_scaling"], peaks["read_bytes_per_s"]
    print(f"ISA {peaks['isa']}; {peaks['threads']} threads did {scaling:.2f} times the arithmetic of one; read "
          f"{read['one_thread'] / 1e9:.1f} GB/s with one, {read['team'] / 1e9:.1f} with all.\n")


# --- llama.cpp's server -------------------------------------------------------------------------------------------------

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Peer:
    def __init__(self, options):
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        command = [tool(options, "llama-server"), "-m", os.path.abspath(options.model), "--host", "127.0.0.1", "--port", str(port),
                   "-c", str(options.context), "-t", str(options.threads), "-np", "1", "--no-warmup"]
        if options.cache_type == "f32":
            command += ["-ctk", "f32", "-ctv", "f32", "-fa", "off"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(1200):
            if self.process.poll() is not None:
                raise RuntimeError(f"llama.cpp does not open it (exit status {self.process.returncode})")
            try:
                urllib.request.urlopen(self.address + "/health", timeout=5).read()
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        self.close()
        raise RuntimeError("llama.cpp's server did not start within two minutes")

    def post(self, path, body):
        request = urllib.request.Request(self.address + path, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
        return json.loads(urllib.request.urlopen(request, timeout=600).read())

    def tokenize(self, text):
        return self.post("/tokenize", {"content": text, "add_special": False, "parse_special": True})["tokens"]

    def logprobs(self, ids, vocab_size):
        """log p [V] of the token after `ids`."""
        # Nothing is reported where the token taken ends the text or is part of a character, so a plain letter is forced. That
        # acts on sampling only: the probabilities reported are those before the samplers.
        letter = self.tokenize("a")[-1]
        reply = self.post("/completion", {"prompt": ids, "n_predict": 1, "n_probs": vocab_size, "temperature": 0.0, "cache_prompt": False,
                                          "logit_bias": [[letter, 1000.0]], "post_sampling_probs": False})
        row = np.full(vocab_size, np.nan)
        for item in reply["completion_probabilities"][0]["top_logprobs"]:
            row[item["id"]] = item["logprob"]
        if np.isnan(row).any():
            raise RuntimeError(f"llama.cpp gave {vocab_size - int(np.isnan(row).sum())} log-probabilities, expected {vocab_size}")
        return row

    def greedy(self, ids, count):
        reply = self.post("/completion", {"prompt": ids, "n_predict": count, "temperature": 0.0, "return_tokens": True, "cache_prompt": False})
        return reply["tokens"], reply["timings"]

    def close(self):
        self.process.terminate()
        self.process.wait(10)


# --- planish -----------------------------------------------------------------------------------------------------------

class Planish:
    def __init__(self, program, model, threads):
        self.program, self.model = program, model
        self.common = ["-q", "-m", model, "-t", str(threads)]

    def run(self, verb, *arguments, text=None):
        done = subprocess.run([self.program, verb, *self.common, *arguments], input=text, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"planish {verb}: exit status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def tokenize(self, texts):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        return [json.loads(line)["ids"] for line in self.run("tokenize", "--jsonl", text=lines).splitlines()]

    def logits(self, ids):
        with tempfile.TemporaryDirectory() as folder:
            self.run("logits", "--ids", self.ids_file(folder, ids), "-o", folder + "/logits.safetensors")
            data = open(folder + "/logits.safetensors", "rb").read()
        size = int.from_bytes(data[:8], "little")
        entry = json.loads(data[8:8 + size])["logits"]
        assert entry["dtype"] == "F32", entry
        begin, end = entry["data_offsets"]
        return np.frombuffer(data[8 + size + begin:8 + size + end], np.float32).reshape(entry["shape"])

    def greedy(self, ids, count):
        with tempfile.TemporaryDirectory() as folder:
            out = self.run("generate", "--ids", self.ids_file(folder, ids), "-n", str(count), "--greedy", "--json",
                           "--repetition-penalty", "1")  # the model's own defaults may have one
        reply = json.loads(out.splitlines()[-1])
        return reply["ids"], reply["timings"]

    @staticmethod
    def ids_file(folder, ids):
        with open(folder + "/ids.json", "w") as file:
            json.dump(ids, file)
        return folder + "/ids.json"


# --- comparison --------------------------------------------------------------------------------------------------------

def log_softmax(logits):
    x = logits.astype(np.float64)
    x -= x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def compare_tokens(ours, peer, texts):
    unequal = []
    for text, ids in zip(texts, ours.tokenize(texts)):
        theirs = peer.tokenize(text)
        if ids != theirs:
            unequal.append({"text": text, "planish": ids, "llama_cpp": theirs})
    return {"texts": len(texts), "unequal": unequal}


def compare_distributions(ours, peer, ids, positions):
    logits = ours.logits(ids)
    chosen = range(len(ids)) if positions == 0 else sorted({round(p) for p in np.linspace(0, len(ids) - 1, positions)})
    worst, kl, squares, agree, gaps = 0.0, [], [], 0, []
    for t in chosen:
        mine, theirs = log_softmax(logits[t]), log_softmax(peer.logprobs(ids[:t + 1], logits.shape[1]))
        worst = max(worst, float(np.abs(mine - theirs).max()))
        squares.append(float(np.mean((mine - theirs) ** 2)))
        kl.append(float(np.sum(np.exp(theirs) * (theirs - mine))))
        same = int(mine.argmax()) == int(theirs.argmax())
        agree += same
        if not same:  # how sure planish was: a disagreement at a near-tie says nothing
            top = np.sort(mine)[-2:]
            gaps.append(float(top[1] - top[0]))
    return {"positions": len(kl), "top1_agree": agree / len(kl), "top1_gaps_where_not": gaps, "logprob_max_abs": worst,
            "logprob_rms": float(np.sqrt(np.mean(squares))), "mean_kl": float(np.mean(kl)), "max_kl": float(np.max(kl))}


def compare_greedy(ours, peer, ids, count):
    mine, theirs = ours.greedy(ids, count)[0], peer.greedy(ids, count)[0]
    shared = 0
    while shared < min(len(mine), len(theirs)) and mine[shared] == theirs[shared]:
        shared += 1
    return {"planish": len(mine), "llama_cpp": len(theirs), "equal": shared}


def compare(options):
    report = {"model": os.path.basename(options.model), "llama_cpp_python": VERSION}
    ours, peer = Planish(options.planish, options.model, options.threads), Peer(options)
    try:
        texts = list(TEXTS) + [options.text]
        if options.texts:
            more = json.load(open(options.texts, encoding="utf-8"))
            texts += [case["text"] for case in more["cases"]] if isinstance(more, dict) else more
        ids = json.loads(options.ids) if options.ids else ours.tokenize([options.text])[0]
        report["tokens"] = compare_tokens(ours, peer, texts)
        report["distributions"] = compare_distributions(ours, peer, ids, options.positions)
        if options.greedy:
            report["greedy"] = compare_greedy(ours, peer, ids, options.greedy)
    finally:
        peer.close()
    found = report["distributions"]
    ok = not report["tokens"]["unequal"] and found["logprob_max_abs"] <= options.max_logprob and found["mean_kl"] <= options.max_kl
    if options.json:
        print(json.dumps(report))
    else:
        print_comparison(report)
    return 0 if ok else 1


def print_comparison(report):
    tokens, found = report["tokens"], report["distributions"]
    print(f"{report['model']}: opens in llama.cpp (llama-cpp-python {report['llama_cpp_python']})")
    print(f"  token ids: {tokens['texts'] - len(tokens['unequal'])} of {tokens['texts']} texts equal")
    for case in tokens["unequal"][:5]:
        print(f"    {case['text']!r}: planish {case['planish']}, llama.cpp {case['llama_cpp']}")
    print(f"  next token at {found['positions']} positions: top-1 {found['top1_agree']:.4f}, log p max {found['logprob_max_abs']:.3g} "
          f"rms {found['logprob_rms']:.3g}, KL mean {found['mean_kl']:.3g} max {found['max_kl']:.3g}")
    if "greedy" in report:
        greedy = report["greedy"]
        print(f"  greedy: first {greedy['equal']} equal (planish {greedy['planish']} ids, llama.cpp {greedy['llama_cpp']})")


def numbers(text):
    return [int(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)

    def add(name, action, has_model=True):
        verb = verbs.add_parser(name)
        verb.set_defaults(action=action)
        verb.add_argument("--cache", default=default_cache(), help="folder of the peer's source and build")
        if has_model:
            verb.add_argument("--planish", default="build/planish", help="the program")
            verb.add_argument("--model", required=True, help="GGUF file")
            verb.add_argument("--json", action="store_true", help="one JSON object on stdout")
        return verb

    make = add("build", build, has_model=False)
    make.add_argument("--jobs", type=int, default=os.cpu_count())
    speed = add("bench", bench)
    speed.add_argument("-p", "--prompt", type=numbers, default=[], help="prompt lengths")
    speed.add_argument("-n", "--generate", type=numbers, default=[], help="tokens to generate")
    speed.add_argument("-d", "--depth", type=numbers, default=[0], help="tokens in the cache before decoding")
    speed.add_argument("-b", "--batch", type=numbers, default=[1], help="sequences decoded together")
    speed.add_argument("-t", "--threads", type=numbers, default=[1])
    speed.add_argument("-r", "--rounds", type=int, default=5)
    check = add("compare", compare)
    check.add_argument("--text", default="The quick brown fox jumps over the lazy dog. 1 + 1 =", help="text to compare distributions on")
    check.add_argument("--ids", help="JSON list of token ids instead of --text")
    check.add_argument("--texts", help="file with more texts for the tokenizers: JSON list, or {\"cases\": [{\"text\": ...}]}")
    check.add_argument("--positions", type=int, default=0, help="compare this many positions, evenly spread; 0: all")
    check.add_argument("--greedy", type=int, default=32, help="length of the greedy continuation; 0: none")
    check.add_argument("--threads", type=int, default=1)
    check.add_argument("--context", type=int, default=512)
    check.add_argument("--cache-type", choices=["f32", "f16"], default="f32", help="llama.cpp's attention cache")
    check.add_argument("--max-logprob", type=float, default=float("inf"), help="largest difference of log-probabilities allowed")
    check.add_argument("--max-kl", type=float, default=float("inf"), help="largest mean KL allowed, nats a token")
    options = parser.parse_args()
    try:
        return options.action(options)
    except (RuntimeError, subprocess.CalledProcessError, urllib.error.URLError, ConnectionError) as error:
        print(f"llamacpp.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
