"Coverage: greedy and farthest-first are the exact ones"

import numpy as np
import pytest
from conftest import installed

from synthlab.core.text import normalize_rows
from synthlab.select.coverage import farthest_first, greedy_facility, nearest_neighbours

if not installed("peft"):
    pytest.skip("peft is not installed: pip install -e .[cpu] or .[gpu]", allow_module_level=True)

from tests.select.common import value


def greedy(e, k):
    "Facility location, every candidate looked at every time"
    s, best, out = np.maximum(normalize_rows(e) @ normalize_rows(e).T, 0), 0, []
    for _ in range(k):
        out.append(int(np.maximum(s - best, 0).sum(1).argmax()))
        best = np.maximum(best, s[out[-1]])
    return out


def lumpy(n, d, seed, spread=0.6):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (12, d))[rng.integers(0, 12, n)] + rng.normal(0, spread, (n, d))


@pytest.mark.parametrize("seed", range(3))
def test_facility_location_is_within_a_percent_of_the_exact_greedy(seed):
    e = lumpy(500, 16, seed)
    exact = value(e, greedy(e, 40))
    assert value(e, greedy_facility(e, 40)[0]) >= 0.99 * exact
    assert value(e, greedy_facility(e, 40, m=150)[0]) >= 0.97 * exact, "neighbours only"


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_farthest_first_is_the_plain_one_whatever_the_block(block):
    e = normalize_rows(lumpy(300, 8, 5))
    order, dist = farthest_first(e, 60, seed=2, block=block)
    want = [order[0]]
    while len(want) < 60:
        want.append(int((e @ e[want].T).max(1).argmin()))
    assert order == want
    assert dist[1:] == pytest.approx(
        [np.linalg.norm(e[want[:t]] - e[want[t]], axis=1).min() for t in range(1, 60)], abs=1e-3
    )


@pytest.mark.parametrize("block", [50, 4096])
def test_neighbours_are_the_nearest(block):
    e = normalize_rows(lumpy(400, 8, 6))
    at, cos = nearest_neighbours(e, 10, block)
    s = e @ e.T
    assert np.allclose(np.sort(cos, 1), np.maximum(np.sort(s, 1)[:, -10:], 0), atol=1e-5)
    assert np.allclose(np.take_along_axis(s, at, 1).clip(0), cos, atol=1e-5)
