"What the journal of calls keeps, and in how much space"

import sqlite3

import pytest
from calls_client import chats

from synthlab.core.types import Message, ToolCall, Usage, read_jsonl
from synthlab.models.chat import Reply
from synthlab.models.durable import DurableLLM
from synthlab.models.llm import make_llm
from tests.models.common import states


def test_same_call_once_and_samples_apart(fresh, path):
    s = fresh()
    out = DurableLLM(make_llm(s.url + "#m"), path)(chats(3) * 5, n=4, temp=1.0)
    assert sum(s.stats()["asked"].values()) == 12 and [len(r) for r in out] == [4] * 15
    assert len({r.text for r in out[0]}) == 4 and out[0] == out[3] and out[0][0] is not out[3][0]
    DurableLLM(make_llm(s.url + "#m"), path)(chats(3), n=6, temp=1.0)
    assert sum(s.stats()["asked"].values()) == 18, (
        "more samples of the same chat ask for the new ones only"
    )
    DurableLLM(make_llm(s.url + "#m"), path)(chats(3), n=6, temp=0.5)
    assert sum(s.stats()["asked"].values()) == 36


def test_all_of_a_reply_survives(path):
    calls = [ToolCall("f", '{"a": ', "c1"), ToolCall("g", {"x": [1, None]})]
    said = Reply("café \ud83d \u2028", calls, "tool_calls", Usage(7, 3, 2, 0.5), raw="<raw>")

    async def ask(chat, **_):
        return said

    first = DurableLLM(ask, path)(chats(1))

    async def never(chat, **_):
        raise AssertionError("asked again")

    never.__name__ = "ask"
    assert first == DurableLLM(never, path)(chats(1)) == [[said]]


def test_a_full_disk_is_an_error_and_loses_nothing(path):
    asked = []

    async def ask(chat, **_):
        asked.append(chat[-1].content)
        return Reply("x" * 3000)

    calls = DurableLLM(ask, path, most=4)
    calls.journal.db.execute("PRAGMA max_page_count=40")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        calls(chats(200))
    kept = states(path).count("done")
    calls.journal.db.execute("PRAGMA max_page_count=100000")
    assert all(r.ok for (r,) in calls(chats(200))) and kept > 0
    assert len(asked) <= 200 + 4 and len(set(asked)) == 200


def test_a_long_policy_is_stored_once(path):
    policy = "Rule: be kind. " * 1500

    async def ask(chat, **_):
        return Reply("yes")

    calls = DurableLLM(ask, path)
    calls([[Message("system", policy), Message("user", f"q{i}")] for i in range(300)])
    calls.close()
    assert path.stat().st_size < 20 * len(policy)
    calls.journal.export(path.with_suffix(".jsonl"))
    rows = list(read_jsonl(path.with_suffix(".jsonl")))
    assert len(rows) == 300 and all(r["request"]["messages"][0]["content"] == policy for r in rows)
