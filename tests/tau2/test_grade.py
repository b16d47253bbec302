"""The grader's verdict is the benchmark's: to the last field, on real runs, on generated ones, and
in its refusals.
"""

import copy
import gzip
import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from conftest import DATA, ROOT, RUNS, needs_data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthlab.core.types import Message, Task, ToolCall, Trajectory
from synthlab.tau2.env import Env, from_tau2, tasks, to_tau2
from synthlab.tau2.grade import (
    action_turn,
    audit_tasks,
    gold_trajectory,
    grade,
    oracle_trajectory,
    pass_k_of_file,
    regrade,
    reward_info,
    write_graded_results,
)
from synthlab.tau2.results import check_task_ids, load_results

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
USABLE = [p for p in RUNS if "no-info" not in p.name]
named = dict(ids=lambda p: p.name.split(".json")[0])
WRONG, REPAIRED = (
    DATA / "tau2_runs" / f"toolorchestra_airline_{n}.json.gz"
    for n in ("WRONG-TASK-IDS", "task-ids-repaired")
)
SWAPPED = {
    "45": "6",
    "6": "45",
    "15": "16",
    "16": "15",
    "17": "22",
    "22": "17",
}  # ids that the repaired file still has wrong


def canonical(x):
    return json.dumps(x, sort_keys=True)


@pytest.fixture(scope="module")
def evaluator():
    "The benchmark's own verdict on one of our trajectories, by way of the file format"
    from loguru import logger

    logger.disable("tau2")
    import pydantic
    from tau2.data_model.simulation import SimulationRun
    from tau2.data_model.tasks import Task as TheirTask
    from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation

    from synthlab.tau2.results import simulation_json

    here = f"errors.pydantic.dev/{'.'.join(pydantic.VERSION.split('.')[:2])}/"

    def judge(traj):
        raw = re.sub(
            r"errors\.pydantic\.dev/[\d.]+/",
            here,
            json.dumps(simulation_json(0, traj, 0) | dict(reward_info=None)),
        )
        task = TheirTask.model_validate(to_tau2(traj.task))
        r = evaluate_simulation(
            SimulationRun.model_validate_json(raw),
            task,
            EvaluationType.ALL,
            traj.solo,
            traj.task.domain,
        )
        return r.model_dump(mode="json")

    return judge


# --------------------------------------------------------------------------------------- real files


@needs_data
@pytest.mark.parametrize("path", USABLE, **named)
def test_every_stored_reward_is_recomputed(path):
    "The whole RewardInfo as the file states it, on the task that it belongs to"
    r = regrade(path)
    assert (r["same"], r["different"], r["raised"], r["unstored"]) == (r["n"], 0, 0, 0), r[
        "problems"
    ][:3]
    wrong = {WRONG: 49, REPAIRED: len(SWAPPED)}.get(path, 0)
    assert r["linkage"] == dict(ok=r["n"] - wrong, wrong=wrong, repaired=wrong)


@needs_data
@pytest.mark.parametrize("path", USABLE, **named)
def test_every_reward_is_the_evaluators(path, evaluator):
    """A sample of each file, for the evaluator takes half a second each; bench/regrade.py compares
    all
    """
    trajs = load_results(path).trajectories
    for t in trajs[:: 1 if t_is_quick(trajs[0]) else 16]:
        assert canonical(reward_info(t)) == canonical(evaluator(t))


def t_is_quick(traj):
    return traj.task.domain in ("mock", "telecom")


@needs_data
def test_known_means():
    assert {
        p.name.split("_1trial")[0]: round(regrade(p)["mean_reward"], 3)
        for p in USABLE
        if "_1trial" in p.name
    } == {
        "gpt-4.1-mini_mock": 0.8,
        "gpt-4.1_airline_default": 0.5,
        "gpt-4.1_retail_default": 0.85,
        "gpt-4.1_telecom_default": 0.45,
        "gpt-4.1_telecom_no-user": 0.5,
        "gpt-4o_airline_user-gpt-4o": 0.46,
        "gpt-4o_telecom_user-gpt-4o": 0.7,
        "qwen2.5-7b_airline_user-gpt-4.1": 0.18,
    }


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
    for f in (regrade, pass_k_of_file, load_results):
        with pytest.raises(
            ValueError, match="no info and no tasks in it, so its rewards cannot be checked"
        ):
            f(path)


@needs_data
def test_pass_k_of_tau_bench_v1():
    (path,) = (DATA / "tau1_runs").glob("*.json.gz")
    found = pass_k_of_file(path)
    assert [round(found[k]["value"], 3) for k in (1, 2, 3, 4)] == [0.42, 0.273, 0.22, 0.2]
    assert all(e["lo"] < e["value"] < e["hi"] for e in found.values())
    for f in (regrade, load_results):
        with pytest.raises(ValueError, match="τ-bench v1 results file; only pass.k"):
            f(path)


@needs_data
def test_pass_k_is_the_benchmarks():
    from tau2.data_model.simulation import Results
    from tau2.metrics.agent_metrics import compute_metrics

    for path in USABLE:
        with gzip.open(path) as f:
            theirs = compute_metrics(Results.model_validate_json(f.read()))
        assert {k: e["value"] for k, e in pass_k_of_file(path).items()} == pytest.approx(
            theirs.pass_hat_ks
        )


# --------------------------------------------------------------------------- generated trajectories


def variants(task):
    """Trajectories on a task: gold actions left out, repeated or reordered; things said or not;
    every way to end
    """
    gold, said = task.gold or [], (task.checks or {}).get("communicate_info") or []
    acts = (
        st.one_of(st.just(gold), st.permutations(gold), st.lists(st.sampled_from(gold), max_size=6))
        if gold
        else st.just([])
    )
    words = st.one_of(st.just(said), st.just([]), st.just([s.upper() + ", indeed" for s in said]))
    return st.builds(
        lambda a, w, stop: _ended(gold_trajectory(task, a, w), stop),
        acts,
        words,
        st.sampled_from(["user_stop"] * 4 + ["agent_stop", "max_steps", "too_many_errors"]),
    )


def _ended(traj, stop):
    traj.stop = stop
    return traj


@pytest.mark.parametrize(
    "domain,n", [("mock", 60), ("telecom", 60), ("airline", 8), ("retail", 12)]
)
def test_generated_trajectories_get_the_evaluators_reward(domain, n, evaluator):
    @settings(max_examples=n, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(tasks(domain)).flatmap(variants))
    def check(traj):
        ours = reward_info(traj)
        try:
            assert canonical(ours) == canonical(evaluator(traj))
        except (
            ValueError
        ) as e:  # an assertion on a record that is not there stops the evaluator; ours is not met
            assert "not found" in str(e) and not all(a["met"] for a in ours["env_assertions"])

    check()


@pytest.mark.parametrize("domain", ["mock", "telecom"])
def test_solo_trajectories_get_the_evaluators_reward(domain, evaluator):
    for t in tasks(domain)[:: 1 if domain == "mock" else 10]:
        if (t.init or {}).get("message_history"):
            continue
        env, calls = Env(t, solo=True), [a | dict(requestor="assistant") for a in t.gold or []]
        words = [
            Message("assistant", s)
            for s in (*(t.checks.get("communicate_info") or []), "###STOP###")
        ]
        traj = Trajectory(
            t, [m for a in calls for m in action_turn(env, a)] + words, stop="agent_stop", solo=True
        )
        assert canonical(reward_info(traj)) == canonical(evaluator(traj))
        assert reward_info(traj)["reward"] == (
            1 if t.gold or not t.checks.get("env_assertions") else 0
        )
    with pytest.raises(ValueError, match="user messages in solo mode"):
        reward_info(_ended_solo(traj))


def _ended_solo(traj):
    traj = copy.deepcopy(traj)
    traj.messages.append(Message("user", "hello"))
    return traj


def test_a_falsified_output_cannot_be_graded():
    traj = oracle_trajectory(next(t for t in tasks("airline") if t.id == "7"))
    next(m for m in traj.messages if m.role == "tool").content = "{}"
    with pytest.raises(ValueError, match="the record says"):
        reward_info(traj)
    assert math.isnan(grade(traj).reward) and "cannot be replayed" in traj.scores["reward"].why


def test_numbers_are_compared_as_the_benchmark_does():
    "1 and 1.0 are two states; a call without arguments matches every gold action of its name"
    retail = tasks("retail")[0]
    one = Task(
        "x",
        "mock",
        gold=[
            dict(
                action_id="a", name="update_task_status", arguments=dict(task_id="task_1", status=1)
            )
        ],
    )
    two = gold_trajectory(
        one,
        [
            dict(
                action_id="a",
                name="update_task_status",
                arguments=dict(task_id="task_1", status=1.0),
            )
        ],
        [],
    )
    assert reward_info(two)["db_check"] == dict(db_match=False, db_reward=0.0)
    bare = Trajectory(
        retail,
        gold_trajectory(retail, [dict(retail.gold[0], arguments={})], []).messages,
        stop="user_stop",
    )
    assert reward_info(bare)["action_checks"][0]["action_match"]


def test_judges():
    checks = dict(nl_assertions=["polite", "brief"], reward_basis=["NL_ASSERTION", "DB"])
    traj = Trajectory(
        Task("x", "mock", gold=[], checks=checks), [Message("assistant", "Hello")], stop="user_stop"
    )
    r = reward_info(traj)
    assert (
        math.isnan(r["reward"])
        and math.isnan(r["reward_breakdown"]["NL_ASSERTION"])
        and r["nl_assertions"] is None
    )

    def judge(met):
        return lambda traj, wanted: [
            dict(nl_assertion=w, met=m, justification="") for w, m in zip(wanted, met)
        ]

    assert [reward_info(traj, judge(m))["reward"] for m in ((True, True), (True, False), ())] == [
        1,
        0,
        1,
    ]
    loose = Trajectory(
        Task("x", "mock", gold=[], checks=dict(reward_basis=["NL_ASSERTION"])), [], stop="user_stop"
    )
    assert reward_info(loose, judge(()))["info"]["nl"] == dict(note="No nl_assertions to evaluate")


# ------------------------------------------------------------------------------------------- audits


def test_audits():
    found = {d: audit_tasks(d) for d in ("mock", "airline", "retail", "telecom")}
    assert {d: (r["n"], r["gold_ok"], len(r["null_agent_passes"])) for d, r in found.items()} == {
        "mock": (9, 8, 1),
        "airline": (50, 50, 19),
        "retail": (114, 114, 7),
        "telecom": (114, 114, 0),
    }
    assert found["retail"]["null_agent_passes"] == ["10", "12", "25", "50", "57", "65", "105"]
    assert found["mock"]["gold_failed"][0]["why"].endswith("the task states no gold actions")


def test_audit_of_all_telecom_tasks():
    r = audit_tasks("telecom", "full")
    assert (r["n"], r["gold_ok"], r["null_agent_passes"]) == (2285, 2285, [])


def test_audits_take_less_than_ten_seconds_of_a_new_process():
    code = (
        'import synthlab.tau2.grade as g, time; [g.audit_tasks(d) for d in ("mock", '
        '"airline", "retail", "telecom")]; print(time.process_time())'
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert float(out.stdout) < 10 and not out.stderr, out.stderr


# -------------------------------------------------------------------------------------------- files


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
    '{"info": {"a": 1}, "tasks": {"a": 1}, "simulations": [{}]}': "info must be an object, tasks and simulations "
    "lists",
    '{"info": {"environment_info": {"domain_name": "banking"}}, "tasks": [{}], "simulations": '
    "[{}]}": "domain 'banking'; this lab",
    '{"info": {"environment_info": {"domain_name": "mock"}}, "tasks": [{}], "simulations": [{}]}': "task 0: id is null",
}


@pytest.mark.parametrize("text,says", BAD.items(), ids=range(len(BAD)))
def test_what_is_no_run_is_refused_in_one_line(text, says, tmp_path):
    path = tmp_path / "odd.json"
    path.write_text(text)
    for f in (load_results, regrade, pass_k_of_file):
        with pytest.raises(ValueError) as e:
            f(path)
        assert str(path) in str(e.value) and says in str(e.value) and "\n" not in str(e.value)


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


def test_tasks_of_the_newest_format_keep_unknown_parts():
    d = dict(
        id="1",
        user_scenario=dict(instructions="x", persona=None),
        annotations=dict(by="me"),
        evaluation_criteria=None,
    )
    assert to_tau2(from_tau2(d, "mock"))["annotations"] == dict(by="me")
