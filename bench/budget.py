"""Monte Carlo of the Gaussian world in runs per second: all runs at once against a straightforward
loop, and the closed form against both.

python bench/budget.py [--runs 2000] [--loop-runs 20] [--repeats 3] [--quick] [--json PATH]

The loop is algorithm 1 of Spend Wisely as one would write it down: a run, a round, a draw at a
time, with numpy. All three answer the same question, the expected gap of an exponential schedule
after 12 rounds; the two simulations must agree with the closed form within four standard errors.
Each repeat times the three in turn on one core; the ratios are medians over repeats.
"""

import argparse
import statistics
import time

import numpy as np
from common import finish, options, versus

from synthlab.budget.theory import Gaussian, reward_gap, simulate_rounds, simulate_samples

NOT_MEASURED = (
    "Not measured: other schedules, and worlds where hardly anything is accepted, "
    "in which all simulation is slow."
)


def loop(w, n, runs, seed):
    "One run after the other, one draw after the other"
    rng, out = np.random.default_rng(seed), []
    for _ in range(runs):
        theta = np.full(2, w.start / 2**0.5)
        for k in n:
            kept = []
            while len(kept) < k:
                x = rng.normal(theta, w.sigma)
                if rng.random() < np.exp(-(x @ x) / (2 * w.kappa**2)):
                    kept.append(x)
            theta = np.mean(kept, axis=0)
        out.append(w.best - w.reward(np.linalg.norm(theta)))
    return np.array(out)


def timed(f):
    start = time.process_time()
    return f(), time.process_time() - start


def close(xs, exact):
    assert abs(xs.mean() - exact) < 4 * xs.std(ddof=1) / len(xs) ** 0.5, (xs.mean(), exact)


def bench(runs, loop_runs, repeats):
    w = Gaussian()
    n = [round(5 * w.rho**t) for t in range(12)]
    simulate_samples(w, n, 10)
    reward_gap(w, n)
    rate, exact = dict(loop=[], vectorised=[], transitions=[]), []
    for r in range(repeats):
        xs, s = timed(lambda r=r: loop(w, n, loop_runs, r))
        close(xs, reward_gap(w, n))
        rate["loop"].append(loop_runs / s)
        p, s = timed(lambda r=r: simulate_samples(w, n, runs, r))
        close(w.best - p.reward[:, -1], reward_gap(w, n))
        rate["vectorised"].append(runs / s)
        p, s = timed(lambda r=r: simulate_rounds(w, n, 20 * runs, r))
        close(w.best - p.reward[:, -1], reward_gap(w, n))
        rate["transitions"].append(20 * runs / s)
        _, s = timed(lambda: [reward_gap(w, n) for _ in range(200)])
        exact.append(s / 200)
    return rate, dict(
        exact_s=statistics.median(exact),
        samples=sum(n),
        rounds=len(n),
        runs=runs,
        loop_runs=loop_runs,
    )


if __name__ == "__main__":
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--runs", type=int, default=2000, help="of the vectorised simulation")
    p.add_argument("--loop-runs", type=int, default=20, help="of the loop")
    a = options(p).parse_args()
    if a.quick:
        a.runs, a.loop_runs, a.repeats = 200, 4, 1
    rate, d = bench(a.runs, a.loop_runs, a.repeats)
    print(
        f"{d['rounds']} rounds, {d['samples']} accepted samples a run, one core; the "
        f"expectation itself in closed form: {d['exact_s'] * 1e6:.0f} µs"
    )
    finish(
        a,
        "budget",
        [
            versus(
                "simulate iterative training in the Gaussian world",
                "a plain loop with numpy",
                rate["vectorised"],
                rate["loop"],
                "runs/s",
                a.runs,
                rate=True,
                head=True,
            ),
            versus(
                "the same by exact transitions",
                "a plain loop with numpy",
                rate["transitions"],
                rate["loop"],
                "runs/s",
                20 * a.runs,
                rate=True,
            ),
        ],
        NOT_MEASURED,
        d,
    )
