"""stats against independent references: scipy, closed forms, brute force over all draws, and
measured coverage
"""

import gzip
import json
import math
from itertools import combinations

import numpy as np
import pytest
from conftest import DATA, needs_data
from hypothesis import given, settings
from hypothesis import strategies as st

from synthlab.core.stats import (
    Estimate,
    bootstrap,
    mean_estimate,
    paired_difference,
    pass_curve,
    pass_k,
    rate,
    wilson,
)

scipy_stats = pytest.importorskip("scipy.stats")
nan = math.nan


@given(
    st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.sampled_from([0.8, 0.95, 0.99]),
)
def test_wilson_is_scipys(kn, level):
    k, n = kn
    ci = scipy_stats.binomtest(k, n).proportion_ci(level, "wilson")
    e = wilson(k, n, level)
    assert (e.value, e.n) == (k / n, n)
    assert e.lo == pytest.approx(ci.low, abs=1e-9) and e.hi == pytest.approx(ci.high, abs=1e-9)
    assert 0 <= e.lo <= e.value <= e.hi <= 1


@pytest.mark.parametrize("k,n", [(-1, 3), (4, 3), (nan, 3)])
def test_wilson_refuses_impossible_counts(k, n):
    with pytest.raises(ValueError, match="0 <= k <= n"):
        wilson(k, n)


def test_nothing_gives_nan_and_n_0():
    for e in (
        wilson(0, 0),
        rate([]),
        rate([nan, None]),
        bootstrap([None]),
        paired_difference([nan], [1.0]),
        pass_k({}, 1),
    ):
        assert math.isnan(e.value) and math.isnan(e.lo) and math.isnan(e.hi) and e.n == 0
    assert pass_curve({}) == {} and pass_curve({"a": [None]}, "drop_infra") == {}


@pytest.mark.parametrize("level", [0, 1, 95])
def test_level_is_a_probability(level):
    for f in (lambda: wilson(1, 2, level), lambda: bootstrap([1, 2], level=level)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            f()


rows = st.lists(st.sampled_from([True, False, 1.0, 0.0, None, nan]), max_size=60)


@given(rows)
def test_rate_leaves_unscored_rows_out(xs):
    kept = [bool(x) for x in xs if x is not None and x == x]
    assert rate(xs) == (wilson(sum(kept), len(kept)) if kept else Estimate())


@given(st.lists(st.booleans(), min_size=2, max_size=40), st.integers(1, 5))
def test_repeating_every_row_adds_no_information(xs, r):
    many, one = (
        rate([x for x in xs for _ in range(r)], [i for i in range(len(xs)) for _ in range(r)]),
        rate(xs),
    )
    assert many.n == r * len(xs) and many.value == one.value
    if r > 1 and 0 < sum(xs) < len(xs):
        want = wilson(one.value * (len(xs) - 1), len(xs) - 1)
        assert (many.lo, many.hi) == pytest.approx((want.lo, want.hi))
    elif r == 1 or sum(xs) in (0, len(xs)):
        assert (many.lo, many.hi) == pytest.approx((one.lo, one.hi))


def test_groups_must_fit_the_rows():
    for f in (rate, bootstrap):
        with pytest.raises(ValueError, match="2 for 3 rows"):
            f([1, 0, 1], groups=["a", "b"])


def exact_mean_quantiles(xs, level):
    "Quantiles of the bootstrap mean over all len(xs)**len(xs) resamples"
    grids = np.meshgrid(*[np.array(xs, float)] * len(xs))
    return np.quantile(sum(grids).ravel() / len(xs), [(1 - level) / 2, (1 + level) / 2])


@pytest.mark.parametrize(
    "xs", [[1.0, 2.0, 4.0, 8.0, 16.0], [0.0, 0.0, 1.0, 1.0, 1.0], [-3.0, 5.0, 5.5, 7.0, 100.0]]
)
def test_bootstrap_mean_against_every_resample(xs):
    e, (lo, hi) = bootstrap(xs, draws=40_000, level=0.8), exact_mean_quantiles(xs, 0.8)
    scale = np.std(xs) / 20
    assert (
        e.value == pytest.approx(np.mean(xs)) and abs(e.lo - lo) < scale and abs(e.hi - hi) < scale
    )


def test_bootstrap_of_a_statistic_agrees_with_its_mean_path_and_scipy():
    xs = np.random.default_rng(0).gamma(2, size=60)
    a, b = bootstrap(xs, draws=4000), bootstrap(xs, np.mean, draws=4000)
    ref = scipy_stats.bootstrap(
        (xs,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(0)
    ).confidence_interval
    for e in (a, b):
        assert (e.lo, e.hi) == pytest.approx((ref.low, ref.high), abs=0.05)


def test_clusters_are_resampled_whole():
    "Clusters of unequal size: the bootstrap mean over all draws of 3 clusters, counted by hand"
    xs, groups = [1.0, 1.0, 1.0, 1.0, 0.0, 5.0], list("aaaabc")
    tot, cnt = {"a": 4.0, "b": 0.0, "c": 5.0}, {"a": 4, "b": 1, "c": 1}
    import itertools

    all27 = [
        sum(tot[g] for g in d) / sum(cnt[g] for g in d) for d in itertools.product("abc", repeat=3)
    ]
    for stat in (None, np.mean):
        e = bootstrap(xs, stat, groups, level=0.8, draws=20_000)
        assert (e.lo, e.hi) == pytest.approx(
            tuple(np.quantile(all27, [0.1, 0.9])), abs=1e-9
        ) and e.n == 6


def test_bootstrap_is_repeatable_and_one_cluster_has_no_interval():
    xs, four = np.random.default_rng(0).gamma(1, size=30), [1.0, 5.0, 2.0, 9.0]
    assert bootstrap(xs, seed=3) == bootstrap(xs, seed=3) != bootstrap(xs, seed=4)
    one = bootstrap(four, groups=[0] * 4)
    assert one.value == 4.25 and math.isnan(one.lo) and one.n == 4


@pytest.mark.parametrize("icc", [0.05, 0.5, 0.9])
def test_clustered_intervals_cover(icc):
    "Beta-binomial trials: 40 tasks, 4 trials, success .3"
    rng, task, a = np.random.default_rng(7), np.repeat(np.arange(40), 4), (1 - icc) / icc
    hits = {"rate": 0, "bootstrap": 0}
    for _ in range(400):
        xs = (rng.random((40, 4)) < rng.beta(0.3 * a, 0.7 * a, 40)[:, None]).ravel()
        for name, e in (
            ("rate", rate(xs, task)),
            ("bootstrap", bootstrap(xs, groups=task, draws=500)),
        ):
            hits[name] += e.lo <= 0.3 <= e.hi
    assert hits["rate"] / 400 > 0.92 and hits["bootstrap"] / 400 > 0.90


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=20))
@settings(max_examples=25)
def test_paired_is_the_mean_of_differences(pairs):
    a, b = zip(*pairs)
    e = paired_difference(a, b)
    binary = all(x in (0, 1) for pair in pairs for x in pair)
    assert binary or str(e) == str(mean_estimate([x - y for x, y in pairs]))
    back = paired_difference(b, a)
    want = (-e.value, -e.hi, -e.lo)
    assert (back.value, back.lo, back.hi) == pytest.approx(want, abs=1e-9, nan_ok=True)


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=30), st.sampled_from([0.8, 0.95]))
def test_a_mean_has_scipys_t_interval(xs, level):
    e = mean_estimate(xs, level=level)
    if math.isnan(e.lo):
        assert np.std(xs) < 1e-9
        return
    ref = scipy_stats.ttest_1samp(xs, 0).confidence_interval(level)
    assert (e.value, e.n) == (pytest.approx(np.mean(xs)), len(xs))
    assert (e.lo, e.hi) == pytest.approx((ref.low, ref.high), rel=1e-6, abs=1e-6)


def test_too_little_gives_no_interval():
    for e in (mean_estimate([1.0, 2.0]), mean_estimate([0.5] * 9), mean_estimate([3, 4], "aa")):
        assert not math.isnan(e.value) and math.isnan(e.lo) and math.isnan(e.hi)
    inside = mean_estimate([0.9, 1.0, 1.0, 1.0], within=(0.0, 1.0))
    assert inside.hi == 1.0 and inside.lo < inside.value


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 8, 20, 50])
def test_intervals_of_few_cover(n):
    "Shares over tasks of four trials, and their paired differences, 600 experiments each"
    rng = np.random.default_rng(n)
    hit = dict(mean=0, paired=0, pass_k=0)
    for _ in range(600):
        p = rng.beta(2, 2, n)
        one, two = (rng.random((n, 4)) < p[:, None] for _ in range(2))
        task = np.repeat(np.arange(n), 4)
        e = mean_estimate(rng.normal(1, 2, n))
        hit["mean"] += e.lo <= 1 <= e.hi
        e = paired_difference(one.ravel(), two.ravel(), task)
        hit["paired"] += e.lo <= 0 <= e.hi
        e = pass_k({i: list(map(bool, r)) for i, r in enumerate(one)}, 1)
        hit["pass_k"] += e.lo <= 0.5 <= e.hi
    assert all(v / 600 > 0.92 for v in hit.values()), hit


def test_shares_that_never_differ_are_not_surely_equal():
    "None of n pairs differs: by Wilson, fewer than so many do"
    same = [1, 1, 1, 0, 0, 1, 0, 1]
    e = paired_difference(same, same)
    assert (e.value, e.lo, e.hi, e.n) == (0, -wilson(0, 8).hi, wilson(0, 8).hi, 8)
    clustered = paired_difference(same, same, [0, 0, 1, 1, 2, 2, 3, 3])
    assert clustered.hi == wilson(0, 4).hi
    won = paired_difference([1] * 8, [0] * 8)
    assert won.value == won.hi == 1 and won.lo == 1 - 2 * wilson(0, 8).hi
    lost = paired_difference([0] * 8, [1] * 8)
    assert (lost.lo, lost.hi) == (-1, -won.lo)


def test_paired_drops_pairs_with_an_unscored_side():
    assert paired_difference([1, nan, 3, 4], [0, 0, None, 1]).n == 2
    with pytest.raises(ValueError, match="got 2 and 1"):
        paired_difference([1, 2], [1])


trials = st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=6)


@given(
    st.dictionaries(st.integers(), trials, min_size=1, max_size=6),
    st.sampled_from(["all", "drop_infra"]),
)
@settings(max_examples=60)
def test_pass_k_is_the_share_of_draws_that_all_succeed(success, convention):
    kept = {
        t: [bool(x) for x in xs if x is not None or convention == "all"]
        for t, xs in success.items()
    }
    kept = {t: xs for t, xs in kept.items() if xs}
    curve = pass_curve(success, convention)
    assert len(curve) == min(map(len, kept.values()), default=0)
    for k, e in curve.items():
        want = np.mean([np.mean([all(d) for d in combinations(xs, k)]) for xs in kept.values()])
        assert e.value == pytest.approx(want) and e.n == len(kept)
    assert all(
        a.value >= b.value - 1e-12 for a, b in zip(list(curve.values()), list(curve.values())[1:])
    )


def test_conventions_and_unscored_trials():
    s = {"a": [True, None], "b": [True, nan, False]}
    assert pass_k(s, 1).value == 0.5 and pass_k(s, 1, "drop_infra").value == 0.75
    with pytest.raises(ValueError, match="the fewest are 1"):
        pass_k(s, 2, "drop_infra")
    with pytest.raises(ValueError, match="drop_infra"):
        pass_k(s, 1, "drop")
    with pytest.raises(ValueError, match="k >= 1"):
        pass_k(s, 0)


def test_unanimous_tasks_still_have_an_interval():
    e = pass_k({i: [True, True] for i in range(20)}, 2)
    assert e == wilson(20, 20) and e.lo < 0.9


@needs_data
def test_published_tau_bench_run():
    "gpt-4o, τ-bench airline, 50 tasks x 4 trials: pass^1..4 as its authors report"
    s = {}
    with gzip.open(DATA / "tau1_runs" / "gpt-4o_airline_4trials.json.gz") as f:
        runs = json.load(f)
    for d in runs:
        s.setdefault(d["task_id"], []).append(d["reward"] == 1)
    curve = pass_curve(s)
    assert [round(e.value, 3) for e in curve.values()] == [0.420, 0.273, 0.220, 0.200]
    assert all(e.n == 50 and e.lo < e.value < e.hi for e in curve.values())
