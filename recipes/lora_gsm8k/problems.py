#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Chats out of GSM8K (https://github.com/openai/grade-school-math, MIT licence) for recipes/lora_gsm8k.

    problems.py train.jsonl FOLDER [--train 400] [--held-out 100]

Writes FOLDER/train.jsonl and FOLDER/held_out.jsonl: the first problems of the file and those right behind them, each a user's
question and the assistant's worked answer, without the calculator's marks <<...>>."""
import argparse
import json
import os
import re


def chat(line):
    problem = json.loads(line)
    answer = re.sub(r"<<[^>]*>>", "", problem["answer"])
    return json.dumps({"messages": [{"role": "user", "content": problem["question"]},
                                    {"role": "assistant", "content": answer}]})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("problems")
    parser.add_argument("folder")
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--held-out", type=int, default=100)
    args = parser.parse_args()
    with open(args.problems, encoding="utf-8") as file:
        lines = file.read().splitlines()
    needed = args.train + args.held_out
    if len(lines) < needed:
        raise SystemExit(f"{args.problems} has {len(lines)} problems, {needed} are needed")
    os.makedirs(args.folder, exist_ok=True)
    for name, part in (("train", lines[:args.train]), ("held_out", lines[args.train:needed])):
        with open(os.path.join(args.folder, name + ".jsonl"), "w", encoding="utf-8") as out:
            out.writelines(chat(line) + "\n" for line in part)


if __name__ == "__main__":
    main()
