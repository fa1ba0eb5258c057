"""A headless Chromium to look at pages with: evaluate, press keys, click, take a picture.

Speaks the DevTools protocol over a websocket on loopback.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60  # seconds; a busy machine is slow, and what hangs should still fail
KEYS = {"Enter": 13, "Escape": 27, " ": 32, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36,
        "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9}  # fmt: skip


def find_browser() -> str:
    """The browser's path; skips the test where there is none, fails it where there must be one."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if not found and os.environ.get("FIREACT_BROWSER") == "required":
        pytest.fail("There is no Chromium, and FIREACT_BROWSER says that there must be one.")
    return found or pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is installed")


class Browser:
    """One window. `errors` holds what pages complained about."""

    def __init__(self, address: str) -> None:
        self.socket = websocket.create_connection(address, suppress_origin=True, timeout=PATIENCE)
        self.numbers = itertools.count(1)
        self.errors: list[str] = []
        self.requested: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        told = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(told["exceptionDetails"])[:500])
            case "Log.entryAdded":
                self.errors.append(told["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requested.append(told["request"]["url"])

    def eval(self, script: str) -> Any:
        """The value of a JavaScript expression, waited for."""
        got = self.do("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in got, json.dumps(got["exceptionDetails"])[:800]
        return got["result"].get("value")

    def wait(self, condition: str) -> Any:
        """Until the expression is true."""
        end = time.monotonic() + PATIENCE
        while not (value := self.eval(condition)):
            assert time.monotonic() < end, f"never true: {condition}; {self.errors}"
            time.sleep(0.05)
        return value

    def open(self, page: Path, address: str = "") -> None:
        """Load the page anew and wait until it says that it is loaded."""
        self.errors.clear()
        self.requested.clear()
        self.do("Page.navigate", url="about:blank")
        self.do("Page.navigate", url=page.as_uri() + address)
        self.wait("document.body?.dataset.loaded")

    def press(self, *keys: str) -> None:
        for key in keys:
            told = {"key": key, "windowsVirtualKeyCode": KEYS.get(key, ord(key[0].upper()))}
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            self.do("Input.dispatchKeyEvent", type="keyDown", text=text, **told)
            self.do("Input.dispatchKeyEvent", type="keyUp", **told)

    def write(self, text: str) -> None:
        self.do("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        x, y = self.eval(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'nearest'}); const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        where = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.do("Input.dispatchMouseEvent", type="mousePressed", **where)
        self.do("Input.dispatchMouseEvent", type="mouseReleased", **where)

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height,
                deviceScaleFactor=1, mobile=width < 500)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.do("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        shot = self.do("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def tree(self) -> list[tuple[str, str]]:
        """What a screen reader gets: (role, name) of everything that is not ignored."""
        nodes = self.do("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A fresh browser without a network, ended with everything it wrote."""
    program = find_browser()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--remote-debugging-port=0", f"--user-data-dir={folder}", "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking",
            "--window-size=1280,900", "about:blank",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        browser = None
        try:
            browser = Browser(_find_window(Path(folder) / "DevToolsActivePort"))
            yield browser
        finally:
            if browser:
                browser.socket.close()
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _find_window(port_file: Path) -> str:
    end = time.monotonic() + PATIENCE
    while not (port_file.exists() and len(port_file.read_text().splitlines()) == 2):
        assert time.monotonic() < end, "the browser did not start"
        time.sleep(0.05)
    port = port_file.read_text().splitlines()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
        windows = json.load(answer)
    return next(w["webSocketDebuggerUrl"] for w in windows if w["type"] == "page")
