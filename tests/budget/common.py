"""Shared by the tests of budget."""

import numpy as np

from synthlab.budget.theory import (
    Gaussian,
    meets_theorem_3_1,
)


def settings_of(k, seed):
    "Random worlds with a number of rounds for which theorem 3.1's condition holds"
    rng, out = np.random.default_rng(seed), []
    while len(out) < k:
        w = Gaussian(
            int(rng.integers(1, 6)), rng.uniform(0.5, 2), rng.uniform(0.7, 4), rng.uniform(0, 4)
        )
        T = int(rng.integers(2, 26))
        if meets_theorem_3_1(w, T):
            out.append((w, T, rng))
    return out


def plain(rounds):
    "Rounds without wall times, which differ from run to run"
    return [(r.round, r.drawn, r.accepted, r.trained, r.cost, r.spent, r.scores) for r in rounds]


class Killed(BaseException):
    pass
