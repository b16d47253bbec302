"Packing rows into blocks"

import random

import pytest
from conftest import installed

from synthlab.train.recipe import pack

if not installed("trl"):
    pytest.skip("trl is not installed: pip install -e .[cpu] or .[gpu]", allow_module_level=True)


def test_packing_keeps_rows_whole():
    r = random.Random(0)
    for size in (64, 200):
        lengths = [r.randint(1, 100) for _ in range(400)]
        blocks = pack(lengths, size)
        assert sorted(i for b in blocks for i in b) == list(range(400))
        assert all(len(b) == 1 or sum(lengths[i] for i in b) <= size for b in blocks)
    assert len(pack(lengths, 200)) <= 1.05 * sum(lengths) / 200 + 1
