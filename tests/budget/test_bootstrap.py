"Budget theory against simulation, plans against fixed policies, and the loop against being killed."

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthlab.budget.schedules import (
    CONSTANT,
    LINEAR,
    AdaptivePolicy,
    BudgetPolicy,
)
from tests.budget.common import Killed, plain

KW = dict(budget=400, rounds=3, c_g=1, c_t=3, chunk=60)


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


@pytest.mark.slow
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
    def generate(self, n, seed): time.sleep(.2); return super().generate(n, seed)
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
    for _ in range(40):
        p = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path / "run")])
        deadline, seen = time.monotonic() + 20, None
        while p.poll() is None and time.monotonic() < deadline:
            now = sorted(f.name for f in tmp_path.glob("run/*"))
            if seen is None:
                seen = now
            if now != seen and kills < 3:
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
