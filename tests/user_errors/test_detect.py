"""The rules: facts of real runs read by hand, edits of our own rollouts.

Rules never see the outcome.
"""

import json
from dataclasses import replace

import pytest
from conftest import DATA, needs_data

from synthlab.core.types import Score, to_dict
from synthlab.tau2.agents import OracleAgent, ScriptedUser
from synthlab.tau2.env import tasks
from synthlab.tau2.rollout import rollout
from synthlab.user_errors.detect import USER_ERROR_TYPES, detect_user_errors
from tests.user_errors.common import said

# read by hand in the files under tau2_runs:
# file, task (or what its id begins with), turn, type, rule
FACTS = [
    (
        "gpt-4.1_telecom_default_1trial",
        "[service_issue]break_apn_settings|lock_sim_card_pin[",
        19,
        "premature_termination",
        "leaves for a transfer that was only offered",
    ),
    (
        "gpt-4.1_telecom_default_1trial",
        "[service_issue]airplane_mode_on|break_apn_settings|contract_",
        21,
        "premature_termination",
        "leaves for a transfer that was only offered",
    ),
    (
        "gpt-4.1_telecom_default_1trial",
        "[mobile_data_issue]airplane_mode_on|bad_network_preference|b",
        54,
        "premature_termination",
        "leaves for a transfer that was only offered",
    ),
    (
        "gpt-4.1_telecom_default_1trial",
        "[mms_issue]break_apn_mms_setting|user_abroad_roaming_enabled",
        50,
        "premature_termination",
        "leaves for a transfer that was only offered",
    ),
    ("gpt-4o_airline_user-gpt-4o_1trial", "2", 3, "hallucination", "ungrounded name"),
    (
        "gpt-4o_airline_user-gpt-4o_1trial",
        "36",
        9,
        "premature_termination",
        "asks for something and stops",
    ),
    (
        "gpt-4o_airline_user-gpt-4o_1trial",
        "20",
        25,
        "missed_required_action",
        "constraint never told",
    ),
    ("qwen2.5-7b_airline_user-gpt-4.1_1trial", "10", 11, "hallucination", "ungrounded name"),
    ("qwen2.5-7b_airline_user-gpt-4.1_1trial", "49", 11, "hallucination", "ungrounded email"),
    (
        "qwen2.5-7b_airline_user-gpt-4.1_1trial",
        "20",
        67,
        "premature_termination",
        "yes and stop in one turn",
    ),
    (
        "gpt-4o_telecom_user-gpt-4o_1trial",
        "[service_issue]break_apn",
        31,
        "guideline_violation",
        "speaks as the agent",
    ),
]


@pytest.fixture(scope="module")
def oracle_rollouts():
    "Oracle rollouts of some tasks of each domain: nothing is wrong with their user"
    some = [t for d in ("airline", "retail", "telecom") for t in tasks(d)[::6]]
    return rollout(some, OracleAgent(), ScriptedUser())


@pytest.fixture(scope="module")
def real():
    from synthlab.failures.outcomes import read_results

    names = dict.fromkeys(f for f, *_ in FACTS)
    return {
        n: read_results([DATA / "tau2_runs" / f"{n}.json.gz"])[0]
        for n in [*names, "gpt-4.1_retail_default_1trial", "gpt-4.1_airline_default_1trial"]
    }


def test_the_scripted_user_makes_no_errors_but_one(oracle_rollouts):
    "It never reads `task_instructions`: a request that stands there is left unsaid, and found"
    found = [(t.task, f) for t in oracle_rollouts for f in detect_user_errors(t)]
    assert {f.type for _, f in found} <= {"missed_required_action"} and len(found) <= 0.03 * len(
        oracle_rollouts
    )
    assert all(f.evidence.split("(")[1][:30] in t.goal["task_instructions"] for t, f in found)


def test_every_type_has_a_name_of_the_benchmark(oracle_rollouts):
    assert len(USER_ERROR_TYPES) == 11 == len(set(USER_ERROR_TYPES)) and {
        "premature_termination",
        "irrelevant_tool_call",
    } <= set(USER_ERROR_TYPES)


def test_rules_see_neither_outcome_nor_gold(oracle_rollouts):
    for t in oracle_rollouts[::3]:
        bad = said(t, 1, t.messages[1].content + " By the way, my order #W9999999 was late.")
        blind = replace(
            bad,
            scores=dict(reward=Score(1.0 - t.reward, by="test")),
            info={},
            task=replace(bad.task, gold=None, checks=None),
        )
        assert (
            [to_dict(f) for f in detect_user_errors(bad)]
            == [to_dict(f) for f in detect_user_errors(blind)]
            != []
        )


@needs_data
@pytest.mark.parametrize("file,task,turn,type,rule", FACTS)
def test_facts_of_real_runs(real, file, task, turn, type, rule):
    mine = [
        t for t in real[file] if t.task.id == task or len(task) > 3 and t.task.id.startswith(task)
    ]
    assert any(
        (f.turn, f.type, f.rule) == (turn, type, rule) for t in mine for f in detect_user_errors(t)
    )


@needs_data
def test_premature_transfers_of_real_telecom_runs_are_these_four(real):
    hits = [
        f
        for t in real["gpt-4.1_telecom_default_1trial"]
        for f in detect_user_errors(t)
        if f.type == "premature_termination"
    ]
    assert len(hits) == 4, "one more run was transferred in words only: that is the agent"


@needs_data
def test_retail_users_of_gpt_41_are_nearly_clean(real):
    "Read by hand: one choice told together with an answer; an e-mail told early is no error"
    found = [
        (t.task.id, f.type)
        for t in real["gpt-4.1_retail_default_1trial"]
        for f in detect_user_errors(t)
    ]
    assert len(found) <= 3


@needs_data
def test_the_same_bytes_twice(real):
    def all_():
        return json.dumps(
            [
                to_dict(f)
                for t in real["gpt-4o_airline_user-gpt-4o_1trial"]
                for f in detect_user_errors(t)
            ]
        )

    assert all_() == all_()
