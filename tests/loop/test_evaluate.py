"Agents are compared on the same episodes, and results files say how"

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import needs_smollm2

from synthlab.generate.mock_tasks import mock_tasks
from synthlab.loop.evaluate import evaluate, pass_difference, save_runs
from synthlab.models.chat import from_openai, to_openai
from synthlab.tau2.agents import NullAgent
from synthlab.tau2.grade import grade, regrade, write_graded_results
from synthlab.tau2.results import load_results
from tests.loop.common import SHORT


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


def played_by_tau2(ids, args, env, folder):
    "The benchmark's own command, with models that a server stands in for"
    cmd = [Path(sys.executable).parent / "tau2", "run", "-d", "mock"]
    for side in ("agent", "user"):
        cmd += [f"--{side}-llm", f"openai/{side}", f"--{side}-llm-args", args]
    cmd += ["--task-ids", *ids, "--max-steps", "12", "--results-dir", folder, "--save-to", "theirs"]
    p = subprocess.run(list(map(str, cmd)), capture_output=True, text=True, env=env, timeout=300)
    assert p.returncode == 0, p.stdout[-1500:] + p.stderr[-1500:]


@pytest.mark.slow
@needs_smollm2
def test_the_benchmarks_own_command_writes_what_we_read_and_grade_alike(hf, tmp_path):
    served = Served(hf)
    args = json.dumps(dict(temperature=0.0, api_base=served.url, api_key="none"))
    env = dict(os.environ, LITELLM_LOCAL_MODEL_COST_MAP="True", OMP_NUM_THREADS="1")
    ids = ["impossible_task_1", "update_task_with_initialization_data"]
    played_by_tau2(ids, args, env, tmp_path)
    run = load_results(tmp_path / "theirs.json")
    assert sorted(t.task.id for t in run.trajectories) == sorted(ids)
    assert {"agent", "user"} <= set(served.asked)
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

    def facts(d):
        return [(s["task_id"], s["reward_info"]["reward"]) for s in d["simulations"]]

    assert facts(mine) == facts(theirs)
    assert [[w[0] for w in s] for s in words(mine)] == [[w[0] for w in s] for s in words(theirs)]
