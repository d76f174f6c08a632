#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The budget client of NVIDIA's model cards against a live `planish serve`: a first call ends in the reasoning after as many
tokens as the budget has, the client closes the tag, and a second call continues. Such clients look for </think> in the
content, so the server leaves the reasoning there (--reasoning-field content). The second call is made in both ways that such
clients use: /v1/completions on a prompt that the client rendered from the model's template, and continue_final_message.
Usage: two_call_budget_test.py PLANISH   (exit status 77: the packages are not installed; see `make test-clients`)"""
import sys

from live_server import NANO, LiveServer, check

try:
    import jinja2
    import openai
except ImportError:
    print("skipped: the openai and jinja2 packages are not installed here (make test-clients installs them)")
    sys.exit(77)

PLANISH = sys.argv[1]
CLOSE = ".\n</think>\n\n"
QUESTIONS = ["A box holds 12 pens. How many pens are in 7 boxes?",
             "Tom has 45 apples. He gives away 17 of them. How many apples are left?",
             "A train leaves at 9:40 and needs 2 hours 35 minutes. When does it arrive?"]


def template():
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((NANO / "chat_template.jinja").read_text())


def two_calls(client, server, rendered, question, budget, max_tokens):
    """What the client makes of a question: reasoning, answer, and the answer of the second way to continue."""
    messages = [{"role": "user", "content": question}]
    first = client.chat.completions.create(model="any", messages=messages, max_tokens=budget, temperature=0)
    text = first.choices[0].message.content
    check(not getattr(first.choices[0].message, "reasoning_content", None), "the reasoning is taken out of the content")
    check(first.usage.completion_tokens <= budget, f"{first.usage.completion_tokens} tokens with a budget of {budget}")
    is_closed = "</think>" in text
    if not is_closed:
        check(first.choices[0].finish_reason == "length", first.choices[0].finish_reason)
        check(first.usage.completion_tokens == budget, "cut before the budget")
        text += CLOSE
    used = len(server.post("/tokenize", {"prompt": text, "add_special_tokens": False})["tokens"])
    left = max_tokens - used
    check(left > 0, "no token is left")
    # transformers' apply_chat_template renders the open answer as text behind the generation prompt, so does this.
    prompt = rendered.render(messages=messages, add_generation_prompt=True) + text
    second = client.completions.create(model="any", prompt=prompt, max_tokens=left, temperature=0)
    other = client.chat.completions.create(
        model="any", messages=messages + [{"role": "assistant", "content": "<think>\n" + text}], max_tokens=left, temperature=0,
        extra_body={"continue_final_message": True, "add_generation_prompt": False})
    return text, is_closed, second.choices[0].text, other.choices[0].message.content


def main():
    rendered = template()
    with LiveServer(PLANISH, NANO, "--reasoning-field", "content") as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120)
        closed = set()
        for question in QUESTIONS:
            for budget in (8, 24, 400):
                text, is_closed, answer, other = two_calls(client, server, rendered, question, budget, 800)
                closed.add(is_closed)
                whole = (text.split("</think>", 1)[1] + answer).strip()
                check(whole, f"no answer to {question!r} with a budget of {budget}")
                check(answer == other, f"{answer!r} by completions, {other!r} by continue_final_message")
                print(f"budget {budget}: {'closed by itself' if is_closed else 'cut'}: {whole!r}")
        check(closed == {True, False}, "both branches were wanted")
    print("ok")


if __name__ == "__main__":
    main()
