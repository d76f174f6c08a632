#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares a tokenizer program with Hugging Face tokenizers on random strings, id for id.
Usage: tokenizer_diff.py [--cases N] [--seed S] TOKENIZER_JSON[.zst] -- COMMAND...
COMMAND reads one JSON string a line and answers each with a line {"ids": [...], "decoded": "..."}.
Needs the package `tokenizers` (0.23 is the reference). Prints the first differences; status 1 if there are any."""
import argparse
import json
import random
import subprocess
import sys

from tokenizers import Tokenizer

WORDS = ("the of and Hello world don't WE'LL I'd they're it's CamelCase HTTPServer snake_case naive caf\u00e9 cafe\u0301 "
         "Stra\u00dfe \u0130stanbul \u017ft 'S 'LL '\u017f \u00c5ngstr\u00f6m 123 4567 3.14 1,000,000 0x1F \u00bd \u2167 \u0663\u0664 \u4e2d\u6587 "
         "\u65e5\u672c\u8a9e\u30c6\u30ad\u30b9\u30c8 \ud55c\uad6d\uc5b4 \u1112\u1161\u11ab \u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u0639\u0631\u0628\u064a \u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22 "
         "http://a.b/c?d=e&f#g a/b//c /* */ // {}[]()<>;: $$ 50% #tag @me e-mail --- ... \u2026 \u2014 \u00ab\u00bb").split()
ODD = ["\n", "\r\n", "\r", "\t", " ", "  ", "   ", "\u00a0", "\u3000", "\u2003", "\u180e", "\u200b", "\u200d", "\ufeff",
       "\u0085", "\u2028", "\x0b", "\x0c", "\x00", "\x1c", "\x1f", "\x7f", "'", "'", "\u2019", "/", "\n\n", " \n ", "\t\n", "\n/",
       "\u0301", "\u0323", "\u0327", "\u212b", "\u2126", "\ufb01", "\u1e9b\u0323", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
       "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "\U0001d54f", "\U00020000", "\u01c5", "\u02b0", "\u24d0",
       "\u0897", "\U00016130", "\U00011de0", "\U0002ebf0"]
RANGES = [(0x20, 0x7F), (0x20, 0x7F), (0x80, 0x250), (0x250, 0x600), (0x300, 0x370), (0x900, 0xE00), (0x1100, 0x1200),
          (0x1E00, 0x2300), (0x2600, 0x2800), (0x3000, 0x3200), (0x4E00, 0xA000), (0xA640, 0xA800), (0xAC00, 0xD7A4),
          (0xF900, 0x10000), (0x10000, 0x12000), (0x1D400, 0x1D800), (0x1F300, 0x1FB00), (0, 0x110000)]


def character(rng):
    while True:
        code = rng.randrange(*rng.choice(RANGES))
        if not 0xD800 <= code < 0xE000:
            return chr(code)


def sample(rng, added):
    """One string: a mix of words, odd pieces, runs, random characters and the texts of added tokens."""
    parts = []
    for _ in range(rng.randrange(1, rng.choice((4, 12, 40)))):
        kind = rng.random()
        if kind < 0.35:
            parts.append(rng.choice(WORDS))
        elif kind < 0.5:
            parts.append(" ")
        elif kind < 0.65:
            parts.append(rng.choice(ODD))
        elif kind < 0.75:
            parts.append(rng.choice(ODD + WORDS) * rng.randrange(1, 9))
        elif kind < 0.8:
            parts.append("".join(rng.choice("0123456789") for _ in range(rng.randrange(1, 9))))
        elif kind < 0.85:
            parts.append("".join(rng.choice(" \n\t\r") for _ in range(rng.randrange(1, 9))))
        elif kind < 0.9:
            parts.append("".join(rng.choice("aA'sStTlLdD\u017f 1") for _ in range(rng.randrange(1, 12))))
        elif kind < 0.97 or not added:
            parts.append("".join(character(rng) for _ in range(rng.randrange(1, 6))))
        else:
            text = rng.choice(added)
            parts.append(text if rng.random() < 0.7 else text[: rng.randrange(len(text)) + 1] + text)
    return "".join(parts)


def read_text(path):
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout.decode()
    with open(path, encoding="utf-8") as file:
        return file.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("tokenizer")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command

    text = read_text(options.tokenizer)
    oracle = Tokenizer.from_str(text)
    added = [token["content"] for token in json.loads(text)["added_tokens"]]
    rng = random.Random(options.seed)
    texts = [sample(rng, added) for _ in range(options.cases)]
    lines = "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts)
    answers = subprocess.run(command, input=lines.encode(), check=True, stdout=subprocess.PIPE).stdout.splitlines()
    if len(answers) != len(texts):
        sys.exit(f"the command answered {len(answers)} of {len(texts)} lines")
    different = 0
    for text, answer in zip(texts, answers):
        expected = oracle.encode(text, add_special_tokens=False).ids
        answer = json.loads(answer)
        decoded = oracle.decode(expected, skip_special_tokens=False)
        if answer["ids"] != expected or answer["decoded"] != decoded:
            different += 1
            if different <= 5:
                print(f"text     {text!r}\nexpected {expected} {decoded!r}\nfound    {answer['ids']} {answer['decoded']!r}")
    print(f"{options.cases - different} of {options.cases} agree (seed {options.seed})")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
