"""Details that the user cannot know."""

import pytest

from synthlab.user_errors.detect import detect_user_errors
from tests.user_errors.common import said


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
