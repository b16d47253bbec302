"""Logs of Inspect: read as they are written today.

Where INSPECT_PYTHON names a Python that has `inspect_ai`, that writes the logs; else they are made
by the documented schema, `.eval` in Zstandard as today's logs are.
"""

import gzip
import json
import os
import struct
import subprocess
import zipfile
import zlib

import pytest

from synthlab.core.types import Usage
from synthlab.export.inspect_log import from_inspect, read_inspect

PYTHON = os.environ.get("INSPECT_PYTHON")
WRITER = """
import sys
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, system_message, use_tools
from inspect_ai.tool import ToolCall, ToolError, tool

@tool
def add():
    async def execute(x: int, y: int):
        '''Add two numbers.

        Args:
            x: first
            y: second
        '''
        return str(x + y)
    return execute

@tool
def broken():
    async def execute(what: str):
        '''Always fails.

        Args:
            what: anything
        '''
        raise ToolError("out of order")
    return execute

def told(text):
    return used(ModelOutput.from_content("mockllm/model", text))

def used(out):
    out.usage = ModelUsage(
        input_tokens=10, output_tokens=4, total_tokens=14, input_tokens_cache_read=3
    )
    return out

call = used(ModelOutput.for_tool_call("mockllm/model", "add", dict(x=1, y=1), content="I add."))
more = ToolCall(id="zz", function="broken", arguments=dict(what="it"), type="function")
call.choices[0].message.tool_calls.append(more)
samples = [Sample(id="one", input="What is 1+1?", target="2")]
samples += [Sample(id="two", input="3? " * 99, target="3")]
steps = [system_message("Short."), use_tools(add(), broken()), generate()]
task = Task(dataset=samples, solver=steps, scorer=[includes()], name="sums")
model = get_model("mockllm/model", custom_outputs=[call, told("2"), told("4")], memoize=False)
eval(task, model=model, log_dir=sys.argv[1], log_format=sys.argv[2], display="none", max_samples=1)
"""


def usage(n):
    keys = ("input_tokens", "output_tokens", "input_tokens_cache_read")
    return {"mockllm/model": dict(zip(keys, (10 * n, 4 * n, 3 * n)))}


def samples():
    "What Inspect writes of the same two samples, as far as it is read"
    system = dict(role="system", content="Short.")
    calls = [
        dict(id="t1", function="add", arguments=dict(x=1, y=1), type="function"),
        dict(id="zz", function="broken", arguments=dict(what="it"), type="function"),
    ]
    failed = dict(type="unknown", message="out of order")
    functions = [
        dict(name=n, description="", parameters=dict(type="object")) for n in ("add", "broken")
    ]
    rest = dict(
        epoch=1,
        output=dict(choices=[dict(stop_reason="stop")]),
        events=[dict(event="span_begin"), dict(event="model", tools=functions)],
        total_time=0.1,
    )
    first = [
        system,
        dict(role="user", content="What is 1+1?"),
        dict(role="assistant", content="I add.", tool_calls=calls),
        dict(role="tool", content="2", tool_call_id="t1", function="add"),
        dict(role="tool", content="", tool_call_id="zz", function="broken", error=failed),
        dict(role="assistant", content="2"),
    ]
    second = [
        system,
        dict(role="user", content="attachment://long"),
        dict(role="assistant", content="4"),
    ]
    right = dict(includes=dict(value="C", answer="2", explanation="2"))
    wrong = dict(includes=dict(value="I", answer="4", explanation="4"))
    said = [dict(id="one", input="What is 1+1?", target="2", messages=first, scores=right)]
    said += [dict(id="two", input="3? " * 99, target="3", messages=second, scores=wrong)]
    said[1]["attachments"] = dict(long="3? " * 99)
    return [s | rest | dict(model_usage=usage(2 - i)) for i, s in enumerate(said)]


def head():
    return dict(version=2, status="success", eval=dict(task="sums", model="mockllm/model"))


def zstd_archive(path, files):
    "A zip whose entries are in Zstandard: method 93, which zipfile does not write before 3.14"
    import pyarrow as pa

    body, index = b"", b""
    for name, data in files.items():
        raw, name = json.dumps(data).encode(), name.encode()
        packed = pa.compress(raw, codec="zstd", asbytes=True)
        sizes = struct.pack("<III", zlib.crc32(raw), len(packed), len(raw))
        common = struct.pack("<HHHHH", 63, 0, 93, 0, 33) + sizes + struct.pack("<HH", len(name), 0)
        index += b"PK\1\2" + struct.pack("<H", 63) + common
        index += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name
        body += b"PK\3\4" + common + name + packed
    tail = struct.pack("<HHHHIIH", 0, 0, len(files), len(files), len(index), len(body), 0)
    path.write_bytes(body + index + b"PK\5\6" + tail)
    return path


def made(folder, kind):
    if PYTHON:
        done = subprocess.run(
            [PYTHON, "-c", WRITER, str(folder), kind], capture_output=True, text=True
        )
        assert not done.returncode, done.stderr[-2000:]
        return next(folder.glob(f"*.{kind}"))
    path = folder / f"log.{kind}"
    if kind == "json":
        path.write_text(json.dumps(head() | dict(samples=samples())))
        return path
    files = {f"samples/{s['id']}_epoch_1.json": s for s in samples()}
    return zstd_archive(path, {"_journal/start.json": head()} | files | {"header.json": head()})


@pytest.mark.parametrize("kind", ["json", "eval"])
def test_a_log_gives_its_samples(tmp_path, kind):
    ts = {t.task.id: t for t in read_inspect(made(tmp_path, kind))}
    one, two = ts["one"], ts["two"]
    assert [m.role for m in one.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]
    add, broken = one.messages[2].calls
    assert (one.messages[2].content, add.args, broken.args) == (
        "I add.",
        dict(x=1, y=1),
        dict(what="it"),
    )
    good, bad = one.messages[3:5]
    assert (good.content, good.error, good.call_id, good.by) == ("2", False, add.id, "assistant")
    assert (bad.content, bad.error, bad.call_id) == ("out of order", True, "zz")
    assert (one.scores["includes"].value, two.scores["includes"].value) == (1, 0)
    assert (one.usage.inp, one.usage.out, one.usage.cached) == (26, 8, 6) and one.usage.seconds > 0
    assert two.messages[1].content == "3? " * 99 == two.task.goal
    assert [t["function"]["name"] for t in one.tools] == ["add", "broken"]
    assert (one.model, one.stop, one.source) == ("mockllm/model", "stop", "inspect")
    assert one.info["task"] == "sums" and one.info["target"] == "2"


def test_an_unfinished_log_is_read_by_its_beginning(tmp_path):
    start = {"_journal/start.json": head(), "samples/one_epoch_1.json": samples()[0]}
    (t,) = read_inspect(zstd_archive(tmp_path / "a.eval", start))
    assert t.task.id == "one" and t.model == "mockllm/model"


def test_a_torn_archive_is_named(tmp_path):
    path = zstd_archive(
        tmp_path / "a.eval", {"header.json": head(), "samples/a.json": samples()[0]}
    )
    raw = bytearray(path.read_bytes())
    at = raw.index(b"samples/a.json") + 40
    raw[at : at + 8] = b"\0" * 8
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"a\.eval: samples/a\.json"):
        list(read_inspect(path))


def test_verdicts_as_inspect_counts_them():
    marks = dict(a="C", b="P", c="I", d="N", e="Yes", f="false", g="0.5", h=True, i=3, j="B", k=[1])
    s = samples()[0] | dict(scores={k: dict(value=v) for k, v in marks.items()})
    got = {k: v.value if v.given else None for k, v in from_inspect(s).scores.items()}
    assert [*got.values()] == [1, 0.5, 0, 0, 1, 0, 0.5, 1, 3, None, None]
    assert from_inspect(s).scores["j"].why == "value 'B'"


def test_thoughts_stand_apart_and_torn_arguments_stay():
    parts = [dict(type="reasoning", reasoning="Hm."), dict(type="text", text="Yes")]
    call = dict(id="a", function="f", arguments={"raw": 1}, parse_error="no JSON")
    ms = [dict(role="assistant", content=parts, tool_calls=[call])]
    t = from_inspect(dict(id=1, messages=ms, error=dict(message="out of time")))
    assert (t.messages[0].content, t.info["thoughts"], t.task.id) == ("Yes", {"0": "Hm."}, "1")
    assert t.messages[0].calls[0].args == '{"raw": 1}' and t.stop == "error"
    assert t.usage == Usage()


@pytest.mark.parametrize(
    "change, why",
    [
        (dict(version=3), "version 3 of the log"),
        (dict(eval=None), "no `eval` in it"),
        (dict(samples=None), "written without them"),
        (dict(samples=[dict(id=1)]), r"samples\[0\]: no list of messages"),
        (
            dict(samples=[dict(messages=[dict(role="agent")])]),
            r"samples\[0\].messages\[0\]: no message",
        ),
        (
            dict(samples=[dict(messages=[dict(role="user", content=[dict(type="image")])])]),
            r"samples\[0\].messages\[0\].content\[0\]: 'image'",
        ),
        (
            dict(samples=[dict(messages=[], scores=dict(a=1))]),
            r"samples\[0\].scores\['a'\]: no value",
        ),
    ],
)
def test_a_faulty_log_is_refused_with_its_place(tmp_path, change, why):
    path = tmp_path / "log.json"
    path.write_bytes(gzip.compress(json.dumps(head() | dict(samples=[]) | change).encode()))
    with pytest.raises(ValueError, match=why) as e:
        list(read_inspect(path))
    assert str(path) in str(e.value)


def test_another_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.writestr("a.txt", "")
    with pytest.raises(ValueError, match="without header.json"):
        list(read_inspect(tmp_path / "a.zip"))
    with pytest.raises(FileNotFoundError):
        list(read_inspect(tmp_path / "none.eval"))
