"""The form of the user's turns."""

import fresh_words

from synthlab.user_errors.guideline_violation import role_violations, turn_format_errors
from synthlab.user_errors.resimulate import agent_message, user_message
from synthlab.user_errors.view import agent_loop_turns
from tests.user_errors.common import after


def test_who_goes_on_alone_is_to_blame(short_trip):
    "The agent has nothing left to do, whatever it answers"
    words = fresh_words.USER["thanks"]
    for answer in fresh_words.AGENT["welcome"]:
        turns = [m for w in words[:4] for m in (user_message(w), agent_message(answer))]
        assert [
            f.rule
            for f in turn_format_errors(
                after(short_trip, agent_message("It is cancelled."), *turns)
            )
        ] == ["thanks without end"], answer
    assert agent_loop_turns(
        after(short_trip, *[agent_message("Hm."), user_message("Go on.")] * 4)
    ) == {
        7,
        9,
        11,
    } and not agent_loop_turns(after(short_trip, agent_message("Hm."), user_message("Go on.")))


def test_proposals_to_act_are_not_answered_by_reports(short_trip):
    assert role_violations(
        after(
            short_trip,
            agent_message("I will cancel it. Shall I go ahead?"),
            user_message("Processed! Have a nice day."),
        )
    )
    assert not role_violations(
        after(
            short_trip,
            agent_message("I will cancel it. Shall I go ahead?"),
            user_message("Yes, please have it processed."),
        )
    )
