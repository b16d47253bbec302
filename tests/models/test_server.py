"Servers end with whoever started them: by exception, Ctrl-C, kill -9, kernel restart."

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import jsonschema
import pytest
from conftest import needs_smollm2, needs_vllm

from synthlab.core.types import Message
from synthlab.models.llm import make_llm
from synthlab.models.server import GuardedProcess, ServerError, VLLMServer, free_port, serve

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

# A server like vLLM's: a worker beside it, in a session of its own, and both deaf to polite signals
# when told so
STUBBORN = """import os, signal, subprocess, sys, time
if 'deaf' in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
worker = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
print(os.getpid(), worker.pid, flush=True)
time.sleep(600)"""
COMMAND = [sys.executable, "-c", STUBBORN]
OWNER = """import sys, time; from synthlab.models.server import GuardedProcess
with GuardedProcess(sys.argv[2:], sys.argv[1], polite=.5) as g:
    print(g._p.pid, flush=True); time.sleep(600)"""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not (x := true()) and time.monotonic() < end:
        time.sleep(0.02)
    return x


def pids(log):
    return until(
        lambda: (
            log.exists()
            and log.read_text().endswith("\n")
            and [int(x) for x in log.read_text().split()]
        )
    )


@pytest.fixture
def owner(tmp_path):
    """A process that owns a guarded command; gives the process, the guard's pid and the pids of
    server and worker
    """
    started = []

    def start(*more):
        log = tmp_path / "log"
        p = subprocess.Popen(
            [sys.executable, "-c", OWNER, log, *COMMAND, *more],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(p)
        return p, int(p.stdout.readline()), pids(log)

    yield start
    for p in started:
        p.kill()
        p.wait()
        p.stdout.close()


@pytest.mark.parametrize("more", [[], ["deaf"]], ids=["polite", "deaf"])
@pytest.mark.parametrize(
    "sig", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["ctrl-c", "term", "kill -9"]
)
def test_nothing_outlives_the_owner(owner, sig, more):
    p, guard, ps = owner(*more)
    assert len(ps) == 2 and all(map(alive, ps))
    os.killpg(p.pid, sig)
    assert until(lambda: not any(map(alive, [guard, *ps])))


@pytest.mark.parametrize("which", ["outer", "inner"])
def test_a_guard_itself_is_killed(owner, which):
    "The other one ends the server and the server's own children"
    p, guard, (server, worker) = owner()
    inner = int(Path(f"/proc/{guard}/task/{guard}/children").read_text().split()[0])
    os.kill(dict(outer=guard, inner=inner)[which], signal.SIGKILL)
    assert until(lambda: not alive(server) and not alive(worker))


FORGOTTEN = """import os, sys, tempfile, time; from synthlab.models.server import GuardedProcess
tempfile.tempdir = sys.argv[1]
g = GuardedProcess(['sleep', '600']); print(g._p.pid, flush=True); time.sleep(600)"""


def test_a_temporary_log_goes_with_its_server(tmp_path, monkeypatch):
    """Closed, or its owner killed: nothing stays behind; a start that failed leaves its log for
    whoever reads the message
    """
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with GuardedProcess(["sleep", "600"]) as g:
        assert g.log.exists() and len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())
    p = subprocess.Popen(
        [sys.executable, "-c", FORGOTTEN, tmp_path], stdout=subprocess.PIPE, text=True
    )
    guard = int(p.stdout.readline())
    assert len(list(tmp_path.iterdir())) == 1
    p.kill()
    p.wait()
    p.stdout.close()
    assert until(lambda: not alive(guard)) and not list(tmp_path.iterdir())
    with pytest.raises(ServerError) as e:
        VLLMServer([sys.executable, "-c", 'print("out of memory")'], free_port(), ["m"])
    (kept,) = tmp_path.iterdir()
    assert f"from {kept}/log" in str(e.value) and "out of memory" in (kept / "log").read_text()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_ends_it_at_once(tmp_path, error):
    deaf = GuardedProcess([*COMMAND, "deaf"], tmp_path / "log", polite=0.2)
    with pytest.raises(error), deaf as g:
        ps = pids(tmp_path / "log")
        raise error
    assert not g.running and not any(map(alive, ps))


@pytest.mark.slow
def test_kernel_restart_and_a_forgotten_object(tmp_path):
    from jupyter_client.manager import start_new_kernel

    km, kc = start_new_kernel(kernel_name="python3")
    try:
        code = (
            "from synthlab.models.server import GuardedProcess\ng = "
            f'GuardedProcess({[*COMMAND, "deaf"]!r}, {str(tmp_path)!r}+"/log%s", polite=.2)'
        )
        kc.execute_interactive(code % 1, timeout=60)
        first = pids(tmp_path / "log1")
        kc.execute_interactive(code % 2, timeout=60)
        second = pids(tmp_path / "log2")
        assert until(lambda: not any(map(alive, first))) and all(map(alive, second))
        km.restart_kernel(now=True)
        assert until(lambda: not any(map(alive, second)))
    finally:
        kc.stop_channels()
        km.shutdown_kernel(now=True)


def test_a_failed_start_shows_the_last_lines(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-secret-12345")
    code = (
        'import os; print("loading"); raise SystemExit(f"no weights; key '
        "{os.environ['SOME_API_KEY']}\")"
    )
    with pytest.raises(ServerError, match="ended while starting") as e:
        VLLMServer([sys.executable, "-c", code], free_port(), ["m"], log=tmp_path / "log")
    assert (
        "loading" in str(e.value)
        and "no weights" in str(e.value)
        and "sk-secret" not in str(e.value)
    )
    with pytest.raises(ServerError, match="no health after 0.5 s"):
        VLLMServer(["sleep", "100"], free_port(), ["m"], wait=0.5, log=tmp_path / "log2")


def test_a_taken_port_is_an_error_before_anything_starts():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        start = time.monotonic()
        with pytest.raises(
            ServerError, match=f"port {s.getsockname()[1]} cannot be used: Address already in use"
        ):
            serve("smollm2", port=s.getsockname()[1])
        assert time.monotonic() - start < 5


def test_no_model_is_an_error_before_anything_starts():
    with pytest.raises(FileNotFoundError, match="no folder with a config.json"):
        serve("./no-model")
    with pytest.raises(FileNotFoundError, match="adapter_config.json"):
        serve("smollm2", dict(mine="./no-adapter"))


def family(s):
    "Processes of a server, its guards and its engine's among them"

    def below(pid):
        found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
        return [q for p in map(int, found.stdout.split()) for q in (p, *below(p))]

    return [s._p.pid, *below(s._p.pid)]


def one_of_two(s):
    """Another server of the same model beside it is killed in the middle: every question is
    answered, in the words of one server alone
    """
    chats = [[Message("user", f"Count from {i}.")] for i in range(60)]
    want = [r.text for (r,) in make_llm(s.spec(), style=s.style)(chats, maxtok=8)]
    with serve("smollm2", max_model_len=1024, enforce_eager=True, dtype="float32") as t:

        def answered():
            return sum(
                float(x.split()[-1])
                for x in urllib.request.urlopen(t.url.replace("/v1", "/metrics"))
                .read()
                .decode()
                .splitlines()
                if x.startswith("vllm:request_success_total")
            )

        def kill():
            until(lambda: answered() >= 6, 120)
            done.append(answered())
            for p in family(t):
                os.kill(p, signal.SIGKILL)

        done, killer = [], threading.Thread(target=kill)
        killer.start()
        out = make_llm(f"{t.url},{s.url}#{s.names[0]}", style=s.style, slots=4)(chats, maxtok=8)
        killer.join()
        assert 6 <= done[0] < len(chats) and not t.running, "it died while there was work"
    assert all(r.ok for (r,) in out) and sum(r.text == w for (r,), w in zip(out, want)) >= 57, (
        "batches of other sizes round otherwise"
    )


@pytest.mark.nightly
@pytest.mark.slow
@needs_smollm2
@needs_vllm
@pytest.mark.vllm
def test_vllm_serves_model_and_adapter(hf, adapter, tmp_path):
    "The real server: same words as in process, schema obeyed, adapter by name, and gone at the end"
    people = dict(
        type="object",
        required=["name", "age"],
        additionalProperties=False,
        properties=dict(
            name=dict(type="string", maxLength=12), age=dict(type="integer", minimum=0, maximum=99)
        ),
    )
    chats = [
        [Message("user", q)] for q in ("Name three colours.", "Who wrote Hamlet?", "Count to five.")
    ]
    want = hf(chats, maxtok=16)
    with serve(
        "smollm2",
        dict(shouty=adapter),
        max_model_len=1024,
        enforce_eager=True,
        dtype="float32",
        log=tmp_path / "log",
    ) as s:
        base, tuned = make_llm(s.spec(), style=s.style), make_llm(s.spec("shouty"), style=s.style)
        out = base(chats, maxtok=16)
        assert [(r.text, r.usage.inp, r.usage.out) for (r,) in out] == [
            (r.text, r.usage.inp, r.usage.out) for (r,) in want
        ]
        assert all(a.text != b.text for (a,), (b,) in zip(out, tuned(chats, maxtok=16)))
        for rs in base(chats, n=2, temp=1.0, maxtok=64, schema=people):
            for r in rs:
                jsonschema.validate(json.loads(r.text), people)
        ((bad,),) = base([[Message("user", "x " * 3000)]])
        assert "BadRequestError" in bad.error
        with pytest.raises(ValueError, match="'other' is not served"):
            s.spec("other")
        one_of_two(s)
        below = family(s)
    assert len(set(below)) >= 2 and not any(map(alive, below))
    with pytest.raises(OSError):
        urllib.request.urlopen(s.url + "/models", timeout=2)
