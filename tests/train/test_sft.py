"""Training: the label mask token by token, losses that do not depend on the layout, runs that
survive a kill.
"""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, installed, needs_smollm2

from synthlab.core.types import Message
from synthlab.models.hub import Prompter, quiet_transformers, toy_tokenizer
from synthlab.train.recipe import collate, dataset_rows, make_recipe
from synthlab.train.sft import load_training_result, train
from synthlab.train.tokenize import encode_rows
from tests.train.common import CHATML, conversation

if not installed("trl"):
    pytest.skip("trl is not installed: pip install -e .[cpu] or .[gpu]", allow_module_level=True)


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


@pytest.mark.slow
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


@pytest.mark.slow
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


CHILD = """
import json, sys
from synthlab.train.recipe import make_recipe
from synthlab.train.sft import train
from synthlab.core.types import read_jsonl
train(list(read_jsonl(sys.argv[1])), make_recipe(**json.loads(sys.argv[2])), sys.argv[3])
"""


def last_checkpoint(folder):
    "The step of the last checkpoint so far; 0 when there is none"
    return max((int(c.name.split("-")[1]) for c in folder.glob("checkpoint-*")), default=0)


def kill_at_a_checkpoint(cmd, checkpoints, want):
    "Start a training and kill it once it has a checkpoint of at least that step"
    p = subprocess.Popen(cmd, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stop = time.time() + 400
    try:
        while last_checkpoint(checkpoints) < want:
            assert p.poll() is None, "the run ended before it could be killed"
            assert time.time() < stop, "the run did not get as far as a checkpoint"
            time.sleep(0.02)
    finally:
        p.send_signal(signal.SIGKILL)
        p.wait()


@pytest.mark.nightly
@pytest.mark.slow
def test_a_run_killed_at_a_random_step_resumes_to_the_same_loss(toy, tmp_path):
    """float32, dropout on, checkpoints every fourth step: the killed and resumed run has every loss
    of the one left alone
    """
    from synthlab.core.types import write_jsonl

    r = dict(
        model=str(toy), rank=4, lr=3e-2, dropout=0.1, steps=48, batch=4, threads=1, save_every=4
    )
    write_jsonl([dict(messages=m) for m in sums()], tmp_path / "rows.jsonl")
    given = str(tmp_path / "rows.jsonl"), json.dumps(r), str(tmp_path / "killed")
    checkpoints = tmp_path / "killed" / "checkpoints"
    kill_at_a_checkpoint([sys.executable, "-c", CHILD, *given], checkpoints, random.randint(1, 24))
    assert not (tmp_path / "killed" / "trained.json").exists()
    rows = [dict(messages=m) for m in sums()]
    whole = train(rows, make_recipe(**r), tmp_path / "whole")
    again = train(rows, make_recipe(**r), tmp_path / "killed")
    assert [d["step"] for d in again.losses] == list(range(1, 49))
    assert [d["value"] for d in again.losses] == pytest.approx(
        [d["value"] for d in whole.losses], abs=1e-5
    )
    assert (
        again.loss < whole.losses[0]["value"] - 0.1
        and load_training_result(tmp_path / "killed").loss == again.loss
    )


@pytest.mark.slow
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


@pytest.mark.nightly
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
