"""A scanner for Inspect Scout: messages that come back exactly, what may be said without the user's
instructions, and the same findings from Scout as from `synthlab failures`.

Scout pins other versions of some packages than this lab, so it lives in an environment of its own:
SYNTHLAB_SCOUT is the Python there, with inspect-scout and synthlab.
"""

import json
import os
import subprocess
from importlib.metadata import entry_points

import pytest
from conftest import DATA, RUNS, installed, needs_data

from synthlab.core.types import Message, Task, ToolCall, Trajectory, content_key, write_jsonl
from synthlab.failures.attribution import attribute_files
from synthlab.failures.scout import (
    chat_rows,
    errors_without_scenario,
    message_from_chat,
    trajectory_from_transcript,
    transcript_row,
    user_error_result,
)
from synthlab.tau2.results import load_results
from synthlab.tau2.rollout import STOP
from synthlab.user_errors.detect import USER_ERROR_TYPES, reported_errors
from synthlab.user_errors.resimulate import oracle_runs

SCOUT = os.environ.get("SYNTHLAB_SCOUT")
needs_scout = pytest.mark.skipif(
    not SCOUT, reason="SYNTHLAB_SCOUT names no Python with inspect-scout and synthlab"
)
AIRLINE = DATA / "tau2_runs/gpt-4.1_airline_default_1trial.json.gz"
TELECOM = DATA / "tau2_runs/gpt-4o_telecom_user-gpt-4o_1trial.json.gz"

SCAN = """
import json, sys
from inspect_scout import scan, scan_results_df, transcripts_from
from synthlab.failures.scout import user_errors, write_transcripts
write_transcripts([sys.argv[1]], "transcripts")
done = scan([user_errors()], transcripts_from("transcripts"), max_processes=1, display="none")
rows = scan_results_df(done.location, scanner="user_errors").scanners["user_errors"]
kept = ["transcript_id", "value", "label", "message_references", "metadata", "scan_error"]
print(rows[kept].to_json(orient="records"))
"""


def scanned(path, folder):
    "transcript id -> what Scout has as the result"
    r = subprocess.run(
        [SCOUT, "-c", SCAN, str(path)], cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert r.returncode == 0, r.stderr[-2000:]
    return {d["transcript_id"]: d for d in json.loads(r.stdout.splitlines()[-1])}


def expected(path):
    "transcript id -> errors of the user as `synthlab failures` has them"
    out = {}

    def emit(traj, record):
        errors = [e for e in record["errors"] if e["source"] == "user"]
        out[content_key(traj, 20)] = json.loads(json.dumps(errors))

    attribute_files([path], emit=emit)
    return out


def check_same(path, folder):
    rows, known = scanned(path, folder), expected(path)
    assert rows.keys() == known.keys()
    for key, row in rows.items():
        assert row["scan_error"] is None
        assert json.loads(row["metadata"])["errors"] == known[key]
        turns = sorted({e["turn"] for e in known[key]})
        told = [(r["cite"], r["id"]) for r in json.loads(row["message_references"])]
        assert told == [(f"[M{t + 1}]", f"{key}-{t}") for t in turns]
        if known[key]:
            assert float(row["value"]) == len(known[key])
            assert row["label"] in {e["type"] for e in known[key]}
    return known


@needs_scout
@needs_data
@pytest.mark.slow
def test_scout_finds_what_the_command_finds(tmp_path):
    known = check_same(AIRLINE, tmp_path)
    assert len(known) == 20 and any(known.values())


@needs_scout
@pytest.mark.slow
def test_scout_sees_the_tool_calls_of_a_user(tmp_path):
    "One that looks at its phone three times in a row, which only its calls show"
    (run,) = oracle_runs(("telecom",), each=1)
    at = next(i for i, m in enumerate(run.messages) if m.role == "user" and m.calls)
    look, answer = run.messages[at : at + 2]
    again = [look, answer] * 2
    run.messages[at:at] = again
    write_jsonl([run], tmp_path / "runs.jsonl")
    (errors,) = check_same(tmp_path / "runs.jsonl", tmp_path).values()
    assert "irrelevant_tool_call" in {e["type"] for e in errors}


@needs_scout
@pytest.mark.slow
def test_scout_knows_the_scanner_by_name(tmp_path):
    code = (
        "from inspect_ai._util.registry import registry_lookup as f; "
        "print(callable(f('scanner', 'synthlab/user_errors')))"
    )
    r = subprocess.run([SCOUT, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert r.stdout.split() == ["True"], r.stderr[-2000:]


def test_the_entry_point_leads_to_the_scanner_or_to_nothing():
    "Where Scout is absent, whatever loads the entry points of Inspect must not fail"
    (own,) = [e for e in entry_points(group="inspect_ai") if e.name == "synthlab"] or [None]
    if own is None:
        pytest.skip("synthlab was installed before it had this entry point")
    assert callable(own.load()) == installed("inspect_scout")


@needs_data
@pytest.mark.parametrize("path", [AIRLINE, TELECOM], ids=lambda p: p.name.split("_")[1])
def test_recorded_conversations_come_back_exactly(path):
    assert path in RUNS
    for t in load_results(path).trajectories:
        row = json.loads(json.dumps(transcript_row(t)))
        assert content_key(trajectory_from_transcript(row)) == content_key(t)


def test_only_what_the_form_cannot_hold_is_kept_beside_it():
    agent = Message("assistant", "I look.", [ToolCall("get", {"id": "1"}, "a")])
    answer = Message("tool", "{}", call_id="a", by="assistant")
    user = Message("user", "ok", [ToolCall("toggle", {}, "b", "user")])
    torn = Message("assistant", "", [ToolCall("get", "{", "c")])
    rows = chat_rows(Trajectory(Task("1"), [agent, answer, user, torn]), "k")
    assert ["metadata" in r for r in rows] == [False, False, True, True]
    assert rows[2]["content"] == "ok\n→ toggle()" and rows[1]["function"] == "get"
    assert [message_from_chat(r) for r in rows] == [agent, answer, user, torn]
    assert [r["id"] for r in rows] == ["k-0", "k-1", "k-2", "k-3"]


def test_messages_of_other_programs_are_read():
    parts = [
        dict(type="text", text="see"),
        dict(type="image", image="x"),
        dict(type="text", text="!"),
    ]
    assert message_from_chat(dict(role="user", content=parts)).content == "see\n!"
    failed = dict(role="tool", content="no", tool_call_id="a", error=dict(type="unknown"))
    assert message_from_chat(failed) == Message("tool", "no", [], "a", True, "assistant")


def test_a_torn_trajectory_is_told():
    with pytest.raises(ValueError, match="trajectory.*no task"):
        trajectory_from_transcript(dict(messages=[], metadata=dict(trajectory={})))


@needs_data
@pytest.mark.slow
def test_rules_without_a_scenario_say_nothing_more():
    "What they find with the instructions taken away is found with them too, class and turn"
    n = 0
    for t in load_results(TELECOM).trajectories + load_results(AIRLINE).trajectories:
        known = {(f.turn, f.type) for _, f in reported_errors(t)}
        bare = errors_without_scenario(Trajectory(Task(t.task.id), t.messages))
        assert {(f.turn, f.type) for f in bare} <= known
        n += len(bare)
    assert n > 0


def test_nothing_found_is_not_nothing_to_find():
    talk = [
        Message("assistant", "Hello, how can I help?"),
        Message("user", "Cancel order 7, please."),
    ]
    r = user_error_result(Trajectory(Task("1"), talk))
    assert r["value"] is None and "hallucination" in r["explanation"]
    assert "premature_termination" not in r["metadata"]["undecided"]
    nobody = user_error_result(Trajectory(Task("1"), talk[:1]))
    assert nobody["value"] is None and nobody["metadata"]["undecided"] == list(USER_ERROR_TYPES)


def test_the_threshold_is_one_for_both_ways():
    talk = [Message("assistant", "Shall I proceed (yes/no)?"), Message("user", f"Yes. {STOP}")]
    bare = Trajectory(Task("1"), talk)
    assert user_error_result(bare)["label"] == "premature_termination"
    assert user_error_result(bare, threshold=0.99)["value"] is None
    known = Trajectory(Task("1", "mock", "Add a task."), talk)
    assert user_error_result(known)["value"] == 1
    assert user_error_result(known, threshold=0.99)["value"] == 0
