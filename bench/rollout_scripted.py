"""Graded oracle episodes per second: this lab against the benchmark's own orchestrator, environment
and evaluator.

Both sides play the same policies (scripted oracle and scripted user) on the same tasks, in one
process, a fresh one for each repeat and domain, ours first and cold: its database is parsed within
the time measured. Run: python bench/rollout_scripted.py [--n 25] [--repeats 3] [--quick] [--json
PATH]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

from common import finish, options, versus
from tau2_orchestrator import graded

from synthlab.tau2.agents import OracleAgent, ScriptedUser
from synthlab.tau2.env import tasks
from synthlab.tau2.grade import grade
from synthlab.tau2.rollout import rollout

TARGET = dict(airline=100, retail=100)
NOT_MEASURED = (
    "Not measured: importing packages (done before, for both sides), calls to a language model "
    "(there is "
    "none), and more than one process. The benchmark runs one episode at a time; ours keep 256 "
    "alive."
)


def ours(ts):
    "Seconds and rewards of one pass"
    start = time.perf_counter()
    rewards = [grade(t).reward for t in rollout(ts, OracleAgent(), ScriptedUser())]
    return time.perf_counter() - start, rewards


def theirs(ts):
    start = time.perf_counter()
    rewards = [graded(t, OracleAgent(), ScriptedUser())[1].reward for t in ts]
    return time.perf_counter() - start, rewards


def compare(domain, n):
    """Milliseconds an episode on `n` tasks spread over the base split; ours again, warm, for
    comparison
    """
    ts = tasks(domain)
    ts = ts[:: max(1, len(ts) // n)][:n]
    (cold, a), (base, b) = ours(ts), theirs(ts)
    if a != b:
        sys.exit(f"{domain}: the rewards differ on {[t.id for t, x, y in zip(ts, a, b) if x != y]}")
    warm = statistics.median(ours(ts)[0] for _ in range(5))
    ms = {k: v / len(ts) * 1e3 for k, v in dict(ours=cold, benchmark=base, warm=warm).items()}
    return dict(ms, domain=domain, n=len(ts), reward=round(statistics.mean(a), 4))


def fresh(domain, n):
    "The same in a process of its own"
    p = subprocess.run(
        [sys.executable, __file__, "--one", domain, "--n", str(n)], capture_output=True, text=True
    )
    if p.returncode:
        sys.exit(p.stderr[-2000:])
    return json.loads(p.stdout.splitlines()[-1])


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--n", type=int, default=25, help="tasks a domain (default 25)")
    p.add_argument("--domains", nargs="+", default=["mock", "airline", "retail", "telecom"])
    p.add_argument("--one", help=argparse.SUPPRESS)
    args, rows, runs = options(p).parse_args(), [], []
    if args.one:
        print(json.dumps(compare(args.one, args.n)))
        return 0
    if args.quick:
        args.n, args.repeats = 2, 1
    for d in args.domains:
        got = [fresh(d, args.n) for _ in range(args.repeats)]
        runs += got
        cold, warm, base = ([r[k] for r in got] for k in ("ours", "warm", "benchmark"))
        name, peer, n = (
            f"roll out and grade an oracle episode, {d}",
            "the benchmark's orchestrator and evaluator",
            got[0]["n"],
        )
        rows.append(
            versus(name, peer, cold, base, "ms", n, head=d in ("airline", "retail", "telecom"))
        )
        rows.append(versus(name + ", databases parsed before", peer, warm, base, "ms", n))
    finish(args, "rollout_scripted", rows, NOT_MEASURED, runs)
    below = [
        d for d, r in zip(args.domains, rows[::2]) if r["n"] >= 25 and r["ratio"] < TARGET.get(d, 0)
    ]
    for d in below:
        print(f"{d}: below {TARGET[d]}")
    return int(bool(below))


if __name__ == "__main__":
    sys.exit(main())
