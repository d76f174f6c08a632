#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An example of conversations of your own, with a skill that planish-nano lacks: Roman numerals. Writes own.jsonl (each problem
with thinking and without) and, of numbers never seen there, test.jsonl for `planish eval --data`.
Usage: roman.py FOLDER"""
import json
import pathlib
import random
import sys

VALUES = [(1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"),
          (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]
QUESTIONS = ["Write {} in Roman numerals.", "What is {} as a Roman numeral?", "How would the Romans have written {}?",
             "A clock maker needs the number {} in Roman numerals. What does he write?"]


def steps(number):
    """[(what is left, the sign that goes, its value)] until nothing is left."""
    result = []
    for value, sign in VALUES:
        while number >= value:
            result.append((number, sign, value))
            number -= value
    return result


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    numbers = list(range(1, 2000))
    random.Random(1).shuffle(numbers)
    with open(folder / "own.jsonl", "w") as out:
        for number in numbers[:1600]:
            for question in QUESTIONS:
                prompt = {"role": "user", "content": question.format(number)}
                worked = steps(number)
                roman = "".join(sign for _, sign, _ in worked)
                trace = "\n".join(f"{left} - {value} = {left - value}: {sign}" for left, sign, value in worked)
                answer = {"role": "assistant", "content": f"The answer is {roman}."}
                thought = {**answer, "reasoning_content": f"{trace}\nanswer: {roman}"}
                out.write(json.dumps({"messages": [prompt, thought], "enable_thinking": True}) + "\n")
                out.write(json.dumps({"messages": [prompt, answer], "enable_thinking": False}) + "\n")
    with open(folder / "test.jsonl", "w") as out:
        for index, number in enumerate(numbers[1600:]):
            out.write(json.dumps({"question": QUESTIONS[index % 4].format(number), "answer_type": "word", "skill": "roman",
                                  "answer": "".join(sign for _, sign, _ in steps(number))}) + "\n")


main()
