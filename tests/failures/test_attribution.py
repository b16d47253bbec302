"""attribution: our own rollouts whose culprit is known, facts of real runs, and files that cannot
be judged
"""

import json
from dataclasses import replace

import pytest
from conftest import DATA, RUNS, needs_data

from synthlab.cli.main import main
from synthlab.core.types import Message
from synthlab.failures.attribution import (
    CORRECTED_TASKS,
    attribute_failure,
    attribute_files,
    failure_source,
    verdict_counts,
)
from synthlab.failures.divergence import changes_made, first_divergence
from synthlab.failures.outcomes import read_results
from synthlab.tau2.agents import NullAgent, OracleAgent, ScriptedUser
from synthlab.tau2.env import tasks
from synthlab.tau2.grade import grade, write_graded_results
from synthlab.tau2.rollout import rollout

VERDICTS = {"", "user", "agent", "task", "infrastructure", "unresolved"}


@pytest.fixture(scope="module")
def passed():
    some = [t for d in ("airline", "retail", "telecom") for t in tasks(d)[::12]]
    return [grade(t) for t in rollout(some, OracleAgent(), ScriptedUser())]


@pytest.fixture(scope="module")
def order(passed):
    return next(
        t
        for t in passed
        if t.task.domain == "retail"
        and any("Shall I go ahead?" in m.content for m in t.messages)
        and changes_made(t)
        and t.task.id not in CORRECTED_TASKS["retail"]["A"]
    )


def cut(t, *new):
    at = next(i for i, m in enumerate(t.messages) if "Shall I go ahead?" in m.content)
    return grade(replace(t, messages=[*t.messages[: at + 1], *new], scores={}))


def test_passed_runs_have_no_culprit(passed):
    assert {attribute_failure(t)["by"] for t in passed} == {""} and not any(
        first_divergence(t) for t in passed
    )


def test_a_user_that_leaves_at_its_yes_is_to_blame(order):
    r = attribute_failure(cut(order, Message("user", "Yes, please do. ###STOP###")))
    assert r["by"] == "user" and r["first_divergence"]["type"] == "missing_action"
    assert [(e["type"], e["severity"]) for e in r["errors"] if e["source"] == "user"] == [
        ("premature_termination", "critical_hindered")
    ]


def test_an_agent_that_only_says_it_is_done_is_to_blame(order):
    r = attribute_failure(
        cut(
            order,
            Message("user", "Yes, please."),
            Message("assistant", "It is done."),
            Message("user", "Thank you! ###STOP###"),
        )
    )
    assert r["by"] == "agent" and not [e for e in r["errors"] if e["source"] == "user"]


def test_an_announced_transfer_that_is_never_made_is_the_agents(order):
    hold = Message("assistant", "YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON.")
    r = attribute_failure(
        cut(order, Message("user", "Yes, please."), hold, Message("user", "###TRANSFER###"))
    )
    assert r["by"] == "agent" and "transfer_not_made" in [e["type"] for e in r["errors"]]


def test_a_wrong_argument_is_traced(order):
    at, call = changes_made(order)[0]
    name = next(k for k, v in call.args.items() if isinstance(v, str))
    bad = [
        replace(m, calls=[replace(c, args=c.args | {name: "nonsense"}) for c in m.calls])
        if i == at
        else m
        for i, m in enumerate(order.messages)
    ]
    d = first_divergence(replace(order, messages=bad))
    assert (d.type, d.argument, d.got, d.gold, d.origin, d.turn) == (
        "wrong_argument",
        name,
        "nonsense",
        call.args[name],
        "agent",
        at,
    )


@pytest.mark.parametrize(
    "stop,by",
    [
        ("infrastructure_error", "infrastructure"),
        ("timeout", "infrastructure"),
        ("agent_error", "agent"),
        ("user_error", "user"),
        ("too_many_errors", "agent"),
    ],
)
def test_ends_that_say_who(order, stop, by):
    assert (
        failure_source(grade(replace(order, messages=order.messages[:4], stop=stop, scores={})))
        == by
    )


def test_a_run_without_a_reward_is_nobodys(order):
    r = attribute_failure(replace(order, scores={}))
    assert r["by"] == "unresolved" and r["reward"] is None


def test_doing_nothing_is_never_the_users_fault():
    ts = [
        grade(t)
        for t in rollout(
            [t for d in ("airline", "retail", "telecom") for t in tasks(d)[::15]],
            NullAgent(),
            ScriptedUser(),
        )
    ]
    got = [attribute_failure(t)["by"] for t in ts]
    assert set(got) <= VERDICTS - {"user"} and got.count("agent") > len(got) / 3


def test_the_command_writes_json(passed, order, tmp_path, capsys):
    f, out = tmp_path / "retail.json", tmp_path / "out"
    write_graded_results(
        [replace(cut(order, Message("user", "Yes, please do. ###STOP###")), info={})], f
    )
    assert main(["failures", str(f), "--json", "--out", str(out)]) == 0
    d = json.loads(capsys.readouterr().out)
    assert d == json.loads((out / "failures.json").read_text("utf8"))
    (run,) = d["runs"]
    assert {"task", "trial", "reward", "by", "errors", "first_divergence"} <= set(run) and run[
        "by"
    ] == "user"
    assert all(
        set(e)
        == {
            "source",
            "type",
            "severity",
            "turn",
            "evidence",
            "rule",
            "probability",
        }
        for e in run["errors"]
    )
    assert verdict_counts(d["runs"])[0]["user"] == 1


def test_files_that_cannot_be_judged_say_why(order, tmp_path, capsys):
    f = write_graded_results([replace(order, info={})], tmp_path / "good.json")
    d = json.loads(f.read_text())
    d["simulations"][0] |= dict(
        review=dict(errors=[]), ticks=None, mode="half-duplex", speech_environment=None
    )
    d["info"]["agent_info"]["llm_args"] = dict(api_key="sk-secret")
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer/results.json").write_text(json.dumps(d | dict(simulations=[])))
    (tmp_path / "newer/simulations").mkdir()
    (tmp_path / "newer/simulations/0.json").write_text(json.dumps(d["simulations"][0]))
    early = json.loads(json.dumps(d))
    early["simulations"][0] |= dict(termination_reason="max_steps", reward_info=None)
    (tmp_path / "early.json").write_text(json.dumps(early))
    odd = json.loads(json.dumps(d))
    odd["info"]["environment_info"]["domain_name"] = "banking"
    (tmp_path / "odd.json").write_text(json.dumps(odd))
    code = main(
        [
            "failures",
            *map(str, (tmp_path / "newer", tmp_path / "early.json", tmp_path / "odd.json")),
            "--json",
        ]
    )
    out, err = capsys.readouterr()
    runs = json.loads(out)["runs"]
    assert (
        code == 2
        and "banking" in err
        and len(runs) == 2
        and "sk-secret" not in out + err
        and "llm_args" not in out
    )
    assert {r["by"] for r in runs} == {"", "unresolved"} or {r["by"] for r in runs} == {"", "agent"}


def test_empty_and_torn_files_say_so(tmp_path):
    (tmp_path / "a.json").touch()
    (tmp_path / "b.jsonl").touch()
    (tmp_path / "c.json").write_text('{"info": {"x"')
    (tmp_path / "none").mkdir()
    for name, why in (
        ("a.json", "the file is empty"),
        ("b.jsonl", "no trajectories in it"),
        ("c.json", "not whole JSON"),
    ):
        with pytest.raises(ValueError, match=f"{name}: .*{why}"):
            attribute_files([tmp_path / name])
    with pytest.raises(FileNotFoundError, match="none: no results there"):
        attribute_files([tmp_path / "none"])


def test_runs_whose_checks_were_not_stored_keep_their_task(tmp_path):
    "A failed run without checks must not be taken for one of a task that wants nothing done"
    some = [t for t in tasks("mock") if t.gold][:3]
    d = json.loads(
        write_graded_results(
            [grade(t) for t in rollout(some, NullAgent(), ScriptedUser())], tmp_path / "x.json"
        ).read_text()
    )
    d["tasks"].append(d["tasks"][0] | dict(id="nothing", evaluation_criteria=dict(actions=[])))
    for r in d["simulations"]:
        r["reward_info"] |= dict.fromkeys(
            ("db_check", "action_checks", "communicate_checks", "env_assertions", "nl_assertions")
        )
    (tmp_path / "x.json").write_text(json.dumps(d))
    got = attribute_files([tmp_path / "x.json"])
    assert [r["task"] for r in got["runs"]] == [t.id for t in some] and got["files"][0][
        "wrong"
    ] == 0


@pytest.mark.slow
@needs_data
def test_real_telecom_two_of_four_premature_transfers_are_critical():
    ts = read_results([DATA / "tau2_runs/gpt-4.1_telecom_default_1trial.json.gz"])[0]
    got = [
        (r["by"], e)
        for r in map(attribute_failure, ts)
        for e in r["errors"]
        if e["type"] == "premature_termination"
    ]
    assert [e["severity"] for _, e in got].count("critical_hindered") == 2 and len(got) == 4
    assert [by for by, e in got if e["severity"] == "critical_hindered"] == ["user", "user"]


@pytest.mark.slow
@needs_data
def test_real_airline_runs_to_the_byte_and_in_time():
    import time

    path = DATA / "tau2_runs/gpt-4o_airline_user-gpt-4o_1trial.json.gz"
    began = time.time()
    one = attribute_files([path])
    took = time.time() - began
    assert (
        json.dumps(one) == json.dumps(attribute_files([path]))
        and took < 30
        and len(one["runs"]) == 50
    )
    assert {r["by"] for r in one["runs"]} <= VERDICTS and all(
        (r["by"] == "") == (r["reward"] == 1) for r in one["runs"]
    )
    assert "llm_args" not in json.dumps(one)


@needs_data
def test_corrected_tasks_are_those_of_the_lists():
    for domain, kinds in CORRECTED_TASKS.items():
        lists = json.loads((DATA / f"labels/task_fix_labels_{domain}.json").read_text())
        for kind, ids in kinds.items():
            assert set(ids) == {i for l in lists.values() for i, k in l.items() if kind in k}


@needs_data
def test_a_file_without_info_is_refused():
    with pytest.raises(ValueError, match="no info"):
        attribute_files([DATA / "tau2_runs/untrusted_no-info_airline.json.gz"])


@needs_data
def test_a_users_half_that_no_reference_states_leaves_the_question_open():
    (path,) = (p for p in RUNS if "mini_mock" in p.name)
    runs = attribute_files([str(path)])["runs"]
    lost = [r for r in runs if r["task"] == "update_task_with_user_tools"]
    assert lost and all(
        r["by"] in ("", "unresolved", "infrastructure") and not r["errors"] for r in lost
    )
    assert len(runs) == 10
