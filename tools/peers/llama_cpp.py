#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts planish and llama.cpp side by side on one GGUF file: does llama.cpp open it, are token ids equal, how far apart are
the next-token distributions, do greedy continuations agree; with --bench, tokens/s of both in turn.

  pip install xllamacpp numpy
  tools/peers/llama_cpp.py --planish build/planish --model model.gguf --text 'The capital of France is'
  tools/peers/llama_cpp.py --planish build/planish --model model.gguf --ids '[1, 5, 9]' --greedy 32 --json
  tools/peers/llama_cpp.py --planish build/planish --model model.gguf --bench --threads 2

llama.cpp runs in a process of its own (PyPI package xllamacpp, its built-in server on a local port), because it aborts on
files it dislikes (its server also on those without a vocabulary: give such a model a tokenizer.json first). It keeps float attention caches and no flash attention here, unless --cache f16 is given. Its API gives
log-probabilities, not logits; their difference is that of logits up to one constant a position. Exit status: 0 if the file
opens, ids are equal and the measures are within --max-logprob and --max-kl, else 1.
"""
import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import numpy as np

TEXTS = ["Hello world", " leading space", "a\n\n\tb  c\r\n", "x=12345*67890", "naïve Straße Ωμέγα 你好 🙂👩‍👩‍👧", "don't I'll WE'VE",
         "def f(x):\n    return {'a': [x, 1e-5]}\n", "<|im_start|>user\nHi<|im_end|>"]


# --- llama.cpp, in a child process -------------------------------------------------------------------------------------

def serve_peer(pipe, options):
    import xllamacpp
    params = xllamacpp.CommonParams()
    params.model.path = options["model"]
    params.n_ctx = options["context"]
    params.n_batch = params.n_ubatch = 2048 if options["context"] > 512 else 512
    params.n_parallel = 1
    params.warmup = False
    params.fit_params = False
    params.verbosity = -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options["threads"]
    if options["cache"] == "f32":
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    pipe.send({"address": server.listening_address, "version": xllamacpp.__version__})
    pipe.recv()  # until the parent is done
    os._exit(0)  # its threads may hang at exit


class Peer:
    def __init__(self, model, context, threads, cache):
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        options = {"model": os.path.abspath(model), "context": context, "threads": threads, "cache": cache}
        self.process = spawn.Process(target=serve_peer, args=(theirs, options), daemon=True)
        with open(os.devnull, "w") as null:  # llama.cpp logs to stderr even at the lowest level
            saved = os.dup(2)
            os.dup2(null.fileno(), 2)
            self.process.start()
            os.dup2(saved, 2)
        theirs.close()
        try:
            hello = self.pipe.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(f"llama.cpp does not open it (exit status {self.process.exitcode})") from None
        self.address, self.version = hello["address"], hello["version"]

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
        try:
            self.pipe.send("done")
        except BrokenPipeError:
            pass
        self.process.join(10)


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


def bench(ours, peer, prompt, count, rounds):
    """Tokens/s of prefill and decode, the two programs in turn; medians."""
    rates = {"planish": {"pp": [], "tg": []}, "llama_cpp": {"pp": [], "tg": []}}
    for _ in range(rounds):
        new_ids, timings = ours.greedy(prompt, count)
        rates["planish"]["pp"].append(len(prompt) / timings["prompt_s"])
        rates["planish"]["tg"].append((len(new_ids) - 1) / timings["decode_s"])  # the first comes from the prompt
        timings = peer.greedy(prompt, count)[1]
        rates["llama_cpp"]["pp"].append(timings["prompt_per_second"])
        rates["llama_cpp"]["tg"].append(timings["predicted_per_second"])
    result = {name: {kind: statistics.median(values) for kind, values in kinds.items()} for name, kinds in rates.items()}
    return {"prompt": len(prompt), "generated": count, "rounds": rounds, "load_average": os.getloadavg()[0], **result}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planish", default="build/planish", help="the program")
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--text", default="The quick brown fox jumps over the lazy dog. 1 + 1 =", help="text to compare distributions on")
    parser.add_argument("--ids", help="JSON list of token ids instead of --text")
    parser.add_argument("--texts", help="file with more texts for the tokenizers: JSON list, or {\"cases\": [{\"text\": ...}]}")
    parser.add_argument("--positions", type=int, default=0, help="compare this many positions, evenly spread; 0: all")
    parser.add_argument("--greedy", type=int, default=32, help="length of the greedy continuation; 0: none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--cache", choices=["f32", "f16"], default="f32", help="llama.cpp's attention cache")
    parser.add_argument("--max-logprob", type=float, default=float("inf"), help="largest difference of log-probabilities allowed")
    parser.add_argument("--max-kl", type=float, default=float("inf"), help="largest mean KL allowed, nats a token")
    parser.add_argument("--bench", action="store_true", help="measure tokens/s: 256 tokens in, 64 out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()

    report = {"model": os.path.basename(options.model)}
    ours = Planish(options.planish, options.model, options.threads)
    try:
        peer = Peer(options.model, options.context, options.threads, options.cache)
    except RuntimeError as error:
        print(f"{report['model']}: {error}", file=sys.stderr)
        return 1
    report["xllamacpp"] = peer.version
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
        if options.bench:
            prompt = (ids * (256 // len(ids) + 1))[:256]
            report["bench"] = bench(ours, peer, prompt, 64, options.rounds)
    except (RuntimeError, urllib.error.URLError, ConnectionError) as error:
        print(f"{report['model']}: {error}", file=sys.stderr)
        return 1
    finally:
        peer.close()

    found = report["distributions"]
    ok = not report["tokens"]["unequal"] and found["logprob_max_abs"] <= options.max_logprob and found["mean_kl"] <= options.max_kl
    if options.json:
        print(json.dumps(report))
    else:
        tokens = report["tokens"]
        print(f"{report['model']}: opens in llama.cpp (xllamacpp {report['xllamacpp']})")
        print(f"  token ids: {tokens['texts'] - len(tokens['unequal'])} of {tokens['texts']} texts equal")
        for case in tokens["unequal"][:5]:
            print(f"    {case['text']!r}: planish {case['planish']}, llama.cpp {case['llama_cpp']}")
        print(f"  next token at {found['positions']} positions: top-1 {found['top1_agree']:.4f}, log p max {found['logprob_max_abs']:.3g} "
              f"rms {found['logprob_rms']:.3g}, KL mean {found['mean_kl']:.3g} max {found['max_kl']:.3g}")
        if "greedy" in report:
            greedy = report["greedy"]
            print(f"  greedy: first {greedy['equal']} equal (planish {greedy['planish']} ids, llama.cpp {greedy['llama_cpp']})")
        if "bench" in report:
            result = report["bench"]
            for name in ("planish", "llama_cpp"):
                print(f"  {name}: prefill {result[name]['pp']:.1f} t/s, decode {result[name]['tg']:.1f} t/s "
                      f"({result['prompt']} in, {result['generated']} out, {options.threads} threads, load {result['load_average']:.2f})")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
