"user_errors: facts of real runs that were read by hand, edits of our own rollouts, and rules that never see the outcome"

import json
from dataclasses import replace

import pytest
from conftest import DATA, needs_data

from synthlab.core.types import Message, Score, to_dict
from synthlab.tau2.agents import OracleAgent, ScriptedUser
from synthlab.tau2.env import tasks
from synthlab.tau2.rollout import rollout
from synthlab.user_errors.detect import USER_ERROR_TYPES, detect_user_errors
from synthlab.user_errors.dialogue_acts import open_requests
from synthlab.user_errors.entities import extract_entities, person_names

# read by hand in the files under tau2_runs: file, task (or what its id begins with), turn, type, rule
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


def first(domain, part):
    return next(t for t in tasks(domain) if part in t.id)


@pytest.fixture(scope="module")
def runs():
    "Oracle rollouts of some tasks of each domain: nothing is wrong with their user"
    some = [t for d in ("airline", "retail", "telecom") for t in tasks(d)[::6]]
    return rollout(some, OracleAgent(), ScriptedUser())


@pytest.fixture(scope="module")
def trip():
    return rollout(
        [next(t for t in tasks("airline") if t.id == "35")], OracleAgent(), ScriptedUser()
    )[0]


@pytest.fixture(scope="module")
def real():
    from synthlab.failures.outcomes import read_results

    names = dict.fromkeys(f for f, *_ in FACTS)
    return {
        n: read_results([DATA / "tau2_runs" / f"{n}.json.gz"])[0]
        for n in [*names, "gpt-4.1_retail_default_1trial", "gpt-4.1_airline_default_1trial"]
    }


def said(t, turn, words):
    return replace(
        t,
        messages=[replace(m, content=words) if i == turn else m for i, m in enumerate(t.messages)],
    )


def before(t, part):
    return next(i for i, m in enumerate(t.messages) if m.role == "assistant" and part in m.content)


def test_the_scripted_user_makes_no_errors_but_one(runs):
    "It never reads `task_instructions`: where a wish stands there, it is left unsaid, and that is found"
    found = [(t.task, f) for t in runs for f in detect_user_errors(t)]
    assert {f.type for _, f in found} <= {"missed_required_action"} and len(found) <= 0.03 * len(
        runs
    )
    assert all(f.evidence.split("(")[1][:30] in t.goal["task_instructions"] for t, f in found)


def test_every_type_has_a_name_of_the_benchmark(runs):
    assert len(USER_ERROR_TYPES) == 11 == len(set(USER_ERROR_TYPES)) and {
        "premature_termination",
        "irrelevant_tool_call",
    } <= set(USER_ERROR_TYPES)


@pytest.mark.parametrize(
    "asked,words,found",
    [
        (
            "Would you like me to transfer you to a human agent?",
            "Yes, please. ###TRANSFER###",
            True,
        ),
        ("I can transfer you to a human agent if you like.", "OK. ###TRANSFER###", True),
        ("YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON.", "###TRANSFER###", False),
        ("I am transferring you now, please hold.", "Thanks. ###TRANSFER###", False),
        ("The fee is 50 dollars. Shall I go ahead?", "Yes, go ahead. ###STOP###", True),
        ("That is done. Is there anything else?", "No, thank you. ###STOP###", False),
        (
            "The fee is 50 dollars. Shall I go ahead?",
            "No, that is too expensive for me. Thanks anyway. ###STOP###",
            False,
        ),
    ],
)
def test_leaving_early(trip, asked, words, found):
    "An announced transfer that is never made is the agent's error, not the user's"
    at = before(trip, "Shall I go ahead?")
    t = replace(
        trip, messages=[*trip.messages[:at], Message("assistant", asked), Message("user", words)]
    )
    assert ("premature_termination" in [f.type for f in detect_user_errors(t)]) == found


@pytest.mark.parametrize(
    "story",
    [
        "I am travelling with Priya Ahmed, born 1992-08-17.",
        "The second passenger is Priya Ahmed.",
        "Please add my wife Priya Ahmed.",
    ],
)
def test_an_invented_passenger_is_found_wherever_it_is_named(trip, story):
    for turn in [i for i, m in enumerate(trip.messages) if m.role == "user"][:-1]:
        hits = detect_user_errors(said(trip, turn, f"{trip.messages[turn].content} {story}"))
        assert [f.turn for f in hits if f.type == "hallucination"][:1] == [turn]
    known = said(
        trip, 2, trip.messages[2].content + " Is Priya Ahmed, born 1992-08-17, coming with you?"
    )
    assert not detect_user_errors(said(known, 3, f"{trip.messages[3].content} {story}")), (
        "what the agent has said first is grounded"
    )


def test_an_email_that_the_agent_said_first_is_no_leak(trip):
    asked = said(trip, 2, trip.messages[2].content + " Is it ann@example.com?")
    assert not detect_user_errors(
        said(asked, 3, "Yes, ann@example.com. " + trip.messages[3].content)
    )
    assert [
        f.rule
        for f in detect_user_errors(said(trip, 3, "ann@example.com. " + trip.messages[3].content))
    ] == ["ungrounded email"]


def test_a_dropped_order_is_missed():
    t = rollout([next(t for t in tasks("retail") if t.id == "0")], OracleAgent(), ScriptedUser())[0]
    less = said(t, 1, t.messages[1].content.replace("#W2378156", ""))
    hits = detect_user_errors(less)
    assert [f.type for f in hits] == ["missed_required_action"] and "#W2378156" in hits[0].evidence


def test_rules_see_neither_outcome_nor_gold(runs):
    for t in runs[::3]:
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


def test_mentions():
    assert {
        m.kind
        for m in extract_entities("Order #W1234567, zip 19122, June 8, 2010, $1,250 for two bags")
    } == {"order", "zip", "date", "amount", "count"}
    assert not person_names("I fly from New York to Las Vegas with Wi-Fi Calling", "airline")
    assert not open_requests(
        "Is there anything else I can help you with? Let me know if you need more."
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
    "Read by hand: one e-mail too early; one choice told together with an answer"
    found = [
        (t.task.id, f.type)
        for t in real["gpt-4.1_retail_default_1trial"]
        for f in detect_user_errors(t)
    ]
    assert len(found) <= 4 and ("55", "revealed_info_early") in found


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
