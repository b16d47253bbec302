"""One job of bench/selection.py in another Python, where the peers are installed: reads a JSON job,
prints a JSON answer.

Each peer is called as its own documentation does, on the same data as ours: float32 unit vectors,
or texts. Only the work is timed, not the imports.
"""

import json
import sys
import time

import numpy as np


def apricot(job):
    """Its own neighbour graph has 64-bit indices, which its sparse loops refuse with today's scipy:
    the same graph with 32-bit ones
    """
    from apricot import FacilityLocationSelection
    from scipy.sparse import csr_matrix
    from sklearn.neighbors import NearestNeighbors

    e = np.load(job["data"])
    start = time.perf_counter()
    far, at = NearestNeighbors(n_neighbors=job["m"], algorithm="brute").fit(e).kneighbors(e)
    g = csr_matrix(
        (
            (1 - far.ravel() ** 2 / 2).clip(0),
            at.ravel().astype(np.int32),
            np.arange(0, at.size + 1, job["m"], dtype=np.int32),
        ),
        shape=(len(e), len(e)),
    )
    s = FacilityLocationSelection(job["k"], metric="precomputed", optimizer="lazy").fit(g)
    return time.perf_counter() - start, [int(i) for i in s.ranking]


def submodlib(job):
    from submodlib import FacilityLocationFunction

    e = np.load(job["data"])
    start = time.perf_counter()
    f = FacilityLocationFunction(
        n=len(e), mode="sparse", data=e, metric="cosine", num_neighbors=job["m"]
    )
    got = f.maximize(budget=job["k"], optimizer="LazyGreedy", show_progress=False)
    return time.perf_counter() - start, [int(i) for i, _ in got]


def disparity(job):
    """submodlib's max-min diversity, the function that farthest-first approximates; needs all
    similarities, so small pools only
    """
    from submodlib import DisparityMinFunction

    e = np.load(job["data"])
    start = time.perf_counter()
    f = DisparityMinFunction(n=len(e), mode="dense", data=e, metric="cosine")
    got = f.maximize(budget=job["k"], optimizer="NaiveGreedy", show_progress=False)
    return time.perf_counter() - start, [int(i) for i, _ in got]


def texts_of(job):
    return [json.loads(l) for l in open(job["data"], encoding="utf8")]


def shingles(text, n):
    w = text.lower().split()
    return [" ".join(w[i : i + n]) for i in range(max(1, len(w) - n + 1))]


def rensa(job):
    """Its bulk interface: token sets to a matrix of signatures, then which rows share a band; no
    pairs, no similarities
    """
    import rensa as r

    texts = texts_of(job)
    start = time.perf_counter()
    m = r.RMinHash.digest_matrix_from_token_sets([shingles(t, job["n"]) for t in texts], 112, 0)
    flags = r.RMinHashLSH((1 / 14) ** (1 / 8), 112, 14).query_duplicate_flags_matrix_one_shot(m)
    return time.perf_counter() - start, int(sum(flags))


def datasketch(job):
    from datasketch import MinHash, MinHashLSH

    texts = texts_of(job)
    start = time.perf_counter()
    lsh, drops = MinHashLSH(num_perm=112, params=(14, 8)), 0
    for i, m in enumerate(
        MinHash.generator(
            [[g.encode() for g in shingles(t, job["n"])] for t in texts], num_perm=112
        )
    ):
        if lsh.query(m):
            drops += 1
        else:
            lsh.insert(i, m)
    return time.perf_counter() - start, drops


def _lora(job):
    "The same adapter on the same weights, and the rows as padded tensors"
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(job["threads"])
    net = AutoModelForCausalLM.from_pretrained(
        job["model"], dtype=torch.float32, attn_implementation="eager"
    )
    net = PeftModel.from_pretrained(net, job["adapter"], is_trainable=True).eval()
    rows = texts_of(job)
    width = max(len(r["ids"]) for r in rows)

    def fill(k, v):
        return torch.tensor([r[k] + [v] * (width - len(r[k])) for r in rows])

    return (
        net,
        fill("ids", 0),
        fill("labels", -100),
        torch.tensor([[1] * len(r["ids"]) + [0] * (width - len(r["ids"])) for r in rows]),
    )


def _loss(out, labels):
    import torch

    return torch.nn.functional.cross_entropy(
        out[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100
    )


def _trak_loss():
    "TRAK's model output that is the loss itself"
    import torch
    from trak.modelout_functions import AbstractModelOutput

    class Loss(AbstractModelOutput):
        @staticmethod
        def get_output(model, weights, buffers, i, m, y):
            inputs = dict(input_ids=i[None], attention_mask=m[None])
            out = torch.func.functional_call(model, (weights, buffers), args=(), kwargs=inputs)
            return _loss(out.logits, y[None])

        @staticmethod
        def get_out_to_loss_grad(*a):
            raise NotImplementedError

    return Loss()


def traker(job):
    """TRAK's own featurizer over the adapter's weights.

    Per-sample gradients by torch.func, projected.
    """
    import torch
    from trak.gradient_computers import FunctionalGradientComputer
    from trak.projectors import BasicProjector, ProjectionType
    from trak.utils import vectorize

    net, ids, labels, mask = _lora(job)
    size = sum(p.numel() for p in net.parameters() if p.requires_grad)
    start = time.perf_counter()
    grads = FunctionalGradientComputer(
        net, _trak_loss(), grad_dim=size, dtype=torch.float32, device="cpu"
    )
    grads.func_weights = {n: p for n, p in net.named_parameters() if p.requires_grad}
    flat = []
    for a in range(0, len(ids), 4):
        batch = (ids[a : a + 4], mask[a : a + 4], labels[a : a + 4])
        flat.append(vectorize(grads.compute_per_sample_grad(batch), device="cpu").clone())
    project = BasicProjector(
        size, job["dims"], 0, ProjectionType.rademacher, "cpu", block_size=job["dims"]
    )
    out = project.project(torch.cat(flat), 0)
    return time.perf_counter() - start, len(out)


def dattri(job):
    "Per-sample gradients by torch.func, projected by dattri"
    import torch
    from dattri.func.projection import random_project

    net, ids, labels, mask = _lora(job)
    weights = {n: p.detach() for n, p in net.named_parameters() if p.requires_grad}
    rest = {n: p.detach() for n, p in net.named_parameters() if not p.requires_grad} | dict(
        net.named_buffers()
    )

    def loss(w, i, m, y):
        out = torch.func.functional_call(
            net, {**rest, **w}, args=(), kwargs=dict(input_ids=i[None], attention_mask=m[None])
        )
        return _loss(out.logits, y[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0, 0), randomness="same")
    start, out = time.perf_counter(), []
    for a in range(0, len(ids), 4):
        g = each(weights, ids[a : a + 4], mask[a : a + 4], labels[a : a + 4])
        out.append(torch.cat([v.flatten(1) for v in g.values()], 1))
    flat = torch.cat(out)
    done = random_project(
        flat, len(flat), job["dims"], 8, proj_seed=0, proj_type="rademacher", device="cpu"
    )(flat)
    return time.perf_counter() - start, len(done)


if __name__ == "__main__":
    job = json.load(sys.stdin)
    seconds, answer = globals()[job["peer"]](job)
    print("\n" + json.dumps(dict(seconds=seconds, answer=answer)))
