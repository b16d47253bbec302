"""The conversation as the user sees it."""

import fresh_words
import pytest

from synthlab.user_errors.detect import detect_user_errors
from synthlab.user_errors.resimulate import agent_message, user_message
from tests.user_errors.common import after


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
def test_who_answers_an_agent_that_repeats_itself_is_not_to_blame(short_trip, asked, said):
    first = [agent_message("I will cancel it. Shall I go ahead?"), user_message(said)]
    once, often = (
        [
            f
            for f in detect_user_errors(
                after(short_trip, *first, *[agent_message(asked), user_message(said)] * n).traj
            )
            if f.turn > 5
        ]
        for n in (0, 12)
    )
    assert once == [] and often == []
