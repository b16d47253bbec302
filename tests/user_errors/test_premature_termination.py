"""Endings that are too early, and those that are not."""

from dataclasses import replace

import pytest

from synthlab.core.types import Message
from synthlab.tau2.rollout import STOP
from synthlab.user_errors.detect import detect_user_errors
from synthlab.user_errors.premature_termination import early_endings
from synthlab.user_errors.resimulate import EditPoints, agent_message, user_message
from synthlab.user_errors.view import user_view


def before(t, part):
    return next(i for i, m in enumerate(t.messages) if m.role == "assistant" and part in m.content)


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
