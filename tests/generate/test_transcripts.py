"Transcripts: every form is read or refused with a reason"

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from synthlab.core.types import Message, ToolCall
from synthlab.generate.transcripts import (
    from_sharegpt,
    number_calls,
    ordering_error,
    read_call,
    read_transcript,
    write_transcript,
)
from tests.generate.common import call

quick = settings(max_examples=60, deadline=None)


# ---- transcripts
words = st.one_of(
    st.text(min_size=1).map(str.strip).filter(bool),
    st.sampled_from(
        ["HUMAN: x", "a\nOBSERVATION: {}", "END", "\\END", "x\n\\\\HUMAN: y", "a\nEND\nb"]
    ),
)


words = words.filter(
    lambda s: (
        "<t" not in s
        and "```" not in s
        and not set(s) & set("\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
    )
)


@st.composite
def dialogues(draw):
    "User and agent take turns; before its words, a side may have calls answered"
    out = []
    for k in range(draw(st.integers(1, 4))):
        role = ("user", "assistant")[k % 2]
        for _ in range(draw(st.integers(0, 2))):
            calls = draw(st.lists(call, min_size=1, max_size=2))
            out += [
                Message(role, draw(st.just("") | words), calls),
                *(Message("tool", draw(words)) for _ in calls),
            ]
        out.append(Message(role, draw(words)))
    return number_calls(out)


@quick
@given(dialogues())
def test_what_is_written_is_read_back(messages):
    d = read_transcript(write_transcript(messages))
    assert (d.messages, d.repairs, d.why, d.ended) == (messages, [], "", True)


@quick
@given(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(
                [
                    "HUMAN:",
                    "A:",
                    "FUNCTION_CALL: ",
                    '{"name": "x"',
                    "}",
                    "```",
                    "\n",
                    "END",
                    '[{"role": "user"',
                    '"content": 1}]',
                    "<tool_call>",
                    "</tool_call>",
                    "<think>",
                    "\\",
                    "OBSERVATION:",
                    "**User:**",
                    '[{"from": "gpt", "value": 3}]',
                    '{"messages": [{}]}',
                    "[[[",
                    '"',
                ]
            ),
            max_size=12,
        ).map("".join),
    )
)
def test_garbage_is_refused_or_read_but_never_raises(text):
    d = read_transcript(text)
    assert d.messages or d.why
    assert isinstance(ordering_error(d.messages), str)
    read_call(text)


@quick
@given(dialogues(), st.integers(0, 3))
def test_other_forms_give_the_same_conversation_and_are_on_record(messages, form):
    text = write_transcript(messages)
    plain = [m for m in messages if not m.calls and m.role != "tool"]
    other = [
        f"Here you are:\n```\n{text}\n```\nEnjoy.",
        f"```text\n{text}\n```",
        json.dumps([dict(role=m.role, content=m.content) for m in plain]),
        json.dumps(
            dict(
                conversations=[
                    {"from": dict(user="human", assistant="gpt")[m.role], "value": m.content}
                    for m in plain
                ]
            )
        ),
    ][form]
    d = read_transcript(other)
    assert d.messages == (messages if form < 2 else number_calls(plain)) and d.repairs and not d.why


def test_each_way_to_write_a_call_has_one_reading_and_a_name():
    good = ToolCall("f", dict(x=1))
    for text, what in [
        ('{"name": "f", "arguments": {"x": 1}}', []),
        ('{"name": "f", "arguments": "{\\"x\\": 1}"}', ["arguments as a string"]),
        ("{'name': 'f', 'arguments': {'x': 1}}", ["a Python literal instead of JSON"]),
        ('{"name": "f", "arguments": {"x": 1}, }', ["a comma too many"]),
        ('<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>', ["tag around a call"]),
        (
            '```json\n{"name": "f", "parameters": {"x": 1}}\n```',
            ["code fence around a call", "`parameters` instead of `arguments`"],
        ),
        (
            '[{"function": {"name": "f", "arguments": {"x": 1}}}]',
            ["a list of one call", "a call inside `function`"],
        ),
    ]:
        call, did = read_call(text)
        assert call == good, text
        assert (
            did == what or text.endswith(", }") and did == ["a Python literal instead of JSON"]
        ), text
    assert read_call('{"name": "f"}') == (ToolCall("f", {}), ["no arguments"])
    for bad in (
        "",
        "f(x=1)",
        '{"name": "f", "arguments": {"x": 1}',
        '{"arguments": {}}',
        '{"name": 3}',
        '{"name": "f"} and more',
        "[]",
        "null",
    ):
        assert read_call(bad) == (None, []), bad


def test_arguments_that_are_no_object_stay_text_and_are_never_made_empty():
    call, did = read_call('{"name": "f", "arguments": "x=1"}')
    assert (call.args, did) == ("x=1", [])
    assert read_call('{"name": "f", "arguments": [1]}')[0].args == "[1]"


def test_the_answer_after_a_hermes_call_is_a_tools_even_without_its_tag():
    "As in the released Simia data"
    turns = [
        {"from": "human", "value": "hi"},
        {"from": "gpt", "value": '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'},
        {"from": "human", "value": "A: 3"},
        {"from": "gpt", "value": "three"},
    ]
    ms, did = from_sharegpt(turns)
    assert [m.role for m in ms] == ["user", "assistant", "tool", "assistant"] and did == [
        dict(where="turn 2", what="an answer in the turn of the human")
    ]
    turns[2]["value"] = "<tool_response>\nA: 3\n</tool_response>"
    assert from_sharegpt(turns) == (ms, [])


def test_words_beside_a_call_come_back_from_the_rows_of_llamafactory():
    "What the exporter writes as `words<tool_call>…</tool_call>` is one turn again"
    call = dict(name="get_user_details", arguments=dict(user_id="a_1"))
    value = f"Let me look.\n<tool_call>{json.dumps(call)}</tool_call>"
    turns = [
        {"from": "human", "value": "hello"},
        {"from": "function_call", "value": value},
        {"from": "observation", "value": "{}"},
        {"from": "gpt", "value": "done"},
    ]
    messages, repairs = from_sharegpt(turns)
    assert repairs == [] and [m.role for m in messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert messages[1].content == "Let me look."
    assert [(c.name, c.args) for c in messages[1].calls] == [(call["name"], call["arguments"])]
