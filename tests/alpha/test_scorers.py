"""Scorers: their errors and how these are taken out of a rate."""

import numpy as np
import pytest
from conftest import installed

from synthlab.alpha.scorers import fit_threshold, rogan_gladen
from synthlab.core.stats import Estimate


def test_errors_of_the_scorer_are_taken_out_and_stay_in_the_interval():
    """Seen through a poor test the slope shrinks; corrected it is whole again; the 95 % interval
    holds the truth nearly as often
    """
    rng, held, n = np.random.default_rng(0), 0, 200
    for _ in range(n):
        sens, spec = (Estimate(rng.binomial(m, q) / m, n=m) for m, q in ((150, 0.87), (80, 0.76)))
        k = rng.binomial(300, 0.3 * 0.87 + 0.7 * 0.24)
        e = rogan_gladen(k / 300, 300, sens, spec, draws=400)
        held += e.lo <= 0.3 <= e.hi
    assert 0.90 <= held / n <= 1

    def score(ts):
        return np.array([float(t) for t in ts])

    c = fit_threshold(score, (["2", "3", "1"], ["-1", "0", ".5"]), (["2", ".7"], ["0", "1.5"]))
    assert 0.5 < c.threshold <= 1 and (c.sens.value, c.spec.value) == (0.5, 0.5)
    assert c([float("nan"), 3.0]) == [None, 1.0]


@pytest.mark.skipif(not installed("vaderSentiment"), reason="vaderSentiment is not installed")
def test_vader_says_what_vader_says():
    from synthlab.alpha.scorers import VaderScorer

    a, b, c = VaderScorer()(["It is GREAT!", "It is a box.", "It is awful."])
    assert a > 1 > 0 == b > -1 > c
