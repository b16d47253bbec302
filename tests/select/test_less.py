"LESS: gradients of all rows at once are those of each row, and features survive on disk"

import random

import numpy as np
import pytest
from conftest import installed, needs_smollm2

if not installed("peft"):
    pytest.skip("peft is not installed: pip install -e .[cpu] or .[gpu]", allow_module_level=True)
import torch

from synthlab.select.less import (
    adam_step,
    add_lora,
    gradient_features,
    less,
    row_gradients,
    warm_up,
)
from synthlab.select.reader import (
    Reader,
)
from tests.select.common import tossed, toy


def by_autograd(net, x):
    ws = [p for n, p in net.named_modules() if ".lora_" in n and hasattr(p, "weight")]
    net.zero_grad(set_to_none=True)
    net(torch.tensor([x.input_ids]), labels=torch.tensor([x.labels])).loss.backward()
    return torch.cat([p.weight.grad.flatten() for p in ws])


def check_gradients(reader, items):
    gen = torch.Generator().manual_seed(0)
    for n, m in reader.net.named_modules():
        if ".lora_" in n and hasattr(m, "weight"):
            m.weight.data.normal_(0, 0.05, generator=gen)
    want = torch.stack([by_autograd(reader.net, x) for x in items])
    got = row_gradients(reader, items)
    assert ((got - want).norm(dim=1) / want.norm(dim=1)).max() < 1e-3


@pytest.mark.slow
def test_batched_gradients_are_those_of_autograd_row_by_row():
    rng = random.Random(0)
    check_gradients(
        add_lora(Reader(toy(), "cpu"), 4), [tossed(rng.randrange(6, 30), rng) for _ in range(12)]
    )


@needs_smollm2
def test_batched_gradients_on_the_embedded_model(rows):
    check_gradients(add_lora(Reader("smollm2", "cpu"), 2), rows[:3])


def test_less_features_are_adams_steps_projected_row_by_row():
    rng = random.Random(1)
    items = [tossed(rng.randrange(8, 24), rng) for _ in range(10)]
    reader = add_lora(Reader(toy(), "cpu", batch=100), 4)
    (c,) = warm_up(reader, items[:6], 1, 1e-2, batch=3)
    got = gradient_features(reader, items, c, True, dims=64, seed=3)
    grads = torch.stack([by_autograd(reader.net, x) for x in items])
    g = torch.Generator().manual_seed(3 * 1_000_003)
    signs = torch.randint(0, 2, (len(c.m), 64), generator=g, dtype=torch.int8).double() * 2 - 1
    step = (0.9 * c.m + 0.1 * grads) / (0.999 * c.v + 0.001 * grads**2 + 1e-8).sqrt()
    assert torch.allclose(step, adam_step(grads, c))
    want = torch.nn.functional.normalize(step.double() @ signs, dim=1).numpy()
    assert np.abs(got - want).max() < 1e-3


def test_features_on_disk_survive_a_torn_file(tmp_path):
    rng = random.Random(2)
    items = [tossed(12, rng) for _ in range(6)]
    reader = add_lora(Reader(toy(), "cpu"), 2)
    (c,) = warm_up(reader, items[:4], 1, 1e-2)
    first = gradient_features(reader, items, c, False, 32, cache=tmp_path, block=2)
    files = sorted(tmp_path.glob("*/*.npz"))
    assert len(files) == 3
    files[0].write_bytes(files[0].read_bytes()[:50])
    assert np.allclose(
        gradient_features(reader, items, c, False, 32, cache=tmp_path, block=2), first, atol=1e-6
    )


def test_less_finds_the_kind_that_is_wanted():
    rng = random.Random(3)
    pool = [tossed(40, rng, 0, 30, source="low") for _ in range(30)] + [
        tossed(40, rng, 31, 61, source="high") for _ in range(30)
    ]
    want = [tossed(40, rng, 0, 30, source="task") for _ in range(6)]
    s = less(
        pool, 20, want, add_lora(Reader(toy(), "cpu"), 4), share=0.4, epochs=2, rate=1e-3, dims=256
    )
    assert sum(pool[i].source == "low" for i in s.idx) >= 18
