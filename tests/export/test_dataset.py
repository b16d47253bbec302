"""What trainers get: each format's rules hold on every row, what cannot be carried is counted, and
what was written reads back.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from synthlab.core.types import Message, Task, ToolCall, Trajectory, read_jsonl
from synthlab.export.dataset import (
    dataset_facts,
    dataset_licence,
    export_dataset,
    push_to_hub,
    to_datasets,
)
from synthlab.export.formats import FORMATS, as_agent_chat, format_rows, row_errors
from synthlab.generate.apigen_mt import generate
from synthlab.generate.transcripts import from_sharegpt
from synthlab.models.chat import from_openai
from synthlab.tau2.agents import OracleAgent, ScriptedUser
from synthlab.tau2.env import tasks
from synthlab.tau2.rollout import rollout

FILES = [(to, f) for to, fs in FORMATS.items() for f in fs]


@pytest.fixture(scope="module")
def kept():
    return generate(60, shares=dict(mock=0.1, airline=0.3, retail=0.3, telecom=0.3), seed=5).kept


@pytest.fixture(scope="module")
def folder(kept, tmp_path_factory):
    out = tmp_path_factory.mktemp("exports")
    for to in FORMATS:
        export_dataset(kept, to, out / to, "demo")
    return out


def rows(folder, to, file="train.jsonl"):
    return list(read_jsonl(folder / to / file))


def gist(ms):
    return [(m.role, m.content.strip(), [(c.name, c.args) for c in m.calls]) for m in ms]


def talk(*ms, **kw):
    return Trajectory(Task("1", "mock", "x"), list(ms), source="rollout", model="scripted:x", **kw)


def several():
    "Two calls in one turn, and words beside them"
    calls = [
        ToolCall("get_users", {}, "a"),
        ToolCall("create_task", dict(user_id="user_1", title="T"), "b"),
    ]
    return talk(
        Message("user", "Make it."),
        Message("assistant", "Let me.", calls),
        Message("tool", "B", call_id="b", by="assistant"),
        Message("tool", "A", call_id="a", by="assistant"),
        Message("assistant", "Done."),
        Message("user", "Bye ###STOP###"),
    )


# -------------------------------------------------------------------------------- rules, everywhere


@pytest.mark.parametrize("to, file", FILES)
def test_no_row_breaks_a_rule(folder, kept, to, file):
    some = rows(folder, to, file)
    assert len(some) >= len(kept) and [w for r in some for w in row_errors(r, to, file)] == []


def test_llamafactory_would_skip_none(folder):
    """Its converter's own conditions: tags by place, an even number of turns, columns as
    `dataset_info.json` names them
    """
    info = json.loads((folder / "llamafactory" / "dataset_info.json").read_text())["demo"]
    tag, cols = info["tags"], info["columns"]
    odd, even = (
        {tag["user_tag"], tag["observation_tag"]},
        {tag["assistant_tag"], tag["function_tag"]},
    )
    for r in rows(folder, "llamafactory", info["file_name"]):
        turns = r[cols["messages"]]
        assert len(turns) % 2 == 0 and all(
            t[tag["role_tag"]] in (even if i % 2 else odd) for i, t in enumerate(turns)
        )
        assert (
            all({"name", "parameters"} <= t.keys() for t in json.loads(r[cols["tools"]]))
            and r[cols["system"]]
        )


def test_openai_rows_are_what_its_client_types_say(folder):
    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
    from pydantic import TypeAdapter

    message, tool = TypeAdapter(ChatCompletionMessageParam), TypeAdapter(ChatCompletionToolParam)
    for r in rows(folder, "openai")[::6]:
        assert r.keys() <= {"messages", "tools", "parallel_tool_calls"}
        for m in r["messages"]:
            message.validate_python({k: v for k, v in m.items() if k != "weight"})
        for t in r["tools"][:2]:
            tool.validate_python(t)


def test_the_greeting_teaches_nothing(folder):
    "The benchmark says it for the agent: no completion in TRL, no weight at OpenAI"
    assert not any(
        r["completion"][0]["content"].startswith("Hi! How can I help you today?")
        for r in rows(folder, "trl", "turns/train.jsonl")
    )
    for r in rows(folder, "openai"):
        said = [m for m in r["messages"] if m["role"] == "assistant"]
        assert said[0]["weight"] == 0 and not any("weight" in m for m in said[1:])


@pytest.mark.slow
def test_trl_takes_the_rows(folder):
    from trl.data_utils import is_conversational

    for f in FORMATS["trl"]:
        assert all(is_conversational(r) for r in rows(folder, "trl", f)[:50])
    turns = Counter(r["id"].rsplit("/", 1)[0] for r in rows(folder, "trl", "turns/train.jsonl"))
    whole = {
        r["id"]: sum(m["role"] == "assistant" for m in r["messages"]) - 1
        for r in rows(folder, "trl", "messages/train.jsonl")
    }
    assert dict(turns) == whole


# -------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("to", ["sharegpt", "hermes"])
def test_sharegpt_and_hermes_read_back(folder, kept, to):
    for t, r in zip(kept, rows(folder, to), strict=True):
        back, repairs = from_sharegpt(r["conversations"])
        assert (
            gist(m for m in back if m.role != "system") == gist(as_agent_chat(t).messages[1:-1])
            and not repairs
        )


@pytest.mark.parametrize("to, file", [("openai", "train.jsonl"), ("trl", "messages/train.jsonl")])
def test_messages_read_back(folder, kept, to, file):
    for t, r in zip(kept, rows(folder, to, file), strict=True):
        chat, back = as_agent_chat(t), from_openai(r["messages"])
        assert back[0].content == chat.system and gist(back[1:]) == gist(chat.messages[:-1])
        assert [m.call_id for m in back if m.role == "tool"] == [
            c.id for m in back for c in m.calls
        ]


def test_the_user_s_own_calls_are_nowhere(folder, kept):
    from synthlab.tau2.env import tools

    mine = {t["function"]["name"] for t in tools("telecom", "user")} - {
        t["function"]["name"] for t in tools("telecom")
    }
    done = sum(c.by == "user" for t in kept for c in t.calls)
    assert done > 20
    for to in FORMATS:
        assert (
            json.loads((folder / to / "report.json").read_text())["left"]["calls of the user"]
            == done
        )
    for r in rows(folder, "openai"):
        assert not mine & {
            c["function"]["name"] for m in r["messages"] for c in m.get("tool_calls", ())
        }


# --------------------------------------------------------------------------- what cannot be carried


def test_several_calls_of_one_turn():
    chat = as_agent_chat(several())
    assert [m.content for m in chat.messages if m.role == "tool"] == [
        "A",
        "B",
    ]  # in the order of the calls
    row = format_rows(chat, "hermes")[0][0]["conversations"]
    assert [t["from"] for t in row] == ["system", "human", "gpt", "tool", "gpt"] and row[3][
        "value"
    ].count("<tool_response>\n") == 2
    assert format_rows(chat, "openai")[0][0]["parallel_tool_calls"] is True
    with pytest.raises(ValueError, match="words beside a call"):
        format_rows(chat, "sharegpt")
    chat.messages[1].content = ""
    got, left = format_rows(chat, "llamafactory")
    assert [t["from"] for t in got[0]["conversations"]] == [
        "human",
        "function_call",
        "observation",
        "function_call",
        "observation",
        "gpt",
    ]
    assert left["several calls of one turn, put one after the other"] == 1


@pytest.mark.parametrize(
    "ms, why",
    [
        ([Message("user", "a")], "no turn of the assistant"),
        (
            [
                Message("user", "a"),
                Message("assistant", calls=[ToolCall("f", "not json", "x")]),
                Message("tool", "", call_id="x"),
            ],
            "arguments that are no JSON object",
        ),
        (
            [
                Message("user", "a"),
                Message("assistant", calls=[ToolCall("f", {}, "x")]),
                Message("user", "b"),
                Message("assistant", "c"),
            ],
            "a call without an answer",
        ),
        (
            [Message("user", "a"), Message("tool", "x", call_id="1"), Message("assistant", "c")],
            "an answer to no call",
        ),
    ],
)
def test_no_example_at_all(ms, why):
    with pytest.raises(ValueError, match=why):
        as_agent_chat(talk(*ms))


@pytest.mark.parametrize("to", ["llamafactory", "hermes"])
@pytest.mark.parametrize(
    "ms, why",
    [
        ([Message("assistant", "a"), Message("assistant", "b")], "no turn of the user"),
        ([Message("user", "a"), Message("user", "b"), Message("assistant", "c")], "turn 2"),
        ([Message("user", "a"), Message("assistant", " ")], "nothing said"),
        (
            [
                Message("assistant", calls=[ToolCall("f", {}, "x")]),
                Message("tool", "y", call_id="x"),
                Message("user", "b"),
                Message("assistant", "c"),
            ],
            "before the first turn",
        ),
    ],
)
def test_reasons_of_alternating_formats(to, ms, why):
    with pytest.raises(ValueError, match=why):
        format_rows(as_agent_chat(talk(*ms)), to)


def test_openai_refuses_tools_nobody_has():
    t = talk(
        Message("user", "a"),
        Message("assistant", calls=[ToolCall("fly", {}, "x")]),
        Message("tool", "y", call_id="x"),
        Message("assistant", "c"),
    )
    with pytest.raises(ValueError, match="no tool 'fly'"):
        format_rows(as_agent_chat(t), "openai")


def test_a_faulty_row_is_always_named(folder):
    "Each turn of a good row taken out, or two swapped, is found"
    for to, key in (
        ("llamafactory", "conversations"),
        ("hermes", "conversations"),
        ("openai", "messages"),
    ):
        r = max(rows(folder, to), key=lambda r: len(r[key]))
        first = r[key][0].get("from", r[key][0].get("role")) == "system"
        for i in range(int(first), len(r[key])):
            if to == "openai" and not (r[key][i].get("tool_calls") or r[key][i]["role"] == "tool"):
                continue
            assert row_errors({**r, key: r[key][:i] + r[key][i + 1 :]}, to), (to, i)


def test_solo_episodes_go_where_there_is_room(tmp_path):
    some = [t for t in tasks("mock") if t.ticket and t.gold and t.init is None][:2]
    ts = rollout(some, OracleAgent(), solo=True)
    got = export_dataset(ts, "openai", tmp_path / "o")
    last = rows(tmp_path, "o")[0]["messages"][-1]
    assert (
        got["rows"] == {"train.jsonl": len(ts)}
        and last["tool_calls"][0]["function"]["name"] == "done"
    )
    with pytest.raises(ValueError, match="nothing to export: no turn of the user"):
        export_dataset(ts, "sharegpt", tmp_path / "s")


# ---------------------------------------------------------------------------------- report and card


def test_report_and_rejected(kept, tmp_path):
    r = export_dataset(kept[:5] + [several()], "sharegpt", tmp_path)
    assert (
        r["rows"] == {"train.jsonl": 5}
        and r["dropped"] == {"words beside a call": 1}
        and r["facts"]["n"] == 5
    )
    assert list(read_jsonl(tmp_path / "rejected.jsonl")) == [
        dict(id="mock/1", why="words beside a call")
    ]
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(r))


def test_card(folder, kept):
    from huggingface_hub import DatasetCard

    text = (folder / "trl" / "README.md").read_text()
    card = DatasetCard(text)
    assert card.data.license == "apache-2.0" and [c["config_name"] for c in card.data.configs] == [
        "messages",
        "turns",
    ]
    assert not any(m.content in text for t in kept for m in t.messages if len(m.content) > 20)
    f = dataset_facts(kept)
    assert f["n"] == len(kept) and f"{len(kept):,} conversations" in text
    for d in f["domains"]:
        assert f"| {d['domain']} | {d['conversations']} |" in text


def test_licence_is_not_guessed(kept):
    taught = replace(kept[0], model="gpt-x")
    assert (
        dataset_licence(dataset_facts(kept)) == "apache-2.0"
        and dataset_licence(dataset_facts([taught])) == "other"
    )
    assert dataset_licence(dataset_facts([replace(kept[0], source="simia")])) == "other"


def test_benchmark_tasks_are_said_to_be_such(tmp_path):
    export_dataset(rollout(tasks("mock")[:3], OracleAgent(), ScriptedUser()), "sharegpt", tmp_path)
    assert "cannot be evaluated on that benchmark" in " ".join(
        (tmp_path / "README.md").read_text().split()
    )


# ----------------------------------------------------------------------------------- data sets, hub


@pytest.mark.parametrize("to", FORMATS)
def test_data_sets_equal_the_files(folder, tmp_path, to):
    from datasets import load_dataset, load_from_disk

    sets = to_datasets(folder / to)
    for (name, d), file in zip(sets.items(), FORMATS[to], strict=True):
        some = rows(folder, to, file)
        assert d["train"].to_list() == some
        d.save_to_disk(tmp_path / name)
        assert load_from_disk(tmp_path / name)["train"][0] == some[0]
        d["train"].to_parquet(tmp_path / f"{name}.parquet")
        back = load_dataset(
            "parquet",
            data_files=str(tmp_path / f"{name}.parquet"),
            cache_dir=str(tmp_path / "c"),
            split="train",
        )
        assert back[len(some) - 1] == some[-1]


def test_the_card_tells_the_loader_where_the_rows_are(folder, tmp_path):
    from datasets import load_dataset

    d = load_dataset(str(folder / "trl"), "turns", cache_dir=str(tmp_path), split="train")
    assert len(d) == len(rows(folder, "trl", "turns/train.jsonl"))


@pytest.mark.slow
def test_a_hub_out_of_reach_is_one_line(folder):
    code = (
        "from synthlab.export.dataset import push_to_hub\ntry: "
        f'push_to_hub({str(folder / "sharegpt")!r}, "me/demo")\nexcept ValueError as e: '
        "print(e)"
    )
    env = os.environ | dict(HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0", HF_TOKEN="hf_x")
    r = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    assert r.stdout.startswith("me/demo: not pushed: ") and r.stdout.count("\n") == 1, r.stderr[
        -500:
    ]


def test_no_export_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no report.json"):
        push_to_hub(tmp_path, "me/demo")
