"""Grading stored simulations: this lab against the benchmark's own evaluator, on the same
simulations.

Each side grades each domain in a fresh process, so that ours pays for parsing the database within
the time measured. Without files, and without ../shared/data, the simulations are made here by
oracle rollouts. Where SYNTHLAB_TAU2 names a checkout, its evaluator, which skips reads on replay,
is a second peer. Run: python bench/regrade.py [FILE ...] [--n 40] [--repeats 3] [--quick] [--json
PATH]
"""

import argparse
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import finish, options, versus

TARGET = {
    "airline": 300,
    "retail": 200,
    "telecom": 4,
    "telecom solo": 12,
}  # for ENOUGH simulations: the database is parsed once
ENOUGH = 40
NOT_MEASURED = (
    "Not measured: importing packages, reading results files and converting their messages "
    "(done before, for "
    "both sides), verdicts of a language model (there are none), and more than one process."
)
RUNS = Path(__file__).resolve().parents[2] / "shared" / "data" / "tau2_runs"


def generated(folder):
    "Results files of oracle rollouts on the base tasks, for a machine without real ones"
    from synthlab.tau2.agents import OracleAgent, ScriptedUser
    from synthlab.tau2.env import tasks
    from synthlab.tau2.grade import write_graded_results
    from synthlab.tau2.rollout import rollout

    for domain, solo in (
        ("airline", False),
        ("retail", False),
        ("telecom", False),
        ("telecom", True),
        ("mock", False),
    ):
        trajs = rollout(tasks(domain), OracleAgent(), None if solo else ScriptedUser(), solo=solo)
        yield write_graded_results(trajs, Path(folder) / f"{domain}{'_solo' if solo else ''}.json")


def groups(files, n):
    "Files by domain and mode; a simulation that was published twice is taken once"
    from synthlab.tau2.results import load_results

    seen, out = set(), {}
    for f in map(str, files):
        try:
            run = load_results(f)
        except ValueError as e:
            print("left out:", e, file=sys.stderr)
            continue
        solo = run.trajectories[0].solo
        rows = out.setdefault((run.domain, solo), [])
        for i, t in enumerate(run.trajectories):
            if (t.info["id"], t.stop) not in seen and (n is None or len(rows) < n):
                rows.append((f, i))
            seen.add((t.info["id"], t.stop))
    return out


def ours(rows, domain, solo):
    "Our grader on trajectories; the database is parsed at the first one"
    from synthlab.tau2.database import domain_folder, tau2_module
    from synthlab.tau2.grade import reward_info
    from synthlab.tau2.results import load_results

    runs = {f: load_results(f).trajectories for f, _ in rows}
    tau2_module(f"domains.{domain_folder(domain)}.environment")
    return [runs[f][i] for f, i in rows], reward_info


def theirs(rows, domain, solo):
    """The benchmark's evaluator on its own records.

    Error texts get the installed pydantic's address, else it raises
    """
    from loguru import logger

    logger.remove()
    logger.disable("tau2")
    import pydantic
    from tau2.data_model.simulation import Results
    from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation

    here = f"errors.pydantic.dev/{'.'.join(pydantic.VERSION.split('.')[:2])}/"

    def load(f):
        return Results.model_validate_json(re.sub(r"errors\.pydantic\.dev/[\d.]+/", here, text(f)))

    runs = {f: load(f) for f, _ in rows}
    known = {f: {t.id: t for t in r.tasks} for f, r in runs.items()}
    sims = [(runs[f].simulations[i], known[f]) for f, i in rows]

    def grade(pair):
        return evaluate_simulation(
            pair[0], pair[1][pair[0].task_id], EvaluationType.ALL, solo, domain
        ).model_dump(mode="json")

    return sims, grade


def text(path):
    from synthlab.tau2.results import read_results_json

    return json.dumps(read_results_json(path))


def worker(spec):
    "One side in this process: seconds, and what it found"
    sims, grade = dict(ours=ours, theirs=theirs)[spec["side"]](
        spec["rows"], spec["domain"], spec["solo"]
    )
    gc.collect()
    start, cpu = time.perf_counter(), time.process_time()
    found = [grade(s) for s in sims]
    return dict(wall=time.perf_counter() - start, cpu=time.process_time() - cpu, found=found)


def run(side, rows, domain, solo):
    spec = json.dumps(dict(side=side, rows=rows, domain=domain, solo=solo))
    env = dict(LITELLM_LOCAL_MODEL_COST_MAP="True") | os.environ
    p = subprocess.run(
        [sys.executable, __file__, "--worker"], input=spec, capture_output=True, text=True, env=env
    )
    if p.returncode:
        sys.exit(f"{side} on {domain} failed:\n{p.stderr[-2000:]}")
    return json.loads(p.stdout.splitlines()[-1])


def compare(rows, domain, solo, repeats):
    "Both sides on the same simulations in turn, and on how many they agree to the last field"
    pairs, n = (
        [
            (run("ours", rows, domain, solo), run("theirs", rows, domain, solo))
            for _ in range(repeats)
        ],
        len(rows),
    )
    same = min(
        sum(
            json.dumps(x, sort_keys=True) == json.dumps(y, sort_keys=True)
            for x, y in zip(a["found"], b["found"])
        )
        for a, b in pairs
    )
    name, (ours, peers) = (
        domain + " solo" * solo,
        ([p[i]["cpu"] / n * 1e3 for p in pairs] for i in (0, 1)),
    )
    return dict(
        domain=name,
        n=n,
        identical=same,
        ours_ms=ours,
        benchmark_ms=peers,
        wall_ratio=statistics.median(b["wall"] / a["wall"] for a, b in pairs),
        target=TARGET.get(name) if n >= ENOUGH else None,
    )


def against_checkout(files):
    """Our tolerant replay and the evaluator of the user's checkout on the same simulations, ms each

    Ours pays for parsing the database within the time measured
    """
    from synthlab.tau2.results import load_results
    from synthlab.tau2.witness import compare_with_upstream, upstream_checkout

    checkout = upstream_checkout()
    out = {}
    for f in files if checkout else []:
        try:
            run = load_results(f)
        except ValueError:
            continue
        found = compare_with_upstream(f, checkout)
        name = run.domain + " solo" * run.trajectories[0].solo
        row = out.setdefault(name, dict(domain=name, version=found["version"], n=0, same=0))
        n = found["same"] + found["different"]
        row["n"] += n
        row["same"] += found["same"]
        for side, seconds in found["seconds"].items():
            row[side] = row.get(side, 0.0) + seconds
    return list(out.values())


def shown_checkout(r):
    each = [r["ours"] / r["n"] * 1e3], [r["upstream"] / r["n"] * 1e3]
    what = f"grade a simulation as 1.x does, {r['domain']}"
    return versus(
        what, f"the evaluator of τ²-bench {r['version']}", *each, "ms", r["n"], head=False
    )


def shown(r):
    return versus(
        f"grade a simulation, {r['domain']}",
        "the benchmark's evaluator",
        r["ours_ms"],
        r["benchmark_ms"],
        "ms",
        r["n"],
        head=r["domain"] in ("airline", "retail", "telecom"),
    )


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument(
        "files",
        nargs="*",
        help="results files of τ² (default: ../shared/data/tau2_runs, else oracle rollouts)",
    )
    p.add_argument("--n", type=int, help="at most so many simulations a domain (default: all)")
    p.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = options(p).parse_args()
    if args.worker:
        print(json.dumps(worker(json.load(sys.stdin))))
        return 0
    if args.quick:
        args.n, args.repeats = 2, 1
    with tempfile.TemporaryDirectory() as folder:
        files = args.files or sorted(RUNS.glob("*.json*")) or list(generated(folder))
        found = [
            compare(sims, domain, solo, args.repeats)
            for (domain, solo), sims in groups(files, args.n).items()
        ]
        newer = against_checkout(files)
    rows = [shown(r) for r in found] + [shown_checkout(r) for r in newer]
    for r in newer:
        print(f"{r['domain']}: same as τ²-bench {r['version']}: {r['same']} of {r['n']}")
    print(
        "CPU time; identical to the last field:",
        ", ".join(f"{r['domain']} {r['identical']} of {r['n']}" for r in found),
    )
    finish(args, "regrade", rows, NOT_MEASURED, found)
    below = [
        f"{f['domain']}: below {f['target']}"
        for f, r in zip(found, rows)
        if r["ratio"] < (f["target"] or 0)
    ]
    differ = [f"{f['domain']}: verdicts differ" for f in found if f["identical"] < f["n"]]
    if below + differ:
        print(*below, *differ, sep="\n")
    return int(bool(below + differ))


if __name__ == "__main__":
    sys.exit(main())
