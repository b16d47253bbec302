"""Upstream's own evaluator beside ours.

Set SYNTHLAB_TAU2 to a checkout of τ²-bench with an environment of its own to run all of it
"""

import json
import os
import sys

import pytest
from conftest import DATA, RUNS, needs_data

from synthlab.tau2.env import tasks
from synthlab.tau2.grade import gold_trajectory, oracle_trajectory, write_graded_results
from synthlab.tau2.witness import (
    audit_with_upstream,
    compare_with_upstream,
    open_witness,
    regrade_with_witness,
    upstream_checkout,
)

needs_checkout = pytest.mark.skipif(
    "SYNTHLAB_TAU2" not in os.environ, reason="SYNTHLAB_TAU2 names no checkout of τ²-bench"
)


def test_a_folder_that_is_no_checkout(monkeypatch, tmp_path):
    monkeypatch.setenv("SYNTHLAB_TAU2", str(tmp_path))
    with pytest.raises(ValueError, match="which has no src/tau2: name a checkout"):
        upstream_checkout()
    monkeypatch.delenv("SYNTHLAB_TAU2")
    assert upstream_checkout() is None


@pytest.mark.slow
def test_an_interpreter_that_cannot_load_it(monkeypatch, tmp_path):
    (tmp_path / "src" / "tau2").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.0.1"\n')
    monkeypatch.delenv("SYNTHLAB_TAU2_PYTHON", raising=False)
    with (
        pytest.raises(ValueError, match="name an interpreter by SYNTHLAB_TAU2_PYTHON"),
        open_witness(tmp_path),
    ):
        pass
    monkeypatch.setenv("SYNTHLAB_TAU2_PYTHON", sys.executable)
    with pytest.raises(ValueError, match="cannot load the evaluator"), open_witness(tmp_path):
        pass


@needs_checkout
@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt-4.1-mini_mock", "gpt-4.1_telecom_default"])
def test_real_files_are_graded_alike(name):
    (path,) = [p for p in RUNS if p.name.startswith(name)]
    found = compare_with_upstream(path, upstream_checkout())
    assert found["same"] == found["n"], [r for r in found["rows"] if r["how"] != "same"][:3]


@needs_checkout
@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("case", ["f01", "f01b", "f02", "f07", "f09", "f13", "f15"])
def test_small_cases_are_graded_alike(case):
    (path,) = (DATA / "cases").glob(f"{case}_*.json")
    found = compare_with_upstream(path, upstream_checkout())
    assert found["same"] == found["n"] == 1


@needs_checkout
@pytest.mark.slow
def test_a_domain_that_only_the_checkout_has_is_graded_by_it_alone(tmp_path):
    "A banking task whose wanted state is not the one it begins in, and a user who stops at once"
    checkout = upstream_checkout()
    path = checkout / "data/tau2/domains/banking_knowledge/tasks.json"
    now = "2026-01-01T00:00:00"
    sim = dict(id="s", task_id=json.loads(path.read_text())[0]["id"], timestamp=now, trial=0)
    sim |= dict(start_time=now, end_time=now, duration=0.0, termination_reason="user_stop")
    sim |= dict(messages=[dict(role="user", content="###STOP###")])
    info = dict(environment_info=dict(domain_name="banking_knowledge"))
    run = dict(info=info, tasks=json.loads(path.read_text())[:1], simulations=[sim])
    (tmp_path / "run.json").write_text(json.dumps(run))
    found = regrade_with_witness(tmp_path / "run.json", checkout)
    assert found["upstream"]["theirs_alone"] == found["n"] == 1
    assert found["mean_reward"] == 0 and found["generation"] == "1.0.0 or 1.0.1"


@needs_checkout
@needs_data
@pytest.mark.slow
def test_a_file_of_v1_has_our_grades_only():
    (path,) = (DATA / "tau1_runs").glob("*.json.gz")
    found = regrade_with_witness(path, upstream_checkout())
    assert found["same"] == found["n"] == 200 and "upstream" not in found


@needs_checkout
@pytest.mark.slow
def test_tasks_of_the_checkout_are_solved_by_their_gold_actions():
    checkout = upstream_checkout()
    path = checkout / "data/tau2/domains/mock/tasks.json"
    found = audit_with_upstream(json.loads(path.read_text()), "mock", checkout)
    assert found["gold_ok"] == found["n"] - 2 and not found["not_played"]


@needs_checkout
@pytest.mark.slow
def test_a_wrong_end_is_wrong_for_both(tmp_path):
    some = tasks("retail")[:2]
    runs = [oracle_trajectory(some[0]), gold_trajectory(some[1], [], [])]
    found = compare_with_upstream(
        write_graded_results(runs, tmp_path / "run.json"), upstream_checkout()
    )
    assert found["same"] == 2 and [r["reward"] for r in found["rows"]] == [1.0, 0.0]
