"""Requests that are taken back."""

import fresh_words
import pytest

from synthlab.user_errors.inconsistency import retracted_requests
from synthlab.user_errors.resimulate import agent_message, user_message
from tests.user_errors.common import after


@pytest.mark.parametrize("said", fresh_words.USER["deny"][:8])
def test_a_wish_that_is_disowned(short_trip, said):
    assert [
        f.rule
        for f in retracted_requests(
            after(
                short_trip, agent_message("I will cancel it. Shall I go ahead?"), user_message(said)
            )
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
def test_an_answer_with_a_reason_a_question_or_a_wish_denies_nothing(short_trip, said):
    assert (
        retracted_requests(
            after(
                short_trip, agent_message("I will cancel it. Shall I go ahead?"), user_message(said)
            )
        )
        == []
    )
