"Questions: drawn, read exactly, and rated"

import math
from collections import Counter

import pytest

from synthlab.core.types import Message, to_dict
from synthlab.generate.toucan_questions import (
    RATING_SCALES,
    ToolSample,
    call_failed,
    question_from_dict,
    read_question,
    read_rating,
    sample_tools,
)


@pytest.mark.parametrize(
    "text, wrong",
    [
        ('{"error": null}', False),
        ('{"status": "ok", "errors": []}', False),
        ("error: no such row", True),
        ('Database error: near "x"', True),
        ("Errors found: 0", False),
        ('"error": null', False),
        ("[]", False),
        ("", False),
    ],
)
def test_success_is_not_searched_for_in_the_text(text, wrong):
    assert call_failed(Message("tool", text)) is wrong and call_failed(
        Message("tool", text, error=True)
    )


@pytest.mark.parametrize(
    "said, value",
    [
        ("fully complete", 5),
        (" Very Incomplete ", 1),
        ("incomplete", 2),
        (4, 4),
        ("3", 3),
        ("complete", None),
        ("not very incomplete", None),
        (0, None),
        (6, None),
        (True, None),
        (None, None),
    ],
)
def test_labels_are_read_exactly(said, value):
    got = read_rating(said, RATING_SCALES["completeness"][1])
    assert got == value or value is None and math.isnan(got)


def test_scales_have_five_different_labels():
    for _, labels in RATING_SCALES.values():
        assert len(set(labels)) == 5 and [read_rating(l, labels) for l in labels] == [1, 2, 3, 4, 5]


SHELF = {
    f"s{i}": [
        dict(type="function", function=dict(name=f"t{k}", description="", parameters={}))
        for k in range(4)
    ]
    for i in range(5)
}


def test_sampling_modes():
    def servers(mode, k=1000):
        return Counter(s for d in sample_tools(SHELF, k, mode, seed=1) for s in d.servers)

    assert set(servers("uniform").values()) == {200}
    power = [servers("power")[f"s{i}"] for i in range(5)]
    expected = [(i + 1) ** -0.5 for i in range(5)]
    assert all(abs(n / 1000 - e / sum(expected)) < 0.05 for n, e in zip(power, expected))
    multi = sample_tools(SHELF, 50, "multi", seed=1)
    assert all(
        len(set(d.servers)) == len(d.servers) >= 2
        and {t.split("::")[0] for t in d.tools} == set(d.servers)
        for d in multi
    )
    assert Counter(len(d.tools) for d in sample_tools(SHELF, 300, sizes=(2,))) == {2: 300}
    assert (
        sample_tools(SHELF, 5, seed=1)
        == sample_tools(SHELF, 5, seed=1)
        != sample_tools(SHELF, 5, seed=2)
    )


def test_a_models_question_is_checked_not_repaired():
    d, names = ToolSample(("s0",), ("s0::t1",)), ["s0::t1", "s0::do_it"]
    good = dict(question="When?", target_tools=["s0::t1"])
    assert read_question(good, d, names, "m").targets == ["s0::t1"]
    for bad, why in (
        (None, "no JSON"),
        ({}, "no question"),
        (dict(good, target_tools=[]), "no target_tools"),
        (dict(good, target_tools=["t1"]), "not on offer"),
        (dict(good, question="Call do_it"), "names the tool"),
        (dict(good, follow_up="And then?"), "no follow_up_tools"),
    ):
        assert why in read_question(bad, d, names)
    q = read_question(dict(good, follow_up="And then?", follow_up_tools=["s0::t1"]), d, names)
    assert q.kind == "multi-turn" and question_from_dict(to_dict(q)) == q
