"""Target tokens a second: ours, plain TRL with its defaults, and LLaMA-Factory; same model, rows,
rank, precision, rows a step.

Rows are ragged: made-up sentences of one to ten clauses, each row one question and one answer. Ours
lays the rows of a batch end to end and projects target positions only. TRL gets the same chats with
`assistant` as completion, its own collator and defaults (gradient checkpointing among them);
LLaMA-Factory the exported folder. Seconds are each trainer's own, without loading. Losses of the
first step are printed, since a fast wrong loss is worth nothing. The trainers take turns; `--only
ours` and such measure one. LLaMA-Factory lives in a Python of its own (sh
bench/install_llamafactory.sh FOLDER), named by LLAMAFACTORY_CLI.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from common import finish, missing, options, versus

from synthlab.core.types import Message
from synthlab.export.formats import write_llamafactory
from synthlab.models.hub import Prompter, model_dir, quiet_transformers
from synthlab.train.recipe import Recipe, dtype_of, has_gpu, make_recipe
from synthlab.train.sft import train
from synthlab.train.tokenize import encode_rows

NOT_MEASURED = (
    "Not measured: loading, other models, what is learnt beyond the first loss, and "
    "a GPU, unless the machine named has one."
)


def ragged(n, seed=0):
    "Rows whose answers have very different lengths"
    rng, words = (
        random.Random(seed),
        [
            "the",
            "lens",
            "of",
            "this",
            "camera",
            "is",
            "sharp",
            "and",
            "its",
            "battery",
            "lasts",
            "a",
            "week",
            "in",
            "winter",
        ],
    )

    def clause():
        return " ".join(rng.sample(words, rng.randint(4, 10)))

    def text():
        return ". ".join(clause() for _ in range(min(10, 1 + int(rng.expovariate(0.4))))) + "."

    return [
        [
            Message("system", "You write."),
            Message("user", f"Write about {clause()}."),
            Message("assistant", text()),
        ]
        for _ in range(n)
    ]


def ours(rows, r, folder):
    t = train(rows, r, folder)
    return t.facts["train_seconds"], t.losses[0]["value"]


def plain_trl(rows, r, folder):
    "SFTTrainer as its first page shows it; only what must be equal is set"
    import peft
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    chats = [[dict(role=m.role, content=m.content) for m in c] for c in rows]
    data = Dataset.from_list([dict(prompt=c[:-1], completion=c[-1:]) for c in chats])
    with quiet_transformers():
        net = AutoModelForCausalLM.from_pretrained(model_dir(r.model), dtype=dtype_of(r))
        args = SFTConfig(
            str(folder),
            per_device_train_batch_size=r.batch,
            gradient_accumulation_steps=r.accumulate,
            max_steps=r.steps,
            learning_rate=r.lr,
            max_length=r.cutoff,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            seed=r.seed,
            bf16=has_gpu() and dtype_of(r) == "bfloat16",
        )
        trainer = SFTTrainer(
            net,
            args,
            train_dataset=data,
            processing_class=AutoTokenizer.from_pretrained(model_dir(r.model)),
            peft_config=peft.LoraConfig(
                r=r.rank,
                lora_alpha=r.lora_alpha,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            ),
        )
        trainer.train()
    log = trainer.state.log_history
    return next(h["train_runtime"] for h in log[::-1] if "train_runtime" in h), log[0]["loss"]


def llamafactory(rows, r, folder):
    cli = os.environ.get("LLAMAFACTORY_CLI") or shutil.which("llamafactory-cli")
    if not cli:
        return None
    # On a CPU `bf16: true` is refused; without it the weights come as the model's config says,
    # which is bfloat16 here
    path = write_llamafactory(
        folder, dict(rows=rows), r if has_gpu() else replace(r, dtype="float32")
    )
    env = dict(os.environ, HF_HUB_OFFLINE="1", DISABLE_VERSION_CHECK="1")
    if r.threads:
        env["OMP_NUM_THREADS"] = str(r.threads)
    done = subprocess.run(
        [cli, "train", path.name], cwd=folder, env=env, capture_output=True, text=True
    )
    found = re.search(r"'loss': '?([\d.]+)", done.stdout + done.stderr)
    if done.returncode or not found:
        raise SystemExit((done.stdout + done.stderr)[-1500:])
    loaded = re.search(r"Will use dtype=torch\.(\w+)", done.stdout + done.stderr)
    if not loaded:
        raise SystemExit(
            "LLaMA-Factory does not say what weights it loads: the comparison may not be at "
            "equal precision"
        )
    if loaded[1] != dtype_of(r):
        raise SystemExit(
            f"LLaMA-Factory loads {loaded[1]} weights: compare with --dtype {loaded[1]}"
        )
    return json.loads((folder / "saves" / "train_results.json").read_text())[
        "train_runtime"
    ], float(found[1])


def bench(n, steps, batch, layout, threads, only, dtype):
    from transformers import AutoTokenizer

    rows = ragged(n)
    r: Recipe = make_recipe(
        steps=steps,
        batch=batch,
        layout=layout,
        threads=threads,
        cutoff=512,
        tail=True,
        lr=1e-4,
        warmup=1,
        dtype=dtype,
    )
    enc = encode_rows(
        rows, Prompter(AutoTokenizer.from_pretrained(model_dir(r.model))), r.cutoff, r.tail
    )
    targets = enc.targets / len(enc.rows) * batch * steps
    out = {}
    with tempfile.TemporaryDirectory() as tmp:
        for f in (ours, plain_trl, llamafactory):
            if only and f.__name__ not in only:
                continue
            got = f(rows, r, Path(tmp) / f.__name__)
            if got:
                out[f.__name__] = dict(
                    seconds=got[0], first_loss=got[1], targets_per_second=targets / got[0]
                )
    return out


PEERS = dict(plain_trl="TRL with its defaults", llamafactory="LLaMA-Factory")


def shown(runs, a):
    "A row for each peer: target tokens a second, and the loss of the first step of both"
    for k, name in PEERS.items():
        if a.only and k not in a.only:
            continue
        what, got = f"train LoRA on ragged rows, {a.layout}", [r[k] for r in runs if k in r]
        if not got:
            yield missing(what, name, "LLAMAFACTORY_CLI is not set (bench/install_llamafactory.sh)")
            continue

        def rate(rs):
            return [r["targets_per_second"] for r in rs]

        print(
            f"first loss: ours {runs[0]['ours']['first_loss']:.4f}, {name} "
            f"{got[0]['first_loss']:.4f}"
        )
        yield versus(
            what,
            name,
            rate([r["ours"] for r in runs]),
            rate(got),
            "target tokens/s",
            a.n,
            rate=True,
            head=True,
        )


if __name__ == "__main__":
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("-n", type=int, default=64, help="rows")
    p.add_argument("--steps", type=int, default=8)
    p.add_argument("--batch", type=int, default=8, help="rows of a step")
    p.add_argument("--layout", default="flat", help="of ours: flat or padded")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument(
        "--dtype", default="bfloat16", help="of the weights; adapters are float32 in all three"
    )
    p.add_argument("--only", nargs="*", choices=["ours", *PEERS], help="some of the three")
    a = options(p).parse_args()
    if a.quick:
        a.n, a.steps, a.batch, a.repeats = 4, 1, 2, 1
    runs = [
        bench(a.n, a.steps, a.batch, a.layout, a.threads, a.only, a.dtype) for _ in range(a.repeats)
    ]
    for k in runs[0]:
        print(
            f"{k:<14}",
            *(
                f"{r[k]['seconds']:8.1f} s {r[k]['targets_per_second']:8.1f} target tokens/s"
                for r in runs
                if k in r
            ),
        )
    rows = list(shown(runs, a)) if "ours" in runs[0] else []
    finish(
        a,
        "train",
        rows,
        NOT_MEASURED,
        dict(
            runs=runs,
            steps=a.steps,
            batch=a.batch,
            layout=a.layout,
            threads=a.threads,
            dtype=a.dtype,
        ),
    )
