# SPDX-License-Identifier: Apache-2.0
"""Serves the embedded page and, instead of a model, scripted answers in the server's own event format, so that tests see
every branch of the page at a known moment. A script is chosen by a word in the last user message."""
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
          "frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
TYPES = {"/": ("index.html", "text/html"), "/app.js": ("app.js", "text/javascript"), "/app.css": ("app.css", "text/css")}
TOOLS = [{"type": "function", "function": {"name": "name_a_color", "description": "Names a colour.", "parameters": {
    "type": "object", "properties": {"color_hex": {"type": "string"}}, "required": ["color_hex"]}}}]
COLOR = {"color_hex": "#b3602c", "name": "sienna", "nearest": [
    {"name": "sienna", "hex": "#a0522d", "distance": 6.1}, {"name": "chocolate", "hex": "#d2691e", "distance": 9.4}, {"name": "peru", "hex": "#cd853f", "distance": 15.8}]}
REASONING = ("The train leaves at 9:40 and needs 2 hours 35 minutes. ", "9:40 plus 2 hours is 11:40. ",
             "35 minutes more: 11:40 plus 20 is 12:00, and 15 are left, so 12:15.\n", "Check: 12:15 minus 2:35 is 9:40. Good.\n")
ANSWER = ("The train arrives at **12:15**.\n\n", "| step | time |\n|---|---:|\n", "| leaves | 9:40 |\n", "| + 2 h | 11:40 |\n",
          "| + 35 min | 12:15 |\n\n", "1. add the hours\n", "2. add the minutes\n", "   - first to the *full hour*\n", "   - then the rest\n\n",
          "```python\n", "from datetime import datetime, timedelta\n", "print(datetime(2025, 1, 1, 9, 40) + timedelta(hours=2, minutes=35))\n", "```\n",
          "See [the docs](https://docs.python.org/3/library/datetime.html), not [this](javascript:alert(1)). <b onclick=x>plain</b>\n")


class Script:
    """What the server was asked, and the doors that hold its answers back."""

    def __init__(self, folder, key=None, delay=0.0):
        self.folder, self.key, self.delay = folder, key, delay
        self.requests, self.controls, self.tool_calls = [], [], []
        self.gate = threading.Event()  # "held" answers wait here
        self.gate.set()
        self.disconnects = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script = None

    def log_message(self, *_):
        pass

    def answer(self, status, value, kind="application/json", headers=()):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, given in (("content-type", kind), ("content-length", str(len(body)))) + tuple(headers):
            self.send_header(name, given)
        self.end_headers()
        self.wfile.write(body)

    def error(self, status, message, code, headers=()):
        self.answer(status, {"error": {"message": message, "type": "error", "param": None, "code": code}}, headers=headers)

    def refuses(self):
        if self.script.key and self.headers.get("authorization") != f"Bearer {self.script.key}":
            self.error(401, "a valid key is needed", "invalid_api_key")
            return True
        return False

    def do_GET(self):
        if self.path in TYPES:
            name, kind = TYPES[self.path]
            with open(f"{self.script.folder}/{name}", "rb") as file:
                self.answer(200, file.read(), kind + "; charset=utf-8", (("content-security-policy", POLICY),))
        elif self.path == "/health":
            self.answer(200, {"status": "ok"})
        elif self.refuses():
            pass
        elif self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": "planish-nano", "max_model_len": 131072, "meta": {
                "n_params": 4200000, "layers": {"attention": 2, "mamba2": 8, "ffn": 10},
                "thinking": {"supported": True, "toggle": True, "default_on": True}, "tools": True}}]})
        elif self.path == "/demo/tools":
            self.answer(200, TOOLS)
        else:
            self.error(404, "no such path", None)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.refuses():
            return
        if self.path == "/v1/chat/completions":
            self.script.requests.append(body)
            try:
                self.complete(body)
            except (BrokenPipeError, ConnectionResetError):
                self.script.disconnects += 1
                self.close_connection = True
        elif self.path == "/v1/chat/completions/control":
            self.script.controls.append(body)
            self.script.gate.set()
            self.answer(200, {"success": True})
        elif self.path == "/demo/tools/name_a_color":
            self.script.tool_calls.append(body)
            self.answer(200, COLOR)
        else:
            self.error(404, "no such path", None)

    # ---- one streamed completion ----

    def event(self, value):
        data = f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def chunk(self, delta, finish=None, **extra):
        self.event({"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "usage": None,
                    "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **extra})
        time.sleep(self.script.delay)

    def complete(self, body):
        user = next(m["content"] for m in reversed(body["messages"]) if m["role"] == "user")
        if "busy" in user:
            return self.error(429, "the queue is full", "queue_full", (("retry-after", "7"),))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.chunk({"role": "assistant", "content": ""})
        for done in (128, 384, 812):
            self.event({"id": "chatcmpl-scripted", "choices": [], "planish": {"progress": {"total": 812, "cached": 128, "done": done}}})
            time.sleep(self.script.delay)
        if "breaks" in user:
            self.chunk({"content": "Half an ans"})
            self.event({"error": {"message": "the model met a number that is not finite", "code": "server_error"}})
            self.wfile.write(b"0\r\n\r\n")
            return
        if "is cut" in user:
            self.chunk({"content": "Half an ans"})
            time.sleep(0.1)
            self.close_connection = True  # in the middle of the body
            return
        thinks = body.get("chat_template_kwargs", {}).get("enable_thinking", True)
        used, held = 0, "held" in user
        budget = body.get("max_thinking_tokens", -1)
        for sentence in REASONING * (6 if held else 1) if thinks else ():
            for word in sentence.split(" "):
                used += 1
                self.chunk({"reasoning_content": word + ("" if word.endswith("\n") else " ")},
                           planish={"thinking": {"used": used, "budget": budget if budget > 0 else None}})
            if held and used > 60:
                while not self.script.gate.wait(0.05):
                    self.wfile.write(b"8\r\n: ping\n\n\r\n")  # fails when the client is gone
                    self.wfile.flush()
                break
        calls = bool(body.get("tools")) and body["messages"][-1]["role"] == "user"
        if calls:
            self.chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "name_a_color", "arguments": ""}}]})
            for part in ('{"color_', 'hex": "#b3', '602c"}'):
                self.chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
        else:
            told = body["messages"][-1]["role"] == "tool"
            for piece in ("The colour is close to **sienna**, a reddish brown.",) if told else ANSWER:
                for word in piece.split(" "):
                    self.chunk({"content": word if word.endswith("\n") else word + " "})
        self.chunk({}, "tool_calls" if calls else "stop")
        tokens = {"prompt_tokens": 812, "completion_tokens": used + 95, "total_tokens": 907 + used,
                  "prompt_tokens_details": {"cached_tokens": 790}, "completion_tokens_details": {"reasoning_tokens": used}}
        self.event({"id": "chatcmpl-scripted", "choices": [], "usage": tokens, "planish": {
            "timings": {"queue_ms": 0, "prompt_ms": 310, "first_token_ms": 310, "decode_ms": 5200, "tokens_per_s": 18.2},
            "thinking": {"budget": budget, "used": used, "stopped_by": "control" if held else "natural"}}})
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


def start(script):
    """Serves on a free port until the process ends; returns the server and its address."""
    handler = type("Bound", (Handler,), {"script": script})
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"
