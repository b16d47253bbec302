"""Episodes per minute with a served model: lockstep batches against the benchmark's own
orchestrator.

Both sides play the same tasks, in turn, with the same model behind the same vLLM server, the same
prompts, seeds and user. The benchmark's orchestrator plays one episode at a time; with `--threads
N`, N in threads, as its `--max-concurrency` does. Prefix caching is on for both. Run: python
bench/rollout.py [--n 32] [--live 32] [--maxtok 32] [--repeats 3] [--quick] [--json PATH]
"""

import argparse
import importlib.util
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from common import finish, missing, options, versus
from tau2_orchestrator import graded

from synthlab.generate.mock_tasks import mock_tasks
from synthlab.loop.prompts import PromptReduction, ReducedPromptAgent
from synthlab.models.llm import make_llm
from synthlab.models.server import serve
from synthlab.tau2.agents import ScriptedUser
from synthlab.tau2.grade import grade
from synthlab.tau2.rollout import episode_seed, rollout

TARGET = 3.0
NOT_MEASURED = (
    "Not measured: starting the server (before, once for both), importing packages, and a user "
    "played by a model. The "
    "orchestrator is the benchmark's own with this lab's policies on both sides, so that both "
    "ask for the same tokens."
)


def ours(ts, agent, live, steps):
    "Seconds, rewards and new tokens in lockstep"
    start = time.perf_counter()
    out = [grade(t) for t in rollout(ts, agent, ScriptedUser(), slots=live, max_steps=steps)]
    return time.perf_counter() - start, [t.reward for t in out], sum(t.usage.out for t in out)


def theirs(ts, agent, threads, steps):
    "The same by the benchmark's orchestrator and evaluator, one episode at a time in each thread"

    def one(t):
        return graded(t, agent, ScriptedUser(), max_steps=steps, seed=episode_seed(0, t, 0))[
            1
        ].reward

    start = time.perf_counter()
    if threads == 1:
        rewards = [one(t) for t in ts]
    else:
        with ThreadPoolExecutor(threads) as ex:
            rewards = list(ex.map(one, ts))
    return time.perf_counter() - start, rewards


def measure(a):
    "Rows, and what was played"
    ts, rows, detail = [b.task() for b in mock_tasks(a.n, "test")], [], []
    with serve(a.model, max_model_len=2048, enforce_eager=True, seed=0) as s:
        agent = ReducedPromptAgent(
            make_llm(s.spec(), style=s.style),
            PromptReduction(schemas="signatures"),
            maxtok=a.maxtok,
        )
        ours(ts[:2], agent, 2, a.steps)  # warm: the first request compiles
        for k in a.threads:
            pairs = [
                (ours(ts, agent, a.live, a.steps), theirs(ts, agent, k, a.steps))
                for _ in range(a.repeats)
            ]
            same = [sum(x == y for x, y in zip(p[1], q[1])) for p, q in pairs]
            fast, slow = ([60 * a.n / p[i][0] for p in pairs] for i in (0, 1))
            peer = f"the benchmark's orchestrator, {k} at once"
            rows.append(
                versus(
                    "episodes with a served model, in lockstep",
                    peer,
                    fast,
                    slow,
                    "episodes/min",
                    a.n,
                    rate=True,
                    head=k == 1,
                )
            )
            detail.append(dict(threads=k, same_rewards=same, tokens=[p[2] for p, _ in pairs]))
            print(f"{k} at once: same reward in {same} of {a.n}")
    return rows, detail


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--model", default="smollm2", help="served to both (default smollm2)")
    p.add_argument("--n", type=int, default=32, help="tasks (default 32)")
    p.add_argument(
        "--live", type=int, default=32, help="episodes alive at once in lockstep (default 32)"
    )
    p.add_argument(
        "--threads",
        type=int,
        nargs="+",
        default=[1],
        help="threads of the benchmark's side (default 1)",
    )
    p.add_argument("--maxtok", type=int, default=32, help="new tokens a turn (default 32)")
    p.add_argument("--steps", type=int, default=12, help="cut-off of an episode (default 12)")
    a = options(p).parse_args()
    if a.quick:
        a.n, a.live, a.maxtok, a.steps, a.repeats = 2, 2, 4, 4, 1
    if importlib.util.find_spec("vllm"):
        rows, detail = measure(a)
    else:
        rows, detail = (
            [
                missing(
                    "episodes with a served model, in lockstep",
                    "the benchmark's orchestrator",
                    "vllm is not installed",
                )
            ],
            None,
        )
    finish(
        a,
        "rollout",
        rows,
        NOT_MEASURED,
        dict(model=a.model, live=a.live, maxtok=a.maxtok, steps=a.steps, runs=detail),
    )
    return int(not a.quick and any(r["ratio"] and r["ratio"] < TARGET for r in rows if r["head"]))


if __name__ == "__main__":
    sys.exit(main())
