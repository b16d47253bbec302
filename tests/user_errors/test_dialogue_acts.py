"""acts and speech: who speaks is told by what is done with words, whatever the words; stress tests
in words of our own
"""

import json
from dataclasses import replace

import fresh_words
import pytest

from synthlab.core.types import to_dict
from synthlab.tau2.agents import OracleAgent, ScriptedUser
from synthlab.tau2.database import DOMAINS
from synthlab.tau2.env import tasks
from synthlab.tau2.rollout import STOP, rollout
from synthlab.user_errors import validation
from synthlab.user_errors.detect import detect_user_errors
from synthlab.user_errors.dialogue_acts import (
    agent_role_act,
    agrees,
    asks_to_wait,
    asks_user_to_act,
    consent_request,
    is_courtesy,
    open_requests,
    record_nouns,
    reports_completed_change,
)
from synthlab.user_errors.guideline_violation import role_violations, turn_format_errors
from synthlab.user_errors.inconsistency import retracted_requests
from synthlab.user_errors.premature_termination import early_endings
from synthlab.user_errors.resimulate import EditPoints, agent_message, oracle_runs, user_message
from synthlab.user_errors.validation import precision, recall, run_detector
from synthlab.user_errors.view import agent_loop_turns, user_view

CUSTOMER = [
    "Could you find my booking? The number is ABC123.",
    "I have already restarted my phone, and it says no signal.",
    "Can you help me with a refund?",
    "My account should show two bags.",
    "What does your policy say about this?",
    "We will be three people on that trip.",
    "Let me know if you need anything else from me.",
    "I would like to change my order, please.",
    "Is there anything you can do for me?",
    "Why was I charged twice?",
    "Please send it to my home address.",
]


@pytest.fixture(scope="module")
def runs():
    return oracle_runs(each=12)


@pytest.fixture(scope="module")
def trip():
    return rollout(
        [next(t for t in tasks("airline") if t.id == "2")], OracleAgent(), ScriptedUser()
    )[0]


def after(run, *turns):
    return user_view(replace(run, messages=[*run.messages[:4], *turns], stop="max_steps"))


def test_what_is_kept_is_read_from_the_tools():
    words = {d: set(record_nouns(d).split("|")) for d in DOMAINS}
    assert (
        {"reservation", "baggage"} <= words["airline"]
        and {"line", "bill"} <= words["telecom"]
        and "item" in words["retail"]
    )
    assert (
        "human" not in words["airline"]
        and set(record_nouns("nowhere").split("|")) < words["retail"]
    )


@pytest.mark.parametrize("domain", ["airline", "retail", "telecom"])
def test_a_customer_is_not_taken_for_an_agent(domain):
    assert [s for s in CUSTOMER if agent_role_act(s, domain)] == []


@pytest.mark.parametrize("said", fresh_words.USER["as_agent"])
def test_an_agent_is_told_by_the_direction_of_its_help(said):
    assert agent_role_act(said, "airline") or agent_role_act(said, "retail")


def test_courtesy_and_reports():
    assert [s for s in fresh_words.USER["thanks"] if not is_courtesy(s)] == []
    assert not any(
        map(
            is_courtesy,
            ["Thanks, but what about the bags?", "Yes, please.", "Thanks, I need 2 more.", ""],
        )
    )
    assert all(
        map(
            reports_completed_change,
            [
                "It has been cancelled.",
                "I have updated it.",
                "Processed!",
                "The change is already done.",
            ],
        )
    )
    assert not any(
        map(
            reports_completed_change,
            [
                "Has it been cancelled?",
                "I want it cancelled.",
                "Once it is done, tell me.",
                "My phone is updated now.",
            ],
        )
    )


def test_what_an_agent_waits_for():
    assert all(
        map(consent_request, ["Shall I go ahead?", "I will cancel it. Is that all right with you?"])
    ) and not consent_request("Who am I speaking to?")
    assert not open_requests("Do you need anything else?") and open_requests("Which flight is it?")
    assert asks_user_to_act("Please turn off airplane mode.") and not asks_user_to_act(
        "Your phone is fine now."
    )
    assert all(
        map(asks_to_wait, ["Still working on it.", "One moment, please.", "Let me see."])
    ) and not any(map(asks_to_wait, fresh_words.AGENT["welcome"][:4]))
    assert agrees("Yes, go on.") and not agrees("No, do not go on.")


@pytest.mark.parametrize("asked", fresh_words.AGENT["loop"])
@pytest.mark.parametrize(
    "said",
    [
        "Yes, please go ahead.",
        "That sounds perfect.",
        "Perfect, everything is confirmed then.",
        "My user ID is omar_davis_3817.",
    ],
)
def test_who_answers_an_agent_that_repeats_itself_is_not_to_blame(trip, asked, said):
    first = [agent_message("I will cancel it. Shall I go ahead?"), user_message(said)]
    once, often = (
        [
            f
            for f in detect_user_errors(
                after(trip, *first, *[agent_message(asked), user_message(said)] * n).traj
            )
            if f.turn > 5
        ]
        for n in (0, 12)
    )
    assert once == [] and often == []


def test_who_goes_on_alone_is_to_blame(trip):
    "The agent has nothing left to do, whatever it answers"
    words = fresh_words.USER["thanks"]
    for answer in fresh_words.AGENT["welcome"]:
        turns = [m for w in words[:4] for m in (user_message(w), agent_message(answer))]
        assert [
            f.rule
            for f in turn_format_errors(after(trip, agent_message("It is cancelled."), *turns))
        ] == ["thanks without end"], answer
    assert agent_loop_turns(after(trip, *[agent_message("Hm."), user_message("Go on.")] * 4)) == {
        7,
        9,
        11,
    } and not agent_loop_turns(after(trip, agent_message("Hm."), user_message("Go on.")))


@pytest.mark.parametrize("said", fresh_words.USER["deny"][:8])
def test_a_wish_that_is_disowned(trip, said):
    assert [
        f.rule
        for f in retracted_requests(
            after(trip, agent_message("I will cancel it. Shall I go ahead?"), user_message(said))
        )
    ] == ["denies what it asked for"]


@pytest.mark.parametrize(
    "said",
    [
        "Yes, please.",
        "What would it cost?",
        "No, that is too expensive.",
        "Only if I get a refund.",
        "The other one, please.",
    ],
)
def test_an_answer_with_a_reason_a_question_or_a_wish_denies_nothing(trip, said):
    assert (
        retracted_requests(
            after(trip, agent_message("I will cancel it. Shall I go ahead?"), user_message(said))
        )
        == []
    )


def test_leaving_with_something_still_to_report(runs):
    phone = next(t for t in runs if t.task.domain == "telecom" and EditPoints(t).user_calls)

    def left(words):
        return early_endings(
            user_view(
                replace(
                    phone,
                    messages=[
                        *phone.messages[:4],
                        agent_message("Please restart your phone and tell me what you see."),
                        user_message(words + STOP),
                    ],
                )
            )
        )

    assert left("Splendid service, so long! ") and not left(
        "I restarted it and have 5G again, thanks. "
    )


def test_proposals_to_act_are_not_answered_by_reports(trip):
    assert role_violations(
        after(
            trip,
            agent_message("I will cancel it. Shall I go ahead?"),
            user_message("Processed! Have a nice day."),
        )
    )
    assert not role_violations(
        after(
            trip,
            agent_message("I will cancel it. Shall I go ahead?"),
            user_message("Yes, please have it processed."),
        )
    )


def test_the_rules_carry_to_words_of_our_own(runs, monkeypatch):
    monkeypatch.setattr(validation, "read_wordings", lambda half: fresh_words.WORDS)
    monkeypatch.setattr(validation, "WORDING_SPLITS", (*validation.WORDING_SPLITS, "fresh"))
    ts = run_detector(validation.fault_suite(runs, "fresh", 1, 5), detect_user_errors)
    loops = [t for t in ts if t.fault["type"] == "loop"]
    assert recall(ts).value >= 0.9 and precision(ts, True).value >= 0.9 and recall(ts).n > 80
    assert loops and not any(t.new for t in loops), (
        "the agent repeats itself, the user only answers"
    )


def test_the_same_bytes_twice(runs):
    def told():
        return json.dumps([to_dict(f) for t in runs[::3] for f in detect_user_errors(t)])

    assert told() == told()
