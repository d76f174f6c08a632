#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what Hugging Face tokenizers learns from small corpora, for src/text/bpe_train_test.cc.
Usage: bpe_train.py [--cases N] [--seed S] OUT.json
Needs the package `tokenizers` (0.23 is the reference). The corpora have few letters, so that pairs of equal counts, strings
that two merges make, runs of one symbol and special tokens that a merge makes all occur."""
import argparse
import json
import random

import tokenizers
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
ALPHABETS = ("ab", "abc", "abcd", "a\u00e9", "ab 1", "the cat\n", "\u65e5\u672ca", "etaoinshrdlu    .'")
SPECIAL = ("<|endoftext|>", "<pad>", "a", "ab", "aa", "\u0120a", "b c")


def corpus(rng):
    letters = rng.choice(ALPHABETS)
    texts = []
    for _ in range(rng.randrange(1, 5)):
        words = ["".join(rng.choice(letters) for _ in range(rng.randrange(1, 9))) for _ in range(rng.randrange(1, 6))]
        texts.append(rng.choice(("", " ", "\n")).join(rng.choice(words) for _ in range(rng.randrange(1, 30))))
    return texts


def learn(case):
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    if case["pre_tokenizer"] == "llama3":
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    limit = {"max_token_length": case["max_token_length"]} if case["max_token_length"] else {}
    trainer = trainers.BpeTrainer(vocab_size=case["vocab_size"], min_frequency=case["min_frequency"],
                                  special_tokens=case["special_tokens"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **limit)
    tokenizer.train_from_iterator(case["texts"], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    first = len(case["special_tokens"]) + 256 - sum(len(token) == 1 for token in case["special_tokens"])
    return {"byte_tokens": "".join(tokens[len(case["special_tokens"]):first]), "learned_tokens": tokens[first:],
            "merges": model["merges"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("out")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    cases = []
    for _ in range(options.cases):
        special = rng.sample(SPECIAL, rng.randrange(0, 5))
        case = {"texts": corpus(rng), "pre_tokenizer": rng.choice(("llama3", "gpt-2")), "special_tokens": special,
                "vocab_size": 256 + len(special) + rng.choice((0, 1, 5, 20, 60, 100)),
                "min_frequency": rng.choice((0, 0, 1, 2, 2, 3)), "max_token_length": rng.choice((0, 0, 0, 1, 2, 3, 4, 5, 8))}
        cases.append(case | learn(case))
    header = {"made_by": "tools/oracle/bpe_train.py", "tokenizers": tokenizers.__version__, "seed": options.seed}
    with open(options.out, "w", encoding="utf-8") as file:
        file.write(json.dumps(header)[:-1] + ', "cases": [\n')
        file.write(",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
