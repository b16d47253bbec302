"""Durable calls against the ideal, and against a thread pool with a barrier per batch, on one
server with stragglers.

The server (tests/fake_server.py, its own process) takes 0.2 s for a call and 20 times that for one
in twenty. The ideal is its total service time over the number of calls at once. The peer is how
Simia's released runner works: a blocking client in a ThreadPoolExecutor that is made anew for each
batch, a batch being 12.5 times the workers (2,500 for 200 there), nothing of the next batch before
the last call of this one. Its fixed sleep of one second before each call is left out, which favours
it. Both ask for the same calls.
"""

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import finish, options, versus

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from fake_server import FakeServer  # noqa: E402

from synthlab.core.types import Message  # noqa: E402
from synthlab.models.durable import DurableLLM  # noqa: E402
from synthlab.models.llm import make_llm  # noqa: E402

NOT_MEASURED = (
    "Not measured: a server that fails, where the peer would lose calls, and a "
    "server that is far away."
)


def timed(f):
    start, cpu = time.perf_counter(), time.process_time()
    f()
    return time.perf_counter() - start, time.process_time() - cpu


def durable(url, chats, most, journal):
    "Ours: one queue, each reply synced to the journal before its slot is given on"
    with DurableLLM(make_llm(url + "#m"), journal, most=most) as calls:
        assert all(r.ok for (r,) in calls(chats))


def barrier(url, chats, most):
    "The peer: a pool for each batch, and a batch waits for its slowest call"
    import openai

    client = openai.OpenAI(base_url=url, api_key="none", max_retries=1)

    def ask(chat):
        messages = [dict(role=m.role, content=m.content) for m in chat]
        return client.chat.completions.create(model="m", seed=0, messages=messages).choices[0]

    size = int(12.5 * most)
    for i in range(0, len(chats), size):
        with ThreadPoolExecutor(most) as pool:
            assert all(list(pool.map(ask, chats[i : i + size])))


def bench(n, most, latency, factor, stragglers):
    chats = [[Message("system", "You are terse."), Message("user", f"q{i}")] for i in range(n)]
    with (
        FakeServer(latency=latency, stragglers=stragglers, factor=factor) as s,
        tempfile.TemporaryDirectory() as d,
    ):
        make_llm(s.url + "#m").ready()
        barrier(s.url, chats[:4], 4)
        s.reset()
        ours, cpu = timed(lambda: durable(s.url, chats, most, Path(d) / "calls.sqlite"))
        got = s.stats()
        s.reset()
        replay, _ = timed(lambda: durable(s.url, chats, most, Path(d) / "calls.sqlite"))
        assert len(got["done"]) == n and set(got["done"].values()) == {1} and not s.stats()["asked"]
        peer, peer_cpu = timed(lambda: barrier(s.url, chats, most))
        assert len(s.stats()["done"]) == n
    ideal = got["service"] / most
    return dict(
        ideal_s=ideal,
        ours_s=ours,
        barrier_s=peer,
        replay_s=replay,
        ours_cpu_ms_per_call=cpu / n * 1e3,
        barrier_cpu_ms_per_call=peer_cpu / n * 1e3,
    )


if __name__ == "__main__":
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("-n", type=int, default=2400, help="calls")
    p.add_argument("--most", type=int, default=16, help="calls at once")
    p.add_argument("--latency", type=float, default=0.2, help="seconds a call takes")
    p.add_argument("--factor", type=float, default=20.0, help="how much longer a straggler takes")
    p.add_argument("--stragglers", type=float, default=0.05, help="share of stragglers")
    a = options(p).parse_args()
    if a.quick:
        a.n, a.most, a.latency, a.factor, a.repeats = 40, 4, 0.02, 5.0, 1
    runs = [bench(a.n, a.most, a.latency, a.factor, a.stragglers) for _ in range(a.repeats)]
    ours, peers, ideal, again = (
        [r[k] for r in runs] for k in ("ours_s", "barrier_s", "ideal_s", "replay_s")
    )
    print(
        f"{a.n} calls, {a.most} at once, {a.latency} s each, {a.stragglers:.0%} take "
        f"{a.factor:g} times as long"
    )
    finish(
        a,
        "calls",
        [
            versus(
                "ask a server with stragglers, each answer journaled",
                "a thread pool made anew for each batch",
                ours,
                peers,
                "s",
                a.n,
                head=True,
            ),
            versus(
                "the same",
                "the ideal: service time over calls at once",
                ours,
                ideal,
                "s",
                a.n,
                head=True,
            ),
            versus(
                "ask again what was answered, from the journal",
                "asking the first time",
                again,
                ours,
                "s",
                a.n,
            ),
        ],
        NOT_MEASURED,
        dict(
            runs=runs, at_once=a.most, latency=a.latency, stragglers=a.stragglers, factor=a.factor
        ),
    )
