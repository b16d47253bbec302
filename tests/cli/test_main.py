"The command, as it is called: what it prints, how it ends, how long it takes."

import json
import subprocess
import sys
import time

import pytest
from conftest import DATA, ROOT, RUNS, needs_data
from toy import CLI, env, json_of, lab, repository

from synthlab.cli.main import COMMANDS, build_parser, main

FIRST = [
    ("markdown", "# First?\n\n> Yes.", []),
    ("code", "from synthlab.runs.run import Run\nfrom synthlab.core.stats import wilson", []),
    ("code", "n: int = 10 # tries", ["parameters"]),
    ("code", "run = Run('01_first', dict(n=n))", []),
    (
        "code",
        "run.save_rows('rows.jsonl', [dict(n=n)])\nrun.finish(dict(success=wilson(n//2, n)))",
        [],
    ),
]
SECOND = [
    ("markdown", "# <b>Second?\n\n> No.", []),
    (
        "code",
        "from synthlab.runs.run import Run, latest_run\nfrom synthlab.core.types import read_jsonl",
        [],
    ),
    ("code", "bad: str = '' # text that is no input", ["parameters"]),
    (
        "code",
        "run = Run('02_second', dict(bad=bad))\nfound = run.input(latest_run('01_first'))",
        [],
    ),
    (
        "code",
        "if bad: raise ValueError(f'{bad} is no "
        "input')\nrun.finish(dict(n=next(read_jsonl(found/'rows.jsonl'))['n']))",
        [],
    ),
]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    "A repository with two studies, the second of which takes the first one's run"
    root = repository(
        tmp_path_factory.mktemp("two"),
        {"01_first": FIRST, "02_second": SECOND},
        "01_first: {smoke: {}, demo: {n: 40}}\n02_second: {smoke: {}, demo: {}}\n",
    )
    (root / "deep/down").mkdir(parents=True)
    return root


@pytest.fixture(scope="module")
def demo(two):
    r = lab(two, "demo")
    assert r.returncode == 0, r.stderr
    return r


@pytest.mark.slow
def test_demo_runs_all_and_ends_with_a_table_and_the_index(two, demo):
    lines = demo.stdout.rstrip().splitlines()
    assert lines[-1].endswith("outputs/index.html") and (two / "deep/down" / lines[-1]).exists()
    first, second = [l for l in lines if l.startswith(("01_first", "02_second"))]
    assert "success 0.5 [0.352, 0.648], n=40" in first and "outputs/01_first/" in first
    assert second.split()[1:3] == ["n", "40"], (
        "the second study took the run that the first had made just before"
    )


def test_demo_again_returns_at_once(two, demo):
    start = time.monotonic()
    r = lab(two, "demo")
    assert r.stdout == demo.stdout and time.monotonic() - start < 2


def test_ls_and_show(two, demo):
    runs = json_of(lab(two, "ls", "--json"))
    assert {(m["study"], m["status"], m["profile"]) for m in runs} == {
        ("01_first", "done", "demo"),
        ("02_second", "done", "demo"),
    }
    assert [m["study"] for m in json_of(lab(two, "ls", "02", "--json"))] == ["02_second"]
    key = next(m["key"] for m in runs if m["study"] == "02_second")
    shown = json_of(lab(two, "show", key[:6], "--json"))
    assert shown["key"] == key and list(shown["inputs"]) == [
        f"outputs/01_first/{next(m['key'] for m in runs if m['study'] == '01_first')}"
    ]
    words = lab(two, "show", "02_second").stdout
    assert f"02_second/{key}" in words and "status       done" in words
    r = lab(two, "show", "nowhere")
    assert (r.returncode, r.stderr) == (2, "synthlab: no run 'nowhere'; synthlab ls lists them\n")


@pytest.mark.slow
def test_a_new_first_run_makes_a_new_second_run(two, demo):
    assert lab(two, "run", "01_first", "-p", "n=20").returncode == 0
    m = json_of(lab(two, "run", "02_second", "--json"))
    assert m["metrics"] == dict(n=20)
    assert json_of(lab(two, "run", "02_second", "--profile", "demo", "--json"))["metrics"] == dict(
        n=40
    ), "a profile takes runs of that profile"


@pytest.mark.slow
def test_an_error_of_the_input_ends_with_2_and_is_escaped_in_the_index(two, demo):
    r = lab(two, "run", "02_second", "-p", "bad=<script>x</script>")
    assert (
        r.returncode == 2
        and "ValueError: <script>x</script> is no input" in r.stderr
        and len(r.stderr.splitlines()) == 1
    )
    index = (two / "outputs/index.html").read_text()
    assert "<script" not in index and "&lt;script&gt;x" in index


def test_run_lists_studies_and_what_they_take(two):
    assert lab(two, "run").stdout.split() == ["01_first", "02_second"]
    assert lab(two, "run", "01", "--takes").stdout == "n: int = 10 — tries\n"


def test_outside_a_repository_the_installed_one_is_meant(tmp_path):
    r = subprocess.run(
        [*CLI, "run"], cwd=tmp_path, env=env(tmp_path), capture_output=True, text=True
    )
    assert r.stdout.split() == sorted(p.stem for p in (ROOT / "nbs/studies").glob("*.ipynb"))


def test_every_command_explains_itself(capsys):
    for c in COMMANDS:
        with pytest.raises(SystemExit) as e:
            main([c, "--help"])
        assert e.value.code == 0 and "usage: synthlab " + c in capsys.readouterr().out
    assert (
        build_parser().parse_args(["demo"]).profile == "demo"
        and build_parser().parse_args(["run", "x"]).profile is None
    )


@pytest.mark.parametrize(
    "args, said",
    [
        (["rnu"], "invalid choice"),
        (["show"], "required: run"),
        (["run", "x", "--odd"], "unrecognized"),
    ],
)
def test_wrong_usage_is_one_line(args, said, capsys):
    with pytest.raises(SystemExit) as e:
        main(args)
    err = capsys.readouterr().err
    assert e.value.code == 2 and said in err and len(err.splitlines()) == 1


def test_doctor_says_what_works(capsys):
    main(["doctor", "--json"])
    checks = {c["name"]: c for c in json.loads(capsys.readouterr().out)}
    assert (
        checks["τ² data"]["ok"]
        and "airline, mock, retail, telecom" in checks["τ² data"]["what"]
        and checks["settings"]["ok"]
    )
    assert {
        "GPU",
        "vllm",
        "transformers",
        "embedded model",
        "docs renderer",
        "ray",
        "jupyter kernel",
    } <= set(checks)
    assert all(c["fix"] for c in checks.values())
    main(["doctor"])
    words = capsys.readouterr().out
    assert all(name in words for name in checks)


def test_doctor_names_a_broken_setting(tmp_path):
    repository(tmp_path, {})
    (tmp_path / "settings.ini").write_text("[lab]\nouputs = x\n")
    r = lab(tmp_path, "doctor", cwd=".")
    assert (
        r.returncode == 1
        and "MISSING  settings" in r.stdout
        and "no key 'ouputs'; known keys: outputs" in r.stdout
    )


def seconds(*args):
    "The fastest of three: what the command needs, not what else the machine is doing"

    def one():
        start = time.perf_counter()
        subprocess.run([sys.executable, *args], check=True, capture_output=True, cwd=ROOT)
        return time.perf_counter() - start

    return min(one() for _ in range(3))


def test_help_and_import_are_quick():
    bare = seconds("-c", "pass")
    assert seconds("-c", "import synthlab") - bare < 0.3
    assert seconds(*CLI[1:], "--help") < 1 and seconds(*CLI[1:], "doctor") < 2


@needs_data
def test_regrade_and_passk_of_real_files(capsys):
    (mock,) = [p for p in RUNS if "mock" in p.name]
    assert main(["regrade", str(mock), "--json"]) == 0
    (r,) = json.loads(capsys.readouterr().out)
    assert (r["n"], r["same"], r["different"], r["raised"]) == (10, 10, 0, 0) and set(
        r["linkage"]
    ) == {"ok", "wrong", "repaired"}
    assert main(["regrade", str(mock)]) == 0 and mock.name in capsys.readouterr().out
    (old,) = (DATA / "tau1_runs").glob("*.json.gz")
    assert main(["passk", str(old), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [f"{v['value']:.3f}" for v in found["pass_k"].values()] == [
        "0.420",
        "0.273",
        "0.220",
        "0.200",
    ]
    assert main(["regrade", str(old), "--json"]) == 0
    (r,) = json.loads(capsys.readouterr().out)
    assert (r["n"], r["same"], r["generation"]) == (200, 200, "τ-bench v1")


def test_audit_of_a_domain(capsys):
    assert main(["audit", "mock", "--json"]) == 0
    r = json.loads(capsys.readouterr().out)
    assert r["n"] == 9 and r["gold_ok"] + len(r["gold_failed"]) == 9
    assert main(["audit", "mock"]) == 0 and f"{r['gold_ok']} of 9 tasks" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content, said",
    [(None, "no such file"), ('{"a":', "torn.json"), ('{"a": 1}', "not a τ² results file")],
)
@pytest.mark.parametrize("command", ["regrade", "passk"])
def test_bad_files_are_one_line(tmp_path, capsys, command, content, said):
    path = tmp_path / "torn.json"
    if content:
        path.write_text(content)
    assert main([command, str(path), "--json"]) == 2
    out, err = capsys.readouterr()
    assert not out and said in err and len(err.splitlines()) == 1


@needs_data
def test_audit_of_the_tasks_in_a_file(capsys):
    (mock,) = [p for p in RUNS if "mock" in p.name]
    assert main(["audit", str(mock)]) == 0
    said = capsys.readouterr().out
    assert "τ²-bench 1.0.0 or 1.0.1" in said and "on 8 of 10 tasks" in said


@needs_data
def test_what_was_noticed_is_printed(capsys):
    cases = DATA / "cases"
    lost, twice = cases / "f04_dir_lost_one", cases / "f15_duplicate.json"
    assert main(["regrade", str(lost), str(twice)]) == 0
    said = capsys.readouterr().out
    assert "nobody has: 1 (second)" in said and "count once: 1 (k02_both_orders)" in said
    assert "of all 0.500 to 1.000" in said
    assert main(["passk", str(cases / "f10_voice_duplex.json")]) == 0
    assert "voice runs, not replayed: 1" in capsys.readouterr().out


def test_a_folder_of_runs_is_each_of_them(tmp_path, capsys):
    from synthlab.tau2.env import tasks
    from synthlab.tau2.grade import oracle_trajectory, write_graded_results

    first = write_graded_results([oracle_trajectory(tasks("mock")[0])], tmp_path / "one.json")
    sims = tmp_path / "two" / "simulations"
    sims.mkdir(parents=True)
    raw = json.loads(first.read_text())
    (sims / "s.json").write_text(json.dumps(raw["simulations"][0]))
    (tmp_path / "two" / "results.json").write_text(json.dumps(raw | dict(simulations=[])))
    assert main(["passk", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {p.rsplit("/")[-1] for p in found} == {"one.json", "two"}
    assert all(r["stops"] == dict(user_stop=1) for r in found.values())


@needs_data
def test_failures_of_two_releases_are_not_pooled_unasked(capsys):
    files = [str(p) for p in RUNS if p.name.startswith("gpt-4.1_airline")]
    files.append(str(DATA / "cases" / "f07_corrected_task_in_file.json"))
    assert main(["failures", *files]) == 2
    err = capsys.readouterr().err
    assert "different generations" in err and "--pool" in err and len(err.splitlines()) == 1
    assert main(["failures", "--pool", *files]) == 0
    assert "pooled in spite of" in capsys.readouterr().err


@needs_data
def test_failures_are_shown_and_can_fail_a_build(capsys):
    file = str(next(p for p in RUNS if p.name.startswith("gemini-2.5-flash_airline")))
    assert main(["failures", file]) == 0
    out = capsys.readouterr().out
    assert "user: premature_termination" in out and "--out DIR writes them all" in out
    assert max(map(len, out.splitlines())) < 160
    assert main(["failures", file, "--fail-over", "0"]) == 1
    assert "users broke" in capsys.readouterr().err
    assert main(["failures", file, "--fail-over", "1"]) == 0


def test_conversations_change_their_form(tmp_path, capsys):
    from synthlab.core.types import write_jsonl
    from synthlab.tau2.env import tasks
    from synthlab.tau2.grade import oracle_trajectory

    some = [oracle_trajectory(t) for t in tasks("mock")[:2]]
    write_jsonl(some, tmp_path / "ours.jsonl")
    one, two = tmp_path / "atif.jsonl", tmp_path / "again.jsonl"
    assert main(["convert", str(tmp_path / "ours.jsonl"), "--to", "atif", "--out", str(one)]) == 0
    assert main(["convert", str(one), "--to", "synthlab", "--out", str(two)]) == 0
    assert "2 conversations" in capsys.readouterr().out
    again = [json.loads(line)["messages"] for line in two.read_text().splitlines()]
    first = [json.loads(x)["messages"] for x in (tmp_path / "ours.jsonl").read_text().splitlines()]
    assert again == first
    assert main(["convert", str(one), "--to", "parchment", "--out", str(two)]) == 2
    assert "parchment" in capsys.readouterr().err


def test_released_rows_are_audited(tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text('{"odd": 1}\n{torn\n')
    assert main(["audit-data", str(tmp_path / "rows.jsonl")]) == 0
    said = capsys.readouterr().out
    assert "parses" in said and "row 1" in said
    assert main(["audit-data", str(tmp_path / "rows.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 2


def test_packages_and_submissions_say_what_they_need(tmp_path, capsys):
    assert main(["package", "mock", "--to", "verifiers", "--out", str(tmp_path / "env")]) == 0
    assert (tmp_path / "env" / "pyproject.toml").exists()
    assert main(["package", "mock", "--to", "boxes", "--out", str(tmp_path / "x")]) == 2
    assert "verifiers or openenv" in capsys.readouterr().err


def test_an_unknown_domain_is_one_line(capsys):
    assert main(["audit", "hotel"]) == 2
    assert "hotel" in capsys.readouterr().err
