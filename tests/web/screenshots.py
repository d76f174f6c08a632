# SPDX-License-Identifier: Apache-2.0
"""Takes the pictures of docs/images from a running server, so that they show what a model really answers.
Usage: planish serve -m models/planish-nano --demo-tools, then screenshots.py http://127.0.0.1:8080 docs/images"""
import sys
import time

import chromium


def ask(browser, text):
    browser.run("document.getElementById('message').focus()")
    browser.type(text)
    browser.key("Enter")
    browser.wait("document.querySelector('.reply') && !document.querySelector('[aria-busy=true]')", 120)
    browser.run("document.activeElement.blur()")


def main(url, folder):
    browser = chromium.Browser(chromium.find())
    try:
        browser.resize(1200, 800)
        browser.open(url)
        browser.wait("!document.getElementById('tools-switch').hidden")
        ask(browser, "What is 15 % of 240? Show the steps.")
        browser.run("document.querySelectorAll('details.reasoning').forEach((d) => { d.open = true; })")
        time.sleep(0.4)  # transitions end
        browser.screenshot(folder + "/chat_light.png")
        browser.key("k", ctrl=True)
        browser.click("#tools-switch")
        ask(browser, "Name the colour #b3602c.")
        browser.resize(1200, 800, dark=True)
        time.sleep(0.4)
        browser.screenshot(folder + "/chat_tools_dark.png")
    finally:
        browser.close()


main(*sys.argv[1:])
