# SPDX-License-Identifier: Apache-2.0
"""The web page in a headless Chromium against a real `planish serve` with planish-nano: what page_test.py shows of scripted
answers, of a model's own. It samples, so what it says is not compared; what must hold of any answer is.
Usage: live_page_test.py PLANISH. Status 77: there is no Chromium."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "clients"))
import chromium
from live_server import NANO, LiveServer

# Of the kind that this model thinks about for 150 to 250 tokens.
HARD = ("Emma has 9 boxes with 48 pens each. She gives away 137 pens, and then buys 6 more boxes with 35 pens each. "
        "How many pens does she have now?")
IDLE = "document.querySelector('.reply') && !document.querySelector('[aria-busy=true]')"
LAST = "[...document.querySelectorAll('.reply')].at(-1)"


class LivePageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = LiveServer(sys.argv[1], NANO, "--demo-tools").__enter__()
        cls.browser = chromium.Browser(chromium.find())

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.server.__exit__()

    def setUp(self):
        self.browser.resize(1280, 860)
        self.browser.events.clear()
        self.browser.open("about:blank")
        self.browser.open(self.server.url)
        self.ready()
        self.browser.run("localStorage.clear()")
        self.browser.reload()
        self.ready()

    def tearDown(self):
        self.assertEqual(self.browser.complaints(), [])

    def ready(self):
        self.browser.wait("!document.getElementById('tools-switch').hidden")

    def ask(self, text):
        before = self.browser.run("document.querySelectorAll('.reply').length")
        self.browser.run("document.getElementById('message').focus()")
        self.browser.type(text)
        self.browser.key("Enter")
        self.browser.wait(f"document.querySelectorAll('.reply').length > {before}")
        self.browser.wait(IDLE, 60)

    def last(self, selector):
        return self.browser.run(f"{LAST}.querySelector('{selector}')?.textContent")

    def set_budget(self, name):
        """By the keys of the slider."""
        self.browser.run("document.getElementById('budget').focus()")
        self.browser.key("Home")
        for _ in range(10):
            if self.browser.run("document.getElementById('budget').getAttribute('aria-valuetext')") == name:
                return
            self.browser.key("ArrowUp", alt=True)
        self.fail(f"the slider has no {name}")

    def test_the_answer_streams(self):
        page = self.browser
        page.run("""(() => { window.lengths = new Set(); new MutationObserver(() => {
            const node = [...document.querySelectorAll('.reasoning-text')].at(-1); if (node) window.lengths.add(node.textContent.length);
        }).observe(document.body, {childList: true, subtree: true, characterData: true}); })()""")
        # The model thinks for a third of a second: a page that was held up for so long sees it all at once, but not each time.
        for _ in range(10):
            page.run("window.lengths.clear()")
            self.ask(HARD)
            if page.run("window.lengths.size") > 2:
                return
        self.fail("no reasoning grew before the eyes")

    def test_a_reload_keeps_the_answer(self):
        page = self.browser
        self.ask(HARD)
        self.assertIn("thought for ", self.last(".reasoning summary"))
        self.assertIn("The answer is", self.last(".markdown"))
        self.assertRegex(self.last(".stats"), r"\d+ in .*\d+ thinking .*\d+ answer .* tok/s · first token")
        self.ask("And how many if she had 10 boxes at first?")
        shown = page.run("[...document.querySelectorAll('.user, .markdown, .stats')].map((n) => n.textContent)")
        self.assertRegex(shown[-1], r"\(\d+ cached\)")  # the first turn was not computed again
        page.reload()
        self.ready()
        page.wait("document.querySelectorAll('.reply').length === 2")
        self.assertEqual(page.run("[...document.querySelectorAll('.user, .markdown, .stats')].map((n) => n.textContent)"), shown)
        self.ask("Thanks. What is 3 plus 4?")
        self.assertEqual(page.run("document.querySelectorAll('.user').length"), 3)

    def test_toggle_and_budget_bind_the_model(self):
        page = self.browser
        page.click("#thinking-switch")
        self.ask(HARD)
        self.assertTrue(page.run(f"{LAST}.querySelector('.thinking')?.hidden ?? true"))
        self.assertNotIn("thinking", self.last(".stats"))
        self.assertTrue(self.last(".markdown").strip())
        self.set_budget("64")
        self.ask(HARD)
        summary = self.last(".reasoning summary")
        for _ in range(4):  # at times it thinks less
            if "ended by its budget" in summary:
                break
            self.ask(HARD)
            summary = self.last(".reasoning summary")
        self.assertIn("ended by its budget", summary)
        used = int(summary.split("thought for ")[1].split(" tokens")[0])
        self.assertTrue(64 <= used <= 64 + 16 + 12, summary)  # the grace and the closing text
        self.assertTrue(self.last(".markdown").strip())

    def test_answer_now_ends_the_reasoning_while_it_runs(self):
        page = self.browser
        self.set_budget("no limit")
        page.run("""new MutationObserver(() => {
            const live = [...document.querySelectorAll('.thinking.live')].at(-1);
            if (live && / [1-9]/.test(live.querySelector('.label').textContent)) live.querySelector('.answer-now:not([disabled])')?.click();
        }).observe(document.body, {childList: true, subtree: true, characterData: true})""")
        for _ in range(5):  # a model this small may have finished before the click arrives
            self.ask(HARD)
            self.assertTrue(self.last(".markdown").strip())
            if "ended on request" in self.last(".reasoning summary"):
                return
        self.fail("the reasoning was never ended on request: " + self.last(".reasoning summary"))

    def test_a_tool_is_called_and_its_result_sent_back(self):
        page = self.browser
        page.click("#tools-switch")
        for _ in range(4):  # it samples: now and then it does not call
            self.ask("Name the color #b3602c.")
            if page.run(f"{LAST}.querySelectorAll('.call').length"):
                self.assertIn('"name": "sienna"', self.last(".call pre"))
                # The second round, which has the result: what a model of this size makes of it is its own affair.
                self.assertTrue(page.run(f"[...{LAST}.querySelectorAll('.markdown')].at(-1).textContent").strip())
                self.assertIn('name_a_color(color_hex: "#b3602c")', self.last(".call-head"))
                self.assertEqual(page.run(f"getComputedStyle({LAST}.querySelector('.chip')).backgroundColor"), "rgb(179, 96, 44)")
                return
            page.key("k", ctrl=True)
        self.fail("the model never called: " + page.run("document.body.innerText"))


if __name__ == "__main__":
    if not chromium.find():
        print("skipped: the page is tested in a headless Chromium, and none is installed (Debian: apt-get install chromium)")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=1)
