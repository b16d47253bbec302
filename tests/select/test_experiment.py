"""The comparison of selectors: a pool whose truth is known, an examination that is greedy decoding,
results that survive a kill.
"""

import math
import random

import pytest
from conftest import needs_smollm2

from synthlab.select.base import Budget, take_until_budget
from synthlab.select.evaluation import (
    dedup_items,
    junk_counts,
    make_labelled_pool,
)
from synthlab.select.experiment import (
    fit_compute_law,
    fit_compute_laws,
    pareto_front,
    precision_rows,
    published_pareto,
    rank_pool,
    summarize_points,
    train_at_budgets,
)
from synthlab.select.registry import SelectorInputs
from tests.select.common import recipe

pytestmark = needs_smollm2


@pytest.mark.nightly
@pytest.mark.slow
def test_dedup_and_rds_reject_copies_and_other_trades():
    """The bar: at least .95 of them, even when as many rows are taken as there are distinct tasks
    in the wanted domain
    """
    pool = make_labelled_pool(40, 4, 12, seed=1)
    s = rank_pool("dedup + rds+", pool, SelectorInputs(pool.queries, "smollm2", dtype="bfloat16"))
    distinct = sum(x.info["what"] in ("verified", "rejected") for x in pool.items)
    for k in (distinct // 2, distinct):
        left = junk_counts(take_until_budget(s.idx, Budget(pool.items, k)), pool.items)
        assert 1 - sum(a for a, _ in left.values()) / sum(b for _, b in left.values()) >= 0.95
    assert junk_counts(dedup_items(pool.items), pool.items)["copies"][0] == 0
    assert junk_counts(range(len(pool.items)), pool.items)["copies"][0] == 20


def test_the_oracle_is_right_by_definition(pool, toy):
    s = rank_pool("verified only", pool, SelectorInputs(pool.queries, toy, embed="lexical"), 3)
    assert precision_rows({"verified only": s}, pool, 10)[0]["right"] == 1


def test_points_have_baselines_and_equal_budgets(pool, toy):
    orders = {("random", s): rank_pool("random", pool, None, s) for s in (0, 1)} | {
        ("longest", 0): rank_pool("longest", pool, None)
    }
    points = train_at_budgets(orders, pool, [3], [350], 2, recipe(toy))
    assert {p["method"] for p in points} == {"zero-shot", "all", "random", "longest"}
    assert all(
        p["rows"] == 3
        for p in points
        if p["unit"] == "rows" and p["method"] in ("random", "longest")
    )
    assert all(p["tokens"] <= 350 for p in points if p["unit"] == "tokens")
    found = {(r["method"], r["unit"]): r for r in summarize_points(points)}
    assert found["random", "rows"]["gain"].n == 0 and found["longest", "rows"]["gain"].n == 2 * sum(
        d["whole"] is not None for d in points[0]["decisions"]
    )
    assert all(r["why"].startswith("2 budgets") for r in fit_compute_laws(points))


def test_law_is_found_and_refused():
    rng = random.Random(1)

    def made(f):
        return [
            dict(k=c, seed=s, cost=c, value=f(c) + rng.gauss(0, 0.01))
            for s in range(6)
            for c in (0, 0.05, 0.2, 0.5, 1)
        ]

    law = fit_compute_law(made(lambda c: 0.8 * (1 - math.exp(-5 * c)) + 0.1), 0.9)
    assert (
        not law.why
        and law.rate.value == pytest.approx(5, abs=0.5)
        and law.start.value == pytest.approx(0.1, abs=0.03)
    )
    assert (
        fit_compute_law(made(lambda c: 0.3), 0.9).why
        and fit_compute_law(made(lambda c: 0.9), 0.9).why
    )


def test_front_of_published_points():
    names = [
        r["method"] for r in pareto_front([r for r in published_pareto() if "200" in r["pool"]])
    ]
    assert names[-1] == "RDS+" and names[0] == "balanced" and "LESS" not in names
