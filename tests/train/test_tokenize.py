"What is learned from: masks against those cut by hand, truncation, templates"

import re
from pathlib import Path

import pytest
from conftest import installed, needs_smollm2

from synthlab.core.types import Message
from synthlab.models.hub import Prompter, toy_tokenizer
from synthlab.train.tokenize import encode_row, encode_rows
from tests.train.common import CHATML, conversation

if not installed("trl"):
    pytest.skip("trl is not installed: pip install -e .[cpu] or .[gpu]", allow_module_level=True)


def by_hand(text, opening, end):
    """(text, learned) pieces of a rendered chat: what stands between the assistant's opening and
    its end token, that token included
    """
    out, at = [], 0
    for m in re.finditer(f"{re.escape(opening)}(.*?{re.escape(end)})", text, re.S):
        out += [(text[at : m.start(1)], False), (m[1], True)]
        at = m.end(1)
    return out + [(text[at:], False)]


def jinja(name):
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()


LLAMA = [
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|python_tag|>",
    "<|eot_id|>",
]


TEMPLATES = {
    "llama3": (
        lambda: toy_tokenizer(jinja("llama3_1"), LLAMA),
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
    ),
    "hermes": (lambda: toy_tokenizer(jinja("qwen2_5")), "<|im_start|>assistant\n", "<|im_end|>"),
}


def check_mask(tok, opening, end):
    "On 20 conversations: each token is a target exactly where the pieces cut by hand say so"
    prompter, targets = Prompter(tok), 0
    for row in map(conversation, range(20)):
        e = encode_row(row, prompter)
        text = tok.decode(e.input_ids)
        assert text.count(opening) >= sum(m.role == "assistant" for m in row.messages)
        want = [
            (i, own)
            for piece, own in by_hand(text, opening, end)
            for i in tok(piece, add_special_tokens=False)["input_ids"]
        ]
        assert e.input_ids == [i for i, _ in want]
        assert e.labels == [i if own else -100 for i, own in want]
        targets += e.targets
        learned = tok.decode([l for l in e.labels if l != -100])
        assert all(
            m.content not in learned
            or any(
                m.content in a.content or any(m.content in str(c.args) for c in a.calls)
                for a in row.messages
                if a.role == "assistant"
            )
            for m in row.messages
            if m.role == "tool"
        )
    assert targets > 1000


@pytest.mark.parametrize("name", TEMPLATES)
def test_mask_equals_the_one_cut_by_hand(name):
    make, opening, end = TEMPLATES[name]
    check_mask(make(), opening, end)


@needs_smollm2
def test_mask_of_the_embedded_model_equals_the_one_cut_by_hand(smol_tok):
    check_mask(smol_tok, "<|im_start|>assistant\n", "<|im_end|>")


@pytest.fixture(scope="module")
def smol_tok():
    from transformers import AutoTokenizer

    from synthlab.models.hub import smollm2_dir

    return AutoTokenizer.from_pretrained(smollm2_dir())


@needs_smollm2
def test_the_prompt_of_a_row_is_what_the_model_is_asked_with(smol_tok):
    prompter = Prompter(smol_tok)
    for row in map(conversation, range(20)):
        e = encode_row(row, prompter)
        first = next(i for i, l in enumerate(e.labels) if l != -100)
        k = next(i for i, m in enumerate(row.messages) if m.role == "assistant")
        assert e.input_ids[:first] == prompter.ids(row.messages[:k], row.tools)


def test_a_row_truncated_to_no_target_is_dropped_with_its_reason():
    prompter = Prompter(toy_tokenizer(CHATML))
    long = [Message("user", "x" * 300), Message("assistant", "Yes.")]
    out = encode_rows(
        [
            [Message("user", "Hi"), Message("assistant", "y" * 300)],
            long,
            [Message("user", "Hello?")],
        ],
        prompter,
        cutoff=200,
    )
    assert [d["row"] for d in out.dropped] == [1, 2] and len(out.rows) == 1 and out.rows[0].cut > 0
    assert (
        re.search("first one is token 3[0-9]{2}, the cut-off is 200", out.dropped[0]["why"])
        and out.dropped[1]["why"] == "no assistant turn"
    )


def test_a_template_that_rewrites_history_is_refused():
    """Reasoning taken out of earlier turns: what would be learned is not what the model will have
    said
    """
    t = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content if loop.last else "
        "m.content.split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    chat = [
        Message("user", "a"),
        Message("assistant", "<think>hm</think>b"),
        Message("user", "c"),
        Message("assistant", "d"),
    ]
    with pytest.raises(ValueError, match="writes turn 1 differently"):
        encode_row(chat, Prompter(toy_tokenizer(t)))
    assert encode_row(chat[:2], Prompter(toy_tokenizer(t))).targets


def test_a_row_is_split_where_the_template_rewrites_history():
    """Qwen3 writes its last turn with an empty thought and earlier ones without: each turn is
    learned behind the very tokens that the model is asked with
    """
    prompter = Prompter(toy_tokenizer(jinja("qwen3")))
    rows = list(map(conversation, range(8)))
    assert len(encode_rows(rows, prompter).dropped) > 4  # each with a reason
    enc = encode_rows(rows, prompter, split=True)
    whole = {d["row"] for d in encode_rows(rows, prompter).dropped}
    assert not enc.dropped and enc.split == len(whole)
    encoded = iter(enc.rows)
    for i, row in enumerate(rows):
        turns = [k for k, m in enumerate(row.messages) if m.role == "assistant"]
        if i not in whole:
            assert next(encoded) == encode_row(row, prompter)
            continue
        for k in turns:
            e, asked = next(encoded), prompter.ids(row.messages[:k], row.tools)
            first = next(at for at, l in enumerate(e.labels) if l != -100)
            assert e.input_ids[:first] == asked
            learned = prompter.tok.decode([l for l in e.labels if l != -100])
            said = row.messages[k]
            assert said.content.strip() in learned and learned.endswith("<|im_end|>")
            assert all(c.name in learned for c in said.calls)
    assert next(encoded, None) is None
