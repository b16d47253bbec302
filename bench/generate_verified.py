"""Verified conversations in bulk and per second: what one run keeps, checked anew, and the ratio to
the benchmark's own code.

First one run of the generator without any model. Everything that it kept is then checked again by
other means than its gates: distinct by what is said and done, nothing equal to a task of the
benchmark by end state or by runs of eight words, no policy rule broken, a random sample graded by
the benchmark's own evaluator. Then ours against the benchmark: both sides play the same blueprints
with the same scripted agent and user; ours puts each conversation through all gates (schemas,
replay, reward, policy rules, provenance, end state), theirs is run by the benchmark's orchestrator
and graded by its evaluator, nothing else. Each side plays each domain in a fresh process, warmed by
one conversation. Run: python bench/generate_verified.py [--n 20000] [--jobs 2] [--sample 100]
[--theirs 24] [--ours 400] [--repeats 3] [--quick] [--json PATH]
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter

from common import finish, options, row, share, versus

DOMAINS = "mock", "airline", "retail", "telecom"
TARGET, WITHIN = 100, 600
NOT_MEASURED = (
    "Not measured: importing packages and the first conversation of each process in the ratio, "
    "sampling of the "
    "blueprints where not said, more than one process in the ratio, and models (there are none)."
)


# ---------------------------------------------------------------------------- one run, checked anew


def content(t):
    "What was said and done"
    from synthlab.core.types import content_key

    return content_key(
        [t.task.domain, t.task.init, [[m.role, m.content, m.calls] for m in t.messages]]
    )


def recheck(t):
    "How it repeats the benchmark, and the rules it breaks, found out again"
    from synthlab.generate.blueprints import Blueprint, benchmark_leak
    from synthlab.verify.gates import broken_rules

    b = Blueprint(t.task.id, t.task.domain, t.task.goal, t.task.gold, init=t.task.init)
    return benchmark_leak(b, "full" if t.task.domain == "telecom" else "base"), [
        h["rule"] for h in broken_rules(t)
    ]


def reached(kept):
    "For each domain and side: its write tools, and those that no kept conversation calls"
    from synthlab.tau2.env import tools
    from synthlab.tau2.replay import tool_kind

    called = {(t.task.domain, c.by, c.name) for t in kept for c in t.calls}

    def row(d, by):
        names = [s["function"]["name"] for s in tools(d, by)]
        writes = [n for n in names if tool_kind(d, n, by) == "write"]
        return dict(
            domain=d,
            by=by,
            writes=len(writes),
            missed=[n for n in writes if (d, by, n) not in called],
        )

    return [r for d in DOMAINS for by in ("assistant", "user") if (r := row(d, by))["writes"]]


def evaluator():
    "The benchmark's own reward of one of our trajectories"
    from tau2.data_model.simulation import SimulationRun
    from tau2_orchestrator import EvaluationType, Task, evaluate_simulation

    from synthlab.tau2.env import to_tau2
    from synthlab.tau2.results import simulation_json

    def reward(t):
        sim = SimulationRun.model_validate(simulation_json(0, t, 0) | dict(reward_info=None))
        return evaluate_simulation(
            sim, Task.model_validate(to_tau2(t.task)), EvaluationType.ALL, False, t.task.domain
        ).reward

    return reward


def bulk(n, jobs, sample, seed):
    "One run of the generator and what it is worth"
    from synthlab.core.parallel import pmap
    from synthlab.generate.apigen_mt import CONVERSATION_GATES, generate
    from synthlab.verify.gates import passes_gates

    start = time.perf_counter()
    f = generate(n, seed=seed, jobs=jobs)
    seconds = time.perf_counter() - start
    refuse = [t for t in f.kept if t.info["kind"] == "refuse"]
    again = pmap(recheck, f.kept, jobs, desc="checked again")
    few, reward = random.Random(seed).sample(f.kept, min(sample, len(f.kept))), evaluator()
    start = time.perf_counter()
    rewards = [reward(t) for t in few]
    return dict(
        asked=n,
        jobs=jobs,
        seed=seed,
        kept=len(f.kept),
        distinct=len(set(map(content, f.kept))),
        seconds=seconds,
        by_domain=dict(Counter(t.task.domain for t in f.kept)),
        must_refuse=len(refuse),
        refuse_unlabelled=sum(
            bool(t.task.gold) or not (t.task.about or {}).get("relevant_policies") for t in refuse
        ),
        by_kind=dict(Counter(f"{t.task.domain} {t.info['kind']}" for t in f.kept)),
        gates_failed=sum(not passes_gates(t, CONVERSATION_GATES) for t in f.kept),
        rules_broken=sum(len(b) for _, b in again),
        decontaminated=f.stages["not in the test"][0] - f.stages["not in the test"][1],
        leaks=sum(bool(why) for why, _ in again),
        tools=reached(f.kept),
        stages=f.stages,
        rejected=f.reasons(),
        sample=len(few),
        sample_regraded_1=sum(r == 1 for r in rewards),
        regrade_seconds=time.perf_counter() - start,
    )


def show_bulk(d):
    share = d["must_refuse"] / max(1, d["kept"])
    ok = d["kept"] >= d["asked"] and d["seconds"] <= WITHIN
    print(
        f"asked for {d['asked']}: kept {d['kept']}, distinct {d['distinct']}, in "
        f"{d['seconds']:.1f} s with {d['jobs']} processes "
        f"({d['kept'] / d['seconds']:.0f}/s; at most {WITHIN} s): {'met' if ok else 'missed'}"
    )
    print("by domain:", ", ".join(f"{k} {v}" for k, v in d["by_domain"].items()))
    print(
        f"to be refused: {d['must_refuse']} ({share:.1%}), without a label "
        f"{d['refuse_unlabelled']}; "
        + ", ".join(f"{k} {v}" for k, v in d["by_kind"].items() if "refuse" in k)
    )
    for r in d["tools"]:
        missed = f"not reached: {', '.join(r['missed'])}" if r["missed"] else "all reached"
        print(f"write tools, {r['domain']}, {r['by']}: {missed} of {r['writes']}")
    print(
        f"gates failed: {d['gates_failed']}; policy rules broken, found out again: "
        f"{d['rules_broken']}"
    )
    print(
        f"blueprints set aside because the benchmark has them: {d['decontaminated']}; kept "
        f"that it has, found out again: {d['leaks']}"
    )
    print(
        f"a random {d['sample']} by the benchmark's own evaluator: {d['sample_regraded_1']} "
        f"have reward 1 ({d['regrade_seconds']:.0f} s)"
    )


# ---------------------------------------------------------------------------- against the benchmark


def blueprints(domain, n):
    from synthlab.generate.blueprints import propose

    return propose(domain, n, seed=7)


def ours(domain, n):
    """Our play and gates: seconds for the conversations, seconds with the sampling before them, how
    many were kept
    """
    from synthlab.generate.apigen_mt import roll_out_blueprints

    roll_out_blueprints(blueprints(domain, 8))
    start = time.perf_counter()
    bs = blueprints(domain, n)
    sampled = time.perf_counter()
    kept = len(roll_out_blueprints(bs).kept)
    return dict(
        n=len(bs), kept=kept, play=time.perf_counter() - sampled, all=time.perf_counter() - start
    )


def theirs(domain, n):
    """The benchmark's orchestrator with our two policies behind adapters, and its evaluator on the
    outcome
    """
    from tau2_orchestrator import EvaluationType, Task, evaluate_simulation, orchestrator

    from synthlab.tau2.agents import ScriptedUser, VerbalOracleAgent
    from synthlab.tau2.env import to_tau2

    def one(b):
        sim = orchestrator(b.played(), VerbalOracleAgent(), ScriptedUser(), seed=0).run()
        return evaluate_simulation(
            sim, Task.model_validate(to_tau2(b.task())), EvaluationType.ALL, False, domain
        ).reward

    bs = blueprints(domain, n + 1)
    one(bs[0])
    start = time.perf_counter()
    rewards = [one(b) for b in bs[1:]]
    return dict(n=len(rewards), kept=sum(r == 1 for r in rewards), play=time.perf_counter() - start)


def worker(side, domain, n):
    out = subprocess.run(
        [sys.executable, __file__, "--side", side, "--domain", domain, "--n", str(n)],
        capture_output=True,
        text=True,
    )
    if out.returncode:
        sys.exit(out.stderr)
    return json.loads(out.stdout.splitlines()[-1])


def once(domain, n, n_ours):
    a, b = worker("ours", domain, n_ours), worker("theirs", domain, n)
    each = dict(ours_s=a["play"] / a["n"], sampled_s=a["all"] / a["n"], theirs_s=b["play"] / b["n"])
    return dict(
        domain=domain,
        ours_n=a["n"],
        ours_kept=a["kept"],
        theirs_n=b["n"],
        theirs_kept=b["kept"],
        **each,
        ratio=each["theirs_s"] / each["ours_s"],
        ratio_with_sampling=each["theirs_s"] / each["sampled_s"],
    )


def mixture(rows):
    "Milliseconds a conversation in the generator's usual mixture of domains"
    from synthlab.generate.apigen_mt import DOMAIN_SHARES

    return {
        k: 1e3 * sum(DOMAIN_SHARES[r["domain"]] * r[k] for r in rows)
        for k in ("ours_s", "sampled_s", "theirs_s")
    }


def against(n_theirs, n_ours, repeats):
    "Rows of the ratio, and all that was timed"
    runs = [[once(d, n_theirs, n_ours) for d in DOMAINS] for _ in range(repeats)]
    each, peer = [mixture(r) for r in runs], "the benchmark's orchestrator and evaluator"
    ours, sampled, theirs = ([e[k] for e in each] for k in ("ours_s", "sampled_s", "theirs_s"))
    ratio = statistics.median(r["ratio"] for rows in runs for r in rows)
    lost = [
        {
            r["domain"]: (r["ours_n"] - r["ours_kept"], r["theirs_n"] - r["theirs_kept"])
            for r in rows
        }
        for rows in runs
    ]
    print(f"not kept (ours, theirs): {lost}")
    out = [
        versus(
            "play and verify a conversation, four domains",
            peer,
            ours,
            theirs,
            "ms",
            n_ours * len(DOMAINS),
            head=True,
        ),
        versus(
            "the same with sampling its blueprint",
            peer,
            sampled,
            theirs,
            "ms",
            n_ours * len(DOMAINS),
        ),
    ]
    print(
        f"ratio {out[0]['ratio']:.1f} (target {TARGET}), median over domains {ratio:.1f}: "
        f"{'met' if out[0]['ratio'] >= TARGET else 'missed'}"
    )
    return out, runs


def bulk_rows(d):
    "Rows of one run of the generator"
    from synthlab.core.stats import wilson

    told = share(
        "kept conversations that the benchmark gives reward 1",
        "a random sample of them",
        wilson(d["sample_regraded_1"], d["sample"]),
        head=True,
    )
    return [
        told,
        row(
            "make and verify conversations without a model",
            "none",
            unit="conversations/s",
            ours=d["kept"] / d["seconds"],
            n=d["kept"],
            repeats=1,
            note="no peer",
        ),
    ]


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument(
        "--n", type=int, default=20000, help="conversations to keep in the run; 0: no such run"
    )
    p.add_argument("--jobs", type=int, default=2, help="processes of the run")
    p.add_argument("--seed", type=int, default=0, help="of the run and of the sample")
    p.add_argument(
        "--sample", type=int, default=100, help="kept conversations graded by the benchmark"
    )
    p.add_argument(
        "--theirs",
        type=int,
        default=24,
        help="conversations a domain on the benchmark's side of the ratio; 0: no ratio",
    )
    p.add_argument(
        "--ours", type=int, default=400, help="conversations a domain on our side of the ratio"
    )
    p.add_argument("--side", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    p.add_argument("--domain", help=argparse.SUPPRESS)
    a = options(p).parse_args()
    if a.side:
        print(json.dumps(dict(ours=ours, theirs=theirs)[a.side](a.domain, a.n)))
        sys.exit()
    if a.quick:
        a.n, a.jobs, a.sample, a.theirs, a.ours, a.repeats = 40, 1, 3, 2, 10, 1
    rows, detail = [], dict(target=TARGET, within=WITHIN)
    if a.n:
        detail["bulk"] = bulk(a.n, a.jobs, a.sample, a.seed)
        show_bulk(detail["bulk"])
        rows += bulk_rows(detail["bulk"])
    if a.theirs:
        more, detail["runs"] = against(a.theirs, a.ours, a.repeats)
        rows += more
    finish(a, "generate_verified", rows, NOT_MEASURED, detail)
