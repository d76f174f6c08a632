#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""lm-evaluation-harness against a live `planish serve` with planish-nano, on problems that `planish data problems` makes, and
`planish eval` on the same problems: every answer must be the same text and the accuracy the same number.
How the prompts are made equal: over chat completions the harness sends the question as the only user message and the server
renders the template, as `planish eval` does; over completions the task file writes the same text by itself, which the test
compares with what /apply-template gives. Both decode greedily, and a result of this engine depends on no neighbour.
Usage: lm_eval_test.py PLANISH   (exit status 77: the package is not installed; see `make test-clients`)"""
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from live_server import NANO, LiveServer, check

COUNT = 60
TASKS = pathlib.Path(__file__).with_name("lm_eval")
PLANISH = sys.argv[1]


def rows(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def make_problems(path):
    made = path.with_suffix(".made")
    subprocess.run([PLANISH, "data", "problems", "--form", "test", "--split", "test", "--mix", "test", "--seed", "5",
                    "--count", str(COUNT), "-o", str(made)], check=True, capture_output=True)
    problems = rows(made)
    with open(path, "w") as file:
        for i, problem in enumerate(problems):  # the wrong choice: the answer of another problem of the type
            others = [p["answer"] for p in problems[i + 1:] + problems[:i]
                      if p["answer_type"] == problem["answer_type"] and p["answer"] != problem["answer"]]
            file.write(json.dumps(dict(problem, wrong=others[0] if others else "nothing")) + "\n")


def own_evaluation(problems, folder, thinking):
    """Accuracy and answers, in the order of the file."""
    run = subprocess.run([PLANISH, "eval", "-m", str(NANO), "--tasks", "word-problems", "--data", str(problems), "--thinking",
                          thinking, "-o", str(folder), "--json"], check=True, capture_output=True, text=True)
    accuracy = json.loads(run.stdout)["tasks"]["word-problems"]["accuracy"]
    return accuracy, [r["resps"][0] for r in rows(next(folder.glob("samples_*.jsonl")))]


def harness(model, task, url, tasks, folder, *options):
    """Metrics and samples of `lm_eval` as a program of its own."""
    environment = dict(os.environ, HF_HOME=str(folder / "home"), HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1",
                       OPENAI_API_KEY="none")
    command = [sys.executable, "-m", "lm_eval", "run", "--model", model, "--tasks", task, "--include_path", str(tasks),
               "--model_args", f"model=planish-nano,base_url={url},num_concurrent=4,max_retries=1", "--log_samples",
               "--output_path", str(folder / task), *options]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    check(run.returncode == 0, f"{task}: {run.stdout[-2000:]}\n{run.stderr[-4000:]}")
    results = json.loads(next((folder / task).rglob("results_*.json")).read_text())["results"][task]
    samples = sorted(rows(next((folder / task).rglob("samples_*.jsonl"))), key=lambda s: s["doc_id"])
    check(len(samples) == COUNT, f"{task}: {len(samples)} samples")
    return results, samples


def compare(name, own, results, samples):
    accuracy, answers = own
    for mine, sample in zip(answers, samples):
        theirs = sample["resps"][0][0]
        check(mine.strip() == theirs.strip(), f"{name}: {sample['doc']['question']}\n{mine!r}\n{theirs!r}")
    measured = results["exact_match,stated"]
    check(abs(measured - accuracy) < 1e-9, f"{name}: lm-eval says {measured}, planish eval {accuracy}")
    print(f"{name}: {COUNT} equal answers, accuracy {accuracy:.4f} in both")


def compare_likelihoods(samples, results, server, folder):
    """Those of the harness against `planish logits`, and the accuracy against what follows from them."""
    right = 0
    for sample in samples:
        values = [float(response[0][0]) for response in sample["resps"]]
        right += values[0] >= values[1]
        if sample["doc_id"] >= 6:
            continue
        for request, value in zip(sample["arguments"].values(), values):
            ids = [server.post("/tokenize", {"prompt": text, "add_special_tokens": False})["tokens"]
                   for text in (request["arg_0"], request["arg_0"] + request["arg_1"])]
            (folder / "ids.json").write_text(json.dumps(ids[1]))
            run = subprocess.run([PLANISH, "logits", "-m", str(NANO), "--ids", str(folder / "ids.json"), "--logprobs", "--act",
                                  "auto"], check=True, capture_output=True, text=True)
            expected = sum(json.loads(run.stdout)["logprobs"][len(ids[0]) - 1:])
            check(abs(value - expected) < 1e-4 * (1 + abs(expected)), f"log-likelihood {value}, expected {expected}")
    check(abs(results["acc,none"] - right / COUNT) < 1e-9, (results, right))
    print(f"likelihoods: those of `planish logits`, accuracy {right / COUNT:.4f}")


def main():
    if importlib.util.find_spec("lm_eval") is None:
        print("skipped: lm-eval is not installed here (make test-clients installs it)")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        problems, tasks = folder / "problems.jsonl", folder / "tasks"
        make_problems(problems)
        tasks.mkdir()
        for file in TASKS.glob("*.yaml"):
            (tasks / file.name).write_text(file.read_text().replace("PROBLEMS", json.dumps(str(problems))))
        on = own_evaluation(problems, folder / "on", "on")
        off = own_evaluation(problems, folder / "off", "off")
        check(on[0] > off[0] + 0.1, f"thinking does not help: {on[0]} and {off[0]}")  # else equal numbers would say little
        with LiveServer(PLANISH, NANO) as server:
            question = rows(problems)[0]["question"]
            rendered = server.post("/apply-template", {"messages": [{"role": "user", "content": question}],
                                                       "chat_template_kwargs": {"enable_thinking": False}})["prompt"]
            check(rendered == f"<|user|>{question}<|end|><|assistant|><think></think>", rendered)
            chat = harness("local-chat-completions", "word_problems_chat", server.url + "/v1/chat/completions", tasks, folder,
                           "--apply_chat_template")
            compare("local-chat-completions, thinking", on, *chat)
            raw = harness("local-completions", "word_problems_raw", server.url + "/v1/completions", tasks, folder)
            compare("local-completions, not thinking", off, *raw)
            results, samples = harness("local-completions", "word_problems_choice", server.url + "/v1/completions", tasks, folder)
            compare_likelihoods(samples, results, server, folder)


if __name__ == "__main__":
    main()
