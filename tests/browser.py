"""Chromium without a window, driven over its own debugging protocol: what a person would see, asked
with JavaScript.

`with Browser(1280, 900) as b: b.open(url); b.wait('document.title'); b.shot(path)`. No driver
program is needed; the websocket client is one that JupyterLab brings.
"""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
]


class Browser:
    "One tab"

    def __init__(self, width=1280, height=900):
        self.size = width, height

    def __enter__(self):
        from pathlib import Path

        import websocket

        self.home = tempfile.mkdtemp()
        self.proc = subprocess.Popen(
            [
                CHROMIUM,
                *FLAGS,
                f"--user-data-dir={self.home}",
                f"--window-size={self.size[0]},{self.size[1]}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port = until(
            lambda: (
                (p := Path(self.home) / "DevToolsActivePort").exists()
                and p.read_text().split("\n")[0]
            ),
            30,
        )
        pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        page = next(p for p in pages if p["type"] == "page")
        self.ws, self.n = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=60), 0
        self.errors = []
        for domain in ("Page", "Runtime", "Log"):
            self.send(domain + ".enable")
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=self.size[0],
            height=self.size[1],
            deviceScaleFactor=1,
            mobile=self.size[0] < 600,
        )
        return self

    def __exit__(self, *_):
        self.ws.close()
        self.proc.terminate()
        self.proc.wait(20)
        shutil.rmtree(self.home, ignore_errors=True)

    def send(self, method, **params):
        self.n += 1
        self.ws.send(json.dumps(dict(id=self.n, method=method, params=params)))
        while (m := json.loads(self.ws.recv())).get("id") != self.n:
            if m.get("method") == "Runtime.exceptionThrown":
                self.errors.append(m["params"]["exceptionDetails"].get("text"))
        if "error" in m:
            raise RuntimeError(f"{method}: {m['error']}")
        return m["result"]

    def open(self, url):
        self.send("Page.navigate", url=str(url))
        self.wait('document.readyState == "complete"')

    def js(self, code):
        r = self.send("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in r:
            raise RuntimeError(r["exceptionDetails"]["exception"].get("description", "error")[:300])
        return r["result"].get("value")

    def wait(self, code, seconds=60):
        "The value of an expression as soon as it is true"
        return until(lambda: self.js(code), seconds, code)

    def key(self, key, code, vk, shift=False):
        for t in ("rawKeyDown", "char", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=t,
                key=key,
                code=code,
                windowsVirtualKeyCode=vk,
                modifiers=8 if shift else 0,
                **(dict(text="\r") if t == "char" else {}),
            )

    def shot(self, path, full=False):
        r = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        with open(path, "wb") as f:
            f.write(base64.b64decode(r["data"]))


def until(f, seconds, what=""):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if x := f():
            return x
        time.sleep(0.1)
    raise TimeoutError(f"not within {seconds} s: {what}")
