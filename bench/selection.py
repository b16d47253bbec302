"""Selection in seconds, against the best installable peers on the same data.

Facility location and k-center on embeddings, MinHash on texts, IFD and LESS on the embedded model.

python bench/selection.py [--quick] [--only facility kcenter minhash ifd less] [--repeats 3]
    [--json PATH]

Peers live in a Python of their own (sh bench/install_peers.sh FOLDER), named by
PEERS_PYTHON=FOLDER/bin/python; without it only peers that need nothing but numpy or transformers
are measured. Repeats are interleaved, ratios are medians of the ratios of each repeat: peer's
seconds over ours, above 1 we are faster. What is compared:
- facility: 64 neighbours a row, lazy greedy; apricot and submodlib. Values of all selections are
  computed alike and shown. submodlib takes minutes for some thousand rows and joins only up to
  --small of them.
- kcenter: no installable package has it for this size. The peer is farthest-first as it is usually
  written, one matrix-vector product a centre (numpy); submodlib's max-min diversity needs all
  similarities at once.
- minhash: 112 values, word 5-grams, 14 bands of 8. Ours ends with pairs and their similarity;
  rensa's bulk interface with flags only; datasketch runs on a tenth of the rows and is compared by
  rows a second.
- ifd: no installable package. The peer is batched transformers as one would write it: right
  padding, logits of all positions, rows in order of length as well.
- less: Adam's step left out, as the peers have none: per-row LoRA gradients, projected by random
  signs; TRAK's and dattri's code.
"""

import argparse
import json
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from common import finish, missing, options, versus

from synthlab.models.hub import limit_openmp_spin

limit_openmp_spin()
HERE, SLOW = Path(__file__).resolve().parent, "takes minutes for 6,000 rows: see --rows and --small"
NOT_MEASURED = (
    "Not measured: what the chosen rows are worth for training (02_select does), data that "
    "does not fit in memory, and embedding "
    "or tokenising, which come before."
)
WHAT = dict(
    facility="choose rows by facility location",
    kcenter="choose rows by k-center",
    minhash="find near copies by MinHash",
    ifd="score rows by IFD",
    less="LoRA gradients of rows, projected (LESS)",
)
NAMES = dict(
    numpy="farthest-first as usually written, numpy",
    transformers="transformers in plain batches",
    datasketch="datasketch, on a tenth",
)


def peer(name, **job):
    "Seconds and answer of a peer in its own Python, or the reason why there is none"
    python = os.environ.get("PEERS_PYTHON")
    if not python:
        return None, "PEERS_PYTHON is not set"
    done = subprocess.run(
        [python, HERE / "selection_peers.py"],
        input=json.dumps(dict(job, peer=name), default=str),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or ["failed"])[-1]
    r = json.loads(done.stdout.strip().splitlines()[-1])
    return r["seconds"], r["answer"]


def timed(f):
    start = time.perf_counter()
    r = f()
    return time.perf_counter() - start, r


def embeddings(n, d, seed=0):
    "Unit vectors in lumps of very different sizes, as sentence embeddings lie"
    rng = np.random.default_rng(seed)
    sizes = rng.zipf(1.6, 400).clip(1, 400).astype(float)
    at = rng.choice(400, n, p=sizes / sizes.sum())
    e = (
        rng.normal(0, 1, (400, d))[at]
        + rng.normal(0, 1, (n, d)) * rng.uniform(0.3, 1.2, 400)[at, None]
    )
    return (e / np.linalg.norm(e, axis=1, keepdims=True)).astype(np.float32)


def value(e, idx, block=4096):
    "Facility location with all similarities"
    c = e[idx].T
    return float(
        sum(
            np.maximum(e[a : a + block] @ c, 0).max(1).sum(dtype=float)
            for a in range(0, len(e), block)
        )
    )


def facility(a, folder):
    from synthlab.select.coverage import greedy_facility

    e = embeddings(a.rows, a.dims)
    np.save(folder / "e.npy", e)
    job = dict(data=folder / "e.npy", k=a.k, m=64)

    def tell(s, idx):
        return s, dict(value=idx if isinstance(idx, str) else round(value(e, idx), 1))

    yield "ours", lambda: tell(*timed(lambda: greedy_facility(e, a.k, 64)[0]))
    yield "apricot", lambda: tell(*peer("apricot", **job))
    yield (
        "submodlib",
        lambda: tell(*(peer("submodlib", **job) if a.rows <= a.small else (None, SLOW))),
    )


def kcenter(a, folder):
    from synthlab.select.coverage import farthest_first

    e = embeddings(a.rows, a.dims)
    np.save(folder / "e.npy", e)
    first = farthest_first(e, 1)[0][0]

    def plain():
        out, close = [first], np.full(len(e), -2.0, np.float32)
        while len(out) < a.k:
            np.maximum(close, e @ e[out[-1]], out=close)
            close[out[-1]] = np.inf
            out.append(int(close.argmin()))
        return out

    def radius(idx):
        return float(
            np.sqrt(
                2
                - 2 * min((e[b : b + 4096] @ e[idx].T).max(1).min() for b in range(0, len(e), 4096))
            )
        )

    def tell(s, idx):
        return s, dict(radius=idx if isinstance(idx, str) else round(radius(idx), 4))

    yield "ours", lambda: tell(*timed(lambda: farthest_first(e, a.k)[0]))
    yield "numpy", lambda: tell(*timed(plain))
    yield (
        "submodlib",
        lambda: tell(
            *(
                peer("disparity", data=folder / "e.npy", k=a.k)
                if a.rows <= a.small
                else (None, SLOW)
            )
        ),
    )


def made_up(n, seed=0):
    "Rows of 40 to 120 words; a fifth are copies with one word changed"
    rng, out = random.Random(seed), []
    words = [f"{rng.getrandbits(30):x}"[: rng.randrange(3, 9)] for _ in range(20_000)]
    for i in range(n):
        if i % 5 == 4:
            w = out[rng.randrange(len(out))].split()
            w[rng.randrange(len(w))] = "changed"
        else:
            w = rng.choices(words, k=rng.randrange(40, 120))
        out.append(" ".join(w))
    return out


def minhash(a, folder):
    from synthlab.select.dedup import drop_near

    texts = made_up(a.texts)

    def put(name, ts):
        (folder / name).write_text("\n".join(map(json.dumps, ts)), "utf8")
        return folder / name

    whole, tenth = put("texts.jsonl", texts), put("tenth.jsonl", texts[: max(1, len(texts) // 10)])

    def tell(s, n, scale=1):
        return s and s * scale, dict(flagged=n) if scale == 1 else dict(flagged_in_a_tenth=n)

    yield "ours", lambda: tell(*timed(lambda: len(drop_near(texts, threshold=0).drops)))
    yield "rensa", lambda: tell(*peer("rensa", data=whole, n=5))
    yield "datasketch", lambda: tell(*peer("datasketch", data=tenth, n=5), 10)


def chats(n, prompter, seed=0):
    "Made-up conversations of very different lengths as items"
    from synthlab.select.base import make_item
    from synthlab.train.tokenize import encode_row

    rng, words = (
        random.Random(seed),
        [
            "please",
            "cancel",
            "my",
            "order",
            "of",
            "the",
            "blue",
            "lamp",
            "and",
            "refund",
            "it",
            "to",
            "the",
            "card",
            "that",
            "I",
            "used",
            "last",
            "week",
            "in",
            "winter",
        ],
    )

    def say(m):
        return " ".join(rng.choice(words) for _ in range(rng.randrange(m // 4, m)))

    def row():
        return [dict(role="user", content=say(80)), dict(role="assistant", content=say(40))] * 1

    return [make_item(encode_row(dict(messages=row()), prompter), id=str(i)) for i in range(n)]


def reader(a):
    from transformers import AutoTokenizer

    from synthlab.models.hub import Prompter, model_dir, quiet_transformers
    from synthlab.select.reader import Reader

    with quiet_transformers():
        prompter = Prompter(AutoTokenizer.from_pretrained(model_dir("smollm2")))
    return Reader("smollm2", "cpu"), prompter


def padded_losses(net, pairs, batch=16):
    "Mean loss of each (ids, labels) pair, in padded batches of similar length"
    import torch

    out = [0.0] * len(pairs)
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]))
    for b in range(0, len(order), batch):
        at = order[b : b + batch]
        width = max(len(pairs[i][0]) for i in at)

        def stack(of, fill, at=at, width=width):
            rows = [of(pairs[i]) for i in at]
            return torch.tensor([r + [fill] * (width - len(r)) for r in rows])

        ids, labels = stack(lambda p: p[0], 0), stack(lambda p: p[1], -100)
        mask = stack(lambda p: [1] * len(p[0]), 0)
        with torch.inference_mode():
            logits = net(input_ids=ids, attention_mask=mask).logits
        nll = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1),
            labels[:, 1:].flatten(),
            reduction="none",
            ignore_index=-100,
        )
        sums = nll.view(len(at), -1).sum(1).tolist()
        counts = (labels[:, 1:] != -100).sum(1).tolist()
        for i, total, n in zip(at, sums, counts):
            out[i] = total / n
    return out


def ifd(a, folder):
    import torch

    from synthlab.select.reader import target_perplexity, unconditional_perplexity

    r, prompter = reader(a)
    items = chats(a.reads, prompter)
    torch.set_num_threads(a.threads)

    def ours():
        r.kept.clear()
        told, alone = target_perplexity(items, r), unconditional_perplexity(items, r)
        return [x / y for x, y in zip(told, alone)]

    def plain():
        bare = [[t for t in x.labels if t != -100] for x in items]
        told = padded_losses(r.net, [(x.input_ids, x.labels) for x in items])
        alone = padded_losses(r.net, [(b, b) for b in bare])
        return [float(np.exp(p - q)) for p, q in zip(told, alone)]

    def tell(s, v):
        return s, dict(mean_ifd=round(float(np.mean(v)), 5))

    yield "ours", lambda: tell(*timed(ours))
    yield "transformers", lambda: tell(*timed(plain))


def less(a, folder):
    import torch

    from synthlab.select.less import WarmupCheckpoint, add_lora, gradient_features

    r, prompter = reader(a)
    items = chats(a.grads, prompter, 1)
    torch.set_num_threads(a.threads)
    add_lora(r, 4)
    r.net.save_pretrained(folder / "adapter")
    from synthlab.models.hub import model_dir

    (folder / "rows.jsonl").write_text(
        "\n".join(json.dumps(dict(ids=x.input_ids, labels=x.labels)) for x in items)
    )
    ws = [
        m.weight.detach().clone()
        for n, m in r.net.named_modules()
        if ".lora_" in n and hasattr(m, "weight")
    ]
    c = WarmupCheckpoint(ws, torch.zeros(sum(w.numel() for w in ws)), None, 1.0)
    job = dict(
        data=folder / "rows.jsonl",
        model=model_dir("smollm2"),
        adapter=folder / "adapter",
        dims=512,
        threads=a.threads,
    )
    yield (
        "ours",
        lambda: (lambda s, v: (s, dict(rows=len(v))))(
            *timed(lambda: gradient_features(r, items, c, False, 512))
        ),
    )
    for name in ("traker", "dattri"):
        yield name, lambda name=name: (lambda s, v: (s, dict(rows=v)))(*peer(name, **job))


BENCHES = dict(facility=facility, kcenter=kcenter, minhash=minhash, ifd=ifd, less=less)
SIZE = dict(facility="rows", kcenter="rows", minhash="texts", ifd="reads", less="grads")


def measure(name, a):
    "Rows of one comparison, and what each way answered"
    with tempfile.TemporaryDirectory() as tmp:
        ways = list(BENCHES[name](a, Path(tmp)))
        seconds, said = {w: [] for w, _ in ways}, {}
        for _ in range(a.repeats):
            for w, f in ways:
                if w in said and not seconds[w]:
                    continue
                s, said[w] = f()
                if s is not None:
                    seconds[w].append(s)
    n, ours, rows = getattr(a, SIZE[name]), seconds["ours"], []
    for w in (w for w, _ in ways if w != "ours"):
        peer = NAMES.get(w, w)
        if len(seconds[w]) == len(ours):
            rows.append(versus(WHAT[name], peer, ours, seconds[w], "s", n, head=True))
        else:
            rows.append(
                missing(
                    WHAT[name],
                    peer,
                    next(iter(said[w].values()), "no answer")
                    if not seconds[w]
                    else "failed in some repeats",
                )
            )
    return rows, dict(seconds=seconds, said=said)


if __name__ == "__main__":
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--only", nargs="*", choices=list(BENCHES), default=list(BENCHES))
    p.add_argument("--rows", type=int, default=100_000, help="embeddings")
    p.add_argument("--dims", type=int, default=384)
    p.add_argument("--small", type=int, default=2000, help="most embeddings for submodlib")
    p.add_argument("-k", type=int, default=1000, help="to choose of them")
    p.add_argument("--texts", type=int, default=200_000, help="for MinHash")
    p.add_argument("--reads", type=int, default=200, help="rows for IFD")
    p.add_argument("--grads", type=int, default=48, help="rows for LESS")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    a = options(p).parse_args()
    if a.quick:
        a.rows, a.k, a.texts, a.reads, a.grads, a.repeats = 500, 20, 500, 4, 2, 1
    rows, detail = [], {}
    for name in a.only:
        more, detail[name] = measure(name, a)
        rows += more
        print(
            f"{name}: {getattr(a, SIZE[name]):,} rows, {a.threads} threads",
            detail[name]["said"],
            flush=True,
        )
    sizes = {k: getattr(a, k) for k in ("rows", "dims", "k", "texts", "reads", "grads", "threads")}
    finish(a, "selection", rows, NOT_MEASURED, dict(detail, **sizes))
