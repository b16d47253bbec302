"Sweeps and comparisons of real runs: what is repeated, what is named, what is written down."

import csv
import json
import shutil

import pytest
from conftest import ROOT
from toy import json_of, lab, repository

from synthlab.budget.planner import plan
from synthlab.core.types import Message, Score, Task, ToolCall, Trajectory
from synthlab.runs.run import Run
from synthlab.runs.sweep import Sweep, compare_runs, show_run, sweep_figure

CELLS = [
    ("markdown", "# Rank?\n\n> Yes.", []),
    ("code", "from synthlab.runs.run import Run\nfrom synthlab.core.stats import wilson", []),
    (
        "code",
        "rank: int = 4 # of the adapter\nseed: int = 0\nworst: int = 0 # rank that fails",
        ["parameters"],
    ),
    (
        "code",
        "run = Run('01_rank', dict(rank=rank, seed=seed, worst=worst))\nwith open('ran.txt', "
        "'a') as f: print(rank, seed, file=f)",
        [],
    ),
    (
        "code",
        "if rank == worst: raise RuntimeError('<b>out of "
        "memory')\nrun.finish(dict(success=wilson(rank+seed, 40), loss=1/rank, note='x'))",
        [],
    ),
]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    root = repository(
        tmp_path_factory.mktemp("sweep"),
        {"01_rank": CELLS},
        "01_rank: {smoke: {}, demo: {worst: 16}}\n",
    )
    (root / "deep/down").mkdir(parents=True)
    shutil.copytree(
        ROOT / "synthlab", root / "lib/synthlab", ignore=shutil.ignore_patterns("__pycache__")
    )
    return root


@pytest.fixture(scope="module")
def swept(toy):
    return lab(
        toy,
        "sweep",
        "01",
        "-p",
        "rank=4,16",
        "-p",
        "seed=0,1",
        "--profile",
        "demo",
        "--jobs",
        "2",
        "--json",
    )


def ran(toy):
    return sorted((toy / "ran.txt").read_text().split("\n")[:-1])


@pytest.mark.slow
def test_a_sweep_leaves_a_run_for_each_point_and_a_manifest_of_manifests(toy, swept):
    assert swept.returncode == 1, swept.stderr
    m = json_of(swept)
    assert [(p["params"], p["status"]) for p in m["points"]] == [
        (dict(rank=r, seed=s), "failed" if r == 16 else "done") for r in (4, 16) for s in (0, 1)
    ]
    assert m["error"] == "failed: rank=16, seed=0; rank=16, seed=1" and m["metrics"] == dict(
        points=4, done=2
    )
    for p in m["points"]:
        own = json.loads((toy / p["run"] / "manifest.json").read_text())
        assert (
            own["status"] == p["status"]
            and own["metrics"] == p["metrics"]
            and own["params"]["resolved"]["rank"] == p["params"]["rank"]
        )
    folder = toy / "outputs/sweeps" / m["key"]
    assert (folder / "metrics.png").stat().st_size > 5000
    with open(folder / "metrics.csv") as f:
        rows = list(csv.DictReader(f))
    assert {(r["metric"], r["rank"], r["seed"], r["n"]) for r in rows} == {
        ("success", "4", s, "40") for s in "01"
    } | {("loss", "4", s, "") for s in "01"}
    page = (folder / "report.html").read_text()
    assert "&lt;b&gt;out of memory" in page and "<b>out" not in page
    assert f"sweeps/{m['key']}/metrics.png" in (toy / "outputs/index.html").read_text()


@pytest.mark.slow
def test_a_sweep_goes_on_where_it_was(toy, swept):
    before = ran(toy)
    r = lab(
        toy, "sweep", "01_rank", "-p", "rank=4,8", "-p", "seed=0,1", "-p", "worst=16", "--jobs", "2"
    )
    assert r.returncode == 0, r.stderr
    assert ran(toy) == sorted(before + ["8 0", "8 1"]), "the points at rank 4 were done"
    assert "2 of 4 were done before" in r.stdout and "outputs/sweeps/01_rank-" in r.stdout
    again = lab(toy, "sweep", "01_rank", "-p", "rank=4,8", "-p", "seed=0,1", "-p", "worst=16")
    assert (
        again.returncode == 0
        and "4 of 4 were done before" in again.stdout
        and ran(toy) == sorted(before + ["8 0", "8 1"])
    )


@pytest.mark.parametrize(
    "args, said",
    [
        (("-p", "ranks=4,8"), "no parameter 'ranks'"),
        (("-p", "rank=4,low"), "rank is int, got str 'low'"),
        (("-p", "rank=[4"), "not values in YAML"),
        ((), "a sweep takes values: -p NAME=A,B"),
    ],
)
def test_a_sweep_that_makes_no_sense_runs_nothing(toy, swept, args, said):
    before = ran(toy)
    r = lab(toy, "sweep", "01_rank", *args)
    assert (
        r.returncode == 2
        and said in r.stderr
        and len(r.stderr.splitlines()) == 1
        and ran(toy) == before
    )


def test_two_runs_side_by_side(toy, swept):
    ok = [p["run"] for p in json_of(swept)["points"] if p["status"] == "done"]
    r = lab(toy, "compare", *ok, "--figure", "both.png")
    assert r.returncode == 0, r.stderr
    asked, gave = r.stdout.split("\n\n")[:2]
    assert [l.split() for l in asked.splitlines()[2:]] == [["seed", "0", "1"]]
    assert "0.1 [0.0396, 0.231], n=40" in gave and "0.125 [" in gave and "0.025 [-" in gave
    assert (toy / "deep/down/both.png").stat().st_size > 3000
    d = json_of(lab(toy, "compare", *ok, "--json"))
    assert d["asked"][0]["what"] == "seed" and {g["metric"] for g in d["gave"]} == {
        "success",
        "loss",
        "note",
    }
    r = lab(toy, "compare", ok[0])
    assert r.returncode == 2 and "two runs or more" in r.stderr


def test_displays_escape_and_fold(toy, swept, monkeypatch, tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    long = ToolCall("look", dict(a=evil), "c"), Message("tool", evil + "y" * 5000, call_id="c")
    t = Trajectory(
        Task(evil, "mock", evil),
        [Message("assistant", evil, [long[0]]), long[1]],
        scores=dict(x=Score(1.0, evil)),
        model=evil,
        source=evil,
    )
    monkeypatch.setenv("IN_TEST", "1")
    run = Run("01_rank", dict(rank=4, api_key="sk-very-secret", note=evil))
    run.finish({evil: 1.0})
    bad = next(p["run"] for p in json_of(swept)["points"] if p["status"] == "failed")
    for x in (
        t,
        run,
        plan(2000, 1, 1, [0.2, 0.3, 0.4]),
        show_run(toy / bad),
        compare_runs([toy / p["run"] for p in json_of(swept)["points"][:2]]),
    ):
        page = x._repr_html_()
        assert (
            len(page) > 80
            and "<img src=x" not in page
            and "very-secret" not in page
            and "<b>out" not in page
        ), type(x)
    assert t._repr_html_().count("<details") >= 1 and "characters)</summary>" in t._repr_html_()


def test_a_parameter_may_be_called_like_a_column():
    "Parameters n, value, lo, hi and metric, which tables of metrics have columns for"
    varied = dict(n=[1, 2], value=["a", "b"], metric=[0.5, 1.5])
    grid = [dict(n=n, value=v, metric=m) for n in (1, 2) for v in "ab" for m in (0.5, 1.5)]
    metric = dict(value=0.5, lo=0.4, hi=0.6, n=9)
    points = [
        dict(params=p, run="r", status="done", error=None, metrics=dict(success=metric), fresh=True)
        for p in grid
    ]
    sw = Sweep("01_toy", varied, points, ROOT)
    rows = sw.rows()
    assert {r["metric"] for r in rows} == {"success"} and {r["n"] for r in rows} == {9}
    assert {(r["parameter n"], r["parameter value"], r["parameter metric"]) for r in rows} == {
        tuple(p.values()) for p in grid
    }
    assert sw.told()[0]["parameter n"] == 1 and sw.told()[0]["headline"].startswith("success")
    fig = sweep_figure(rows, varied)
    drawn = {round(float(x)) for line in fig.axes[0].lines for x in line.get_xdata()}
    assert drawn == {1, 2}
