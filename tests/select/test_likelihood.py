"Likelihoods are what transformers computes row by row"

import math

import pytest
from conftest import installed, needs_smollm2

if not installed("peft"):
    pytest.skip("peft is not installed: pip install -e .[cpu] or .[gpu]", allow_module_level=True)
import torch

from synthlab.select.likelihood import ifd
from synthlab.select.reader import (
    target_perplexity,
    unconditional_perplexity,
)


def plain_loss(net, ids, labels):
    with torch.no_grad():
        return net(torch.tensor([ids]), labels=torch.tensor([labels])).loss.item()


def bare(x):
    return [t for t in x.labels if t != -100]


@pytest.mark.slow
@needs_smollm2
def test_perplexity_and_ifd_are_what_transformers_computes_row_by_row(embedded, rows):
    net = embedded.net
    whole = [math.exp(plain_loss(net, x.input_ids, x.labels)) for x in rows]
    without = [math.exp(plain_loss(net, bare(x), bare(x))) for x in rows]
    assert target_perplexity(rows, embedded) == pytest.approx(whole, rel=1e-4)
    assert unconditional_perplexity(rows, embedded) == pytest.approx(without, rel=1e-4)
    s = ifd(rows, 3, embedded)
    assert s.score == pytest.approx([a / b for a, b in zip(whole, without)], rel=1e-4)
    assert (
        s.idx
        == sorted((i for i in range(len(rows)) if s.score[i] < 1), key=lambda i: -s.score[i])[:3]
    )
