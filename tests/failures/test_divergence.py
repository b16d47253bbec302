"Criticality by replay, on runs whose truth is known by construction"

from dataclasses import replace

import pytest
from conftest import DATA, needs_data

from synthlab.core.types import Message
from synthlab.failures.divergence import (
    criticality,
    is_recoverable,
    resume_with_oracle,
    unrecoverable_turn,
)
from synthlab.tau2.grade import grade
from synthlab.tau2.results import load_results
from synthlab.tau2.rollout import STOP, TRANSFER
from synthlab.user_errors.resimulate import EditPoints, oracle_runs


@pytest.fixture(scope="module")
def runs():
    return oracle_runs(each=8)


def test_going_on_correctly_earns_the_reward_from_every_turn(runs):
    for t in runs:
        assert all(is_recoverable(t, i) for i, m in enumerate(t.messages) if m.role != "tool"), (
            t.task.id
        )
        assert grade(resume_with_oracle(t, 0)).reward == 1


def test_leaving_before_the_change_is_critical_and_a_passed_run_has_only_minor_turns(runs):
    seen = 0
    for t in runs:
        users = [i for i, m in enumerate(t.messages) if m.role == "user"]
        assert {criticality(t, i) for i in users if not t.messages[i].calls} == {"minor"}
        for _, u, _ in EditPoints(t).confirms:
            cut = replace(t, messages=[*t.messages[:u], Message("user", "Yes. " + STOP)], scores={})
            assert grade(cut).reward == 0 and criticality(cut, u) == "critical_hindered"
            seen += 1
    assert seen >= 10


def test_an_error_after_the_run_was_lost_is_minor(runs):
    t = next(t for t in runs if t.task.domain == "telecom" and EditPoints(t).confirms)
    _, u, w = EditPoints(t).confirms[0]
    args = t.messages[w].calls[0].args
    bad = dict(
        name="suspend_line",
        arguments=dict(customer_id=args["customer_id"], line_id=args["line_id"], reason="x"),
    )
    other = resume_with_oracle(t, w, [bad])
    late = replace(
        other,
        messages=[
            *other.messages[:-1],
            Message("assistant", "Anything else?"),
            Message("user", STOP),
        ],
    )
    if grade(replace(late, scores={})).reward == 1 or unrecoverable_turn(late) is None:
        pytest.skip("the change did no harm in this task")
    assert criticality(late, len(late.messages) - 1) == "minor"


def test_a_bad_turn_is_refused(runs):
    with pytest.raises(ValueError, match="turn -1"):
        criticality(runs[0], -1)


@needs_data
def test_the_accepted_transfers_of_the_published_telecom_runs():
    "Four users take up a transfer that was only offered; in two of them nothing else was missing"
    run = load_results(DATA / "tau2_runs" / "gpt-4.1_telecom_default_1trial.json.gz").trajectories
    early = [
        grade(t)
        for t in run
        if TRANSFER in t.messages[-1].content
        and "transfer_to_human_agents" not in [c.name for c in t.calls]
        and "?" in t.messages[-2].content
    ]
    got = [criticality(t, len(t.messages) - 1) for t in early]
    assert len(got) == 4 and sorted(got) == ["critical_hindered"] * 2 + ["minor"] * 2


# read by hand: passed airline runs whose user leaves before what it agreed to; file, task, severity
LEFT = [
    ("gpt-4.1_airline_default_1trial", "13", "minor"),
    ("gpt-4o_airline_user-gpt-4o_1trial", "13", "minor"),
    ("gpt-4o_airline_user-gpt-4o_1trial", "28", "minor"),
    ("gpt-4o_airline_user-gpt-4o_1trial", "31", "minor"),
    ("gpt-4o_airline_user-gpt-4o_1trial", "4", "minor"),
    ("gpt-4o_airline_user-gpt-4o_1trial", "49", "minor"),
    ("gpt-4o_airline_user-gpt-4o_1trial", "36", "critical_helped"),
    ("qwen2.5-7b_airline_user-gpt-4.1_1trial", "5", "critical_helped"),
]


@needs_data
@pytest.mark.parametrize("file,task,severity", LEFT)
def test_who_leaves_for_a_transfer_helps_nobody_who_leaves_before_a_forbidden_change_does(
    file, task, severity
):
    "A transfer that is made changes nothing; a cancellation or a refund would have cost the reward"
    t = grade(
        next(
            t
            for t in load_results(DATA / "tau2_runs" / f"{file}.json.gz").trajectories
            if t.task.id == task
        )
    )
    assert t.reward == 1 and criticality(t, len(t.messages) - 1) == severity
