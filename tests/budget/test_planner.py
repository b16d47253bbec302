"""Plans: better than fixed policies where the theorem holds."""

import math

import numpy as np
import pytest

from synthlab.budget.planner import fit_pilot, plan
from synthlab.budget.schedules import (
    CONSTANT,
    LINEAR,
)
from synthlab.budget.theory import (
    Gaussian,
    expected_cost,
    fit_to_budget,
    optimal_schedule,
    reward_gap,
)
from tests.budget.common import settings_of


@pytest.mark.slow
def test_plans_beat_fixed_policies_where_the_theorem_holds():
    "200 random settings; half of them with a price for drawing"
    strict = 0
    for i, (w, T, rng) in enumerate(settings_of(200, seed=5)):
        c_g = 0.0 if i % 2 else float(rng.choice([0.1, 1.0, 5.0]))
        least = expected_cost(w, np.full(T, 3.0), c_g, 1)
        C = float(least * rng.uniform(1.5, 40))
        real = {
            k: float(reward_gap(w, fit_to_budget(w, q, C, c_g, 1, 1.0)))
            for k, q in dict(
                constant=np.ones(T), linear=np.arange(1.0, T + 1), exp=w.rho ** np.arange(T)
            ).items()
        }
        if i < 100:
            best = optimal_schedule(w, T, C, c_g, 1)
            assert expected_cost(w, best, c_g, 1) <= C * (1 + 1e-9)
            assert reward_gap(w, best) <= min(real.values()) + 1e-9, (w, T, C, c_g)
            if c_g:
                strict += reward_gap(w, best) < real["exp"] - 1e-12
        p = plan(C, c_g, 1, w, rounds=T)
        assert expected_cost(w, p.n, c_g, 1) <= C and all(k == int(k) >= 1 for k in p.n)
        assert all(p.model.gap(p.n) <= p.model.gap(n) + 1e-9 for n in p.others.values())
    assert strict == 50, "with a price for drawing, steeper than ρ is better, not just as good"


@pytest.mark.parametrize("d,kappa", [(1, 1.0), (2, 2.0), (4, 3.0)])
def test_growth_is_learned_from_a_noisy_pilot(d, kappa):
    w = Gaussian(d, 1.0, kappa, 4.0)
    rates = w.reward(w.moments([math.inf] * 6)[0])
    rng = np.random.default_rng(0)
    pilot = [dict(drawn=20_000, accepted=int(rng.binomial(20_000, p))) for p in rates]
    c = fit_pilot(pilot)
    assert (
        c.growth == pytest.approx(w.rho, rel=0.1)
        and c.best == pytest.approx(w.best, rel=0.1)
        and c.off < 3.5
    )


def test_a_plan_from_the_curve_is_close_to_the_plan_from_the_world():
    w, T, C = Gaussian(2, 1, 2, 18**0.5), 10, 30_000
    curve = [float(r) for r in w.reward(w.moments([math.inf] * T)[0][:-1])]
    a, b = plan(C, 2, 1, w, rounds=T), plan(C, 2, 1, curve, rounds=T)
    assert b.growth == pytest.approx(w.rho, rel=0.02) and reward_gap(
        w, fit_to_budget(w, b.n, C, 2, 1)
    ) < 1.01 * reward_gap(w, fit_to_budget(w, a.n, C, 2, 1))
    assert reward_gap(w, fit_to_budget(w, b.n, C, 2, 1)) < min(
        reward_gap(w, fit_to_budget(w, p.shape(T), C, 2, 1)) for p in (CONSTANT, LINEAR)
    )
