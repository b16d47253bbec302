"""Baselines: the router and fixed mixtures."""

from synthlab.alpha.baselines import coin_flip_router, fixed_mixture_rows
from synthlab.alpha.calibration import (
    calibration_metrics,
    control_curve,
)


def test_the_router_is_calibrated_and_fixed_mixes_are_exact(pools):
    ends = [dict(alpha=float(k), topic="t", a=float(k)) for k in (0, 1)]
    c = calibration_metrics(
        control_curve(coin_flip_router(ends, [round(i / 10, 1) for i in range(11)], 500))
    )
    assert c["mae"].value < 0.03 and c["spearman"].value > 0.97
    assert sum(r["end"] == [0] for r in fixed_mixture_rows(pools, 0.3, 200)) == 60
