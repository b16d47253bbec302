"""The closed form against simulation, and the published behaviour."""

import numpy as np
import pytest

from synthlab.budget.theory import (
    Gaussian,
    best_rounds,
    expected_cost,
    fit_to_budget,
    plateau,
    reward_gap,
    simulate_rounds,
    simulate_samples,
)
from tests.budget.common import settings_of


@pytest.mark.slow
def test_closed_form_is_what_simulation_gives():
    """50 settings, literal rejection sampling: final reward and number of draws within three
    standard errors
    """
    far = []
    for i, (w, T, rng) in enumerate(settings_of(50, seed=11)):
        T = min(T, 8)
        n = [int(k) for k in rng.integers(3, 12, T)]
        p = simulate_samples(w, n, runs=1500, seed=i)
        for got, want in (
            (p.reward[:, -1], w.best - reward_gap(w, n)),
            (p.drawn.sum(1), expected_cost(w, n, 1, 0)),
        ):
            far.append(abs(got.mean() - want) / (got.std(ddof=1) / len(got) ** 0.5))
        assert (p.right == 1).all()
    assert len(far) == 100 and max(far) < 3


def test_exact_transitions_agree_too():
    w, n = Gaussian(3, 1.2, 1.5, 2.0), [5, 8, 13, 20]
    p = simulate_rounds(w, n, 20_000, seed=3)
    assert (
        abs(p.reward[:, -1].mean() - (w.best - reward_gap(w, n)))
        < 3 * p.reward[:, -1].std() / 20_000**0.5
    )
    assert (
        abs(p.drawn.sum(1).mean() - expected_cost(w, n, 1, 0))
        < 3 * p.drawn.sum(1).std() / 20_000**0.5
    )


def test_published_behaviour_of_the_toy():
    "The numbers this project derived from theorem 3.1 and 4.1, to the digits given"
    w, t = Gaussian(2, 1, 2, 18**0.5), np.arange(20)
    shapes = dict(constant=t * 0 + 1.0, linear=t + 1.0, rho=1.25**t, slow=1.1**t, double=2.0**t)
    got = {k: float(reward_gap(w, fit_to_budget(w, q, 1000))) for k, q in shapes.items()}
    assert w.best == pytest.approx(0.8) and w.rho == 1.25
    assert {k: f"{v:.5f}" for k, v in got.items() if k != "double"} == dict(
        constant="0.00724", linear="0.00436", rho="0.00330", slow="0.00422"
    )
    assert f"{got['double']:.3f}" == "0.109"
    for C, (T, g), (Tc, gc) in (
        (50, (14, 0.0569), (10, 0.0785)),
        (1000, (27, 0.00318), (17, 0.00672)),
        (20000, (41, 0.00016), (24, 0.00046)),
    ):
        a, b = (
            best_rounds(w, C, lambda T: 1.25 ** np.arange(T)),
            best_rounds(w, C, lambda T: np.ones(T)),
        )
        assert a == (T, pytest.approx(g, abs=6e-5 if C == 50 else 5.1e-6)) and b == (
            Tc,
            pytest.approx(gc, abs=6e-5 if C == 50 else 5.1e-6),
        )
    assert plateau(w, 10) == pytest.approx(float(reward_gap(w, [10] * 500)), abs=1e-12)
