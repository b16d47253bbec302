"Every format of the registry: what it holds comes back, what it cannot is counted, files name it"

import gzip
import json
from collections import Counter
from dataclasses import replace

import pytest
from any_trajectory import anything, chats
from conftest import DATA, RUNS, needs_data
from hypothesis import HealthCheck, given, settings

from synthlab.core.types import Message, Score, Task, ToolCall, Trajectory, Usage, write_jsonl
from synthlab.export.interchange import (
    INTERCHANGE,
    read_interchange,
    recognised,
    round_trip_loss,
    write_interchange,
)
from synthlab.export.messages import from_messages
from synthlab.tau2.results import load_results

WRITTEN = [k for k, f in INTERCHANGE.items() if f.write]
ROWS = [k for k in WRITTEN if k.startswith("messages")]
WHOLE = [k for k in WRITTEN if k not in ROWS]
slowly = dict(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def chat(n=1):
    ms = [
        Message("user", f"Hi {n}"),
        Message("assistant", "", [ToolCall("f", {"x": n}, "a"), ToolCall("g", {}, "b")]),
        Message("tool", "1", call_id="a", by="assistant"),
        Message("tool", "2", call_id="b", by="assistant"),
        Message("assistant", "Done."),
    ]
    return Trajectory(Task(str(n), "retail"), ms)


@given(anything)
@settings(max_examples=25, **slowly)
def test_whole_formats_lose_nothing(traj):
    assert not any(round_trip_loss(traj, k) for k in WHOLE)


@given(chats)
@settings(max_examples=25, **slowly)
def test_rows_lose_nothing_of_what_an_agent_sees(traj):
    assert not any(round_trip_loss(traj, k) for k in ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_what_a_row_cannot_hold_is_counted(name):
    t = chat()
    t.messages[2].error = True
    t.messages[3:3] = [Message("user", "", [ToolCall("h", {}, "u", "user")])]
    t.messages[4:4] = [Message("tool", "3", call_id="u", by="user")]
    t.messages.append(t.messages.pop(5))  # the answer of `g` comes after its turn
    with pytest.raises(ValueError, match="an answer to no call"):
        round_trip_loss(t, name)
    t = chat()
    t.messages[2].error = True
    t.messages += [Message("user", "", [ToolCall("h", {}, "u", "user")])]
    t.messages += [Message("tool", "3", call_id="u", by="user")]
    t.scores, t.usage, t.seed = dict(reward=Score(1.0)), Usage(5, 2), 3
    t.task.gold = [dict(name="f")]
    lost = {
        "messages.error": 1,
        "messages.role": 2,
        "messages.content": 1,
        "messages.call_id": 1,
        "messages.by": 1,
        "messages.calls.name": 1,
        "messages.calls.id": 1,
        "messages.calls.by": 1,
        "scores.reward.value": 1,
        "usage.inp": 1,
        "usage.out": 1,
        "seed": 1,
        "task.gold": 1,
    }
    assert round_trip_loss(t, name) == Counter(lost)


def test_what_is_made_up_and_what_changes_places_is_counted():
    t = Trajectory(Task("1"), [Message("assistant", calls=[ToolCall("f")])])
    assert round_trip_loss(t, "messages") == {"messages.calls.id, made up": 1}
    swapped = INTERCHANGE["synthlab"]
    turned = replace(swapped, read=lambda d: _turned(swapped.read(d)))
    INTERCHANGE["turned"] = turned
    try:
        assert round_trip_loss(chat(), "turned") == {"order": 1}
    finally:
        del INTERCHANGE["turned"]


def _turned(t):
    return replace(t, messages=t.messages[::-1])


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".json", ".json.gz", ""])
def test_a_file_is_recognised_and_read(tmp_path, name, ending):
    lines = INTERCHANGE[name].lines
    many = [chat(n) for n in range(3)]
    trajs = many[:1] if ending.startswith(".json") and (lines or "jsonl" not in ending) else many
    path = tmp_path / f"out{ending}"
    if lines and ending.startswith(".json") and "jsonl" not in ending:
        with pytest.raises(ValueError, match="written to .jsonl"):
            write_interchange(trajs, path, name)
        return
    assert write_interchange(trajs, path, name) == dict(written=len(trajs), left={})
    assert list(read_interchange(path)) == trajs == list(read_interchange(path, name))
    assert not list(tmp_path.rglob("*.part"))


def test_a_list_and_a_pretty_document_are_read(tmp_path):
    docs = [INTERCHANGE["atif"].write(chat(n)) for n in range(2)]
    (tmp_path / "a.json").write_text(json.dumps(docs, indent=2))
    (tmp_path / "b.json").write_text("\n" + json.dumps(docs[0], indent=2))
    (tmp_path / "c.json").write_text(json.dumps(docs))
    read = [t.task.id for t in read_interchange(tmp_path)]
    assert read == ["0", "1", "0", "0", "1"]


def test_sessions_one_after_the_other_are_told_apart(tmp_path):
    lines = [x for n in range(2) for x in INTERCHANGE["session-trace"].write(chat(n))]
    write_jsonl(lines, tmp_path / "a.jsonl")
    assert list(read_interchange(tmp_path / "a.jsonl")) == [chat(0), chat(1)]


def test_a_fault_in_a_file_is_named_with_its_place(tmp_path):
    rows = [INTERCHANGE["atif"].write(chat(n)) for n in range(3)]
    rows[2]["steps"][1]["tool_calls"][0]["arguments"] = "{}"
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    read = read_interchange(path)
    assert [next(read), next(read)] == [chat(0), chat(1)]
    with pytest.raises(ValueError, match=r"a\.jsonl\.gz:3: steps\[1\]\.tool_calls\[0\]\.arguments"):
        next(read)


@pytest.mark.parametrize(
    "text, why",
    [
        (b"", "nothing in it"),
        (b"[]", "nothing in it"),
        (b"Hello", "Expecting value"),
        (b"{}\n{", "none of the known formats .synthlab: .*atif: .*tau2"),
        (b'{"a": 1}', r"an object with \['a'\]: none of the known"),
        (b"7", "7: none of the known"),
        (b"\xff\xfe", "utf-8"),
        (b"\x1f\x8bno", "a.jsonl: "),
        (b'{"messages": [{"role": "user", "content": ""}]}\n{"messages"', "line 2"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, why):
    (tmp_path / "a.jsonl").write_bytes(text)
    with pytest.raises(ValueError, match=why):
        list(read_interchange(tmp_path / "a.jsonl"))


def test_what_cannot_be_written_or_found_is_said(tmp_path):
    with pytest.raises(ValueError, match="no format 'yaml'; there are synthlab, atif"):
        write_interchange([chat()], tmp_path / "a.jsonl", "yaml")
    with pytest.raises(ValueError, match="'inspect' is only read; these are written: synthlab"):
        write_interchange([chat()], tmp_path / "a.jsonl", "inspect")
    with pytest.raises(ValueError, match="written to .json or .jsonl"):
        write_interchange([chat()], tmp_path / "a.parquet", "atif")
    with pytest.raises(ValueError, match="none for a file of one"):
        write_interchange([], tmp_path / "a.json", "atif")
    empty = Trajectory(Task("9", "retail"))
    with pytest.raises(ValueError, match=r"trajectory 1 \(retail/9\): no messages"):
        write_interchange([chat(), empty], tmp_path / "a.jsonl", "atif")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="no file in it"):
        list(read_interchange(tmp_path))
    with pytest.raises(FileNotFoundError):
        list(read_interchange(tmp_path / "none.json"))


def test_the_readers_of_a_format_refuse_another(tmp_path):
    write_interchange([chat()], tmp_path / "a.jsonl", "messages")
    with pytest.raises(ValueError, match="document: no field 'messages' in ATIF"):
        list(read_interchange(tmp_path / "a.jsonl", "atif"))
    assert recognised(dict(schema_version="ATIF-v1.2", steps=[])) == "atif"


@needs_data
@pytest.mark.slow
def test_recorded_runs_through_every_format():
    "Whole formats lose nothing; rows nothing of an agent's conversation but facts about the run"
    total = Counter()
    for p in RUNS:
        if "untrusted" in p.name:
            continue
        for t in load_results(p).trajectories[:8]:
            assert not any(round_trip_loss(t, k) for k in WHOLE), (p.name, t.task.id)
            lost = [round_trip_loss(t, k) for k in ROWS]
            assert lost[0] == lost[1] == lost[2]
            total += lost[0]
            if all(c.by == "assistant" for c in t.calls):
                kept = ("messages.content", "messages.role", "messages.calls", "task.id", "tools")
                assert not [k for k in lost[0] if k.startswith(kept)], (p.name, t.task.id)
    assert total["messages.calls.by"] > 0 and total["messages.error"] > 0


@needs_data
def test_a_run_of_the_benchmark_is_recognised():
    path = next(p for p in RUNS if "mock" in p.name)
    assert len(list(read_interchange(path))) == 10


@needs_data
@pytest.mark.slow
def test_published_conversations_come_back():
    path = next((DATA / "seeds").glob("*.json.gz"))
    rows = json.loads(gzip.decompress(path.read_bytes()))["splits"]
    ts = [from_messages(r) for split in rows.values() for r in split[:40]]
    assert len(ts) > 20
    for t in ts:
        assert not any(round_trip_loss(t, k) for k in WHOLE)
        assert not any(k for k in round_trip_loss(t, "messages-text") if k.startswith("messages"))
