#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares planish's Jinja interpreter with Python jinja2 in the environment transformers uses.

  jinja_diff.py --planish build/planish [--templates DIR ...] [--conversations 500] [--seed 1]
  jinja_diff.py --write-fixture tests/golden/jinja/snippets.json     (jinja2 only; planish is not needed)

Templates: every *.jinja under the given folders (default: tests/golden), each over all generated conversations with
tools, odd contents and keyword arguments; then the snippets of jinja_snippets.py. Texts must be equal; where jinja2 fails
planish must fail, for syntax errors with the same line. Exit status 1 if anything differs. Needs the Debian package
python3-jinja2 (or pip's jinja2) and nothing else.
"""
import argparse
import datetime
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import jinja2
import jinja2.ext
import jinja2.sandbox

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import jinja_snippets  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Generation(jinja2.ext.Extension):
    """{% generation %}: a call block around the body, so it has a scope of its own."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda fmt: datetime.datetime.now().strftime(fmt)
    return env


ENV = environment()


def oracle(template, case):
    """What jinja2 makes of one case: {"text"} or {"error", "line" for syntax errors}."""
    case = json.loads(json.dumps(case))  # the indent filter of jinja2 changes lists in place
    try:
        compiled = ENV.from_string(template)
        text = compiled.render(messages=case["messages"], tools=case.get("tools"), documents=None,
                               add_generation_prompt=case.get("add_generation_prompt", False),
                               bos_token=case.get("bos_token", ""), eos_token=case.get("eos_token", ""),
                               **case.get("kwargs", {}))
        text.encode()
        return {"text": text}
    except jinja2.exceptions.TemplateSyntaxError as e:
        return {"error": str(e.message), "line": e.lineno}
    except RecursionError:
        return {"error": "recursion"}
    except Exception as e:  # noqa: BLE001 - any failure of the template counts
        return {"error": f"{type(e).__name__}: {e}"}


TEXTS = ["Hi", "", "  padded \n", "What is 2+2?", "Zeile eins\nZeile zwei", "日本語 🙂 ñ", "/no_think tell me", "use /think now",
         "see /srv/think/x", "{{ not a template }}", "{% if %}", "<think>\nhm\n</think>\n\nfour", "<think></think>ok", "a</think>b</think>c",
         "<|im_end|> <|eot_id|> <SPECIAL_11>", 'quote " and \\ back', "tab\tand\x01ctl", "detailed thinking off", "<tool_response>x</tool_response>", "x" * 300]
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather\nof a city", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "description": "näme"}, "days": {"type": ["integer", "null"]},
                                         "unit": {"enum": ["celsius", "fahrenheit"]}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}},
    {"type": "function", "function": {"name": "deep", "description": "", "strict": True, "return": {"type": "string"}, "parameters": {
        "type": "object", "properties": {"l": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number", "default": 1.5e-7}}}}}}}},
    {"name": "flat", "description": "<b>&'\"", "parameters": {"type": "object", "properties": {"a": {"type": "array"}}}},
]


def conversation(rng):
    """One random conversation: mostly well formed, sometimes with null, missing or listed contents."""
    def text():
        return rng.choice(TEXTS) + (" " + rng.choice(TEXTS) if rng.random() < 0.3 else "")

    def content():
        roll = rng.random()
        if roll < 0.04:
            return None
        if roll < 0.1:
            return [{"type": "text", "text": text()}, {"type": "image"}, {"type": "text", "text": text()}][:rng.randint(0, 3)]
        return text()

    messages = []
    if rng.random() < 0.5:
        messages.append({"role": "system", "content": text()})
    call_id = 0
    for _ in range(rng.randint(0 if messages else 1, 4)):
        messages.append({"role": "user", "content": content()})
        if rng.random() < 0.3:
            calls = []
            for _ in range(rng.choice([1, 1, 2])):
                call_id += 1
                arguments = rng.choice([{}, {"city": "Köln", "days": 3}, {"x": [1, 2.5, None, True, "q\"\n"], "y": {"z": 1e20}}, '{"city": "Rome"}'])
                call = {"id": f"call{call_id:05d}", "type": "function", "function": {"name": rng.choice(["get_weather", "f"]), "arguments": arguments}}
                calls.append(call["function"] if rng.random() < 0.1 else call)
            message = {"role": "assistant", "content": rng.choice([None, "", text()]), "tool_calls": calls}
            if rng.random() < 0.2:
                del message["content"]
            messages.append(message)
            for call in calls:
                if rng.random() < 0.9:
                    messages.append({"role": rng.choice(["tool", "tool", "tool", "ipython"]), "name": "f", "tool_call_id": call.get("id"),
                                     "content": rng.choice(['{"t": 20}', "rain", text(), {"t": 20}, 7])})
        if rng.random() < 0.75:
            message = {"role": "assistant", "content": content()}
            if rng.random() < 0.15:
                message["reasoning_content"] = rng.choice(["thought\n", "", None])
            messages.append(message)
    if rng.random() < 0.03:
        messages.append({"role": rng.choice(["critic", "developer"]), "content": text()})
    case = {"messages": messages, "tools": rng.choice([None, None, [], TOOLS[:1], TOOLS[:3], TOOLS, [TOOLS[1]]]),
            "add_generation_prompt": rng.random() < 0.6, "bos_token": "<s>", "eos_token": "</s>", "kwargs": {}}
    if rng.random() < 0.2:
        case["kwargs"]["enable_thinking"] = rng.random() < 0.5
    if rng.random() < 0.05:
        case["kwargs"].update({"date_string": "1 Jan 2030", "builtin_tools": ["brave_search", "code_interpreter"], "tools_in_user_message": False})
    return case


def run_planish(command, template, cases):
    """One answer per case. planish stops at the first case that fails, so the rest is sent again without it."""
    answers = []
    with tempfile.NamedTemporaryFile("w", suffix=".jinja", newline="") as f:
        f.write(template)
        f.flush()
        while len(answers) < len(cases):
            rest = cases[len(answers):]
            done = subprocess.run([*command, "--template", f.name, "--jsonl"], text=True, capture_output=True, timeout=600,
                                  input="".join(json.dumps(c, ensure_ascii=False) + "\n" for c in rest))
            if done.returncode not in (0, 3):  # 3: bad file; anything else is a crash or wrong usage
                sys.exit(f"{command} ended with status {done.returncode}: {done.stderr.strip()}")
            answers += [json.loads(line) for line in done.stdout.splitlines()]
            if len(answers) < len(cases):
                answers.append({"error": done.stderr.strip()})
    return answers


def same(want, got):
    if "text" in want:
        return got.get("text") == want["text"]
    if "error" not in got and got.get("text") is not None:
        return False
    return "line" not in want or f"line {want['line']}:" in str(got.get("error", ""))


def snippet_case():
    return {"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "yes é"}], "tools": None,
            "add_generation_prompt": False, "bos_token": "<s>", "eos_token": "</s>", "kwargs": jinja_snippets.CONTEXT}


def out_of_scope(text):
    """Addresses of printed objects are not part of the language; complex numbers we do not have."""
    return any(mark in text for mark in (" object at 0x", "<built-in", "<function")) or re.fullmatch(r"\(.*j\)", text)


def write_fixture(path):
    cases = []
    for template in jinja_snippets.snippets():
        want = oracle(template, snippet_case())
        if out_of_scope(want.get("text", "")):
            continue
        cases.append([template, want["text"]] if "text" in want else [template, None, want.get("line", 0)])
    header = {"oracle": f"jinja2 {jinja2.__version__}, Python {sys.version.split()[0]}", "script": "tools/oracle/jinja_diff.py --write-fixture",
              "environment": "ImmutableSandboxedEnvironment(trim_blocks, lstrip_blocks, loopcontrols), tojson = json.dumps",
              "form": "[template, text] or [template, null, line of a syntax error or 0]", "input": snippet_case()}
    body = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    pathlib.Path(path).write_text(json.dumps(header, ensure_ascii=False)[:-1] + ',\n"cases": [\n' + body + "\n]}\n")
    print(f"{len(cases)} cases written to {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planish", default=str(ROOT / "build" / "planish"))
    parser.add_argument("--command", help="program and arguments in place of 'PLANISH template'")
    parser.add_argument("--templates", nargs="*", default=[str(ROOT / "tests" / "golden")])
    parser.add_argument("--conversations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write-fixture")
    parser.add_argument("--no-snippets", action="store_true")
    args = parser.parse_args()
    if args.write_fixture:
        return write_fixture(args.write_fixture)
    command = args.command.split() if args.command else [args.planish, "template"]
    rng = random.Random(args.seed)
    cases = [conversation(rng) for _ in range(args.conversations)]
    count = differ = failures = 0
    for folder in args.templates:
        for path in sorted(pathlib.Path(folder).rglob("*.jinja")):
            template = path.read_bytes().decode()
            for case, got in zip(cases, run_planish(command, template, cases)):
                want = oracle(template, case)
                count += 1
                failures += "error" in want
                if not same(want, got):
                    differ += 1
                    if differ < 20:
                        print(f"DIFFERS {path.name}\n  input {json.dumps(case, ensure_ascii=False)}\n  jinja2  {want}\n  planish {got}")
    print(f"{count} renderings, {failures} of them failing in jinja2, {differ} differ")
    if not args.no_snippets:
        snippets = jinja_snippets.snippets()
        wrong = 0
        for template in snippets:
            want = oracle(template, snippet_case())
            got = run_planish(command, template, [snippet_case()])[0]
            if out_of_scope(want.get("text", "")):
                continue
            if not same(want, got):
                wrong += 1
                if wrong < 200:
                    print(f"DIFFERS {template!r}\n  jinja2  {want}\n  planish {got}")
        print(f"{len(snippets)} snippets, {wrong} differ")
        differ += wrong
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
