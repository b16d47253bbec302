"""Edited conversations, run again."""

import random
from dataclasses import replace

from synthlab.user_errors.resimulate import (
    EditPoints,
    resimulate,
)
from synthlab.user_errors.validation import (
    inject_fault,
)
from tests.user_errors.common import _phone


def test_reports_say_what_the_phone_says_now(runs):
    """With steps swapped, words that repeat an answer repeat the one that came, and paraphrases
    become it
    """
    tried = 0
    for t in _phone(runs):
        plain = [
            replace(m, content="OK, that is fixed.")
            if p.role == "tool" and m.role == "user" and m.content
            else m
            for p, m in zip(t.messages, t.messages[1:])
        ]
        for base in (t, replace(t, messages=[t.messages[0], *plain])):
            try:
                bad = inject_fault(base, "user: steps in another order", random.Random(2))
            except ValueError:
                continue
            k, ms = bad.info["fault"]["turn"], bad.messages
            assert ms[k + 1].content in ms[k + 2].content
            tried += 1
    assert tried > 3


def test_an_answer_that_came_back_is_not_renamed(runs):
    "Swapping an answer's report stops where the call answers as it did"
    t = _phone(runs)[0]
    same = resimulate(t, t.messages)
    i = EditPoints(same).user_calls[0]
    other = [
        replace(m, content="something else entirely") if j == i + 1 else m
        for j, m in enumerate(same.messages)
    ]
    twice = [
        *other[: i + 2],
        replace(other[i + 2], content="It says: something else entirely"),
        *other[i + 3 :],
    ]
    assert same.messages[i + 1].content in resimulate(t, twice).messages[i + 2].content
