"""ATIF: what the specification's models accept, back as it was, and refused where it does not fit.

Harbor's own models are asked where they are installed: HARBOR_PYTHON names a Python that has them
(3.12 or later, `pip install --no-deps harbor && pip install pydantic` is enough).
"""

import copy
import json
import os
import re
import subprocess

import pytest
from any_trajectory import anything
from conftest import RUNS, needs_data
from hypothesis import HealthCheck, given, settings

from synthlab.core.types import Message, Task, ToolCall, Trajectory, to_dict
from synthlab.export.atif import from_atif, to_atif
from synthlab.tau2.results import load_results

PYTHON = os.environ.get("HARBOR_PYTHON")
needs_models = pytest.mark.skipif(
    not PYTHON, reason="HARBOR_PYTHON does not name a Python with the package harbor"
)
JUDGE = """
import json, sys
from harbor.models.trajectories import Trajectory
for line in sys.stdin:
    try:
        Trajectory.model_validate(json.loads(line))
        print("fits")
    except ValueError as e:
        print("refused", str(e).splitlines()[1:2])
"""


def same(a, b):
    return json.dumps(to_dict(a), sort_keys=True) == json.dumps(to_dict(b), sort_keys=True)


def through(traj):
    return from_atif(json.loads(json.dumps(to_atif(traj))))


def judged(docs):
    "Verdicts of the specification's models"
    text = "\n".join(map(json.dumps, docs))
    done = subprocess.run([PYTHON, "-c", JUDGE], input=text, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-2000:]
    return [line.startswith("fits") for line in done.stdout.splitlines()]


def example():
    "Both sides call, one call is torn, the answers come in another order"
    calls = [ToolCall("look", {"id": "L1"}, "a"), ToolCall("cancel", "{torn", "b")]
    return Trajectory(
        Task("7", "telecom"),
        [
            Message("system", "Help."),
            Message("user", "Hi"),
            Message("assistant", "I look.", calls),
            Message("tool", "Error", call_id="b", error=True, by="assistant"),
            Message("tool", "{}", call_id="a", by="assistant"),
            Message("user", calls=[ToolCall("bars", {}, "c", "user")]),
            Message("tool", "0", call_id="c", by="user"),
        ],
        [dict(type="function", function=dict(name="look"))],
        model="m",
    )


@given(anything)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_trajectory_comes_back(traj):
    assert same(through(traj), traj)


@needs_data
@pytest.mark.slow
def test_recorded_runs_come_back():
    n = 0
    for p in RUNS:
        if "untrusted" not in p.name:
            for t in load_results(p).trajectories:
                n += 1
                assert same(through(t), t), (p.name, t.task.id)
    assert n > 300


def test_one_step_holds_calls_and_their_results():
    d = to_atif(example())
    assert [s["source"] for s in d["steps"]] == ["system", "user", "agent", "user"]
    agent, user = d["steps"][2:]
    assert [r["source_call_id"] for r in agent["observation"]["results"]] == ["b", "a"]
    assert agent["tool_calls"][1]["arguments"] == {}
    assert "tool_calls" not in user and "source_call_id" not in user["observation"]["results"][0]


def test_calls_have_ids_of_their_own():
    ms = [Message("assistant", calls=[ToolCall("a"), ToolCall("b", id="x")])] * 2
    t = Trajectory(Task("1"), ms)
    ids = [c["tool_call_id"] for s in to_atif(t)["steps"] for c in s["tool_calls"]]
    assert len(set(ids)) == 4 and "" not in ids and same(through(t), t)


def _mutants():
    "A fault each, and where the error is to say it is"

    def agent(f):
        return lambda d: f(d["steps"][2])

    result = "steps[2].observation.results[0]"
    return {
        "document: no field 'note'": lambda d: d.update(note=""),
        "schema_version": lambda d: d.update(schema_version="ATIF-v1.9"),
        "agent: no 'version'": lambda d: d["agent"].pop("version"),
        "steps: there are none": lambda d: d.update(steps=[]),
        "steps[0].step_id": lambda d: d["steps"][0].update(step_id=2),
        "steps[1].source": lambda d: d["steps"][1].update(source="assistant"),
        "steps[1].metrics": lambda d: d["steps"][1].update(metrics={}),
        "steps[2].message": agent(lambda s: s.update(message=7)),
        "steps[2].metrics.prompt_tokens": agent(
            lambda s: s.update(metrics=dict(prompt_tokens="x"))
        ),
        "steps[2].reasoning_content": agent(
            lambda s: s.update(llm_call_count=0, reasoning_content="")
        ),
        "steps[2].tool_calls[0].arguments": agent(
            lambda s: s["tool_calls"][0].update(arguments="{}")
        ),
        "steps[2].tool_calls[0]: no field 'name'": agent(
            lambda s: s["tool_calls"][0].update(name="x")
        ),
        f"{result}.source_call_id": agent(
            lambda s: s["observation"]["results"][0].update(source_call_id="z")
        ),
        f"{result}.content": agent(lambda s: s["observation"]["results"][0].update(content={})),
    }


@pytest.mark.parametrize("where", _mutants())
def test_a_fault_is_refused_with_its_place(where):
    d = copy.deepcopy(to_atif(example()))
    _mutants()[where](d)
    with pytest.raises(ValueError, match="^" + re.escape(where)):
        from_atif(d)


def test_pictures_are_refused():
    source = dict(media_type="image/png", path="a.png")
    d = to_atif(Trajectory(Task("1"), [Message("user", "Hi")]))
    d["steps"][0]["message"] = [dict(type="text", text="Hi"), dict(type="image", source=source)]
    with pytest.raises(ValueError, match=r"steps\[0\].message\[1\]: 'image'"):
        from_atif(d)


@needs_models
def test_the_models_of_the_specification_agree():
    good, bad = [to_atif(example())], []
    for spoil in _mutants().values():
        d = copy.deepcopy(good[0])
        spoil(d)
        bad.append(d)
    assert judged(good + bad) == [True] + [False] * len(bad)


@needs_models
@needs_data
@pytest.mark.slow
def test_the_models_of_the_specification_take_recorded_runs():
    docs = [to_atif(t) for p in RUNS[:6] for t in load_results(p).trajectories]
    assert len(docs) > 100 and all(judged(docs))
