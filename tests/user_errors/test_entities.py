"""Definite things in a text."""

from synthlab.user_errors.dialogue_acts import open_requests
from synthlab.user_errors.entities import extract_entities, person_names


def test_mentions():
    assert {
        m.kind
        for m in extract_entities("Order #W1234567, zip 19122, June 8, 2010, $1,250 for two bags")
    } == {"order", "zip", "date", "amount", "count"}
    assert not person_names("I fly from New York to Las Vegas with Wi-Fi Calling", "airline")
    assert not open_requests(
        "Is there anything else I can help you with? Let me know if you need more."
    )
