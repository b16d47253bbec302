"""Runs for real: a toy repository, papermill and a kernel; what fails, what is killed, what must
never be written down.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from toy import CLI, env, json_of, lab

from synthlab.core.types import Usage
from synthlab.runs.run import Run, find_run, is_locked, read_manifest


def ran(toy):
    return len((toy / "ran.txt").read_text().splitlines()) if (toy / "ran.txt").exists() else 0


@pytest.mark.slow
def test_a_run_says_everything_about_itself(toy, done):
    m = done
    assert (m["status"], m["error"], m["profile"], m["study"]) == ("done", None, "demo", "01_toy")
    assert m["params"] == dict(
        passed={}, resolved=dict(n=4, file="data.txt", gate="", nap=0.0, api_key="", labels=None)
    )
    assert m["metrics"] == dict(n=4, undefined=None)
    assert (
        list(m["inputs"]) == ["data.txt"]
        and m["packages"]["papermill"]
        and m["device"]
        and m["seconds"] > 0
    )
    names = {f["name"] for f in m["files"]}
    assert {
        "report.ipynb",
        "report.html",
        "rows.jsonl",
        "squares.png",
        "squares.csv",
        "run.log",
    } <= names and "result.json" not in names
    assert m["path"] == str(toy / "outputs/01_toy" / m["key"])


def test_the_page_stands_alone(toy, done):
    page = (toy / "outputs/01_toy" / done["key"] / "report.html").read_text()
    assert page.count("data:image/png;base64") == 2 and "<details" in page
    assert 'src="http' not in page and "<script" not in page and 'href="http' not in page
    index = (toy / "outputs/index.html").read_text()
    assert (
        f"01_toy/{done['key']}/report.html" in index
        and f"01_toy/{done['key']}/squares.png" in index
    )


def test_the_study_ran_at_the_root(toy, done):
    nb = json.loads((toy / "outputs/01_toy" / done["key"] / "report.ipynb").read_text())
    shown = [
        "".join(o["data"]["text/plain"])
        for c in nb["cells"]
        for o in c.get("outputs", [])
        if "text/plain" in o.get("data", {})
    ]
    assert repr(str(toy)) in shown
    log = (toy / "outputs/01_toy" / done["key"] / "run.log").read_text()
    assert "squaring 4 done" in log


def test_same_key_returns_at_once_without_papermill(toy, done):
    before = ran(toy)
    code = (
        "import sys; from synthlab.runs.run import run_study; print(run_study('01_toy', "
        "profile='demo').name); "
        "print(sorted({'papermill', 'nbconvert', 'matplotlib'} & set(sys.modules)))"
    )
    r = subprocess.run(
        [sys.executable, "-c", code],
        cwd=toy,
        env=env(toy),
        capture_output=True,
        text=True,
        check=True,
    )
    assert r.stdout.split("\n")[:2] == [done["key"], "[]"] and ran(toy) == before


@pytest.mark.slow
def test_failure_leaves_report_and_manifest_without_secrets_and_is_run_again(toy):
    asked = (
        "run",
        "01_toy",
        "-p",
        "gate=door",
        "-p",
        'api_key=s3cr"et-value',
        "-p",
        "labels=[a, b]",
    )
    r = lab(toy, *asked, SYNTHLAB_API_KEY="another-secret-value")
    assert (
        r.returncode == 1
        and len(r.stderr.strip().splitlines()) == 1
        and "RuntimeError: door is shut" in r.stderr
    )
    (m,) = [m for m in json_of(lab(toy, "ls", "--json")) if m["status"] == "failed"]
    assert (
        m["error"].startswith("RuntimeError: door is shut, [hidden]")
        and m["params"]["resolved"]["api_key"] == "[hidden]"
    )
    folder = toy / "outputs/01_toy" / m["key"]
    assert (
        "door is shut" in (folder / "report.ipynb").read_text()
        and "door is shut" in (folder / "report.html").read_text()
    )
    (toy / "door.txt").touch()
    r = lab(toy, *asked)
    assert r.returncode == 0 and read_manifest(folder)["status"] == "done"
    written = [p for p in (toy / "outputs").rglob("*") if p.is_file()]
    assert len(written) > 5
    for p in written:
        assert not any(s in p.read_bytes() for s in (b"s3cr", b"et-value", b"another-secret")), p


def start(toy, *args):
    return subprocess.Popen(
        [*CLI, "run", "01_toy", *args],
        cwd=toy,
        env=env(toy),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(f, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if x := f():
            return x
        time.sleep(0.1)
    raise AssertionError("did not happen in time")


@pytest.mark.slow
def test_killed_run_is_started_anew_and_a_second_process_waits(toy):
    before = ran(toy)
    asked = ("-p", "n=7", "-p", "nap=15")  # longer than a process takes to start on a busy machine
    one = start(toy, *asked)
    wait_for(lambda: ran(toy) > before)
    (folder,) = [p for p in (toy / "outputs/01_toy").iterdir() if is_locked(p)]
    assert read_manifest(folder)["status"] == "running"
    os.kill(one.pid, signal.SIGKILL)
    one.communicate()
    assert read_manifest(folder)["status"] == "stopped" and not (folder / "manifest.json").exists()
    (folder / "left-over").touch()
    two, three = start(toy, *asked), start(toy, *asked)
    said = [p.communicate()[1] for p in (two, three)]
    assert two.returncode == three.returncode == 0, said
    assert ran(toy) == before + 2 and any("waiting for it" in s for s in said)
    assert read_manifest(folder)["status"] == "done" and not (folder / "left-over").exists()


@pytest.mark.parametrize(
    "args, said",
    [
        (("-p", "m=3"), "no parameter 'm': `synthlab run 01_toy --takes` lists what it takes"),
        (("-p", "lables=x"), "no parameter 'lables': did you mean 'labels'?"),
        (("-p", "n=many"), "parameter n is int, got str 'many': n: int = 3 — how many"),
        (("-p", "n=2.5"), "parameter n is int, got float 2.5"),
        (("-p", "labels=[1]"), "parameter labels is list[str] | None"),
        (("-p", "n"), "takes name=value"),
        (("-p", "n=[1"), "not YAML"),
        (("--profile", "huge"), "no profile 'huge' in profiles.yaml; it has smoke, demo"),
        (("-p", "api_key=abc"), "fewer than 6"),
    ],
)
def test_what_does_not_fit_is_one_line_and_writes_nothing(toy, args, said):
    before = sorted((toy / "outputs").rglob("*")) if (toy / "outputs").exists() else []
    r = lab(toy, "run", "01_toy", *args)
    assert (
        r.returncode == 2
        and said in r.stderr
        and len(r.stderr.strip().splitlines()) == 1
        and "abc" not in r.stderr
    )
    assert sorted((toy / "outputs").rglob("*") if (toy / "outputs").exists() else []) == before


def test_publish_freezes_the_report(toy, done):
    r = lab(toy, "publish", f"01_toy/{done['key']}", "kept")
    assert r.returncode == 0, r.stderr
    path = toy / "nbs/reports/01_toy-kept.ipynb"
    nb = json.loads(path.read_text())
    first = "".join(nb["cells"][0]["source"])
    assert (
        first.startswith("# Toy?") and "skip_exec: true" in first and "skip_showdoc: true" in first
    )
    facts = "".join(nb["cells"][1]["source"])
    assert (
        done["device"] in facts
        and done["finished"][:10] in facts
        and done["key"] in facts
        and "commit" in facts
    )
    assert str(toy) not in path.read_text() and str(toy.parent) not in path.read_text()
    exe = os.path.join(os.path.dirname(sys.executable), "nbdev-clean")
    before = path.read_text()
    subprocess.run([exe, "--fname", str(path)], check=True, env=env(toy))
    assert path.read_text() == before, "nbdev-clean finds nothing to do"


def test_a_run_by_hand_has_one_folder_that_starts_empty(toy, monkeypatch, tmp_path):
    for k in ("IN_TEST", "SYNTHLAB_RUN_DIR", "JPY_PARENT_PID"):
        monkeypatch.delenv(k, raising=False)
    monkeypatch.setenv("SYNTHLAB_OUTPUTS", str(tmp_path))
    monkeypatch.chdir(toy)
    run = Run("01_toy", dict(n=1))
    run.save_rows("a.csv", [dict(x=1), dict(x=2, y="a,b")])
    run.use("agent", Usage(1_000_000), "gpt-4.1")
    run.input("data.txt")
    run.finish(dict(n=1))
    assert run.path == tmp_path / "01_toy/interactive" and (
        run.path / "a.csv"
    ).read_text().split() == ["x,y", "1,", '2,"a,b"']
    got = json.loads((run.path / "result.json").read_text())
    assert got["usage"]["agent"]["inp"] == 1_000_000 and got["usage"]["agent"]["usd"] is None, (
        "the toy has no price table"
    )
    assert list(got["inputs"]) == ["data.txt"]
    with pytest.raises(
        FileNotFoundError, match="01_toy has no finished run yet: synthlab run 01_toy"
    ):
        run.input("01_toy")
    assert not list(Run("01_toy", {}).path.iterdir())


def papermill(toy, *args):
    exe = os.path.join(os.path.dirname(sys.executable), "papermill")
    clean = {k: v for k, v in env(toy).items() if k != "JPY_SESSION_NAME"}
    r = subprocess.run(
        [exe, "nbs/studies/01_toy.ipynb", "out.ipynb", *args],
        cwd=toy,
        env=clean,
        capture_output=True,
        text=True,
    )
    (toy / "out.ipynb").unlink()
    assert r.returncode == 0, r.stderr
    return [read_manifest(p) for p in sorted((toy / "outputs/01_toy").glob("papermill-*"))]


@pytest.mark.slow
def test_plain_papermill_lands_in_a_run_folder(toy):
    (m,) = papermill(
        toy, "-p", "n", "5", "-p", "file", "data.txt", "-p", "api_key", "sk-very-secret"
    )
    assert (m["status"], m["metrics"], m["params"]["resolved"]["n"]) == (
        "done",
        dict(n=5, undefined=None),
        5,
    )
    assert {"rows.jsonl", "squares.png", "squares.csv"} <= {f["name"] for f in m["files"]} and list(
        m["inputs"]
    ) == ["data.txt"]
    assert b"very-secret" not in (toy / "outputs/01_toy" / m["key"] / "manifest.json").read_bytes()
    assert m["key"] in {r["key"] for r in json_of(lab(toy, "ls", "--json"))}
    assert f"01_toy/{m['key']}/squares.png" in (toy / "outputs/index.html").read_text()
    before = ran(toy)
    r = json_of(lab(toy, "run", "01_toy", "-p", "n=5", "-p", "file=data.txt", "--json"))
    assert ran(toy) == before + 1 and r["key"] != m["key"], (
        "it is not taken for a run whose code is known"
    )


def test_a_failed_run_cannot_be_published(toy):
    folder = toy / "outputs/01_toy/feed"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(
        json.dumps(dict(study="01_toy", key="feed", status="failed", error="x"))
    )
    r = lab(toy, "publish", "01_toy/feed")
    (folder / "manifest.json").unlink()
    folder.rmdir()
    assert r.returncode == 2 and "only a finished run" in r.stderr


def test_a_study_means_its_last_finished_run(tmp_path, monkeypatch):
    "A run that failed later does not hide it, and is found where the last run is asked for"
    monkeypatch.setenv("SYNTHLAB_OUTPUTS", str(tmp_path))
    for key, status, day in (("aa", "done", 1), ("bb", "done", 2), ("cc", "failed", 3)):
        folder = tmp_path / "01_toy" / key
        folder.mkdir(parents=True)
        told = dict(study="01_toy", key=key, status=status, finished=f"2026-01-0{day}")
        (folder / "manifest.json").write_text(json.dumps(told))
    assert find_run("01_toy").name == "bb"
    assert find_run("01_toy", finished=False).name == "cc" == find_run("01_toy/cc").name
    shutil.rmtree(tmp_path / "01_toy" / "aa")
    shutil.rmtree(tmp_path / "01_toy" / "bb")
    assert find_run("01_toy").name == "cc"  # nothing finished: what there is
