"""The grader's verdict is the benchmark's: to the last field, on real runs, on generated ones, and
in its refusals.
"""

import copy
import gzip
import math
import os
import subprocess
import sys

import pytest
from conftest import DATA, ROOT, needs_data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthlab.core.types import Message, Task, Trajectory
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
)
from synthlab.tau2.results import load_results
from tests.tau2.common import REPAIRED, SWAPPED, USABLE, WRONG, canonical, named

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")


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


@pytest.mark.slow
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
def test_pass_k_of_tau_bench_v1():
    (path,) = (DATA / "tau1_runs").glob("*.json.gz")
    found = pass_k_of_file(path)
    assert [round(found[k]["value"], 3) for k in (1, 2, 3, 4)] == [0.42, 0.273, 0.22, 0.2]
    assert all(e["lo"] < e["value"] < e["hi"] for e in found.values())
    for f in (regrade, load_results):
        with pytest.raises(ValueError, match="τ-bench v1 results file; synthlab regrade and passk"):
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_audit_of_all_telecom_tasks():
    r = audit_tasks("telecom", "full")
    assert (r["n"], r["gold_ok"], r["null_agent_passes"]) == (2285, 2285, [])


@pytest.mark.slow
def test_audits_take_less_than_ten_seconds_of_a_new_process():
    code = (
        'import synthlab.tau2.grade as g, time; [g.audit_tasks(d) for d in ("mock", '
        '"airline", "retail", "telecom")]; print(time.process_time())'
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert float(out.stdout) < 10 and not out.stderr, out.stderr


def test_tasks_of_the_newest_format_keep_unknown_parts():
    d = dict(
        id="1",
        user_scenario=dict(instructions="x", persona=None),
        annotations=dict(by="me"),
        evaluation_criteria=None,
    )
    assert to_tau2(from_tau2(d, "mock"))["annotations"] == dict(by="me")
