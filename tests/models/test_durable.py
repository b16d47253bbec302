"""Calls against a server that misbehaves: nothing lost, paid for twice or given away, by the
server's own counts.
"""

import asyncio
import fcntl
import multiprocessing
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest
from calls_client import chats, client
from conftest import ROOT
from fake_server import KINDS, FakeServer

from synthlab.core.types import Usage, read_jsonl, write_jsonl
from synthlab.models.chat import Backend, Reply
from synthlab.models.durable import DurableLLM
from synthlab.models.journal import Journal
from synthlab.models.llm import CallError, make_llm
from tests.models.common import expected, states, texts

SECRET = "sk-never-write-this-down-0123456789"


fork = multiprocessing.get_context("forkserver")
fork.set_forkserver_preload(["openai.resources.chat", "synthlab.models.durable"])


@pytest.mark.slow
def test_two_thousand_calls_at_twenty_percent_faults(fresh, path):
    s = fresh(faults=0.2, kinds=[k for k in KINDS if k != "slow"] * 3 + ["slow"], slow=5.0)
    calls = DurableLLM(make_llm(s.url + "#m"), path, most=64, timeout=1.5)
    assert texts(calls(chats(2000))) == expected(2000)
    got = s.stats()
    assert len(got["done"]) == 2000 and set(got["done"].values()) == {1}, (
        "an answered call was asked again"
    )
    assert sum(got["faults"].values()) > 350 and len(got["faults"]) == 9
    assert got["early"] == 0, "a call came back before its Retry-After"
    assert sum(got["asked"].values()) == calls.ledger()[0]["tries"]
    assert texts(DurableLLM(make_llm(s.url + "#m"), path)(chats(2000))) == expected(2000)
    assert s.stats()["asked"] == got["asked"], "a journaled call was asked again"


def steady(s):
    "The server's counts, once nothing more arrives"
    one, two = s.stats(), None
    while one["asked"] != two:
        two = one["asked"]
        time.sleep(0.05)
        one = s.stats()
    return one


def killed(s, path, n, most, rng):
    """Start a client, kill -9 it somewhere in the middle; gives what the server had counted and
    what was journaled
    """
    goal = sum(s.stats()["done"].values()) + rng.randint(10, 28)
    p = fork.Process(target=client, args=(s.url, path, n, most))
    p.start()
    while sum(s.stats()["done"].values()) < goal:
        time.sleep(0.002)
    p.kill()
    p.join()
    assert p.exitcode == -9
    kept = [
        r["request"]["messages"][-1]["content"]
        for r in Journal(path).rows()
        if r["state"] == "done"
    ]
    return steady(s), {q + "#0" for q in kept}


@pytest.mark.slow
def test_kill_nine_five_times(fresh, path):
    "Lost: none. Repeated: exactly what was under way at a kill, as the server counts it"
    s = fresh(faults=0.2, kinds=[k for k in KINDS if k != "slow"], latency=0.02)
    rng, n, most = random.Random(7), 180, 8
    under_way, before = 0, dict(asked={}, failed={})
    for _ in range(5):
        now, kept = killed(s, path, n, most, rng)
        new = {
            k: {t: v - before[k].get(t, 0) for t, v in now[k].items()} for k in ("asked", "failed")
        }
        assert not [t for t in before.get("kept", ()) if new["asked"][t]], (
            "a journaled call was asked again"
        )
        lost = [t for t, v in new["asked"].items() if t not in kept and v > new["failed"].get(t, 0)]
        assert len(lost) <= most
        under_way += len(lost)
        before = dict(now, kept=kept)
    assert texts(DurableLLM(make_llm(s.url + "#m"), path, most=most)(chats(n))) == expected(n)
    end = steady(s)
    assert not [t for t in before["kept"] if end["asked"][t] > before["asked"][t]]
    assert len(end["done"]) == n and len(before["kept"]) > 50
    assert sum(end["asked"].values()) == n + sum(end["failed"].values()) + under_way
    assert sum(end["done"].values()) <= n + under_way


@pytest.mark.slow
def test_two_processes_share_one_journal(fresh, path):
    s = fresh(latency=0.02)
    both = [fork.Process(target=client, args=(s.url, path, 200, 8)) for _ in range(2)]
    for p in both:
        p.start()
    for p in both:
        p.join()
    assert [p.exitcode for p in both] == [0, 0]
    asked = s.stats()["asked"]
    assert len(asked) == 200 and set(asked.values()) == {1}
    assert s.stats()["most"] > 8, "they did not work at the same time"


def test_two_threads_share_one_journal(fresh, path):
    s = fresh()
    calls, out = DurableLLM(make_llm(s.url + "#m"), path), {}
    both = [
        threading.Thread(target=lambda k=k: out.update({k: texts(calls(chats(100)))}))
        for k in range(2)
    ]
    for t in both:
        t.start()
    for t in both:
        t.join()
    assert out == {0: expected(100), 1: expected(100)} and set(s.stats()["asked"].values()) == {1}


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_under_way(fresh, path):
    "One Ctrl-C: nothing new is started, and what is under way is still journaled"
    s = fresh(latency=0.05)
    p = fork.Process(target=client, args=(s.url, path, 250, 8))
    p.start()
    while sum(s.stats()["done"].values()) < 40:
        time.sleep(0.005)
    os.kill(p.pid, signal.SIGINT)
    p.join(30)
    assert p.exitcode == 1
    assert 40 <= states(path).count("done") < 250 and "asked" not in states(path)
    assert texts(DurableLLM(make_llm(s.url + "#m"), path)(chats(250))) == expected(250)
    assert set(s.stats()["asked"].values()) == {1}


def test_works_inside_a_running_event_loop(fresh, path):
    s = fresh()

    async def cell():
        return DurableLLM(make_llm(s.url + "#m"), path)(chats(5))

    assert texts(asyncio.run(cell())) == expected(5)


WATCHED = """import sys; sys.path.insert(0, sys.argv[1])
from conftest import ROOT
from calls_client import *
prices = {'m': (100., 400., 50.)}
DurableLLM(make_llm(sys.argv[2]+'#m'), sys.argv[3], most=4, prices=prices)(chats(80))"""


@pytest.mark.slow
def test_a_person_at_a_terminal_sees_how_it_goes(fresh, path):
    """Done of all, failed, in flight, tokens a second, money so far and projected, on a real
    terminal
    """
    s = fresh(latency=0.2, poison="q3#")
    screen, end = os.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    env = {
        k: v for k, v in os.environ.items() if k not in ("IN_TEST", "SYNTHLAB_RUN_DIR", "COLUMNS")
    }
    p = subprocess.Popen(
        [sys.executable, "-c", WATCHED, str(ROOT / "tests"), s.url, path], stderr=end, env=env
    )
    os.close(end)
    shown = b""
    try:
        while part := os.read(screen, 65536):
            shown += part
    except OSError:
        pass  # the terminal is gone: the process has ended
    os.close(screen)
    assert p.wait(30) == 0
    seen = re.findall(
        r"(\d+)/80 .*?(\d+) failed, (\d+) in flight, (\d+) tokens/s, \$([\d.]+) of about "
        r"\$([\d.]+)",
        shown.decode(),
    )
    assert len(seen) >= 2, shown.decode()[-300:]
    done, failed, live, speed, spent, all_ = map(float, seen[-1])
    assert 8 < done <= 79 and failed == 1 and 1 <= live <= 4 and speed > 0
    assert spent == pytest.approx(done * 0.003, abs=0.006) and all_ == pytest.approx(
        80 * 0.003, abs=0.006
    )


def test_the_key_is_nowhere(fresh, path, tmp_path, caplog, capfd):
    "The server echoes the key in its error; and one refusal is enough, the rest is not asked"
    s = fresh(key="another")
    calls = DurableLLM(make_llm(s.url + "#m", key=SECRET), path, most=4)
    out = calls(chats(500))
    assert (
        sum(s.stats()["asked"].values()) == 0
        and "401" in out[0][0].error
        and "not asked" in out[-1][0].error
    )
    s.set(key=SECRET)
    assert texts(DurableLLM(make_llm(s.url + "#m", key=SECRET), path)(chats(20))) == expected(20)
    calls.journal.export(tmp_path / "calls.jsonl")
    calls.write_batch(chats(30), tmp_path / "queue.jsonl")
    files = [f.read_bytes() for f in tmp_path.iterdir()]
    assert len(files) >= 4 and not any(b"never-write-this" in f for f in files)
    said = (
        repr(out)
        + repr(calls)
        + repr(vars(calls))
        + repr(calls.ledger())
        + caplog.text
        + "".join(capfd.readouterr())
    )
    assert "never-write-this" not in said


def test_duplicates_on_the_wire_never_answer_another_question(fresh, path):
    s = fresh(faults=0.5, kinds=["twice", "late"])
    assert texts(DurableLLM(make_llm(s.url + "#m"), path, most=16)(chats(200))) == expected(200)
    assert set(s.stats()["asked"].values()) == {1} and sum(s.stats()["faults"].values()) > 70


def test_nobody_there(path):
    "A refused connection ends with a reason for every call, soon after our patience"
    start = time.monotonic()
    out = DurableLLM(make_llm("http://127.0.0.1:9/v1#m"), path, patience=1.0, tries=4)(chats(50))
    assert (
        time.monotonic() - start < 15
        and all(r.error for (r,) in out)
        and "APIConnectionError" in out[0][0].error
    )


def test_ledger_survives_resume_and_knows_what_it_does_not_know(path):
    async def paid(chat, **_):
        return Reply("x", usage=Usage(1000, 100, 400))

    def ledger(n, role, prices):
        c = DurableLLM(paid, path, role=role, prices=prices)
        c(chats(n))
        return {r["role"]: r for r in c.ledger()}

    prices = {"paid": (2.0, 8.0, 0.5)}
    each = (600 * 2 + 100 * 8 + 400 * 0.5) / 1e6
    assert ledger(10, "agent", prices)["agent"]["usd"] == pytest.approx(10 * each)
    again = ledger(15, "judge", prices)
    assert (again["agent"]["calls"], again["judge"]["calls"], again["judge"]["inp"]) == (
        10,
        5,
        5000,
    )
    assert again["judge"]["usd"] == pytest.approx(5 * each)
    assert ledger(15, "judge", {})["judge"]["usd"] is None


def test_engines_get_chunks_and_the_poisoned_call_is_found(path):
    class Engine(Backend):
        name, chunk, sizes = "engine", 16, []

        def _run(self, rows, temp, maxtok, schema):
            self.sizes.append(len(rows))
            if any(r.chat[-1].content == "q37" for r in rows):
                raise MemoryError("out of memory")

            def say(q, tools):
                return Reply(error="no words") if q == "q5" else Reply(f"{q} {tools}")

            return [say(r.chat[-1].content, r.tools) for r in rows]

    tools = [[dict(type="function", function=dict(name=f"t{i % 3}"))] for i in range(64)]
    out = DurableLLM(Engine(), path)(chats(64), tools=tools)
    assert [i for i, (r,) in enumerate(out) if r.error] == [5, 37] and "out of memory" in out[37][
        0
    ].error
    assert "'t2'" in out[2][0].text and Engine.sizes[:3] == [16, 16, 16] and len(Engine.sizes) < 16
    Engine.sizes.clear()
    DurableLLM(Engine(), path, again=False)(chats(64), tools=tools)
    assert not Engine.sizes


def test_a_broken_engine_is_not_asked_for_every_call(path):
    class Broken(Backend):
        name, n = "broken", 0

        def _run(self, rows, temp, maxtok, schema):
            Broken.n += 1
            raise RuntimeError("CUDA error")

    out = DurableLLM(Broken(), path)(chats(1000))
    assert all("CUDA error" in r.error for (r,) in out) and Broken.n < 100


def test_models_of_one_name_are_told_apart(path, tmp_path):
    class Tuned(Backend):
        name = "base+adapter"

        def __init__(self, adapter):
            self.adapter = adapter

        def _run(self, rows, temp, maxtok, schema):
            return [Reply((self.adapter / "weights").read_text()) for _ in rows]

    for k in "ab":
        (tmp_path / k).mkdir()
        (tmp_path / k / "weights").write_text(k)
    assert [DurableLLM(Tuned(tmp_path / k), path)(chats(1))[0][0].text for k in "ab"] == ["a", "b"]
    time.sleep(0.01)
    (tmp_path / "a" / "weights").write_text("c")
    assert DurableLLM(Tuned(tmp_path / "a"), path)(chats(1))[0][0].text == "c", (
        "an adapter trained anew is another model"
    )


def came_back(custom_id, text):
    said = dict(finish_reason="stop", message=dict(role="assistant", content=text))
    body = dict(choices=[said], usage=dict(prompt_tokens=10, completion_tokens=5))
    return dict(custom_id=custom_id, error=None, response=dict(status_code=200, body=body))


def test_batch_files_there_and_back(fresh, path, tmp_path):
    s = fresh()
    tools = [dict(type="function", function=dict(name="f", parameters=dict(type="object")))]
    calls = DurableLLM(
        make_llm(s.url + "#m", top_p=0.9), path, role="teacher", prices={"m": (2.0, 8.0, 0.5)}
    )
    calls(chats(5), tools=tools)
    files = calls.write_batch(
        chats(25), tmp_path / "queue.jsonl", per_file=8, tools=tools, schema=None
    )
    lines = [l for f in files for l in read_jsonl(f)]
    assert [f.name for f in files] == ["queue.jsonl", "queue-2.jsonl", "queue-3.jsonl"]
    assert len(lines) == 20 and {l["body"]["top_p"] for l in lines} == {0.9}
    assert all(l["body"]["tools"] == tools for l in lines)
    said = [f"reply to {l['body']['messages'][-1]['content']}#0" for l in lines]
    back = [came_back(l["custom_id"], text) for l, text in zip(lines, said)]
    back[0].update(error=dict(code="batch_expired", message="too late"), response=None)
    back[1]["response"] = dict(status_code=500, body=dict(error="broken"))
    back[2]["response"]["body"] = dict(choices=[])
    write_jsonl(reversed(back), tmp_path / "out.jsonl")
    assert calls.read_batch(tmp_path / "out.jsonl") == dict(answered=17, known=0, failed=3)
    assert calls.read_batch(tmp_path / "out.jsonl") == dict(answered=0, known=17, failed=3)
    once = DurableLLM(make_llm(s.url + "#m", top_p=0.9), path, again=False)
    kept = texts(once(chats(25), tools=tools))
    assert kept[8:] == expected(17, 8)
    assert "batch_expired" in kept[5] and "500" in kept[6] and "chat completion" in kept[7]
    asked = sum(s.stats()["asked"].values())
    assert texts(calls(chats(25), tools=tools)) == expected(25)
    assert sum(s.stats()["asked"].values()) == asked + 3
    (row,) = calls.ledger()
    usd = (8 + 17 * 0.5) * (10 * 2 + 5 * 8) / 1e6
    assert row["calls"] == 25 and row["usd"] == pytest.approx(usd)


def test_batch_results_that_do_not_fit_are_refused_whole(path, tmp_path):
    async def ask(chat, **_):
        raise CallError("no", 400)

    calls = DurableLLM(ask, path)
    (f,) = calls.write_batch(chats(2), tmp_path / "queue.jsonl")
    write_jsonl(
        [came_back(next(read_jsonl(f))["custom_id"], "x"), dict(custom_id="stranger")],
        tmp_path / "out.jsonl",
    )
    with pytest.raises(
        ValueError, match="1 of 2 custom ids are not in calls.sqlite, first 'stranger'"
    ):
        calls.read_batch(tmp_path / "out.jsonl")
    with open(tmp_path / "out.jsonl", "a") as o:
        o.write('{"custom_id": "cut')
    with pytest.raises(ValueError, match="out.jsonl:3"):
        calls.read_batch(tmp_path / "out.jsonl")
    assert states(path) == ["batch", "batch"]


def test_wrong_arguments_are_errors_at_once(path):
    async def ask(chat, **_):
        raise AssertionError("asked")

    wrong = {
        "maxtok=0": dict(maxtok=0),
        "temp=-1": dict(temp=-1),
        "n=0": dict(n=0),
        "seed has 1": dict(seed=[1]),
    }
    for what, kw in wrong.items():
        with pytest.raises(ValueError, match=what):
            DurableLLM(ask, path)(chats(2), **kw)
    with pytest.raises(ValueError, match="is not a call journal"):
        path.write_text("this is not SQLite" * 100)
        DurableLLM(ask, path)(chats(1))


@pytest.mark.slow
@pytest.mark.parametrize("durable", [True, False], ids=["journal", "batch"])
def test_one_of_two_servers_killed_in_the_middle_loses_nothing(tmp_path, durable):
    """What the dead server had in hand is asked of the other; what it had answered is not asked
    again
    """
    with FakeServer(latency=0.03) as a, FakeServer(latency=0.03) as b:
        llm = make_llm(f"{a.url},{b.url}#m", slots=16)
        llm.ready()

        def kill():
            while len(a.stats()["done"]) < 60:
                time.sleep(0.01)
            kept.update(a.stats()["done"])
            a.proc.kill()
            a.proc.wait()
            kept["at"] = time.monotonic()

        kept = {}
        t = threading.Thread(target=kill)
        t.start()
        if durable:
            with DurableLLM(llm, journal=tmp_path / "j.sqlite") as calls:
                out = calls(chats(400))
        else:
            out = llm(chats(400))
        t.join()
        assert texts(out) == expected(400) and "at" in kept
        asked = b.stats()["asked"]
        assert set(asked.values()) == {1} and len(asked) >= 400 - len(kept) - 40, (
            "the other did the rest, each once"
        )
        assert len(set(asked) & set(kept)) <= 16, (
            "only an answer that was on its way when the server died is asked for again"
        )


def test_a_server_that_is_not_there_is_said_before_it_is_asked_again(path, capfd):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}/v1#m"  # nobody listens once it is closed
    calls = DurableLLM(make_llm(url), path, tries=2)
    ((r,),) = calls(chats(1))
    assert "Connection" in r.error
    assert capfd.readouterr().err.count("no answer and is asked again") == 1
