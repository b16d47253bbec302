"""Schedules in whole samples spend the budget and never more."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from synthlab.budget.schedules import (
    SHAPES,
    AdaptivePolicy,
    BudgetPolicy,
    whole_samples,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=30),
    st.floats(0.1, 1e6),
    st.integers(0, 3),
    st.data(),
)
def test_whole_schedules_spend_the_budget_and_never_more(shape, budget, least, data):
    price = data.draw(
        st.one_of(
            st.floats(0.01, 100),
            st.lists(st.floats(0.01, 100), min_size=len(shape), max_size=len(shape)),
        )
    )
    each = price if isinstance(price, list) else [price] * len(shape)
    if max(shape) < 1e-6 or least * sum(each) > budget:
        return
    n = whole_samples(shape, budget, price, least)
    spent = math.fsum(k * w for k, w in zip(n, each))
    assert spent <= budget and budget - spent < min(each) + 1e-9 and min(n) >= least
    if not isinstance(price, list) and shape == sorted(shape):
        assert n == sorted(n)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(SHAPES)), st.floats(0, 3), st.integers(1, 40))
def test_policies_grow_and_spend_all(kind, rate, rounds):
    p = BudgetPolicy(kind, rate)
    assert p.shape(rounds) == sorted(p.shape(rounds))
    left, spent = 1.0, []
    for _ in range(rounds):
        spent.append(left * p.share(rounds, spent))
        left -= spent[-1]
    assert abs(left) < 1e-9 and all(a <= b * (1 + 1e-6) + 1e-12 for a, b in zip(spent, spent[1:]))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 1)), max_size=10),
    st.floats(0.01, 100),
    st.floats(0, 100),
)
def test_adaptive_shares_are_shares(seen, c_g, c_t):
    class R:
        pass

    rounds = []
    for n, p in seen:
        r = R()
        r.drawn, r.accepted = n, int(n * p)
        rounds.append(r)
    a = AdaptivePolicy(c_g, c_t)
    assert 0 < a.share(len(rounds) + 3, rounds) < 1 and a.share(len(rounds) + 1, rounds) == 1
