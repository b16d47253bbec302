"Records: lossless in and out, keys by content, and nothing executable in a transcript."

import json
import math
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthlab.core.types import (
    Message,
    Score,
    Task,
    ToolCall,
    Trajectory,
    Usage,
    content_key,
    from_dict,
    read_jsonl,
    to_dict,
    to_html,
    to_md,
    write_jsonl,
)

text = st.text(max_size=40)
scalar = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
values = st.recursive(
    scalar, lambda v: st.lists(v, max_size=3) | st.dictionaries(text, v, max_size=3), max_leaves=6
)
objects = st.dictionaries(text, values, max_size=3)
calls = st.builds(ToolCall, text, objects | text, text, st.sampled_from(["assistant", "user"]))
messages = st.builds(
    Message,
    st.sampled_from(["user", "assistant", "tool", "system"]),
    text,
    st.lists(calls, max_size=2),
    text,
    st.booleans(),
    st.sampled_from(["", "user", "assistant"]),
)
tasks = st.builds(
    Task,
    text,
    text,
    objects | text,
    st.none() | text,
    st.none() | objects,
    st.none() | st.lists(objects, max_size=2),
    st.none() | objects,
    st.none() | text,
    st.none() | objects,
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
trajectories = st.builds(
    Trajectory,
    tasks,
    st.lists(messages, max_size=4),
    st.lists(objects, max_size=1),
    st.dictionaries(text, st.builds(Score, numbers, text, text), max_size=2),
    st.builds(Usage, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), numbers),
    text,
    text,
    st.none() | st.integers(),
    text,
    st.booleans(),
    objects,
)


def strict(x):
    "Types as JSON tells them apart: 1, 1.0 and True differ"
    return json.dumps(to_dict(x), sort_keys=True)


@pytest.mark.slow
@given(trajectories)
@settings(max_examples=200, deadline=None)
def test_json_round_trip(t):
    back = from_dict(Trajectory, json.loads(json.dumps(to_dict(t))))
    assert back == t and strict(back) == strict(t) and content_key(back) == content_key(t)


@given(
    st.lists(trajectories, max_size=3),
    st.binary(min_size=1, max_size=30).filter(lambda b: b"\n" not in b and b.strip()),
)
@settings(max_examples=60, deadline=None)
def test_torn_line_is_named_and_set_aside(tmp_path_factory, rows, tail):
    "Whatever bytes a crash leaves behind: the good rows survive, the torn bytes too"
    try:
        json.loads(tail)
        return
    except ValueError:
        pass
    p = tmp_path_factory.mktemp("jsonl") / "rows.jsonl"
    write_jsonl(rows, p)
    with open(p, "ab") as f:
        f.write(tail)
    with pytest.raises(ValueError, match=rf"rows\.jsonl:{len(rows) + 1}:"):
        list(read_jsonl(p, Trajectory))
    assert list(read_jsonl(p, Trajectory, torn="aside")) == rows
    assert p.with_name("rows.jsonl.torn").read_bytes() == tail + b"\n"
    assert list(read_jsonl(p, Trajectory)) == rows


def test_a_failed_write_leaves_the_old_file(tmp_path):
    p = tmp_path / "rows.jsonl"
    write_jsonl([{"a": 1}], p)
    with pytest.raises(TypeError):
        write_jsonl([{"a": 2}, {"a": object()}], p)
    assert list(read_jsonl(p)) == [{"a": 1}]


@given(values, values)
def test_keys_tell_values_apart(a, b):
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (content_key(a) == content_key(b)) == same


def test_nan_is_null_and_not_zero():
    d = to_dict(Score(math.nan, "no judge"))
    assert d == {"value": None, "why": "no judge"}
    assert math.isnan(from_dict(Score, json.loads(json.dumps(d))).value)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen |= {tag, *(k for k, _ in attrs)}


nasty = (
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "</div><iframe>",
            '"><svg onload=1>',
            "javascript:'<a href=x>'",
            "&lt;b&gt;",
            "<details open ontoggle=1>",
        ]
    )
    | text
)


@given(nasty, nasty, nasty, nasty)
@settings(deadline=None)
def test_transcript_escapes_everything(a, b, c, d):
    t = Trajectory(
        Task(a, b),
        [
            Message(c, d * 40, [ToolCall(a, {b: c})]),
            Message("tool", a * 200, by=d),
            Message("user", b, [ToolCall(c, d)]),
        ],
        scores={a: Score(1.0, b)},
        model=c,
        source=d,
        stop=a,
    )
    p = Tags()
    p.feed(to_html(t))
    assert p.seen <= {"style", "div", "class", "span", "code", "details", "summary"}


def test_markdown_fences_hold_tool_output():
    t = Trajectory(Task("1", "mock"), [Message("tool", "a\n```\n# not a heading\n")])
    assert "````\na\n```" in to_md(t)
