"""Words beside a call and several calls at once, in LLaMA-Factory's ShareGPT form.

Its own `FunctionFormatter` is asked where LLAMAFACTORY_CLI names an installation of 0.9.4 or later;
else the rule is the one that its source states.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import RUNS, needs_data
from hypothesis import given, settings
from hypothesis import strategies as st

from synthlab.core.types import Message, Task, ToolCall, Trajectory
from synthlab.export.formats import as_agent_chat, format_rows, row_errors
from synthlab.tau2.results import load_results

CLI = os.environ.get("LLAMAFACTORY_CLI")
FORMATTER = """
import json, sys
from llamafactory.data.formatter import FunctionFormatter
words = dict(thought_words=("<think>\\n", "\\n</think>\\n\\n"))
words["tool_call_words"] = ("<tool_call>", "</tool_call>")
f = FunctionFormatter(slots=["{{content}}"], tool_format="qwen")
print(json.dumps([f.apply(content=v, **words)[0] for v in json.load(sys.stdin)]))
"""
pieces = st.lists(
    st.sampled_from(["a", " ", "\n", "<tool_call>", "</tool_call>", '{"x": 1}', "<think>", "é"]),
    max_size=5,
).map("".join)


def talk(words, *calls):
    "A turn with words and calls, answered"
    made = [ToolCall("f", a, f"c{i}") for i, a in enumerate(calls)]
    answers = [Message("tool", "ok", call_id=c.id) for c in made]
    ms = [Message("user", "Hi"), Message("assistant", words, made), *answers]
    return as_agent_chat(Trajectory(Task("1"), [*ms, Message("assistant", "Done.")]))


def rows(chat, to="llamafactory"):
    return format_rows(chat, to)[0][0]["conversations"]


def as_theirs(value):
    "Words and call of a turn, by the rule of FunctionFormatter"
    m = re.search(r"<tool_call>(.*?)</tool_call>", value, re.S)
    if not m:
        return "", json.loads(value)
    return value.replace(m[0], ""), json.loads(m[1])


def test_words_stand_before_their_call():
    turn = rows(talk("I look.", {"x": 1}))[1]
    assert turn["from"] == "function_call"
    assert as_theirs(turn["value"]) == ("I look.\n", dict(name="f", arguments=dict(x=1)))


def test_a_call_without_words_is_what_it_was():
    assert rows(talk("", {"x": 1}))[1] == rows(talk("", {"x": 1}), "sharegpt")[1]
    with pytest.raises(ValueError, match="words beside a call"):
        rows(talk("I look.", {}), "sharegpt")


def test_several_calls_follow_each_other_and_the_words_come_once():
    row, left = format_rows(talk("Both.", {"x": 1}, {"x": 2}), "llamafactory")
    turns = row[0]["conversations"]
    told = [as_theirs(t["value"]) for t in turns if t["from"] == "function_call"]
    assert [w for w, _ in told] == ["Both.\n", ""]
    assert [c["arguments"]["x"] for _, c in told] == [1, 2]
    assert left["several calls of one turn, put one after the other"] == 1


@given(pieces, pieces)
@settings(max_examples=150, deadline=None)
def test_a_row_is_refused_or_read_as_it_was(words, text):
    try:
        turn = rows(talk(words, {"x": text}))[1]
    except ValueError as e:
        marks = "<tool_call>" in words or re.search("<tool_call>|</tool_call>", text)
        assert str(e) == "turn 2: no call" and marks
        return
    said, call = as_theirs(turn["value"])
    assert call == dict(name="f", arguments=dict(x=text))
    assert said.strip() == words.strip()


@pytest.mark.parametrize("value", ["I look.", "[]", '{"name": "f"}', "<tool_call>{}</tool_call>"])
def test_a_turn_that_is_no_call_is_named(value):
    who = ["human", "function_call", "observation", "gpt"]
    turns = [{"from": w, "value": "x"} for w in who]
    turns[1]["value"] = value
    row = dict(conversations=turns, system="", tools="[]")
    for to in ("llamafactory", "sharegpt"):
        assert row_errors(row, to) == ["turn 2: no call"]


@needs_data
@pytest.mark.skipif(not CLI, reason="LLAMAFACTORY_CLI does not name an installed LLaMA-Factory")
@pytest.mark.slow
def test_its_own_formatter_reads_recorded_turns():
    path = next(p for p in RUNS if "gpt-4o_airline" in p.name)
    values = []
    for t in load_results(path).trajectories:
        turns = rows(as_agent_chat(t))
        values += [x["value"] for x in turns if x["from"] == "function_call"]
    python = Path(CLI).with_name("python")
    done = subprocess.run(
        [python, "-c", FORMATTER], input=json.dumps(values), capture_output=True, text=True
    )
    assert not done.returncode, done.stderr[-2000:]
    got = json.loads(done.stdout)
    assert sum(not g.startswith("<tool_call>") for g in got) > 10
    for value, text in zip(values, got, strict=True):
        words, call = as_theirs(value)
        assert text.startswith(words + "<tool_call>\n")
        assert json.loads(text.removeprefix(words)[12:-13]) == call
