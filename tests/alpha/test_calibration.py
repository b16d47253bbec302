"""Calibration: known dials have known numbers."""

import math

import numpy as np
import pytest

from synthlab.alpha.calibration import (
    InverseCalibration,
    between_prompt_share,
    bimodality,
    calibration_metrics,
    control_curve,
    isotonic_fit,
    side_effects,
    variance_ratio,
)
from synthlab.alpha.experiment import calibrated_settings, exact_label_curve
from synthlab.core.stats import Estimate


def test_perplexity_is_the_mean_over_texts_that_have_one():
    (row,) = side_effects(
        [dict(alpha=0.5, text="fine", ppl=p) for p in (4.0, 16.0, math.nan)], set()
    )
    assert row["ppl"] == pytest.approx(8.0) and row["n"] == 3


def samples(chance, n=400, tilt=0.0, seed=0):
    "Scored samples of a dial whose behaviour is known"
    rng = np.random.default_rng(seed)
    lean = {t: rng.choice([-tilt, tilt]) for t in "abcdefgh"}
    return [
        dict(alpha=round(a, 2), topic=t, a=float(rng.random() < np.clip(chance(a) + lean[t], 0, 1)))
        for a in np.linspace(0, 1, 11)
        for t in "abcdefgh"
        for _ in range(n // 8)
    ]


def test_known_dials_have_the_known_numbers():
    good, timid, stuck = (
        calibration_metrics(control_curve(samples(f)))
        for f in (lambda a: a, lambda a: 0.5 + 0.4 * (a - 0.5), lambda a: 0.5)
    )
    assert (
        good["mae"].value < 0.03
        and abs(good["slope"].value - 1) < 0.05
        and good["spearman"].value > 0.98
    )
    assert (
        abs(timid["slope"].value - 0.4) < 0.05
        and abs(timid["mae"].value - 0.6 * 0.273) < 0.03
        and timid["spearman"].value > 0.9
    )
    assert abs(stuck["mae"].value - 0.273) < 0.02 and abs(stuck["slope"].value) < 0.06
    assert timid["slope"].lo < 0.4 < timid["slope"].hi


def test_mixture_and_intensity_are_told_apart():
    rng = np.random.default_rng(0)
    a, b = rng.normal(2, 0.8, 800), rng.normal(-2, 0.8, 800)
    for alpha in (0.3, 0.5, 0.7):
        coin = np.where(rng.random(600) < alpha, rng.normal(2, 0.8, 600), rng.normal(-2, 0.8, 600))
        warm = rng.normal(4 * alpha - 2, 0.8, 600)
        r, s = variance_ratio(coin, a, b, alpha), variance_ratio(warm, a, b, alpha)
        assert (
            0.85 < r.value < 1.15
            and r.half < 0.15
            and s.hi < 0.4
            and bimodality(coin).lo > 5 / 9 > bimodality(warm).hi
        )
    within, across = (
        between_prompt_share(samples(lambda a: a)),
        between_prompt_share(samples(lambda a: a, tilt=1.0)),
    )
    assert within[5]["value"] < 0.1 and across[5]["value"] > 0.9


def test_a_bent_dial_is_made_straight_on_other_settings():
    def bend(a):
        return 0.1 + 0.7 * a**2

    fit = control_curve(samples(bend, 2000))
    asked = {w: InverseCalibration(fit)(w) for w in (0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75)}
    assert max(abs(bend(x) - w) for w, x in asked.items()) < 0.04
    assert isotonic_fit([3, 1, 2], [1, 1, 2]) == [2, 2, 2] and isotonic_fit([]) == []
    exact = [dict(alpha=a, topic="t", p=a) for a in np.linspace(0, 1, 11).round(2)]
    told = [
        dict(said=[k], a=float(k == 0), alpha=0.5, topic="t") for k in (0, 1) for _ in range(50)
    ]

    class Perfect:
        sens = spec = Estimate(1.0, n=10**6)

    class J:
        tested = Perfect

    pts = exact_label_curve(exact, told, J)
    assert calibrated_settings(pts, [0.25, 0.85]) == pytest.approx(
        {0.25: 0.25, 0.85: 0.85}, abs=0.01
    )
    assert calibrated_settings([dict(alpha=0.0, value=math.nan, n=0)], [0.3]) == {0.3: 0.3}
