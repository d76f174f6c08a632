#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Judges texts against JSON schemas with the `jsonschema` package (Debian: python3-jsonschema).

usage: check_schemas.py FILE.jsonl      each line: {"schema": ..., "text": "..."}
Prints every text that is no JSON or breaks its schema; exit status 1 if there is one.
"""
import json
import sys

import jsonschema


def main():
    bad = count = 0
    with open(sys.argv[1], encoding="utf-8") as lines:
        for count, line in enumerate(lines, 1):
            case = json.loads(line)
            try:
                value = json.loads(case["text"])
                jsonschema.Draft202012Validator(
                    case["schema"], format_checker=jsonschema.FormatChecker()
                ).validate(value)
            except (ValueError, jsonschema.ValidationError) as error:
                bad += 1
                print(f"line {count}: {str(error).splitlines()[0]}\n  schema {json.dumps(case['schema'])}\n  text {case['text']}")
    print(f"{count} texts, {bad} not valid")
    return 1 if bad or not count else 0


if __name__ == "__main__":
    sys.exit(main())
