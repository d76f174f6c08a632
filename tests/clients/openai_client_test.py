#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The `openai` package, unchanged, against a live `planish serve` with a tiny model.
Usage: openai_client_test.py PLANISH GOLDEN_DIR   (exit status 77: the package is not installed; see `make test-clients`)"""
import json
import signal
import subprocess
import sys
import tempfile

from live_server import LiveServer, check, tiny_model

try:
    import openai
    import pydantic
except ImportError:
    print("skipped: the openai package is not installed here (make test-clients installs it)")
    sys.exit(77)

PLANISH, GOLDEN = sys.argv[1:3]
KEY = "a-secret-key"
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
USER = [{"role": "user", "content": "Hello there"}]


def chat(client):
    answer = client.chat.completions.create(
        model="any", messages=USER, max_tokens=80, seed=1, extra_body={"thinking_budget": 8})
    choice = answer.choices[0]
    check(choice.message.role == "assistant" and choice.message.content, "chat content")
    check(choice.message.reasoning_content, "reasoning_content")
    check(answer.usage.completion_tokens_details.reasoning_tokens >= 8, "reasoning_tokens")
    again = client.chat.completions.create(
        model="any", messages=USER, max_tokens=80, seed=1, extra_body={"thinking_budget": 8})
    check(again.choices[0].message.content == choice.message.content, "same seed, same answer")
    pieces, reasoning, usage = "", "", None
    for chunk in client.chat.completions.create(
            model="any", messages=USER, max_tokens=80, seed=1, stream=True,
            stream_options={"include_usage": True}, extra_body={"thinking_budget": 8}):
        usage = chunk.usage or usage
        for part in chunk.choices:
            pieces += part.delta.content or ""
            reasoning += getattr(part.delta, "reasoning_content", None) or ""
    check(pieces == choice.message.content, "streamed content")
    check(reasoning == choice.message.reasoning_content, "streamed reasoning")
    check(usage.completion_tokens == answer.usage.completion_tokens, "streamed usage")
    many = client.chat.completions.create(
        model="any", messages=USER, max_tokens=20, n=3, logprobs=True, top_logprobs=2,
        extra_body={"thinking_budget": 0})
    check(len(many.choices) == 3, "n")
    check(len(many.choices[0].logprobs.content[0].top_logprobs) == 2, "top_logprobs")


def tools(client):
    answer = client.chat.completions.create(
        model="any", messages=USER, tools=[TOOL], tool_choice="required", parallel_tool_calls=False,
        max_tokens=300, seed=3, extra_body={"thinking_budget": 4})
    call = answer.choices[0].message.tool_calls[0]
    arguments = json.loads(call.function.arguments)
    check(answer.choices[0].finish_reason == "tool_calls", "finish_reason of calls")
    check(call.function.name == "look_up" and arguments["city"] in ("Oslo", "Rome"), "the call")
    name, text, finish = "", "", None
    for chunk in client.chat.completions.create(
            model="any", messages=USER, tools=[TOOL], tool_choice="required", parallel_tool_calls=False,
            max_tokens=300, seed=3, stream=True, extra_body={"thinking_budget": 4}):
        part = chunk.choices[0]
        finish = part.finish_reason or finish
        for piece in part.delta.tool_calls or []:
            name += piece.function.name or ""
            text += piece.function.arguments or ""
    check((name, text, finish) == ("look_up", call.function.arguments, "tool_calls"), "streamed call")
    # The round trip: the result goes back as a message of the tool.
    messages = USER + [answer.choices[0].message.model_dump(exclude_none=True),
                       {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"}]
    check(client.chat.completions.create(model="any", messages=messages, tools=[TOOL], max_tokens=40,
                                         extra_body={"thinking_budget": 0}).choices, "after the result")


class Verdict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    good: bool
    score: int


def structure(client):
    schema = {"type": "object", "properties": {"good": {"type": "boolean"}, "score": {"type": "integer", "minimum": 0, "maximum": 9}},
              "required": ["good", "score"], "additionalProperties": False}
    answer = client.chat.completions.create(
        model="any", messages=USER, max_tokens=300, seed=5,
        response_format={"type": "json_schema", "json_schema": {"name": "v", "schema": schema, "strict": True}},
        extra_body={"thinking_budget": 4})
    Verdict.model_validate_json(answer.choices[0].message.content)
    try:
        parsed = client.chat.completions.parse(
            model="any", messages=USER, max_tokens=300, seed=5, response_format=Verdict, extra_body={"thinking_budget": 4})
        check(isinstance(parsed.choices[0].message.parsed, Verdict), "parse")
    except openai.LengthFinishReasonError:
        pass  # a random model may count for ever


def responses(client):
    answer = client.responses.create(model="any", input="Hello", max_output_tokens=60, extra_body={"thinking_budget": 5, "seed": 1})
    check(answer.output_text, "output_text")
    check(answer.output[0].type == "reasoning", "reasoning item")
    text, kinds = "", []
    with client.responses.stream(model="any", input="Hello", max_output_tokens=60,
                                 extra_body={"thinking_budget": 5, "seed": 1}) as stream:
        for event in stream:
            kinds.append(event.type)
            if event.type == "response.output_text.delta":
                text += event.delta
    check(text == answer.output_text, "streamed response")
    check(kinds[0] == "response.created" and kinds[-1] in ("response.completed", "response.incomplete"), kinds)


def rest(client, url):
    check([m.id for m in client.models.list().data] == ["tiny"], "models")
    text = client.completions.create(model="any", prompt="Once", max_tokens=5, echo=True, logprobs=1)
    check(text.choices[0].text.startswith("Once"), "echo")
    check(len(text.choices[0].logprobs.token_logprobs) == len(text.choices[0].logprobs.tokens), "legacy logprobs")
    for bad, kind in (({"temperature": 1000}, openai.BadRequestError), ({"top_p": -1}, openai.BadRequestError)):
        try:
            client.chat.completions.create(model="any", messages=USER, **bad)
            raise AssertionError(bad)
        except kind as error:
            check(error.param in bad, error)
    try:
        openai.OpenAI(base_url=url + "/v1", api_key="wrong", max_retries=0).models.list()
        raise AssertionError("a wrong key")
    except openai.AuthenticationError:
        pass


def main():
    with tempfile.TemporaryDirectory() as folder:
        with LiveServer(PLANISH, tiny_model(GOLDEN, folder), key=KEY) as server:
            client = openai.OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0, timeout=120)
            chat(client)
            tools(client)
            structure(client)
            responses(client)
            rest(client, server.url)
            second = subprocess.run(server.command, env=server.environment, capture_output=True, text=True)
            check(second.returncode == 5 and "cannot listen" in second.stderr, second)
            server.process.send_signal(signal.SIGHUP)
            client.models.list()
            status = server.stop(signal.SIGTERM)
            check(status == 0, f"exit status {status} after SIGTERM")
            check(subprocess.run(server.health, capture_output=True).returncode == 5, "--check without a server")
        check(KEY not in server.log, "the key is in the log")
    print("ok")


if __name__ == "__main__":
    main()
