"""Headless Chromium, spoken to through a pipe with its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 60
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)
SOFTWARE_GL = (
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
"""WebGL without a graphics card."""


def program():
    """Give Chromium's path, or None."""
    named = os.environ.get("LAZYCOG_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """The one page of a browser."""

    def __init__(self, to_browser, from_browser):
        self._to, self._from = to_browser, from_browser
        self._number, self._rest = 0, b""
        self.session = None
        self.messages = []
        """What the console said, and errors that nothing caught."""
        self.requests = []
        """URLs that were asked for."""
        self.answers = []
        """URL and status of what came back."""

    def call(self, method, **parameters):
        """Call a method and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _receive(self):
        while b"\0" not in self._rest:
            block = os.read(self._from.fileno(), 2**16)
            assert block, "the browser has ended"
            self._rest += block
        text, _, self._rest = self._rest.partition(b"\0")
        event = json.loads(text)
        about = event.get("params", {})
        match event.get("method"):
            case "Runtime.consoleAPICalled":
                words = [each.get("value", "") for each in about["args"]]
                self.messages.append(f"{about['type']}: {words}")
            case "Runtime.exceptionThrown":
                self.messages.append(str(about["exceptionDetails"]))
            case "Log.entryAdded":
                self.messages.append(about["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"])
            case "Network.responseReceived":
                response = about["response"]
                self.answers.append((response["url"], response["status"]))
        return event

    def attach(self, width, height):
        """Open the page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def open(self, url, state="ready"):
        """Open a URL and wait until the page says that it shows everything."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.wait(f"document.body?.dataset.state === {state!r}")

    def run(self, script):
        """Give the value of a JavaScript expression."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, condition):
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + SECONDS
        while not self.run(condition):
            assert time.monotonic() < end, (condition, self.text(), self.messages)
            time.sleep(0.05)

    def text(self):
        """Give all text of the page."""
        return self.run("document.body.innerText")

    def point(self, x, y):
        """Move the pointer."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def choose(self, selector, value):
        """Choose a value of a control."""
        self.run(
            f"(() => {{ const box = document.querySelector({selector!r});"
            f"box.value = {value!r}; box.dispatchEvent(new Event('change')); }})()"
        )

    def settle(self):
        """Wait for a picture with everything in it."""
        self.run("new Promise((done) => setTimeout(done, 150))")
        self.wait("document.body.dataset.state === 'ready'")

    def picture(self, x, y):
        """Give a PNG of one pixel of the page."""
        clip = {"x": x, "y": y, "width": 1, "height": 1, "scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", clip=clip)["data"])


@contextlib.contextmanager
def tab(folder, *, flags=SOFTWARE_GL, size=(1100, 750)):
    """Run a browser with one page; `folder` holds its profile."""
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()

    def connect():  # the browser reads from 3 and writes to 4
        commands, answers = os.dup(to_read), os.dup(from_write)
        os.dup2(commands, 3)
        os.dup2(answers, 4)

    process = subprocess.Popen(
        [program(), *FLAGS, *flags, f"--user-data-dir={folder}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=connect,  # noqa: PLW1509 - no thread of ours runs yet
        close_fds=False,
        env={**os.environ, "HOME": str(folder)},
    )
    os.close(to_read)
    os.close(from_write)
    with os.fdopen(to_write, "wb") as to_browser, os.fdopen(from_read) as from_browser:
        found = Tab(to_browser, from_browser)
        try:
            found.attach(*size)
            yield found
        finally:
            with contextlib.suppress(AssertionError, OSError):
                found.session = None
                found.call("Browser.close")  # with all its processes
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
