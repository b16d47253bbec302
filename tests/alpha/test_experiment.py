"""The rows that the study trains on."""

from synthlab.alpha.data import (
    toy_reviews,
)
from synthlab.alpha.experiment import dial_rows
from synthlab.alpha.mixture import (
    POSITIVE,
    alpha_grid,
)


def test_a_study_trains_on_what_it_says(pools):
    class J:
        parts, topics, pools, attribute = dict(model=toy_reviews()), ["the camera"], None, POSITIVE

    J.pools = pools
    inner = dial_rows(J, "mixture", 60, held=[0.5], span=(0.2, 0.8))
    assert {r["alpha"][0] for r in inner} <= {
        a for a in alpha_grid((0.5,)) if 0.2 <= a <= 0.8
    } and len(inner) == 60
