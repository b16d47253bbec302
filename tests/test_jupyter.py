"""JupyterLab for real: the server that `make lab` starts, a browser without a window, and the
figure that a person would see.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser, until
from conftest import ROOT, installed

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium"),
    pytest.mark.skipif(
        not installed("jupyterlab"), reason="JupyterLab is not installed: pip install -e .[lab]"
    ),
]


def recipe(target):
    "The last command of a Makefile target, as make would run it; also where make runs the tests"
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    r = subprocess.run(
        ["make", "-n", "-o", ".venv/.ready-cpu", "-o", ".venv/.ready-gpu", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    return r.stdout.strip().splitlines()[-1]


def environment(home):
    "A process environment in which Jupyter keeps everything below one folder"
    keep = {k: v for k, v in os.environ.items() if not k.startswith("SYNTHLAB_")}
    for name in ("IN_TEST", "MPLBACKEND"):
        keep.pop(name, None)
    return keep | dict(
        JUPYTER_CONFIG_DIR=str(home / "config"),
        JUPYTER_DATA_DIR=str(home / "data"),
        IPYTHONDIR=str(home / "ipython"),
        JUPYTERLAB_SETTINGS_DIR=str(home / "settings"),
        JUPYTERLAB_WORKSPACES_DIR=str(home / "spaces"),
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The server on a copy of the notebooks, which running a notebook would change.

    Yields the address that a browser is sent to, and the folder.
    """
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "nbs", home / "nbs")
    shutil.copy(ROOT / "settings.ini", home)
    args = recipe("lab").split("jupyter lab ")[1].split()
    ports = ["--no-browser", "--ServerApp.port=0", "--ServerApp.port_retries=0"]

    def address():
        found = re.findall(r"http://127\.0\.0\.1:\d+/lab\S*", (home / "log").read_text())
        return found[0] if found else ""

    with open(home / "log", "w") as log:
        p = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *args, *ports],
            cwd=home,
            env=environment(home),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield until(address, 60), home
        finally:
            p.terminate()
            p.wait(20)


RUN_ALL = """(() => {
  for (const e of document.querySelectorAll('.lm-MenuBar-item'))
    if (e.textContent.trim() == 'Run') {
      const r = e.getBoundingClientRect(); return [r.x+r.width/2, r.y+r.height/2] } })()"""
ITEM = """(() => {
  for (const e of document.querySelectorAll('.lm-Menu-item'))
    if (e.textContent.includes('Run All Cells')) {
      const r = e.getBoundingClientRect();
      if (r.width) return [r.x+r.width/2, r.y+r.height/2] } })()"""
DONE = """(() => {
  const prompts = document.querySelectorAll('.jp-CodeCell .jp-InputPrompt');
  const p = [...prompts].map(e => e.textContent);
  return p.length > 5 && p.every(t => /\\[\\d+\\]/.test(t)) })()"""
STATE = """JSON.stringify([
  document.querySelector('.jp-Notebook-ExecutionIndicator').dataset.status,
  [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(e => e.textContent),
  [...document.querySelectorAll('[data-mime-type*=error], [data-mime-type*=stderr], .jp-Dialog')]
    .map(e => e.textContent.slice(-600))])"""
BEGUN = (
    "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].some(e => "
    "/\\[\\d+\\]/.test(e.textContent))"
)
FIGURES = (
    "[...document.querySelectorAll('.jp-OutputArea img')].filter(e => e.naturalWidth > 300).length"
)


def click(b, where):
    x, y = b.wait(where)
    for t in ("mouseMoved", "mousePressed", "mouseReleased"):
        b.send(
            "Input.dispatchMouseEvent",
            type=t,
            x=x,
            y=y,
            button="left" if t != "mouseMoved" else "none",
            clickCount=1,
        )


def run_all(b):
    """From the menu; once more where a kernel that had just come up lost the request, as a person
    would
    """
    for _ in range(3):
        click(b, RUN_ALL)
        click(b, ITEM)
        try:
            return b.wait(BEGUN, 60)
        except TimeoutError:
            pass
    pytest.fail(f"nothing ran: {b.js(STATE)}")


@pytest.mark.slow
def test_the_tour_runs_from_the_menu_and_shows_its_figures(lab):
    url, home = lab
    with Browser(1400, 6000) as b:  # so high that no cell is left unrendered
        b.open(url)
        b.wait(
            "document.querySelector('.jp-NotebookPanel') && "
            "document.querySelectorAll('.jp-CodeCell').length > 5"
        )
        assert "tour.ipynb" in b.js(
            "document.querySelector('.lm-TabBar-tab.lm-mod-current[title*=tour], "
            ".lm-DockPanel-tabBar .lm-mod-current').textContent"
        )
        b.wait(
            "document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status == 'idle'"
        )
        run_all(b)
        try:
            b.wait(
                "document.querySelector('.jp-Notebook-ExecutionIndicator').dataset.status == "
                "'idle' && " + DONE,
                300,
            )
        except TimeoutError:
            pytest.fail(f"{b.js(STATE)}\n{(home / 'log').read_text()[-1500:]}")
        assert not b.js(
            "[...document.querySelectorAll('.jp-RenderedText[data-mime-type*=error], "
            "[data-mime-type*=stderr]')].map(e => e.textContent.slice(0, 300))"
        )
        assert b.js(FIGURES) >= 3, "two runs and their comparison"
        assert b.js("document.querySelectorAll('.jp-OutputArea .sl-t .m').length") > 3, (
            "a transcript"
        )
        assert "asked differently" in b.js(
            "[...document.querySelectorAll('.jp-OutputArea')].map(e => e.innerText).join()"
        )
        if shots := os.environ.get("SYNTHLAB_SHOTS"):
            b.shot(Path(shots) / "lab.png")
    runs = [json.loads(p.read_text()) for p in home.glob("outputs/01_generate/*/manifest.json")]
    assert len(runs) == 2 and {r["status"] for r in runs} == {"done"}
