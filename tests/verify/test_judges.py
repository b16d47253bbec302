"""A panel of models: votes, and what is no vote."""

import math
from dataclasses import replace

import pytest

from synthlab.core.types import (
    Message,
    Usage,
)
from synthlab.models.chat import Reply
from synthlab.models.structured import ballot_schema, parse_ballot, poll_models
from synthlab.verify.judges import JudgePanel
from tests.verify.common import (
    Judge,
    Q,
    cancels,
    say,
    swap_message,
)


def test_a_ballot_that_cannot_be_read_is_no_vote():
    for text in ("", "yes", "{", "[true]", say(a="true", b=1), say(a=None), '{"a": tru'):
        assert all(math.isnan(parse_ballot(text, Q)[k]) for k in Q), text
    assert parse_ballot(f"Well:\n```json\n{say(a=True, b=False)}\n```", Q) | dict(
        comment=""
    ) == dict(a=1, b=0, comment="")


def test_majority_of_those_who_voted():
    polled, usage = poll_models(
        [
            Judge(say(a=True, b=True)),
            Judge(say(a=True, b=False, comment="no b")),
            Judge("garbage"),
            Judge(Reply(error="timeout")),
        ],
        ["x", "y"],
        Q,
    )
    assert [p["a"].value for p in polled] == [1, 1] and all(
        math.isnan(p["b"].value) for p in polled
    )
    assert polled[0]["b"].why == "1 yes, 1 no, 2 unread: no b" and usage == Usage(60, 12)


def test_panel_scores():
    t = cancels(Message("user", "XEHM4B please"))
    yes, no = say(a=True, b=True), say(a=True, b=False)
    for judges, value in [
        ((yes,), 1),
        ((no,), 0),
        ((yes, no), None),
        ((yes, no, no), 0),
        (("?",), None),
    ]:
        s = JudgePanel([Judge(j) for j in judges], Q)(t)
        assert (s.value == value) if value is not None else math.isnan(s.value), judges


def test_a_panel_of_nobody_is_an_error():
    with pytest.raises(ValueError, match="at least one model"):
        JudgePanel([], Q)(cancels())


def test_the_panel_is_told_the_state_by_the_environment():
    "The transcript lies about the answer; what changed is shown as the environment has it"
    t = cancels(Message("user", "XEHM4B please"))
    lie = swap_message(t, 2, replace(t.messages[2], content="Nothing was changed."))
    judge = Judge(say(a=True, b=True))
    JudgePanel([judge], Q)(lie)
    ((chat, asked),) = judge.asked
    assert "status: None -> 'cancelled'" in chat[0].content and asked == ballot_schema(Q)
