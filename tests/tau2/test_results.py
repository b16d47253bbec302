"Results files: ours read by the benchmark, its own read by us, and what is no results file"

import gzip
import json
import os
import shutil
from dataclasses import replace

import pytest
from conftest import RUNS, needs_data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthlab.core.types import Message, ToolCall, Trajectory
from synthlab.tau2.env import Env, tasks
from synthlab.tau2.grade import (
    oracle_trajectory,
    pass_k_of_file,
    regrade,
    write_graded_results,
)
from synthlab.tau2.results import check_task_ids, load_results
from tests.tau2.common import REPAIRED, SWAPPED, USABLE, WRONG, canonical, named

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")


@needs_data
@pytest.mark.parametrize("judged", [True, False], ids=["with-judged-sentences", "without"])
def test_wrong_names_are_repaired(judged):
    "Against the file in which they were repaired by hand, and its own six mistakes put right"
    run, by_hand = (
        load_results(WRONG),
        {t.info["id"]: t.task.id for t in load_results(REPAIRED).trajectories},
    )
    if not judged:
        for t in run.trajectories:
            t.info["stored"]["nl_assertions"] = None
    found = {r["id"]: r["proposed"] or r["task"] for r in check_task_ids(run)["rows"]}
    assert found == {i: SWAPPED.get(task, task) for i, task in by_hand.items()}


@needs_data
@pytest.mark.parametrize("task,words", [("6", "insurance"), ("45", "family emergency")])
def test_the_mistakes_left_in_the_repaired_file_are_real(task, words):
    """What the user says first in the simulations that linkage renames is what their new task makes
    it call for
    """
    run = load_results(REPAIRED)
    t = next(
        t for t, r in zip(run.trajectories, check_task_ids(run)["rows"]) if r["proposed"] == task
    )
    said = next(m.content for m in t.messages if m.role == "user")
    assert (
        words in said
        and words in run.tasks[task].goal["reason_for_call"]
        and words not in t.task.goal["reason_for_call"]
    )


@needs_data
def test_a_file_without_tasks_is_refused():
    path = next(p for p in RUNS if "no-info" in p.name)
    for f in (regrade, load_results):
        with pytest.raises(
            ValueError, match="no info and no tasks in it, so its rewards cannot be checked"
        ):
            f(path)


@pytest.fixture
def saved(tmp_path):
    "A small run with a call that was no JSON, a user's call, two trials and a secret"
    t = tasks("telecom")[0]
    broken = ToolCall("get_details_by_id", '{"id": "L100', "b1")
    odd = Trajectory(
        t,
        [
            Message("user", "hm"),
            Message("assistant", "let me see", [broken]),
            Env(t).step(broken),
            Message("user", "###STOP###"),
        ],
        stop="user_stop",
        model="some model",
        seed=3,
    )
    info = dict(
        agent_info=dict(llm_args=dict(api_key="hidden-key"), nested=[dict(llm_args="hidden-key")])
    )
    return write_graded_results(
        [oracle_trajectory(t), odd, oracle_trajectory(tasks("telecom")[1])],
        tmp_path / "run.json",
        info,
    ), odd


def test_upstream_accepts_what_is_saved(saved, evaluator):
    from tau2.data_model.simulation import Results
    from tau2.metrics.agent_metrics import compute_metrics

    path, odd = saved
    theirs = Results.load(path)
    assert [s.reward_info.reward for s in theirs.simulations] == [
        1,
        0,
        1,
    ] and theirs.info.num_trials == 2
    assert compute_metrics(theirs).avg_reward == pytest.approx(2 / 3)
    ours = load_results(path).trajectories
    assert [canonical(evaluator(t)) for t in ours] == [canonical(t.info["stored"]) for t in ours]
    assert ours[1].messages[2].error and (ours[1].model, ours[1].seed) == ("some model", 3)


def test_the_benchmarks_viewer_shows_what_is_saved(saved, capsys):
    from tau2.data_model.simulation import Results
    from tau2.scripts.view_simulations import display_simulation_list
    from tau2.utils.display import ConsoleDisplay

    theirs = Results.load(saved[0])
    display_simulation_list(theirs)
    known = {t.id: t for t in theirs.tasks}
    for s in theirs.simulations:
        ConsoleDisplay.display_task(known[s.task_id])
        ConsoleDisplay.display_simulation(s)
    shown = capsys.readouterr().out
    assert "let me see" in shown and "malformed_arguments" in shown and "user_stop" in shown.lower()


def test_secrets_are_dropped_on_saving_and_on_loading(saved, tmp_path):
    path, _ = saved
    assert "hidden-key" not in path.read_text() and "llm_args" not in path.read_text()
    raw = json.loads(path.read_text())
    raw["info"]["user_info"] |= dict(
        llm_args=dict(api_key="hidden-key"), deep=[dict(more=dict(llm_args_user="hidden-key"))]
    )
    (tmp_path / "keys.json").write_text(json.dumps(raw))
    run = load_results(tmp_path / "keys.json")
    assert (
        "hidden-key" not in json.dumps(run.info)
        and run.info["user_info"]["implementation"] == "user_simulator"
    )
    assert "hidden-key" not in write_graded_results(
        run.trajectories, tmp_path / "again.json.gz", run.info
    ).read_bytes().decode("latin1")


def test_three_layouts_are_one_run(saved, tmp_path):
    path, _ = saved
    raw = json.loads(path.read_text())
    sims = raw.pop("simulations")
    (tmp_path / "folder" / "simulations").mkdir(parents=True)
    (tmp_path / "folder" / "results.json").write_text(json.dumps(raw | dict(simulations=[])))
    for i, s in enumerate(sims):
        (tmp_path / "folder" / "simulations" / f"{i}.json").write_text(json.dumps(s))
    with gzip.open(tmp_path / "packed.json.gz", "wb") as f:
        f.write(path.read_bytes())
    shutil.copy(tmp_path / "packed.json.gz", tmp_path / "misnamed.json")
    one = load_results(path)
    for p in ("folder", "packed.json.gz", "misnamed.json"):
        other = load_results(tmp_path / p)
        assert [t.messages for t in other.trajectories] == [
            t.messages for t in one.trajectories
        ] and other.tasks == one.tasks


@needs_data
@pytest.mark.parametrize("path", USABLE, **named)
def test_saving_loses_nothing_that_is_interpreted(path, tmp_path):
    run = load_results(path)
    again = load_results(
        write_graded_results(run.trajectories, tmp_path / "again.json.gz", run.info)
    )
    assert again.info == run.info and again.tasks == {t.task.id: t.task for t in run.trajectories}
    for a, b in zip(run.trajectories, again.trajectories, strict=True):
        assert (a.messages, a.info["stored"], a.stop, a.solo, a.seed) == (
            b.messages,
            b.info["stored"],
            b.stop,
            b.solo,
            b.seed,
        )


BAD = {
    "": "not whole JSON",
    '{"info": {': "not whole JSON",
    "\x00\x01": "not whole JSON",
    "null": "not a τ² results file",
    "[]": "not a τ² results file",
    "[1, 2]": "not a τ² results file",
    '{"resolved": [], "instances": {}}': "not a τ² results file",
    '{"info": {}, "tasks": [], "simulations": []}': "no info and no tasks and no simulations in it",
    '{"info": {"a": 1}, "tasks": {"a": 1}, "simulations": [{}]}': (
        "info must be an object, tasks and simulations lists"
    ),
    '{"info": {"environment_info": {"domain_name": "banking"}}, "tasks": [{}], "simulations": '
    "[{}]}": "domain 'banking'; this lab",
    '{"info": {"environment_info": {"domain_name": "mock"}}, "tasks": [{}], "simulations": [{}]}': (
        "task 0: id is null"
    ),
}


@pytest.mark.parametrize("text,says", BAD.items(), ids=range(len(BAD)))
def test_what_is_no_run_is_refused_in_one_line(text, says, tmp_path):
    path = tmp_path / "odd.json"
    path.write_text(text)
    for f in (load_results, regrade):
        with pytest.raises(ValueError) as e:
            f(path)
        assert str(path) in str(e.value) and says in str(e.value) and "\n" not in str(e.value)
    with pytest.raises(ValueError) as e:
        pass_k_of_file(path)
    assert str(path) in str(e.value) and "\n" not in str(e.value)


def test_torn_and_missing_files(saved, tmp_path):
    packed = gzip.compress(saved[0].read_bytes())
    for cut in (5, 200, len(packed) - 3):
        (tmp_path / "torn.json.gz").write_bytes(packed[:cut])
        with pytest.raises(ValueError, match="torn.json.gz: not whole JSON"):
            load_results(tmp_path / "torn.json.gz")
    with pytest.raises(FileNotFoundError, match="no such file; give a τ² results file"):
        load_results(tmp_path / "gone.json")
    with pytest.raises(FileNotFoundError, match="results.json: no such file"):
        load_results(tmp_path)


def objects(x):
    "Every JSON object in `x` that has keys"
    if isinstance(x, dict) and x:
        yield x
    for v in x.values() if isinstance(x, dict) else x if isinstance(x, list) else ():
        yield from objects(v)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_file_is_an_error_that_says_where(data, saved, tmp_path):
    "Any part of a run lost or replaced: it loads, or one line says where it does not fit"
    raw = json.loads(saved[0].read_text())
    target = data.draw(st.sampled_from(list(objects(raw))))
    key = data.draw(st.sampled_from(sorted(target)))
    if data.draw(st.booleans()):
        del target[key]
    else:
        target[key] = data.draw(st.sampled_from([None, 1, True, "x", [], {}, [1], [{}], {"a": 1}]))
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(raw))
    for f in (regrade, pass_k_of_file):
        try:
            f(path)
        except ValueError as e:
            assert str(e).startswith(f"{path}: ") and "\n" not in str(e)


def test_runs_that_do_not_go_together_are_not_saved(tmp_path):
    a, b = oracle_trajectory(tasks("mock")[0]), oracle_trajectory(tasks("telecom")[0])
    with pytest.raises(ValueError, match="holds one domain"):
        write_graded_results([a, b], tmp_path / "x.json")
    with pytest.raises(ValueError, match="holds one mode"):
        write_graded_results([a, replace(a, solo=True)], tmp_path / "x.json")
    with pytest.raises(ValueError, match="no trajectories"):
        write_graded_results([], tmp_path / "x.json")
    with pytest.raises(ValueError, match="has no termination reason"):
        write_graded_results([Trajectory(a.task)], tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()
