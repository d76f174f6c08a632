# SPDX-License-Identifier: Apache-2.0
"""The web page in a headless Chromium against scripted answers: what a user does, and what is then on the screen and in
the requests. Usage: page_test.py FOLDER_OF_EMBEDDED_FILES. Status 77: there is no Chromium."""
import json
import sys
import time
import unittest

import chromium
import scripted_server

QUESTION = "A train leaves at 9:40 and needs 2 hours 35 minutes. When does it arrive?"
IDLE = "document.querySelector('.reply') && !document.querySelector('[aria-busy=true]')"


def text_of(selector):
    return f"document.querySelector({json.dumps(selector)})?.textContent"


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = chromium.Browser(chromium.find())

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def setUp(self):
        self.open()

    def open(self, **options):
        """A fresh server; as its port is its own, so is the page's storage."""
        self.script = scripted_server.Script(sys.argv[1], **options)
        self.server, self.url = scripted_server.start(self.script)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.browser.resize(1280, 860)
        self.browser.events.clear()
        self.browser.open(self.url)
        if not options.get("key"):
            self.ready()

    def tearDown(self):
        self.assertEqual(self.browser.complaints(), [])

    def ready(self):
        self.browser.wait("!document.getElementById('tools-switch').hidden")  # the last to come

    def ask(self, text, waits=True):
        before = self.browser.run("document.querySelectorAll('.reply').length")
        self.browser.run("document.getElementById('message').focus()")
        self.browser.type(text)
        self.browser.key("Enter")
        self.browser.wait(f"document.querySelectorAll('.reply').length > {before}")
        if waits:
            self.browser.wait(IDLE)

    def request(self):
        return self.script.requests[-1]

    def test_answer_streams_as_nodes_and_never_as_html(self):
        page = self.browser
        self.ask(QUESTION)
        self.assertEqual(page.run(text_of(".reply .markdown > p strong")), "12:15")
        self.assertEqual(page.run("[...document.querySelectorAll('.markdown td')].map((n) => n.textContent)"),
                         ["leaves", "9:40", "+ 2 h", "11:40", "+ 35 min", "12:15"])
        self.assertEqual(page.run(text_of(".markdown ol > li:last-child > ul em")), "full hour")
        self.assertIn("timedelta(hours=2", page.run(text_of(".markdown pre code")))
        self.assertEqual(page.run("[...document.querySelectorAll('.markdown a')].map((n) => n.href)"),
                         ["https://docs.python.org/3/library/datetime.html"])
        self.assertIn("<b onclick=x>plain</b>", page.run(text_of(".markdown")))
        self.assertEqual(page.run("document.querySelectorAll('.markdown b').length"), 0)
        self.assertEqual(page.run(text_of(".stats")), "812 in (790 cached) · 40 thinking · 95 answer · 25.8 tok/s · first token 0.31 s")
        self.assertIn("thought for 40 tokens", page.run(text_of(".reasoning summary")))
        self.assertFalse(page.run("document.querySelector('.reasoning').open"))
        spoken = page.run("document.getElementById('spoken').innerText")
        self.assertIn("The train arrives at 12:15.", spoken)
        self.assertEqual(self.request()["messages"], [{"role": "user", "content": QUESTION}])
        self.assertEqual(self.request()["stream_options"], {"include_usage": True, "include_progress": True})

    def test_thinking_switch_slider_and_number_say_the_same(self):
        page = self.browser
        self.ask("first")
        self.assertEqual(self.request()["max_thinking_tokens"], 2048)
        page.click("#thinking-switch")
        self.assertEqual(page.run("document.getElementById('budget').value"), "0")
        self.ask("second")
        self.assertEqual(self.request()["chat_template_kwargs"], {"enable_thinking": False})
        self.assertNotIn("max_thinking_tokens", self.request())
        self.assertTrue(page.run("[...document.querySelectorAll('.thinking')].at(-1).hidden"))
        page.key("t", code="KeyT", alt=True)  # the budget of before comes back
        self.assertEqual(page.run("document.getElementById('budget-tokens').value"), "2048")
        page.key("ArrowUp", alt=True)
        self.assertEqual(page.run("document.getElementById('budget').getAttribute('aria-valuetext')"), "4,096")
        page.run("document.getElementById('budget').focus()")
        page.key("End")
        self.ask("third")
        self.assertEqual(self.request()["max_thinking_tokens"], -1)
        page.run("(() => {const box = document.getElementById('budget-tokens'); box.focus(); box.select();})()")
        page.type("300")
        page.key("Tab")
        self.assertEqual(page.run("document.getElementById('budget').value"), "2")  # 256 is the step below
        self.ask("fourth")
        self.assertEqual(self.request()["max_thinking_tokens"], 300)

    def test_live_reasoning_and_answer_now(self):
        page = self.browser
        self.script.gate.clear()
        self.ask("one that is held", waits=False)
        page.wait(text_of(".thinking.live .label") + " === 'thinking 73 / 2,048'")
        self.assertTrue(page.run("document.querySelector('.reasoning').open"))
        self.assertEqual(page.run("document.querySelector('.reasoning progress').value"), 73)
        page.click(".answer-now")
        page.wait(IDLE)
        self.assertEqual(self.script.controls, [{"id": "chatcmpl-scripted", "action": "end_thinking"}])
        self.assertIn("ended on request", page.run(text_of(".reasoning summary")))
        self.assertIn("12:15", page.run(text_of(".markdown")))

    def test_stop_ends_the_request_and_keeps_what_came(self):
        page = self.browser
        self.script.gate.clear()
        self.ask("one that is held", waits=False)
        page.wait(text_of(".thinking.live .label") + " === 'thinking 73 / 2,048'")
        page.key("Escape")
        page.wait(IDLE)
        self.assertIn("stopped", page.run(text_of(".stats")))
        self.assertIn("9:40", page.run(text_of(".reasoning-text")))
        deadline = time.monotonic() + 5
        while not self.script.disconnects and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual(self.script.disconnects, 1)

    def test_tools_are_called_and_their_results_sent_back(self):
        page = self.browser
        page.click("#tools-switch")
        self.ask("Name the colour #b3602c.")
        self.assertEqual(self.script.tool_calls, [{"color_hex": "#b3602c"}])
        self.assertEqual(page.run("[...document.querySelectorAll('.chip')].map((n) => getComputedStyle(n).backgroundColor)"),
                         ["rgb(179, 96, 44)", "rgb(160, 82, 45)", "rgb(210, 105, 30)", "rgb(205, 133, 63)"])
        self.assertIn("reddish brown", page.run("[...document.querySelectorAll('.markdown')].at(-1).textContent"))
        self.assertEqual([m["role"] for m in self.request()["messages"]], ["user", "assistant", "tool"])
        call = self.request()["messages"][1]["tool_calls"][0]
        self.assertEqual(call["function"], {"name": "name_a_color", "arguments": '{"color_hex": "#b3602c"}'})
        result = self.request()["messages"][2]
        self.assertEqual((result["tool_call_id"], json.loads(result["content"])), (call["id"], scripted_server.COLOR))

    def test_history_survives_reload_export_import_and_deletion(self):
        page = self.browser
        self.ask(QUESTION)
        shown = page.run(text_of(".markdown"))
        page.reload()
        self.ready()
        self.assertEqual(page.run(text_of(".user")), QUESTION)
        self.assertEqual(page.run(text_of(".markdown")), shown)
        self.assertEqual(page.run(text_of("#title")), QUESTION)
        self.ask("and one hour later?")
        self.assertEqual([m["role"] for m in self.request()["messages"]], ["user", "assistant", "user"])
        self.assertTrue(self.request()["messages"][1]["content"].startswith("The train arrives"))
        exported = page.run("""new Promise((resolve) => {
            const make = URL.createObjectURL;
            URL.createObjectURL = (blob) => { URL.createObjectURL = make; resolve(blob.text()); return make(blob); };
            document.getElementById('export').click();
        })""")
        self.assertEqual(len(json.loads(exported)["conversations"][0]["turns"]), 2)
        page.click("#conversations [aria-label=Delete]")
        page.click("#ask-delete button[value=ok]")
        page.wait("!document.querySelector('.conversation')")
        self.assertEqual(page.run("localStorage.length"), 0)
        give = """(() => {
            const files = new DataTransfer(), input = document.getElementById('import-file');
            files.items.add(new File([%s], 'chats.json'));
            input.files = files.files;
            input.dispatchEvent(new Event('change'));
        })()"""
        page.run(give % json.dumps(exported))
        page.wait("document.querySelector('.conversation')")
        page.click(".conversation")
        page.wait("document.querySelectorAll('.user').length === 2")
        for hostile in ("{", "[]", '{"format": "planish-conversations", "conversations": [{"turns": 7}]}'):
            page.run(give % json.dumps(hostile))
            page.wait(text_of("#notice") + ".includes('was not imported')")
            page.run("document.getElementById('notice').textContent = ''")

    def test_another_budget_beside_and_edit(self):
        page = self.browser
        self.ask("first")
        page.click("[aria-label='Answer again beside this one']")
        page.click("#budget-choices button[value='64']")
        page.wait("document.querySelectorAll('.compared .reply').length === 2 && " + IDLE)
        self.assertEqual(self.request()["max_thinking_tokens"], 64)
        self.assertEqual(page.run("[...document.querySelectorAll('.reply-head label')].map((n) => n.textContent)"),
                         ["thinking 2,048", "thinking 64"])
        tops = page.run("[...document.querySelectorAll('.reply')].map((n) => n.getBoundingClientRect().top)")
        self.assertEqual(tops[0], tops[1])  # side by side
        page.run("document.getElementById('message').focus()")
        page.key("ArrowUp")  # edits the last message
        page.run("document.activeElement.select()")
        page.type("changed")
        page.key("Enter")
        page.wait(text_of(".user") + " === 'changed' && " + IDLE)
        self.assertEqual(page.run("document.querySelectorAll('.reply').length"), 1)
        self.assertEqual(self.request()["messages"], [{"role": "user", "content": "changed"}])

    def test_errors_are_shown_where_they_happen(self):
        page = self.browser
        self.ask("you are busy")
        self.assertEqual(page.run(text_of(".error span")), "The queue is full. Try again in 7 s.")
        self.ask("it breaks")
        page.wait("document.querySelectorAll('.error:not([hidden])').length === 2")
        self.assertIn("Half an ans", page.run("[...document.querySelectorAll('.reply')].at(-1).textContent"))
        self.assertIn("The model met a number that is not finite.", page.run("[...document.querySelectorAll('.error')].at(-1).textContent"))
        self.ask("it is cut")
        page.wait("document.querySelectorAll('.error:not([hidden])').length === 3")
        self.assertIn("connection was lost", page.run("[...document.querySelectorAll('.error')].at(-1).textContent"))
        offline = dict(latency=0, downloadThroughput=-1, uploadThroughput=-1)
        page.send("Network.emulateNetworkConditions", offline=True, **offline)
        self.ask("anybody?")
        page.send("Network.emulateNetworkConditions", offline=False, **offline)
        self.assertIn("cannot be reached", page.run("[...document.querySelectorAll('.error span')].at(-1).textContent"))

    def test_key_is_asked_once_and_not_kept(self):
        page = self.browser
        self.open(key="s3cret")
        page.wait("document.getElementById('ask-key').open")
        page.type("s3cret")
        page.key("Enter")
        self.ready()
        self.ask(QUESTION)
        self.assertIn("12:15", page.run(text_of(".markdown")))
        self.assertNotIn("s3cret", page.run("JSON.stringify(localStorage)"))

    def test_narrow_screens_and_the_keyboard(self):
        page = self.browser
        page.resize(360, 740, mobile=True)
        self.ask(QUESTION)
        self.assertLessEqual(page.run("document.documentElement.scrollWidth"), 360)
        outside = """[...document.querySelectorAll('main button, main input, main textarea')].filter((n) => n.offsetParent)
            .map((n) => n.getBoundingClientRect()).filter((b) => b.right > 360.5 || b.left < 0).length"""
        self.assertEqual(page.run(outside), 0)
        page.wait("getComputedStyle(document.getElementById('sidebar')).visibility === 'hidden'")
        page.click("#open-sidebar")
        page.wait("getComputedStyle(document.getElementById('sidebar')).visibility === 'visible'")
        page.key("Escape")
        page.wait("!document.body.classList.contains('sidebar-open')")
        page.resize(1280, 860)
        page.run("document.activeElement.blur()")
        page.key("?")
        self.assertTrue(page.run("document.getElementById('keys').open"))
        page.key("Escape")
        page.wait("!document.getElementById('keys').open")
        page.key("k", ctrl=True)
        page.wait("document.querySelector('.welcome')")
        reached = set()
        for _ in range(40):
            page.key("Tab")
            reached.add(page.run("document.activeElement.id || document.activeElement.className"))
        for name in ("new", "export", "message", "thinking", "budget", "budget-tokens", "tools", "send", "open-settings", "example"):
            self.assertIn(name, reached)
        unnamed = """[...document.querySelectorAll('button, input, textarea')].filter((n) =>
            !(n.getAttribute('aria-label') || n.textContent.trim() || n.labels?.length)).map((n) => n.outerHTML)"""
        self.assertEqual(page.run(unnamed), [])

    def test_text_has_contrast_by_day_and_by_night(self):
        page = self.browser
        self.ask(QUESTION)
        measure = """(() => {
            const parse = (c) => c.match(/[\\d.]+/g).map(Number);
            const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
            const behind = (n) => { for (; n; n = n.parentElement) { const c = parse(getComputedStyle(n).backgroundColor); if (c[3] !== 0) return c; } };
            const found = [];
            for (const n of document.querySelectorAll('main *, nav *')) {
                if (!n.offsetParent || ![...n.childNodes].some((c) => c.nodeType === 3 && c.data.trim())) continue;
                const a = light(parse(getComputedStyle(n).color)), b = light(behind(n));
                const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
                if (ratio < 4.5) found.push(`${n.tagName} ${n.className} ${n.textContent.slice(0, 30)}: ${ratio}`);
            }
            return found;
        })()"""
        for dark in (False, True):
            page.resize(1280, 860, dark=dark)
            self.assertEqual(page.run(measure), [])


if __name__ == "__main__":
    if not chromium.find():
        print("skipped: the page is tested in a headless Chromium, and none is installed (Debian: apt-get install chromium)")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=1)
