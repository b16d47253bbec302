"Budget theory against simulation, plans against fixed policies, and the loop against being killed."

import math

import numpy as np
import pytest
from conftest import needs_smollm2
from hypothesis import given, settings
from hypothesis import strategies as st

from synthlab.budget.planner import fit_pilot, plan
from synthlab.budget.schedules import (
    CONSTANT,
    LINEAR,
    SHAPES,
    AdaptivePolicy,
    BudgetPolicy,
    whole_samples,
)
from synthlab.budget.theory import (
    Gaussian,
    best_rounds,
    expected_cost,
    fit_to_budget,
    meets_theorem_3_1,
    optimal_schedule,
    plateau,
    reward_gap,
    simulate_rounds,
    simulate_samples,
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


def plain(rounds):
    "Rounds without wall times, which differ from run to run"
    return [(r.round, r.drawn, r.accepted, r.trained, r.cost, r.spent, r.scores) for r in rounds]


KW = dict(budget=400, rounds=3, c_g=1, c_t=3, chunk=60)


class Killed(BaseException):
    pass


def breaking(monkeypatch, at):
    """Everything that the loop does to the world or to the disk raises at the `at`-th time: before
    it, or after it
    """
    import os

    from synthlab.budget import bootstrap

    count = [0]

    def wrap(f):
        def g(*a, **k):
            count[0] += 1
            if count[0] == at:
                raise Killed
            out = f(*a, **k)
            count[0] += 1
            if count[0] == at:
                raise Killed
            return out

        return g

    for name in ("generate", "verify", "update", "evaluate", "save", "load"):
        monkeypatch.setattr(
            bootstrap.GaussianTask, name, wrap(getattr(bootstrap.GaussianTask, name))
        )
    monkeypatch.setattr(bootstrap, "write_jsonl", wrap(bootstrap.write_jsonl))
    monkeypatch.setattr(os, "replace", wrap(os.replace))
    monkeypatch.setattr(bootstrap.shutil, "rmtree", wrap(bootstrap.shutil.rmtree))
    return count


def test_killed_at_each_and_every_step_and_resumed(tmp_path):
    "The same rounds, whatever the step at which it was killed; then killed again while resuming"
    from synthlab.budget.bootstrap import GaussianTask, run_bootstrap

    policy = AdaptivePolicy(1, 3)
    whole_run = plain(run_bootstrap(GaussianTask(), policy, **KW))
    assert (
        plain(run_bootstrap(GaussianTask(), policy, folder=tmp_path / "undisturbed", **KW))
        == whole_run
    )
    at, steps = 0, 0
    while True:
        at += 1
        for k in (at, at + 3):
            with pytest.MonkeyPatch.context() as mp:
                breaking(mp, k)
                try:
                    run_bootstrap(GaussianTask(), policy, folder=tmp_path / f"{at}", **KW)
                except Killed:
                    continue
                break
        if at % 7 == 0 and (f := next((tmp_path / f"{at}").glob("draws-*"), None)):
            f.write_text(f.read_text() + '{"drawn": 3, "ke')
        assert (
            plain(run_bootstrap(GaussianTask(), policy, folder=tmp_path / f"{at}", **KW))
            == whole_run
        ), f"killed at step {at}"
        with pytest.MonkeyPatch.context() as mp:
            count = breaking(mp, 10**9)
            run_bootstrap(
                GaussianTask(), policy, folder=tmp_path / f"count-{at}", **KW
            ) if at == 1 else None
            steps = count[0] if at == 1 else steps
        if at > steps:
            break
    assert at > 40


SLOW = """
import sys, time
from synthlab.budget.bootstrap import GaussianTask, run_bootstrap
from synthlab.budget.schedules import LINEAR
class Slow(GaussianTask):
    def generate(self, n, seed): time.sleep(.02); return super().generate(n, seed)
run_bootstrap(Slow(), LINEAR, budget=400, rounds=3, c_g=1, c_t=3, chunk=60, folder=sys.argv[1])
"""


def test_a_killed_process_loses_nothing(tmp_path):
    import subprocess
    import sys
    import time

    from synthlab.budget.bootstrap import GaussianTask, run_bootstrap

    class Slow(GaussianTask):
        pass

    kills = 0
    for i in range(40):
        p = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path / "run")])
        deadline, seen = time.monotonic() + 20, None
        while p.poll() is None and time.monotonic() < deadline:
            now = sorted(f.name for f in tmp_path.glob("run/*"))
            if seen is None:
                seen = now
            if now != seen and i < 3:
                p.kill()
                break
            time.sleep(0.01)
        kills += p.wait() == -9
        if p.returncode == 0:
            break
    assert kills >= 2 and p.returncode == 0
    assert plain(run_bootstrap(Slow(), LINEAR, folder=tmp_path / "run", **KW)) == plain(
        run_bootstrap(Slow(), LINEAR, **KW)
    )


@settings(max_examples=30, deadline=None)
@given(
    st.floats(5, 3000),
    st.integers(1, 9),
    st.sampled_from([0.0, 0.5, 1.0, 7.0]),
    st.sampled_from([0.5, 1.0, 12.0]),
    st.integers(0, 10**6),
    st.sampled_from([CONSTANT, LINEAR, BudgetPolicy(rate=0.6), AdaptivePolicy()]),
    st.integers(20, 500),
)
def test_the_loop_never_exceeds_its_budget(budget, rounds, c_g, c_t, seed, policy, chunk):
    from synthlab.budget.bootstrap import GaussianTask, run_bootstrap

    done = run_bootstrap(GaussianTask(), policy, budget, rounds, c_g, c_t, seed, chunk=chunk)
    spent = [r.spent for r in done]
    assert spent[-1] <= budget + 1e-9 and spent == sorted(spent) and len(done) == rounds + 1
    assert math.fsum(c_g * r.drawn + c_t * r.trained for r in done) == pytest.approx(spent[-1])
    if budget > 50 * (c_g + c_t):
        assert spent[-1] > 0.95 * budget
    assert all(r.trained <= r.accepted <= r.drawn for r in done)


def test_policies_are_compared_at_equal_cost_on_the_same_seeds():
    from synthlab.budget.bootstrap import (
        GaussianTask,
        choose_growth_rate,
        compare_policies,
        policy_differences,
    )

    kw = dict(budget=2000, rounds=20, c_g=1, c_t=3)
    rate, tried = choose_growth_rate(GaussianTask(), [0.1, 0.25, 2.0], range(50, 60), **kw)
    rows = compare_policies(
        GaussianTask(), [CONSTANT, LINEAR, BudgetPolicy(rate=rate)], range(30), **kw
    )
    ends = [r["spent"] for r in rows if r["round"] == 20]
    assert rate != 2.0 and len(tried) == 3 * 10 * 21 and max(ends) - min(ends) < 20
    (lin, exp) = policy_differences(rows)
    assert lin["n"] == exp["n"] == 30 and exp["value"] > 0 and lin["value"] > 0


TINY = dict(digits=(1,), hidden=32, layers=1, pretrain=600, begin=0.2, test=300)


def resumed(monkeypatch, folder, make, policy, **kw):
    """Rounds of an undisturbed run, and of one that dies after training in its second round, before
    that counts, and is resumed
    """
    from synthlab.budget.bootstrap import run_bootstrap

    undisturbed = run_bootstrap(make(), policy, **kw)
    kind, calls = type(make()), [0]
    update = kind.update

    def dies(self, samples, seed):
        out = update(self, samples, seed)
        calls[0] += 1
        if calls[0] == 2:
            raise Killed
        return out

    with monkeypatch.context() as mp:
        mp.setattr(kind, "update", dies)
        with pytest.raises(Killed):
            run_bootstrap(make(), policy, folder=folder, **kw)
    assert calls[0] == 2 and all(r.training.seconds > 0 for r in undisturbed[1:])
    return undisturbed, run_bootstrap(make(), policy, folder=folder, **kw)


def test_a_real_model_resumes_where_it_was_killed(tmp_path, monkeypatch):
    "Weights, draws and order of training are the same after a kill in the middle of a round"
    from synthlab.budget.learners import AdditionTask

    a, b = resumed(
        monkeypatch,
        tmp_path / "r",
        lambda: AdditionTask(**TINY, epochs=2),
        BudgetPolicy(rate=0.5),
        budget=2000,
        rounds=3,
        c_t=6,
        chunk=200,
    )
    assert plain(a) == plain(b) and len(b) == 4


SMALL = dict(pretrain=150, hidden=48, epochs=10)


def test_denoising_resumes_where_it_was_killed(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    from synthlab.budget.learners import DenoisingTask

    a, b = resumed(
        monkeypatch,
        tmp_path / "r",
        lambda: DenoisingTask(**SMALL),
        LINEAR,
        budget=2000,
        rounds=3,
        c_t=4,
        chunk=200,
    )
    assert plain(a) == plain(b) and len(b) == 4


@needs_smollm2
def test_a_chat_model_resumes_where_it_was_killed(tmp_path, monkeypatch):
    """The embedded model with an adapter, on sums: what was drawn, the adapter and its training are
    the same after a kill
    """
    pytest.importorskip("reasoning_gym", reason="the extra puzzles is not installed")
    from synthlab.budget.learners import PuzzleTask

    a, b = resumed(
        monkeypatch,
        tmp_path / "r",
        lambda: PuzzleTask(test=2, epochs=1, maxtok=4),
        CONSTANT,
        budget=32,
        rounds=2,
        c_t=1,
        chunk=16,
    )
    assert plain(a) == plain(b) and len(b) == 3


def test_reasoning_problems_are_scored_by_their_own_verifier():
    pytest.importorskip("reasoning_gym", reason="the extra puzzles is not installed")
    from synthlab.budget.learners import PuzzleTask

    w = PuzzleTask()
    asked, data = w.problems(6, ["ask", 7])
    again, _ = w.problems(6, ["ask", 7])
    assert [e["question"] for e in asked] == [e["question"] for e in again]
    rows = [
        [7, 6, i, e["question"], f" {e['answer']}\n" if i % 2 else "no idea"]
        for i, e in enumerate(asked)
    ]
    assert w.verify(rows, 0) == [bool(i % 2) for i in range(6)]


def test_what_is_accepted_of_denoised_digits_beats_the_noisy_image_by_the_threshold():
    pytest.importorskip("sklearn")
    import torch

    from synthlab.budget.learners import DenoisingTask, load_digit_images, psnr

    w = DenoisingTask(**SMALL, gain=2.0)
    w.start()
    rows, _ = w.generate(600, seed=3)
    ok = torch.tensor(w.verify(rows, 4))
    x = torch.tensor(rows)
    gain = psnr(x[:, 2:] / 1e4, torch.tensor(load_digit_images()[1])[x[:, 0]]) - x[:, 1] / 1e3
    assert (
        0 < ok.float().mean() < 1
        and gain[ok].min() >= 2 > gain[~ok].max()
        and abs(x[:, 1].float().mean() / 1e3 - 14) < 0.2
    )
    assert w.generate(5, seed=3)[0] == w.generate(5, seed=3)[0]


def test_more_rounds_raise_psnr_where_the_threshold_is_exact():
    """On three first models: each ends above where it began, and rises on the whole, as does the
    share that is accepted
    """
    pytest.importorskip("sklearn")
    from synthlab.budget.bootstrap import run_bootstrap
    from synthlab.budget.learners import DenoisingTask

    for seed in range(3):
        w = DenoisingTask(pretrain=300, hidden=96, gain=2.0, seed=seed)
        r = run_bootstrap(w, CONSTANT, budget=20_000, rounds=4, c_t=w.c_t, seed=seed)
        got, share = [x.scores["psnr"] for x in r], [x.accepted / x.drawn for x in r[1:]]
        assert got[4] > got[2] > got[0] and share[3] > share[0], (seed, got, share)


def test_reported_seeds_are_not_those_the_growth_rate_was_chosen_on():
    from synthlab.budget.bootstrap import GaussianTask
    from synthlab.budget.experiment import (
        compare_in_conditions,
        published_comparison,
        published_rows,
    )

    kw = dict(budget=600, rounds=4, seeds=3, rates=[0.1, 0.4])
    r = compare_in_conditions({"theory": (GaussianTask(), 3.0)}, tune=2, **kw)
    assert (
        {x["seed"] for x in r.tried} == {1000, 1001}
        and {x["seed"] for x in r.rows} == {0, 1, 2}
        and r.rate["theory"] in (0.1, 0.4)
    )
    last = [x["spent"] for x in r.rows if x["round"] == 4]
    assert (
        max(last) <= 600 and max(last) - min(last) < 4 + 3 and {x["n"] for x in r.paired()} == {3}
    )
    two = compare_in_conditions(
        {"theory": (GaussianTask(), 3.0)}, tune=0, policies="constant exponential", **kw
    )
    assert (
        not two.tried
        and two.rate["theory"] == 0.1
        and {x["policy"] for x in two.rows} == {"constant", "exponential"}
    )
    book = {x["policy"]: x for x in published_rows()}
    assert (
        book["linear"]["denoising, s=20 (PSNR)"]
        == 40.26
        > book["exponential"]["denoising, s=20 (PSNR)"]
        == 40.14
    )
    ours = {x["policy"]: x for x in published_comparison([r])}
    assert (
        ours["linear"]["published: denoising, s=20 (PSNR)"] == 40.26
        and "n=3" in ours["linear"]["ours: theory"]
    )
