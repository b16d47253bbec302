"Models: what is said to them and what they said, token by token, in text and on the wire."

import asyncio
import http.server
import json
import threading
import time

import jsonschema
import pytest
from fake_server import FakeServer

from synthlab.core.types import Message, ToolCall
from synthlab.models import chat as chat_module
from synthlab.models.chat import call_text, render_chat, to_openai
from synthlab.models.llm import (
    HTTP,
    SCRIPTED_LLMS,
    CallError,
    ScriptedLLM,
    make_llm,
    minimal_instance,
)
from synthlab.models.server import free_port
from tests.models.common import PERSON, TALK, TOOLS, ask, said


def test_a_failed_function_is_a_failed_reply_not_a_lost_batch():
    def fn(chat, **_):
        if chat[-1].content == "bad":
            raise KeyError("x")
        return "ok"

    out = [r[0] for r in ScriptedLLM(fn)(ask("a", "bad", "b"))]
    assert [r.text for r in out] == ["ok", "", "ok"] and out[1].error == "KeyError: 'x'"


@pytest.mark.parametrize(
    "schema",
    [
        PERSON,
        dict(type="array", items=dict(type="number", minimum=2), minItems=2),
        dict(enum=["b", "a"]),
        {"$ref": "#/$defs/t", "$defs": dict(t=dict(type=["string", "null"], minLength=2))},
        dict(anyOf=[dict(const=3), dict(type="null")]),
    ],
)
def test_smallest_value_fits_its_schema(schema):
    jsonschema.validate(minimal_instance(schema), schema)


def test_options_are_checked_before_anything_runs():
    asked = []
    llm = ScriptedLLM(lambda chat, **_: asked.append(1) or "x")
    for bad in (
        dict(n=0),
        dict(maxtok=0),
        dict(temp=-0.1),
        dict(seed=[1]),
        dict(tools=[[], [], []]),
    ):
        with pytest.raises(ValueError):
            llm(ask("a", "b"), **bad)
    with pytest.raises(ValueError, match="list of chats"):
        llm([Message("user", "a")])
    assert not asked and llm([]) == [] and set(SCRIPTED_LLMS) == {"echo", "fill"}


class Recorder(http.server.BaseHTTPRequestHandler):
    "Keeps what it was asked and gives the next of its canned answers"

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.headers.get("authorization"), body))
        kind, status, headers, raw = self.server.answers[
            (len(self.server.asked) - 1) % len(self.server.answers)
        ]
        time.sleep(self.server.latency)
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(raw)))
        for k, v in headers.items():
            self.send_header(k, v)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_):
        pass


@pytest.fixture
def recorder():
    servers = []

    def start(*answers, latency=0):
        s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
        s.handle_error = lambda *_: None  # a client that hung up is part of the test
        s.asked, s.answers, s.latency, s.url = (
            [],
            answers,
            latency,
            f"http://127.0.0.1:{s.server_address[1]}/v1",
        )
        threading.Thread(target=s.serve_forever, args=[0.02], daemon=True).start()
        servers.append(s)
        return s

    yield start
    for s in servers:
        s.shutdown()
        s.server_close()


def test_a_request_on_the_wire(recorder):
    s = recorder(
        said(
            dict(content="hi"),
            usage=dict(
                prompt_tokens=7,
                completion_tokens=3,
                total_tokens=10,
                prompt_tokens_details=dict(cached_tokens=5),
            ),
        )
    )
    llm = make_llm(f"{s.url}#m", max_tokens=None, max_completion_tokens=9, top_p=0.5)
    ((r, again),) = llm([TALK], n=2, temp=0.7, seed=4, schema=PERSON, tools=TOOLS)
    body = s.asked[0][1]
    assert (
        body["messages"] == to_openai(TALK)
        and body["tools"] == TOOLS
        and body["response_format"]["json_schema"]["schema"] == PERSON
    )
    assert (body["model"], body["temperature"], body["max_completion_tokens"], body["top_p"]) == (
        "m",
        0.7,
        9,
        0.5,
    ) and "max_tokens" not in body
    assert sorted(b["seed"] for _, b in s.asked) == sorted([4, chat_module.sample_seed(4, 1)])
    assert (
        (r.text, r.finish, r.usage.inp, r.usage.out, r.usage.cached) == ("hi", "stop", 7, 3, 5)
        and r.usage.seconds > 0
        and again.ok
    )


def test_tool_calls_on_the_wire_and_in_text(recorder):
    wire = dict(
        content=None,
        tool_calls=[
            dict(id="c9", type="function", function=dict(name="cancel", arguments='{"id": "A"}')),
            dict(id="c10", type="function", function=dict(name="cancel", arguments='{"id": ')),
        ],
    )
    s = recorder(
        said(wire, "tool_calls"), said(dict(content=call_text(ToolCall("cancel", {"id": "B"}))))
    )
    assert make_llm(f"{s.url}#m")([TALK], tools=TOOLS)[0][0].calls == [
        ToolCall("cancel", {"id": "A"}, "c9"),
        ToolCall("cancel", '{"id": ', "c10"),
    ]
    r = make_llm(f"{s.url}#m", style="hermes")([TALK], tools=TOOLS)[0][0]
    assert r.calls == [ToolCall("cancel", {"id": "B"})] and r.finish == "tool_calls"
    assert "tools" not in s.asked[1][1] and s.asked[1][1]["messages"] == render_chat(TALK, TOOLS)


def failure(llm, **o):
    with pytest.raises(CallError) as e:
        asyncio.run(llm.ask(ask("x")[0], **o))
    return e.value


@pytest.mark.parametrize(
    "answer, status, fatal",
    [
        (
            (
                "application/json",
                429,
                {"retry-after": "1.5"},
                b'{"error": {"message": "slow down"}}',
            ),
            429,
            False,
        ),
        (("application/json", 503, {}, b"{}"), 503, False),
        (("application/json", 400, {}, b'{"error": {"message": "too long"}}'), 400, True),
        (("text/html", 200, {}, b"<html>portal</html>"), None, False),
        (("application/json", 200, {}, b'{"choices": [{"mess'), None, False),
        (("application/json", 200, {}, b'{"error": {"message": "upstream"}}'), None, False),
        (("application/json", 200, {}, b'{"choices": [null]}'), None, False),
    ],
)
def test_failures_say_whether_to_ask_again(recorder, answer, status, fatal):
    s = recorder(answer)
    e = failure(HTTP(s.url, "m"))
    assert (e.status, e.fatal) == (status, fatal) and len(s.asked) == 1 and "\n" not in str(e)
    assert e.retry_after == (1.5 if status == 429 else None)


def test_no_server_and_slow_server(recorder):
    assert failure(HTTP(f"http://127.0.0.1:{free_port()}/v1", "m")).status is None
    e = failure(HTTP(recorder(said(dict(content="late")), latency=3).url, "m", timeout=0.2))
    assert e.status is None and "Timeout" in str(e)


def test_a_batch_keeps_its_good_replies(recorder):
    bad = "application/json", 400, {}, b'{"error": {"message": "no"}}'
    s = recorder(said(dict(content="yes")), bad)
    out = [r[0] for r in HTTP(s.url, "m", slots=1)(ask("1", "2", "3", "4"))]
    assert [r.ok for r in out] == [True, False, True, False] and "BadRequestError" in out[1].error
    flaky = recorder(
        ("application/json", 500, {"retry-after-ms": "1"}, b"{}"), said(dict(content="yes"))
    )
    assert HTTP(flaky.url, "m")(ask("1"))[0][0].text == "yes" and len(flaky.asked) == 2


@pytest.mark.parametrize("kind", ["twice", "late"])
def test_a_response_sent_twice_never_answers_another_question(kind):
    with FakeServer(faults=0.5, kinds=[kind]) as s:
        out = HTTP(s.url, "m", slots=8, retries=0)(ask(*(f"q{i}" for i in range(120))))
        assert [r.text or r.error for (r,) in out] == [f"reply to q{i}#0" for i in range(120)]
        assert s.stats()["faults"][kind] > 40 and set(s.stats()["asked"].values()) == {1}


def test_several_servers_share_the_work(recorder):
    a, b = (recorder(said(dict(content="ok")), latency=0.02) for _ in range(2))
    llm = make_llm(f"{a.url},{b.url}#m", slots=4)
    assert all(r[0].ok for r in llm(ask(*map(str, range(20)))))
    assert min(len(a.asked), len(b.asked)) >= 6 and len(a.asked) + len(b.asked) == 20


def test_works_inside_a_running_event_loop(recorder):
    s = recorder(said(dict(content="ok")))

    async def cell():
        return HTTP(s.url, "m")(ask("1"))[0][0].text

    assert asyncio.run(cell()) == "ok"


KEY = 'sk-live-"very/secret"-0123456789'


def test_keys_stay_out_of_errors_and_repr(monkeypatch):
    import traceback

    with FakeServer(key="another") as s:
        llm = HTTP(s.url, "m", key=KEY)
        e = failure(llm)
        assert e.status == 401 and "Incorrect API key" in str(e)
        shown = (
            "".join(traceback.format_exception(e))
            + repr(e)
            + repr(llm)
            + str(llm.__dict__)
            + repr(llm(ask("x"))[0][0])
        )
        for spelt in (KEY, KEY.lower(), json.dumps(KEY)[1:-1], repr(KEY)[1:-1], "sk-live"):
            assert spelt not in shown


def test_a_key_goes_only_where_it_was_meant_for(recorder, monkeypatch):
    s = recorder(said(dict(content="ok")))
    for k in ("OPENAI_API_KEY", "OTHER_KEY"):
        monkeypatch.setenv(k, f"sk-{k}")
    monkeypatch.setenv("SYNTHLAB_API_KEY", "sk-lab")
    monkeypatch.setenv("SYNTHLAB_API_BASE", "https://elsewhere/v1")
    HTTP(s.url, "m")(ask("x"))
    HTTP(s.url, "m", key_env="OTHER_KEY")(ask("x"))
    monkeypatch.setenv("SYNTHLAB_API_BASE", s.url + "/")
    HTTP(s.url, "m")(ask("x"))
    assert [a for a, _ in s.asked] == ["Bearer none", "Bearer sk-OTHER_KEY", "Bearer sk-lab"]
    with pytest.raises(ValueError, match="MISSING_KEY is not set"):
        HTTP(s.url, "m", key_env="MISSING_KEY")
    assert "pass" not in repr(HTTP("http://me:pass@host/v1", "m"))
