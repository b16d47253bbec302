"""Errors are put in where they are errors."""

import random
import re
from dataclasses import replace

import pytest

from synthlab.user_errors.resimulate import (
    EditPoints,
    call_message,
    resimulate,
)
from synthlab.user_errors.validation import (
    WORDING_SPLITS,
    inject_fault,
)
from tests.user_errors.common import _phone


@pytest.mark.parametrize("name", ["user: two calls in a turn", "user: words and a call in a turn"])
def test_what_the_user_did_before_is_not_put_in_as_new(runs, name):
    "Two more calls stand at the first one, so that there are turns to be joined"
    tried = 0
    for t in _phone(runs):
        i = EditPoints(t).user_calls[0]
        extra = call_message("check_status_bar", {})
        base = resimulate(t, [*t.messages[:i], extra, replace(extra), *t.messages[i:]])
        bad = inject_fault(base, name, random.Random(1))
        with pytest.raises(ValueError, match="no place"):
            inject_fault(bad, name, random.Random(1))
        tried += 1
    assert tried > 3


@pytest.mark.parametrize("half", WORDING_SPLITS)
def test_a_false_report_is_false(runs, half):
    "What the user claims to see is nothing that the task is about"
    for t in _phone(runs):
        for seed in range(4):
            try:
                bad = inject_fault(t, "user: result misreported", random.Random(seed), half)
            except ValueError:
                continue
            said = bad.messages[bad.info["fault"]["turn"]].content.lower()
            for word, issue in (
                ("airplane", "airplane"),
                ("sim", "sim_card"),
                ("vpn", "vpn"),
                ("roaming", "roaming"),
            ):
                assert not (re.search(rf"\b{word}\b", said) and issue in t.task.id)
