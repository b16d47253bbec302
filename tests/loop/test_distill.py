"""The closed loop: what is kept between stops, what must not be compared, and the benchmark's own
command against a served model.
"""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import needs_smollm2

from synthlab.generate.mock_tasks import check_disjoint, mock_tasks, shared_tasks
from synthlab.loop.distill import condition_candidates, select_conversations, simulate_pool
from synthlab.loop.evaluate import evaluate, pass_difference, save_runs
from synthlab.loop.prompts import PromptReduction, reduce_prompt, training_row
from synthlab.models.chat import from_openai, to_openai
from synthlab.tau2.agents import NullAgent, OracleAgent, ScriptedUser
from synthlab.tau2.grade import grade, regrade, write_graded_results
from synthlab.tau2.results import load_results
from synthlab.tau2.rollout import rollout

SHORT = PromptReduction(schemas="signatures", intro="short")


def test_errands_of_the_two_halves_share_nothing():
    train, test = ([b.task() for b in mock_tasks(120, h)] for h in ("train", "test"))
    assert not shared_tasks(train, test) and {b.kind for b in mock_tasks(16, "test")} == {
        "do",
        "refuse",
        "transfer",
    }
    with pytest.raises(ValueError, match="in the training data, the first by id"):
        check_disjoint(train, train[5:6])
    again = train[5]
    again.id = "another"
    assert [
        o.split(":")[0]
        for o in shared_tasks([again], [b.task() for b in mock_tasks(6, "train")][5:])
    ][:1] == ["words"]


def test_verification_separates_the_pool():
    f = simulate_pool(mock_tasks(64), seed=3)
    assert all(t.reward == 1 for t in f.kept) and f.rejected
    assert len(condition_candidates(f, "unverified")) == 64 and all(
        t.info["rejected"] for t in f.rejected
    )
    assert {t.info["id"] for t in f.kept} == {
        t.info["id"] for t in simulate_pool(mock_tasks(64), seed=3).kept
    }


def test_agents_are_compared_on_the_same_episodes_only():
    ts = [b.task() for b in mock_tasks(6, "test")]
    a, b = evaluate(ts, NullAgent(), seed=0), evaluate(ts, NullAgent(), seed=1)
    with pytest.raises(ValueError, match="not asked the same"):
        pass_difference(a, b)
    assert pass_difference(a, evaluate(ts, NullAgent(), seed=0)).value == 0


def test_results_file_tells_how_prompts_were_reduced(tmp_path):
    ts = evaluate([b.task() for b in mock_tasks(4, "test")], NullAgent())
    (path,) = save_runs(dict(null=ts), tmp_path, SHORT)
    assert load_results(path).info["agent_info"]["context"]["schemas"] == "signatures"
    assert regrade(path)["same"] == 4


def test_a_training_row_is_what_the_agent_reads():
    (t,) = rollout([mock_tasks(1)[0].played()], OracleAgent(), ScriptedUser())
    row = training_row(t, SHORT)
    at = next(i for i, m in enumerate(t.messages) if m.calls)
    assert (
        row["messages"][: at + 1] == reduce_prompt(t.task, t.messages[:at], SHORT)[0]
        and row["tools"] is None
    )


@needs_smollm2
def test_selection_says_when_the_pool_is_too_small():
    f = simulate_pool(mock_tasks(8), seed=0)
    some = condition_candidates(f, "verified")
    with pytest.raises(ValueError, match="make a larger pool"):
        select_conversations(some, [training_row(t, SHORT) for t in some], 99)


# A stopped study: the first process is killed in the middle of its evaluation, the second ends as
# one that was never stopped
RUN = """import os, sys
from synthlab.loop.prompts import PromptReduction, ReducedPromptAgent
from synthlab.runs.run import StepCache
from synthlab.loop.evaluate import evaluate
from synthlab.loop.distill import simulate_pool
from synthlab.generate.mock_tasks import mock_tasks
from synthlab.core.types import to_dict, content_key
from synthlab.tau2.agents import NullAgent
folder, die = sys.argv[1], sys.argv[2] == 'die'
at = StepCache(folder, seed=0)
def asked(n): return lambda: evaluate([b.task() for b in mock_tasks(n, 'test')], NullAgent())
first = at.trajs('first', [8], asked(8))
def second():
    if die: os.kill(os.getpid(), 9)
    return asked(5)()
second = at.trajs('second', [5], second)
ends = [[to_dict(m) for m in t.messages]+[t.task.id, t.reward] for t in first+second]
print(at.done, content_key(ends, 16))"""


def test_a_killed_study_goes_on_to_the_same_end(tmp_path):
    def run(folder, how):
        return subprocess.run(
            [sys.executable, "-c", RUN, str(tmp_path / folder), how], capture_output=True, text=True
        )

    assert run("a", "die").returncode == -9
    again, whole = run("a", "live").stdout, run("b", "live").stdout
    assert again.split("'] ") == ["['second", whole.split("'] ")[1]] and whole.startswith(
        "['first', 'second']"
    )


class Served:
    "The embedded model, and a user by script, behind the chat completions endpoint"

    def __init__(self, hf):
        outer, self.asked = self, []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *a):
                pass

            def do_POST(self):
                d = json.loads(self.rfile.read(int(self.headers["content-length"])))
                body = json.dumps(outer.answer(hf, d)).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.http, self.lock = ThreadingHTTPServer(("127.0.0.1", 0), Handler), threading.Lock()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, hf, d):
        self.asked.append(d["model"])
        said = [m for m in d["messages"] if m["role"] == "assistant"]
        if d["model"] == "user":
            m = dict(
                role="assistant",
                content="Thank you, that is all. ###STOP###"
                if said
                else "Please delete all my tasks.",
            )
        else:
            with self.lock:
                r = hf([from_openai(d["messages"])], maxtok=12, tools=d.get("tools"))[0][0]
            m = to_openai([r.message])[0]
        return dict(
            id="x",
            object="chat.completion",
            created=0,
            model=d["model"],
            usage=dict(prompt_tokens=1, completion_tokens=1, total_tokens=2),
            choices=[
                dict(
                    index=0,
                    message=m,
                    finish_reason="tool_calls" if m.get("tool_calls") else "stop",
                )
            ],
        )


@needs_smollm2
def test_the_benchmarks_own_command_writes_what_we_read_and_grade_alike(hf, tmp_path):
    served = Served(hf)
    args = json.dumps(dict(temperature=0.0, api_base=served.url, api_key="none"))
    env = dict(os.environ, LITELLM_LOCAL_MODEL_COST_MAP="True", OMP_NUM_THREADS="1")
    ids = ["impossible_task_1", "update_task_with_initialization_data"]
    cmd = [
        Path(sys.executable).parent / "tau2",
        "run",
        "-d",
        "mock",
        "--agent-llm",
        "openai/agent",
        "--user-llm",
        "openai/user",
        "--agent-llm-args",
        args,
        "--user-llm-args",
        args,
        "--task-ids",
        *ids,
        "--max-steps",
        "12",
        "--results-dir",
        tmp_path,
        "--save-to",
        "theirs",
    ]
    p = subprocess.run(list(map(str, cmd)), capture_output=True, text=True, env=env, timeout=300)
    assert p.returncode == 0, p.stdout[-1500:] + p.stderr[-1500:]
    run = load_results(tmp_path / "theirs.json")
    assert sorted(t.task.id for t in run.trajectories) == sorted(ids) and {"agent", "user"} <= set(
        served.asked
    )
    again = regrade(tmp_path / "theirs.json")
    assert (again["same"], again["different"], again["raised"]) == (2, 0, 0), again["problems"]
    for t in run.trajectories:
        assert grade(t).reward == t.info["stored"]["reward"]
    mine = json.loads(write_graded_results(run.trajectories, tmp_path / "ours.json").read_text())
    theirs = json.loads((tmp_path / "theirs.json").read_text())

    def by_id(d):
        return sorted(d["tasks"], key=lambda t: t["id"])  # the benchmark lists them as they ended

    assert mine.keys() == theirs.keys() and by_id(mine) == by_id(theirs)

    def words(d):
        return [
            [(m["role"], m.get("content"), m.get("tool_calls")) for m in s["messages"]]
            for s in d["simulations"]
        ]

    assert [s["task_id"] for s in mine["simulations"]] == [
        s["task_id"] for s in theirs["simulations"]
    ]
    assert [[w[0] for w in s] for s in words(mine)] == [[w[0] for w in s] for s in words(theirs)]
    assert [s["reward_info"]["reward"] for s in mine["simulations"]] == [
        s["reward_info"]["reward"] for s in theirs["simulations"]
    ]
