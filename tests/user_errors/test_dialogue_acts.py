"""acts and speech: who speaks is told by what is done with words, whatever the words; stress tests
in words of our own
"""

import json

import fresh_words
import pytest

from synthlab.core.types import to_dict
from synthlab.tau2.database import DOMAINS
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

CUSTOMER = [
    "Could you find my booking? The number is ABC123.",
    "I have already restarted my phone, and it says no signal.",
    "Can you help me with a refund?",
    "My account should show two bags.",
    "What does your policy say about this?",
    "We will be three people on that short_trip.",
    "Let me know if you need anything else from me.",
    "I would like to change my order, please.",
    "Is there anything you can do for me?",
    "Why was I charged twice?",
    "Please send it to my home address.",
]


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


def test_the_same_bytes_twice(runs):
    def told():
        return json.dumps([to_dict(f) for t in runs[::3] for f in detect_user_errors(t)])

    assert told() == told()
