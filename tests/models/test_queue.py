"Retries, waits and concurrency against a server that misbehaves"

import asyncio
import threading
import time

import pytest
from calls_client import chats

from synthlab.models.chat import Reply
from synthlab.models.durable import DurableLLM
from synthlab.models.llm import make_llm
from synthlab.models.queue import BatchProgress
from tests.models.common import expected, states, texts


def test_fatal_errors_are_not_retried(fresh, path):
    s = fresh(poison="q3")
    out = DurableLLM(make_llm(s.url + "#m"), path)(chats(10))
    assert [i for i, r in enumerate(texts(out)) if r != f"reply to q{i}#0"] == [3]
    assert "400" in out[3][0].error and s.stats()["asked"]["q3#0"] == 1
    DurableLLM(make_llm(s.url + "#m"), path, again=False)(chats(10))
    assert s.stats()["asked"]["q3#0"] == 1, "set aside means not asked"
    s.set(poison="")
    assert texts(DurableLLM(make_llm(s.url + "#m"), path)(chats(10))) == expected(10)


@pytest.mark.slow
def test_a_call_that_always_fails_is_set_aside(fresh, path):
    s = fresh(poison="q3", poison_status=500)
    out = DurableLLM(make_llm(s.url + "#m"), path, tries=3)(chats(10))
    assert s.stats()["asked"]["q3#0"] == 3 and "500" in out[3][0].error
    assert states(path).count("done") == 9 and states(path).count("failed") == 1


def test_retry_after_in_whole_seconds(fresh, path):
    s = fresh(faults=1.0, kinds=["429"], retry_after="1")
    threading.Timer(0.3, lambda: s.set(faults=0.0)).start()
    start = time.monotonic()
    assert texts(DurableLLM(make_llm(s.url + "#m"), path)(chats(4))) == expected(4)
    assert (
        1 <= time.monotonic() - start < 4
        and set(s.stats()["asked"].values()) == {2}
        and s.stats()["early"] == 0
    )


def test_a_wait_longer_than_our_patience_is_said(fresh, path):
    s = fresh(faults=1.0, kinds=["429"], retry_after="86400")
    out = DurableLLM(make_llm(s.url + "#m"), path, patience=5.0)(chats(1))
    assert "429" in out[0][0].error and sum(s.stats()["asked"].values()) == 1


@pytest.mark.slow
def test_the_gate_finds_what_a_server_bears(fresh, path):
    "A server that refuses the ninth call at once: all answered, few refused, its capacity used"
    s = fresh(capacity=8, latency=0.05, retry_after="")
    calls = DurableLLM(make_llm(s.url + "#m"), path, most=64, tries=10)
    assert texts(calls(chats(300))) == expected(300)
    got = s.stats()
    assert got["faults"].get("429", 0) < 75 and got["most"] >= 8


@pytest.mark.slow
def test_an_outage_does_not_use_up_the_attempts(fresh, path):
    "A second of nothing but 500: everything pauses, then goes on"
    s = fresh(faults=1.0, kinds=["500"])
    threading.Timer(1, lambda: s.set(faults=0.0)).start()
    assert texts(DurableLLM(make_llm(s.url + "#m"), path)(chats(200))) == expected(200)
    assert s.stats()["faults"]["500"] < 100


def test_no_barrier(path):
    """The first call ends only when all others have: a batch that waits for its stragglers would
    wait for ever
    """
    ended, others = [], asyncio.Event()

    async def ask(chat, **_):
        if chat[-1].content == "q0":
            await others.wait()
        ended.append(chat[-1].content)
        if len(ended) == 39:
            others.set()
        return Reply("ok")

    assert all(r.ok for (r,) in DurableLLM(ask, path, most=4)(chats(40)))
    assert ended[-1] == "q0"


def test_a_mistake_in_python_is_no_outage(path):
    tried = []

    async def ask(chat, **_):
        tried.append(1)
        return chat.nothing

    start = time.monotonic()
    out = DurableLLM(ask, path, most=4)(chats(200))
    assert time.monotonic() - start < 5 and len(tried) < 30
    assert "AttributeError" in out[0][0].error and "not asked" in out[-1][0].error


def test_trouble_is_said_at_once_and_not_at_every_call(capfd, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("synthlab.models.queue.time.monotonic", lambda: now[0])
    meter = BatchProgress(50)
    for _ in range(50):
        meter.stumble("connection refused", 2.0)
    assert capfd.readouterr().err.count("asked again in 2 s: connection refused") == 1
    now[0] += 3
    meter.stumble("connection refused", 4.0)
    assert "asked again in 4 s" in capfd.readouterr().err
