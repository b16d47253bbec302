"Rows of messages in three spellings, and session traces: what can be held comes back"

import json

import pytest
from any_trajectory import anything, chats
from conftest import RUNS, needs_data
from hypothesis import HealthCheck, given, settings

from synthlab.core.types import Message, Task, ToolCall, Trajectory, to_dict
from synthlab.export.messages import (
    SPELLINGS,
    from_messages,
    from_session,
    to_messages,
    to_session,
)
from synthlab.tau2.results import load_results

slowly = dict(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def plain(x):
    return json.loads(json.dumps(x))


def same(a, b):
    return json.dumps(to_dict(a), sort_keys=True) == json.dumps(to_dict(b), sort_keys=True)


@given(chats)
@settings(max_examples=60, **slowly)
def test_what_an_agent_sees_comes_back_from_each_spelling(traj):
    for s in SPELLINGS:
        assert same(from_messages(plain(to_messages(traj, s))), traj), s


@given(anything)
@settings(max_examples=60, **slowly)
def test_any_trajectory_comes_back_from_a_session(traj):
    assert same(from_session(plain(to_session(traj))), traj)


def test_what_is_text_in_each_spelling():
    call = Message("assistant", calls=[ToolCall("f", {"x": 1}, "a")])
    row = {s: to_messages(Trajectory(Task("1"), [call], [{"name": "f"}]), s) for s in SPELLINGS}
    args = [row[s]["messages"][0]["tool_calls"][0]["function"]["arguments"] for s in SPELLINGS[:2]]
    assert args == [{"x": 1}, '{"x": 1}']
    assert [type(row[s]["tools"]) for s in SPELLINGS] == [list, str, str]
    assert [type(row[s]["messages"]) for s in SPELLINGS] == [list, list, str]


def test_prompt_and_completion_and_other_names_of_columns():
    row = dict(
        prompt=[dict(role="user", content=[dict(type="text", text="Hi")])],
        completion='[{"role": "assistant", "content": "Yes?"}]',
        tool_defs=[dict(name="f")],
        weight=0.5,
        task_id=7,
        reward=None,
    )
    t = from_messages(row)
    assert [m.content for m in t.messages] == ["Hi", "Yes?"] and t.task.id == "7"
    assert t.tools == [dict(type="function", function=dict(name="f"))]
    assert t.info == dict(weight=0.5)


def test_the_users_calls_are_no_part_of_a_row():
    ms = [
        Message("user", "I look.", [ToolCall("bars", id="u", by="user")]),
        Message("tool", "0", call_id="u", by="user"),
        Message("user", calls=[ToolCall("bars", id="v", by="user")]),
        Message("tool", "1", call_id="v", by="user"),
        Message("assistant", "Fine."),
    ]
    row = to_messages(Trajectory(Task("1"), ms))
    said = [(d["role"], d["content"]) for d in row["messages"]]
    assert said == [("user", "I look."), ("assistant", "Fine.")]


def one(*calls):
    return dict(role="assistant", content="", tool_calls=list(calls))


@pytest.mark.parametrize(
    "row, why",
    [
        ([], "expected an object"),
        (dict(chat=[]), "neither `messages`"),
        (dict(messages=[]), "messages: there are none"),
        (dict(messages="[{"), "messages: text that is no JSON"),
        (dict(messages="{}"), "messages: expected a list"),
        (dict(messages=["Hi"]), r"messages\[0\]: expected an object"),
        (dict(messages=[dict(role="agent", content="")]), r"messages\[0\].role: 'agent'"),
        (dict(messages=[dict(content="")]), r"messages\[0\].role"),
        (dict(messages=[dict(role="user", content=3)]), r"messages\[0\].content: expected text"),
        (
            dict(messages=[dict(role="user", content=[dict(type="image_url")])]),
            r"messages\[0\].content\[0\]: no text",
        ),
        (dict(messages=[one(dict(id="a"))]), r"messages\[0\].tool_calls\[0\]: no function"),
        (
            dict(messages=[one(dict(id=1, function=dict(name="f")))]),
            r"messages\[0\].tool_calls\[0\].id: 1 is no text",
        ),
        (
            dict(messages=[dict(role="tool", content="", tool_call_id=1)]),
            r"messages\[0\].tool_call_id: 1 is no text",
        ),
        (
            dict(messages=[one(dict(id="a", function=dict(name="f", arguments=[1])))]),
            r"messages\[0\].tool_calls\[0\]: arguments of type list",
        ),
        (
            dict(
                messages=[
                    one(dict(id="a", function=dict(name="f"))),
                    dict(role="tool", content="", tool_call_id="b"),
                ]
            ),
            r"messages\[1\]: an answer to no call: 'b'",
        ),
        (dict(messages=[dict(role="user", content="")], tools="f"), "tools: text that is no JSON"),
        (dict(messages=[dict(role="user", content="")], tools=["f"]), r"tools\[0\]: expected"),
    ],
)
def test_a_faulty_row_is_refused_with_its_place(row, why):
    with pytest.raises(ValueError, match="^" + why):
        from_messages(row)


def test_torn_arguments_are_for_text_only():
    t = Trajectory(Task("1"), [Message("assistant", calls=[ToolCall("f", "{torn", "a")])])
    with pytest.raises(ValueError, match=r"messages\[0\].tool_calls\[0\]: .*'strings' holds them"):
        to_messages(t)
    assert from_messages(to_messages(t, "strings")) == t == from_messages(to_messages(t, "text"))


def test_answers_without_ids_go_to_the_calls_in_order():
    calls = [dict(function=dict(name=n, arguments="{}")) for n in "fg"]
    answers = [dict(role="tool", content=c) for c in "12"]
    ms = from_messages(dict(messages=[one(*calls), *answers])).messages
    assert [c.id for c in ms[0].calls] == [m.call_id for m in ms[1:]] == ["call_0", "call_1"]


HEAD = dict(type="session", harness="h", id="1")


@pytest.mark.parametrize(
    "lines, why",
    [
        ([], "line 1: there is none"),
        ([dict(type="message")], "line 1: no head"),
        ([dict(type="session", id="1", version=3)], "line 1: no 'harness'.*Claude Code"),
        ([HEAD, dict(type="user")], "line 2: no `message`"),
        ([HEAD, dict(type="message", message=dict(role="x"))], "line 2: role 'x'"),
        ([HEAD, dict(type="message", message=dict(role="user"))], "line 2: content"),
        (
            [HEAD, dict(type="message", message=dict(role="user", content="", toolCalls=[1]))],
            r"line 2: toolCalls\[0\]: no function",
        ),
        ([HEAD | dict(synthlab=dict(colour=1))], r"line 1.extra.synthlab: .*colour"),
    ],
)
def test_a_faulty_session_is_refused_with_its_line(lines, why):
    with pytest.raises(ValueError, match="^" + why):
        from_session(lines)


def test_a_session_keeps_to_the_documented_fields():
    t = Trajectory(Task("7", "retail"), [Message("user", "Hi"), Message("tool", "x", error=True)])
    head, *lines = to_session(t)
    assert head["name"] == "retail/7" and {"type", "harness", "id"} <= head.keys()
    told = {"role", "content", "toolCalls", "toolCallId", "model"}
    assert all(d.keys() == {"type", "message"} and d["message"].keys() <= told for d in lines)


@needs_data
@pytest.mark.slow
def test_recorded_runs():
    n = 0
    for p in RUNS:
        if "untrusted" in p.name:
            continue
        for t in load_results(p).trajectories:
            n += 1
            assert same(from_session(plain(to_session(t))), t), (p.name, t.task.id)
            rows = [from_messages(plain(to_messages(t, s))) for s in SPELLINGS]
            assert rows[0] == rows[1] == rows[2]
            mine = [m for m in t.messages if m.role == "assistant"]
            assert [m for m in rows[0].messages if m.role == "assistant"] == mine, t.task.id
    assert n > 300
