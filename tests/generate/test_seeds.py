"Seeds: conversations of files, rows that are none, and released records"

import gzip
import json
from collections import Counter
from dataclasses import replace

import pytest
from conftest import needs_data

from synthlab.core.types import Score, to_dict
from synthlab.generate.seeds import (
    TOUCAN_FIELDS,
    filter_seeds,
    read_seeds,
    read_toucan,
    read_toucan_row,
    scripted_seeds,
)
from synthlab.generate.transcripts import (
    conversation_id,
    read_transcript,
    write_transcript,
)
from synthlab.tau2.env import tools
from synthlab.verify.gates import execution, passes_gates, provenance, schema, verify
from tests.generate.common import SEEDS


@needs_data
def test_every_seed_of_the_real_file_is_read_and_every_answer_in_it_is_the_environments():
    trajs, odd = read_seeds(SEEDS)
    assert (
        len(trajs) == 61
        and not odd
        and Counter(t.task.domain for t in trajs) == dict(retail=34, telecom=14, airline=13)
    )
    verify(trajs, (schema, execution, provenance))
    assert all(passes_gates(t, (schema, execution, provenance)) for t in trajs)
    assert sum(len(t.info["verify"]["feedback"]) for t in trajs) == 487
    f = filter_seeds(trajs)
    assert len(f.kept) == 60 and f.reasons() == dict(logical=1), (
        "one agent looks the same customer up three times in a row"
    )


@needs_data
def test_real_conversations_survive_the_way_through_text():
    for t in read_seeds(SEEDS)[0]:
        d = read_transcript(write_transcript(t.messages))
        assert (
            not d.why
            and not d.repairs
            and conversation_id(replace(t, messages=d.messages)) == conversation_id(t)
        )
        assert (
            execution(replace(t, messages=d.messages, info=dict(left_out="user calls"))).value == 1
        )


def test_rows_that_are_none_are_listed_with_place_and_reason(tmp_path):
    (t,) = scripted_seeds(("mock",), 1)
    good = json.dumps(to_dict(t))
    (tmp_path / "a.jsonl").write_text(
        "\n".join(
            [
                good,
                "",
                good[:50],
                "[1]",
                '{"messages": 3}',
                '{"messages": [{"role": "user", "content": "hi"}]}',
                good,
            ]
        )
    )
    trajs, odd = read_seeds(tmp_path / "a.jsonl")
    assert [conversation_id(x) for x in trajs] == [conversation_id(t)] * 2
    assert [o["where"] for o in odd] == [f"a.jsonl line {k}" for k in (3, 4, 5, 6)]
    assert [o["why"].split(":")[0] for o in odd] == [
        "torn",
        "not a JSON object",
        "neither `messages` nor `conversations` is a list",
        "no τ² domain has these tools or this policy; name it",
    ]
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(b"[]" * 500)[:-20])
    with pytest.raises(ValueError, match="not a whole gzip file"):
        read_seeds(tmp_path / "b.json.gz")
    (tmp_path / "c.json").write_text('{"x": [1]}')
    with pytest.raises(ValueError, match="no conversation in it; c.json x 0: not a JSON object"):
        read_seeds(tmp_path / "c.json")


def test_apigen_mt_rows_are_read_without_the_tool_that_thinks():
    from synthlab.generate.seeds import read_conversation_row

    def call(name, **a):
        return {"from": "function_call", "value": json.dumps(dict(name=name, arguments=a))}

    row = dict(
        system="Be kind.",
        tools=json.dumps(
            [t["function"] for t in tools("retail")] + [dict(name="think", parameters={})]
        ),
        conversations=[
            {"from": "human", "value": "My order?"},
            call("think", thought="hm"),
            {"from": "observation", "value": ""},
            call("get_order_details", order_id="#W1"),
            {"from": "observation", "value": "Error: Order not found"},
            {"from": "gpt", "value": "There is none."},
        ],
    )
    t = read_conversation_row(row)
    assert (
        [m.role for m in t.messages] == ["user", "assistant", "tool", "assistant"]
        and t.task.domain == "retail"
        and t.messages[2].error
    )
    assert (
        t.info["repairs"] == [dict(where="turn 1", what="a call of `think` left out")]
        and execution(t).value == 1
    )


def released(**kw):
    said = [
        dict(role="system", content="Tools."),
        dict(role="user", content="Sum up."),
        dict(role="assistant", content="", function_call=dict(name="s-a", arguments='{"x": 1}')),
        dict(role="assistant", content="", function_call=dict(name="s-b", arguments="{}")),
        dict(role="function", name="s-a", content="1"),
        dict(role="function", name="s-b", content="2"),
        dict(role="assistant", content="3", reasoning_content="1+2"),
    ]
    row = dict.fromkeys(TOUCAN_FIELDS, "") | dict(
        uuid="u1",
        subset_name="single-turn-original",
        messages=json.dumps(said),
        question="Sum up.",
        target_tools="a, b",
        available_tools=json.dumps(
            [
                dict(type="function", function=dict(name=n, description="", parameters={}))
                for n in ("s-a", "s-b")
            ]
        ),
        response_quality_assessment=json.dumps(
            dict(completeness=dict(reasoning="all", score=5), order_correctness=True)
        ),
        metadata='{"mcp_servers": []}',
    )
    return row | kw


def test_released_records():
    t = read_toucan_row(released(), "Kimi-K2")
    assert [c.id for c in t.calls] == ["call_0", "call_1"] and [
        m.call_id for m in t.messages if m.role == "tool"
    ] == ["call_0", "call_1"]
    assert [m.role for m in t.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ], "parallel calls are one turn"
    assert (
        t.info["targets"] == ["a", "b"]
        and t.scores["completeness"] == Score(5.0, "all", "released")
        and t.scores["order_correctness"].value == 1
    )
    assert t.model == "Kimi-K2" and t.task.goal == "Sum up." and len(t.tools) == 2
    assert (
        read_toucan_row(
            released(available_tools="", metadata="", response_quality_assessment="")
        ).scores
        == {}
    )


@pytest.mark.parametrize(
    "change, why",
    [
        (dict(uuid=""), "no uuid"),
        (dict(messages='[{"role": "user"'), "messages is torn"),
        (dict(messages="{}"), "expected list"),
        (dict(messages="[]"), "messages is empty"),
        (dict(messages='[{"role": "function", "content": "x"}]'), "answers no call"),
        (dict(messages="[1]"), "do not fit"),
        (dict(messages='[{"role": "narrator"}]'), "role 'narrator'"),
        (dict(metadata="{"), "metadata is torn"),
        (dict(available_tools='"x"'), "available_tools holds str"),
    ],
)
def test_torn_records_say_why(change, why):
    with pytest.raises(ValueError, match=why):
        read_toucan_row(released(**change))


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet"])
def test_released_files(tmp_path, form):
    rows, file = (
        [released(), released(uuid="u2", messages="[{"), released(uuid="u3")],
        tmp_path / f"rows.{form}",
    )
    if form == "jsonl":
        file.write_text("\n".join(map(json.dumps, rows)) + '\n{"uuid": "u4", "mess')
    if form == "json":
        file.write_text(json.dumps(rows))
    if form == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    torn = []
    got = list(read_toucan(file, torn=torn))
    assert (
        [t.task.id for t in got] == ["u1", "u3"]
        and torn[0]["row"] == 1
        and torn[0]["uuid"] == "u2"
        and len(torn) == 1 + (form == "jsonl")
    )
    with pytest.raises(ValueError, match=rf"rows.{form} row 1: messages is torn"):
        list(read_toucan(file))
