"Readers: counted compute, weights of embeddings, and what is read once"

import random

import numpy as np
import pytest
from conftest import installed, needs_smollm2

if not installed("peft"):
    pytest.skip("peft is not installed: pip install -e .[cpu] or .[gpu]", allow_module_level=True)
import torch

from synthlab.select.reader import (
    Reader,
    embed_rows,
    measure_flops,
    target_perplexity,
    training_flops,
)
from synthlab.select.registry import SelectorInputs, select
from tests.select.common import tossed, toy


@needs_smollm2
def test_rds_weights_grow_with_position(embedded, rows):
    for x, e in zip(rows, embed_rows([x.input_ids for x in rows], embedded)):
        with torch.no_grad():
            h = (
                embedded.net(torch.tensor([x.input_ids]), output_hidden_states=True)
                .hidden_states[-1][0]
                .double()
            )
        w = torch.arange(1, x.tokens + 1) / (x.tokens * (x.tokens + 1) / 2)
        want = (w[:, None] * h).sum(0)
        assert np.allclose(e, want / want.norm(), atol=1e-5)


@needs_smollm2
def test_what_was_read_is_not_read_again_and_costs_the_same(embedded, rows, monkeypatch):
    first = select("rds+", rows, 2, SelectorInputs(rows[:1], embedded.net))
    given = SelectorInputs(rows[:1])
    given.reader = embedded
    again = select("rds+", rows, 2, given)
    monkeypatch.setattr(embedded, "hidden", None)
    third = select("rds+", rows, 2, given)
    assert first.idx == again.idx == third.idx and first.flops == again.flops == third.flops > 0


@pytest.mark.slow
@needs_smollm2
def test_flops_by_formula_are_what_the_profiler_counts(embedded, rows):
    """Row by row, as padding is in no formula, with attention written out, as the counter does not
    see the fused kernel on a CPU
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fresh = Reader(embedded.net, "cpu", batch=1)
    ids = [x.input_ids for x in rows]
    with sdpa_kernel(SDPBackend.MATH):
        seen = (
            measure_flops(lambda: target_perplexity(rows, fresh))[1],
            measure_flops(lambda: embed_rows(ids, fresh))[1],
        )
    formula = fresh.flops(ids, sum(x.targets for x in rows)), fresh.flops(ids, 0)
    assert seen == pytest.approx(formula, rel=0.15)


@pytest.mark.slow
def test_training_flops_by_formula_are_what_the_profiler_counts():
    from synthlab.train.recipe import gather_target_logits

    net, rng = toy(attn_implementation="eager"), random.Random(4)
    x = tossed(60, rng)
    reader = Reader(net, "cpu")
    gather_target_logits(net)
    ids, labels = torch.tensor([x.input_ids]), torch.tensor([x.labels])
    seen = measure_flops(
        lambda: net(input_ids=ids, labels=labels, fused_lm_head=True)["nll"].mean().backward()
    )[1]
    assert seen == pytest.approx(
        training_flops(reader.arch, [x.tokens], logits=x.targets), rel=0.15
    )
