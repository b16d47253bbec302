"""Training: the label mask token by token, losses that do not depend on the layout, runs that
survive a kill.
"""

import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, installed, needs_smollm2

from synthlab.core.types import Message, ToolCall
from synthlab.train.tokenize import Row, encode_row, encode_rows

if not installed("trl"):
    pytest.skip("trl is not installed: pip install -e .[cpu] or .[gpu]", allow_module_level=True)
from synthlab.models.hub import Prompter, quiet_transformers, toy_tokenizer
from synthlab.train.recipe import collate, dataset_rows, make_recipe, pack
from synthlab.train.sft import load_training_result, train

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOOLS = [
    dict(
        type="function",
        function=dict(
            name=n,
            description=f"To {n}.",
            parameters=dict(type="object", properties=dict(x=dict(type="string"))),
        ),
    )
    for n in ("find", "book", "cancel")
]
WORDS = [
    "a",
    "seat",
    "by",
    "the",
    "window,",
    "please;",
    "{no}",
    "braces,",
    '"quotes",',
    "\n\nblank",
    "lines,",
    "naïve",
    "café,",
    "<b>tags</b>",
    "and",
    "7.50",
    "€",
]


# The mask
# -------------------------------------------------------------------------------------------------


def conversation(seed):
    "A chat with tools: plain answers, single and parallel calls, answers to them, odd texts"
    r = random.Random(seed)

    def say():
        return " ".join(r.choice(WORDS) for _ in range(r.randint(1, 12))).strip() or "x"

    msgs = [Message("system", say())] if seed % 4 else []
    for t in range(r.randint(1, 4)):
        msgs.append(Message("user", say()))
        for c in range(r.randint(0, 2)):
            calls = [
                ToolCall(r.choice(["find", "book", "cancel"]), {"x": say()}, f"c{t}{c}{k}")
                for k in range(r.randint(1, 2))
            ]
            msgs += [
                Message("assistant", say() if r.random() < 0.4 else "", calls),
                *(Message("tool", say(), call_id=k.id) for k in calls),
            ]
        msgs.append(Message("assistant", say()))
    return Row(msgs, TOOLS if seed % 3 else None, str(seed))


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


# The layout
# -------------------------------------------------------------------------------------------------


def test_packing_keeps_rows_whole():
    r = random.Random(0)
    for size in (64, 200):
        lengths = [r.randint(1, 100) for _ in range(400)]
        blocks = pack(lengths, size)
        assert sorted(i for b in blocks for i in b) == list(range(400))
        assert all(len(b) == 1 or sum(lengths[i] for i in b) <= size for b in blocks)
    assert len(pack(lengths, 200)) <= 1.05 * sum(lengths) / 200 + 1


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    "A two-layer Llama with random weights, saved"
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    home, tok = tmp_path_factory.mktemp("toy"), toy_tokenizer(CHATML)
    torch.manual_seed(0)
    net = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tok),
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
        )
    )
    with quiet_transformers():
        net.save_pretrained(home)
        tok.save_pretrained(home)
    return home


def sums(n=24):
    return [
        [
            Message("user", f"{a}+{a + 3}" + " " * (a % 5)),
            Message("assistant", f"It is {2 * a + 3}."),
        ]
        for a in range(n)
    ]


def test_layouts_have_the_same_loss_and_weights_are_weights(toy, tmp_path):
    """One step over all rows, padded, flat or packed; a row of weight 2 counts as two rows; half
    weights change nothing
    """

    def one(rows, name, **o):
        return train(
            rows,
            make_recipe(model=str(toy), rank=4, steps=1, threads=1, **{**dict(batch=24), **o}),
            tmp_path / name,
        ).losses[0]["value"]

    flat = one(sums(), "flat")
    assert one(sums(), "padded", layout="padded") == pytest.approx(flat, abs=1e-5)
    assert one(sums(), "packed", layout="packed", cutoff=512, batch=8) == pytest.approx(
        flat, abs=1e-5
    )
    assert one(sums(), "accumulated", batch=4, accumulate=6) == pytest.approx(flat, abs=1e-5)
    assert one([dict(messages=m, weight=0.5) for m in sums()], "halves") == pytest.approx(
        flat, abs=1e-5
    )
    twice = one(sums() + sums()[:1], "twice", batch=25)
    assert one(
        [dict(messages=m, weight=2.0 if i == 0 else 1.0) for i, m in enumerate(sums())], "weighted"
    ) == pytest.approx(twice, abs=1e-5)
    assert abs(twice - flat) > 1e-5


@needs_smollm2
def test_flat_gathered_loss_is_the_models_own(hf):
    """The embedded model: token losses from a flat, gathered batch equal those of one row after
    another
    """
    import torch
    from transformers import AutoModelForCausalLM

    from synthlab.train.recipe import gather_target_logits

    net = AutoModelForCausalLM.from_pretrained(hf.dir, dtype=torch.float32)
    rows = encode_rows([conversation(s).messages[:3] for s in range(4)], Prompter(hf.tok), 200).rows
    with torch.no_grad():
        want = []
        for e in rows:
            logits, labels = (
                net(torch.tensor([e.input_ids])).logits[0, :-1],
                torch.tensor(e.labels)[1:],
            )
            want.append(
                torch.nn.functional.cross_entropy(logits, labels, reduction="none")[labels != -100]
            )
        gather_target_logits(net)
        got = net(**collate(dataset_rows(rows), 0), fused_lm_head=True)["nll"]
    assert torch.allclose(got, torch.cat(want), atol=2e-4)


# Killed and resumed
# -------------------------------------------------------------------------------------------------

CHILD = """
import json, sys
from synthlab.train.recipe import make_recipe
from synthlab.train.sft import train
from synthlab.core.types import read_jsonl
train(list(read_jsonl(sys.argv[1])), make_recipe(**json.loads(sys.argv[2])), sys.argv[3])
"""


def test_a_run_killed_at_a_random_step_resumes_to_the_same_loss(toy, tmp_path):
    """float32, dropout on, checkpoints every fourth step: the killed and resumed run has every loss
    of the one left alone
    """
    from synthlab.core.types import write_jsonl

    r = dict(
        model=str(toy), rank=4, lr=3e-2, dropout=0.1, steps=48, batch=4, threads=1, save_every=4
    )
    write_jsonl([dict(messages=m) for m in sums()], tmp_path / "rows.jsonl")
    p = subprocess.Popen(
        [
            sys.executable,
            "-c",
            CHILD,
            str(tmp_path / "rows.jsonl"),
            json.dumps(r),
            str(tmp_path / "killed"),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seen, want, stop = tmp_path / "killed" / "checkpoints", random.randint(1, 24), time.time() + 400
    try:
        while (
            not (
                at := [int(c.name.split("-")[1]) for c in seen.glob("checkpoint-*")]
                if seen.exists()
                else []
            )
            or max(at) < want
        ):
            assert p.poll() is None, "the run ended before it could be killed"
            assert time.time() < stop, "the run did not get as far as a checkpoint"
            time.sleep(0.02)
    finally:
        p.send_signal(signal.SIGKILL)
        p.wait()
    assert not (tmp_path / "killed" / "trained.json").exists()
    rows = [dict(messages=m) for m in sums()]
    whole, again = (
        train(rows, make_recipe(**r), tmp_path / "whole"),
        train(rows, make_recipe(**r), tmp_path / "killed"),
    )
    assert [d["step"] for d in again.losses] == list(range(1, 49))
    assert [d["value"] for d in again.losses] == pytest.approx(
        [d["value"] for d in whole.losses], abs=1e-5
    )
    assert (
        again.loss < whole.losses[0]["value"] - 0.1
        and load_training_result(tmp_path / "killed").loss == again.loss
    )


def test_what_a_training_leaves_behind(toy, tmp_path):
    t = train(
        sums(),
        make_recipe(model=str(toy), rank=4, steps=3, threads=1),
        tmp_path / "out",
        merged=True,
    )
    assert {p.name for p in t.adapter.iterdir()} >= {
        "adapter_model.safetensors",
        "adapter_config.json",
        "README.md",
    }
    assert (t.path / "merged" / "model.safetensors").exists() and not list(t.path.rglob("*.bin"))
    card = (t.path / "README.md").read_text()
    assert "library_name: peft" in card and "- rank: 4" in card and "- rows: 24" in card
    with pytest.raises(ValueError, match="another recipe or other rows"):
        train(sums(3), make_recipe(model=str(toy), rank=4, steps=3, threads=1), t.path)
    with pytest.raises(ValueError, match="none of 1 rows.*no assistant turn"):
        train([[Message("user", "Hi")]], make_recipe(model=str(toy)), tmp_path / "none")


@pytest.mark.parametrize("path", sorted((ROOT / "accelerate").glob("*.yaml")), ids=lambda p: p.stem)
def test_accelerate_reads_the_configurations(path):
    from accelerate.commands.config.config_args import ClusterConfig

    c = ClusterConfig.from_yaml_file(yaml_file=str(path))
    assert c.num_processes >= 2 and str(path.name) in path.read_text()


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(toy, tmp_path):
    """Really launched by torchrun: all rows in each step, once in one process and once divided
    between two
    """
    from synthlab.core.types import write_jsonl

    write_jsonl([dict(messages=m) for m in sums()], tmp_path / "rows.jsonl")
    r = dict(model=str(toy), rank=4, lr=1e-2, threads=1, steps=3)
    one = train([dict(messages=m) for m in sums()], make_recipe(**r, batch=24), tmp_path / "one")
    opts = [x for k, v in dict(r, batch=12).items() for x in ("-p", f"{k}={v}")]
    bin_ = Path(sys.executable).parent
    done = subprocess.run(
        [
            bin_ / "torchrun",
            "--nproc-per-node",
            "2",
            bin_ / "synthlab",
            "train",
            "rows.jsonl",
            "--out",
            "two",
            *opts,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    two = load_training_result(tmp_path / "two")
    assert [d["value"] for d in two.losses] == pytest.approx(
        [d["value"] for d in one.losses], abs=1e-4
    )
    assert two.facts["targets"] < one.facts["targets"]
