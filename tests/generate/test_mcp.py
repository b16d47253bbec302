"""MCP: our domains served over stdio, HTTP and in memory, and a client that any server may meet,
with real processes.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from synthlab.cli.main import main
from synthlab.core.types import Message, Task, ToolCall
from synthlab.generate.blueprints import propose
from synthlab.generate.mcp import (
    KNOWN_SERVERS,
    MCPServer,
    ServerPool,
    connect_servers,
    domain_server,
    find_program,
    open_connections,
    serve_domain,
    server_from_spec,
)
from synthlab.generate.toucan_questions import sample_arguments
from synthlab.tau2.env import Env, tasks, tools

MAIN = "import sys; from synthlab.cli.main import main; sys.exit(main(sys.argv[1:]))"


def ours(*args):
    return (sys.executable, "-c", MAIN, "mcp", *args)


def alive(pid):
    return os.path.exists(f"/proc/{pid}") and open(f"/proc/{pid}/stat").read().split()[2] != "Z"


def needs(program):
    return pytest.mark.skipif(
        find_program(program) is None,
        reason=f"{program} is not installed: make setup puts it into .venv/mcp",
    )


def gone(pid, seconds=8):
    for _ in range(int(seconds * 20)):
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def http():
    "Our retail domain over streamable HTTP, in a process of its own"
    p = subprocess.Popen(
        ours("retail", "--transport", "http", "--port", "0"),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    url = re.search(r"http://127\.0\.0\.1:\d+/mcp", p.stderr.readline())[0]
    yield url
    p.terminate()
    assert p.communicate(timeout=10)[0] == "", "a server writes nothing to standard output"


@pytest.fixture(scope="module")
def stdio():
    "Our mock domain over stdio"
    with connect_servers(MCPServer("mock", ours("mock"))) as s:
        yield s


def some_calls(domain, n, seed):
    "Calls that work, from blueprints, mixed with calls by schema that mostly do not"
    rng, schemas = random.Random(seed), tools(domain)
    good = [
        ToolCall(p["name"], p["arguments"])
        for b in propose(domain, 6, refuse=0.0, seed=seed)
        for p in b.plan
        if p.get("requestor") != "user"
    ]
    fs = [t["function"] for t in schemas]
    bad = [
        ToolCall(f["name"], sample_arguments(f["parameters"], f["name"], {}, rng))
        for f in rng.choices(fs, k=n)
    ]
    odd = [ToolCall("no_such_tool", {}), ToolCall(fs[0]["name"], dict(surprise=1))]
    return rng.sample(mixed := good + bad + odd, min(len(mixed), 3 * n))


def same_as_env(session, domain, seed, n=8):
    env, calls = Env(Task("here", domain)), some_calls(domain, n, seed)
    said, here = [session.call(c) for c in calls], [env.step(c) for c in calls]
    assert [(m.content, m.error) for m in said] == [(m.content, m.error) for m in here]
    assert json.loads(session.read(f"tau2://{domain}/changes")) == json.loads(
        json.dumps(env.diff())
    )
    return said, env


@pytest.mark.parametrize("domain", ["mock", "airline", "retail", "telecom"])
def test_a_served_domain_answers_as_the_environment_does(domain):
    with connect_servers(f"tau2:{domain}") as s:
        said, env = same_as_env(s, domain, seed=5)
        assert {t["function"]["name"]: t["function"]["parameters"] for t in s.tools} == {
            t["function"]["name"]: t["function"]["parameters"] for t in tools(domain)
        }
    assert {m.error for m in said} == {True, False} and env.touched


def test_over_http_in_another_process(http):
    with connect_servers(http) as s:
        assert any(not m.error for m in same_as_env(s, "retail", seed=1)[0])


def test_over_stdio_in_another_process(stdio):
    same_as_env(stdio, "mock", seed=2)


def test_sessions_do_not_see_each_other(http):
    order = next(
        b
        for b in propose("retail", 9, (1,), 0.0, seed=1)
        if b.actions[0]["name"] == "cancel_pending_order"
    ).actions[0]
    look = ToolCall("get_order_details", dict(order_id=order["arguments"]["order_id"]))
    with ServerPool() as pool:
        one, two = pool.open([[http], [http]])
        assert not one.call(ToolCall(order["name"], order["arguments"])).error
        status = [json.loads(s.call(look).content)["status"] for s in (one, two)]
        assert status == ["cancelled", "pending"] and two.read(
            "tau2://retail/changes"
        ) == "{}" != one.read("tau2://retail/changes")
    with connect_servers(http) as later:
        assert json.loads(later.call(look).content)["status"] == "pending"


@pytest.mark.slow
def test_http_without_sessions_is_refused(http):
    """A client that insists on the sessionless revision gets a reason, not a fresh world at each
    call
    """
    code = f"""
        import asyncio, mcp
        async def main():
            async with mcp.Client({http!r}, mode='2026-07-28') as c:
                try: await c.call_tool('list_all_product_types', {{}})
                except mcp.MCPError as e: print(e)
        asyncio.run(main())"""
    r = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert "keeps a world for each session" in r.stdout, r.stderr[-500:]


@pytest.mark.slow
def test_stdio_carries_nothing_but_protocol():
    hello = dict(
        jsonrpc="2.0",
        id=1,
        method="initialize",
        params=dict(
            protocolVersion="2025-06-18",
            capabilities={},
            clientInfo=dict(name="plain", version="0"),
        ),
    )
    ready, ask = (
        dict(jsonrpc="2.0", method="notifications/initialized"),
        dict(jsonrpc="2.0", id=2, method="tools/list"),
    )
    p = subprocess.Popen(
        ours("airline"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for m in (hello, ready, ask):
        p.stdin.write(json.dumps(m) + "\n")
    p.stdin.flush()
    got = [json.loads(p.stdout.readline()) for _ in range(2)]
    p.stdin.close()
    assert [g["id"] for g in got] == [1, 2] and p.stdout.read() == "" and p.wait(10) == 0
    assert {t["name"] for t in got[1]["result"]["tools"]} == {
        t["function"]["name"] for t in tools("airline")
    }


def test_policy_and_ticket_are_there_to_read(stdio):
    from synthlab.tau2.env import domain_policy

    assert stdio.read("tau2://mock/policy") == domain_policy("mock") == stdio.manual
    with pytest.raises(ValueError, match="cannot read tau2://mock/secret"):
        stdio.read("tau2://mock/secret")


def test_a_session_starts_from_a_task():
    task = next(t for t in tasks("telecom") if (t.init or {}).get("initialization_actions"))
    with connect_servers(MCPServer("phone", domain="telecom", task=task)) as s:
        line = ToolCall("get_customer_by_phone", dict(phone_number="555-123-2002"))
        assert (
            s.call(line).content == Env(task).step(line).content
            and s.read("tau2://telecom/changes") == "{}"
        )


def test_the_users_tools_are_optional():
    def offered(**kw):
        with ServerPool() as pool:
            from synthlab.generate.mcp import MCPConnection

            class Given(MCPConnection):
                def _target(self):
                    return domain_server("telecom", **kw)

            link = Given(server_from_spec("tau2:telecom"), 30.0)
            pool.own.add(link)
            link.ready.result(30)
            return {t.name for t in link.tools}

    plain, both, solo = offered(), offered(user=True), offered(solo=True)
    theirs = {t["function"]["name"] for t in tools("telecom", "user")}
    assert not plain & theirs and both == plain | theirs == solo


def test_bad_requests_are_one_line_and_code_2(capsys):
    for args, why in (
        (["bakery"], "no τ² domain 'bakery'"),
        (["mock", "--task", "zz"], "no task 'zz'"),
        (["airline", "--solo"], "solo"),
        (["mock", "--transport", "pigeon"], "stdio or http"),
    ):
        assert main(["mcp", *args]) == 2
        out, err = capsys.readouterr()
        assert why in err and len(err.strip().splitlines()) == 1 and not out, (args, err)
    with pytest.raises(ValueError, match="cannot listen"):
        serve_domain("mock", "http", 99999)


TOY = """
import asyncio, os, sys
from mcp.server.mcpserver import MCPServer
open(sys.argv[1], 'w').write(str(os.getpid()))
app = MCPServer('toy')

@app.tool()
async def nap(seconds: float) -> str:
    "Sleep for a while"
    await asyncio.sleep(seconds)
    return 'awake'

@app.tool()
def fail() -> str:
    "Always fails"
    raise RuntimeError('out of paper')

@app.tool(name='odd.name/with spaces')
def odd() -> str:
    "A name that models cannot be given"
    return '{"error": null}'

@app.tool()
def die() -> str:
    "Ends the process"
    os._exit(3)

app.run()
"""


@pytest.fixture
def toy(tmp_path):
    "A server that naps, fails and dies, and the file with its process id"
    (tmp_path / "toy.py").write_text(TOY)
    return MCPServer(
        "toy", (sys.executable, str(tmp_path / "toy.py"), str(tmp_path / "pid"))
    ), tmp_path / "pid"


@pytest.mark.slow
def test_errors_are_messages(toy):
    with connect_servers(toy[0], timeout=2) as s:
        name = next(n for n in s.routes if n.startswith("odd"))
        assert re.fullmatch(r"[A-Za-z0-9_-]+", name) and s.own(name) == (
            "toy",
            "odd.name/with spaces",
        )
        fine, failed = s.call(ToolCall(name)), s.call(ToolCall("fail", {}, "c1"))
        assert (fine.content, fine.error) == ('{"error": null}', False)
        assert failed.error and "fail" in failed.content and failed.call_id == "c1"
        assert (
            s.call(ToolCall("no_such_tool")).error
            and s.call(ToolCall("nap", dict(seconds="soon"))).error
        )
        raw = s.call(ToolCall("nap", '{"seconds": 1'))
        assert raw.error and "no JSON object" in raw.content
        t = time.time()
        late = s.call(ToolCall("nap", dict(seconds=60)))
        assert late.error and "timed out" in late.content and time.time() - t < 10
        assert s.call(ToolCall("nap", dict(seconds=0))).content == "awake", (
            "the session goes on after a call that took too long"
        )
        assert s.call(ToolCall("die")).error and s.call(ToolCall("nap", dict(seconds=0))).error, (
            "a dead server gives errors, not exceptions"
        )


@pytest.mark.slow
def test_calls_of_several_sessions_run_together(toy):
    with ServerPool() as pool:
        sessions = pool.open([[toy[0]]] * 4)
        t = time.time()
        said = pool.call([(s, ToolCall("nap", dict(seconds=1))) for s in sessions])
        assert [m.content for m in said] == ["awake"] * 4 and time.time() - t < 3


def test_processes_end_with_the_block_and_after_an_exception(toy):
    where, pid = toy
    with pytest.raises(ZeroDivisionError), connect_servers(where) as s:
        n = int(pid.read_text())
        assert alive(n) and s.tools
        raise ZeroDivisionError
    assert gone(n) and not [l for l in open_connections if l.where.name == "toy"]


@pytest.mark.slow
def test_a_server_that_never_answers_is_given_up(tmp_path):
    code = (
        f'import os, time; open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid())); '
        "time.sleep(600)"
    )
    t = time.time()
    with pytest.raises(ConnectionError, match="no MCP server 'mute'"):
        connect_servers(MCPServer("mute", (sys.executable, "-c", code)), timeout=1)
    assert time.time() - t < 20 and gone(int((tmp_path / "pid").read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
def test_no_server_outlives_its_client(toy, tmp_path, sign):
    "Ctrl-C in a long call, and a kill"
    where, pid = toy
    code = f"""
        from synthlab.generate.mcp import MCPServer, connect_servers
        from synthlab.core.types import ToolCall
        with connect_servers(MCPServer('toy', {where.command!r})) as s:
            print('up', flush=True)
            s.call(ToolCall('nap', dict(seconds=600)))"""
    p = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert p.stdout.readline() == "up\n", p.stderr.read()[-500:]
    time.sleep(0.3)
    p.send_signal(sign)
    p.communicate(timeout=20)
    assert p.returncode != 0 and gone(int(pid.read_text())), f"the server survives {sign.name}"


def test_names_are_told_apart_only_where_they_collide():
    with connect_servers("tau2:retail", "tau2:airline") as s:
        names = [t["function"]["name"] for t in s.tools]
        assert (
            len(set(names)) == len(names)
            and "get_order_details" in names
            and "calculate" not in names
        )
        assert s.own("tau2_airline_calculate") == ("tau2:airline", "calculate")
        assert (
            s.call(ToolCall("tau2_airline_calculate", dict(expression="6 * 7"))).content == "42.0"
        )
        assert s.call(ToolCall("calculate", dict(expression="1"))).error


@pytest.mark.slow
@needs("mcp-server-time")
def test_the_time_server():
    with connect_servers("time") as s:
        now = json.loads(s.call(ToolCall("get_current_time", dict(timezone="Asia/Tokyo"))).content)
        noon = s.call(
            ToolCall(
                "convert_time",
                dict(source_timezone="UTC", time="12:00", target_timezone="Asia/Tokyo"),
            )
        )
        assert now["timezone"] == "Asia/Tokyo" and "21:00" in noon.content
        assert s.call(ToolCall("get_current_time", dict(timezone="Atlantis"))).error


@pytest.mark.slow
@needs("mcp-server-git")
def test_the_git_server_works_in_a_folder_of_its_own():
    commit = [
        ToolCall("git_add", dict(repo_path=".", files=["notes.md"])),
        ToolCall("git_commit", dict(repo_path=".", message="More")),
    ]
    log, status = (
        ToolCall("git_log", dict(repo_path=".")),
        ToolCall("git_status", dict(repo_path=".")),
    )
    with ServerPool() as pool:
        one, two = pool.open([["git"], ["git"]])
        said = pool.call([(one, c) for c in commit])
        assert not any(m.error for m in said), said
        assert "More" in one.call(log).content and "More" not in two.call(log).content
        assert "notes.md" in two.call(status).content and "notes.md" not in one.call(status).content


@pytest.mark.slow
@needs("mcp-server-sqlite")
def test_the_sqlite_server_keeps_a_database_for_each_session():
    with ServerPool() as pool:
        one, two = pool.open([["sqlite"], ["sqlite"]])
        assert not one.call(ToolCall("create_table", dict(query="CREATE TABLE t (x INT)"))).error
        one.call(ToolCall("write_query", dict(query="INSERT INTO t VALUES (42)")))
        assert "42" in one.call(ToolCall("read_query", dict(query="SELECT x FROM t"))).content
        assert two.call(ToolCall("list_tables")).content in ("[]", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "domain", [pytest.param(d, marks=needs(f"tau2-{d}-mcp")) for d in ("mock", "retail", "airline")]
)
def test_others_servers_of_the_same_domains_agree(domain, tmp_path):
    """Written by other people from the same benchmark: what their tools return and refuse is what
    ours do
    """
    env, state = (
        Env(Task("here", domain)),
        ((f"TAU2_{domain.upper()}_MCP_STATE_DIR", str(tmp_path)),),
    )  # theirs outlives a session
    with connect_servers(MCPServer("theirs", (f"tau2-{domain}-mcp",), env=state)) as s:
        calls = [
            ToolCall(p["name"], p["arguments"])
            for b in propose(domain, 6, refuse=0.0, seed=3)
            for p in b.plan
            if p["name"] in s.routes
        ]
        said, here = [s.call(c) for c in calls], [env.step(c) for c in calls]
    theirs = [json.loads(m.content)["parsed_content"] for m in said]

    def read(m):
        return json.loads(m.content) if m.content[:1] in "[{" else m.content

    agree = [
        m.error == h.error and (h.error or t == read(h)) for m, h, t in zip(said, here, theirs)
    ]
    assert len(calls) >= 6 and all(agree), [
        (str(c), t, h.content) for c, t, h, ok in zip(calls, theirs, here, agree) if not ok
    ][:2]


def test_general_servers_say_what_is_missing():
    absent = MCPServer("absent", ("mcp-server-that-nobody-has",))
    with pytest.raises(ConnectionError, match="is not installed"):
        connect_servers(absent)
    assert set(KNOWN_SERVERS) == {"time", "git", "sqlite"} and server_from_spec("time").shared
    assert isinstance(ServerPool().open([[absent]])[0], ConnectionError)


def test_a_message_for_every_call():
    with connect_servers("tau2:mock") as s:
        assert isinstance(s.call(ToolCall("get_users", {}, "x")), Message)
