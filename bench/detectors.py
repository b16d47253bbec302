"""How far the rules for user errors can be trusted: known errors and real conversations.

One error of the user or the agent goes into each conversation that went well, everything after it
is run again in the real environment, and the rules and the attribution are asked. `--half` chooses
whose words the errors have: `dev` was seen by whoever wrote the rules; `heldout` and `final` were
written without sight of the rules, but have been opened since. Recorded conversations that went
well are used too: of result files that are named, else of ../shared/data/tau2_runs where that is.
Where the labels of ../shared/data/labels are, labelled real conversations are scored as well, by
class and conversation.

Run: python bench/detectors.py [--half final] [--each 40] [--errors 3] [--seed 0] [--quick]
    [--json PATH] [RESULTS…]
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

from common import ROOT, finish, missing, options, share

BARS = dict(recall=0.80, precision=0.90, blamed=0.05, alarms=0.02)
NOT_MEASURED = "Not measured: errors of kinds that are not put in, and words that no set has."
SAID = dict(
    recall=("the user's errors found, in the right class", "errors put in"),
    precision=("the same, right among those reported", "errors reported"),
    blamed=("the agent's errors blamed on the user", "agent's errors put in"),
    alarms=("untouched runs called critical", "untouched runs"),
)

REAL = dict(
    precision=("classes of error reported in real conversations, read there too", "reported"),
    recall=("classes of error read in real conversations, found", "read"),
)


def judge(t):
    "Findings with severities, and the verdict, of one attribution"
    from synthlab.failures.attribution import attribute_failure

    a = attribute_failure(t)
    return [SimpleNamespace(**e) for e in a["errors"] if e["source"] == "user"], a["by"]


def passed_runs(files):
    from synthlab.failures.outcomes import find_results, read_results

    trajs = read_results(find_results(files, Path.cwd()))[0] if files else []
    return [t for t in trajs if t.reward == 1 and not t.solo]


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument(
        "results", nargs="*", help="official result files; their passed runs get errors too"
    )
    p.add_argument("--half", default="final", choices=["dev", "heldout", "final"])
    p.add_argument("--each", type=int, default=40, help="scripted conversations a domain")
    p.add_argument("--errors", type=int, default=3, help="errors for each conversation, at most")
    p.add_argument("--seed", type=int, default=0)
    o = options(p, repeats=0).parse_args()
    if o.quick:
        o.each, o.errors = 1, 1
    elif not o.results:
        runs = ROOT.parent / "shared" / "data" / "tau2_runs"
        o.results = sorted(map(str, runs.glob("*.json*")))
    return o


def examine(o):
    "Conversations with a known error each, as the detectors and the attribution see them"
    from synthlab.user_errors.resimulate import oracle_runs
    from synthlab.user_errors.validation import fault_suite, run_detector

    trajs = []
    for base in (oracle_runs(each=o.each, seed=o.seed), passed_runs(o.results)):
        if base:
            trajs += fault_suite(base, o.half, o.seed, o.errors)
    told = {id(t): judge(t) for t in trajs}
    return run_detector(trajs, lambda t: told[id(t)][0], lambda t: told[id(t)][1])


def real_scores():
    "Rows by class on labelled real conversations; none where they are not there"
    from synthlab.user_errors import labels as lab
    from synthlab.user_errors.detect import detect_user_errors

    data = ROOT.parent / "shared" / "data"
    file = data / "labels" / "user_errors_real_dev.json"
    if not file.exists():
        return []
    pairs = lab.labelled_trajectories(lab.read_error_labels(file), data / "tau2_runs")
    rows = lab.class_score_rows(lab.class_cases(pairs, detect_user_errors))
    return [{k: None if v != v else v for k, v in r.items()} for r in rows]


def print_scores(ts, kinds, whole):
    "Recall by class, all measures by part, and the bars"
    from synthlab.user_errors.validation import false_alarm_rate, score_rows

    for r in kinds:
        print(f"  recall {r['type']:28} {r['value']:.3f} [{r['lo']:.3f}, {r['hi']:.3f}] n={r['n']}")
    for r in score_rows(ts):
        print(
            f"  {r['part']:16} {r['measure']:24} {r['value']:.3f} [{r['lo']:.3f}, "
            f"{r['hi']:.3f}] n={r['n']}"
        )
    for k, e in whole.items():
        met = e.value >= BARS[k] if k in ("recall", "precision") else e.value <= BARS[k]
        print(f"{k:10} {e} bar {BARS[k]}: {'met' if met else 'not met'}")
    for where, real in (("our own", False), ("recorded", True)):
        rate = false_alarm_rate([t for t in ts if t.fault["real"] == real])
        print(f"  untouched, {where}: {rate}")


def blamed_by_type(ts):
    "How often each kind of the agent's errors is blamed on the user"
    from synthlab.user_errors.validation import false_blame_rate

    agents = [t for t in ts if t.fault["source"] == "agent"]
    kinds = sorted({t.fault["type"] for t in agents})
    rates = {k: false_blame_rate([t for t in agents if t.fault["type"] == k]) for k in kinds}
    return {k: e.row() for k, e in rates.items()}


def main():
    from synthlab.user_errors import validation as v

    o = arguments()
    ts = examine(o)
    kinds = v.recall_by_type(ts)
    whole = dict(
        recall=v.recall(ts),
        precision=v.precision(ts, True),
        blamed=v.false_blame_rate(ts),
        alarms=v.false_alarm_rate(ts),
    )
    real = [] if o.quick else real_scores()
    print(f"{len(ts)} conversations, words: {o.half}, seed {o.seed}")
    print_scores(ts, kinds, whole)
    detail = dict(
        classes=kinds,
        scores=v.score_rows(ts),
        agent_errors_blamed=blamed_by_type(ts),
        real=real,
        conversations=len(ts),
        recorded=len(o.results),
        half=o.half,
        seed=o.seed,
    )
    rows = [
        share(*SAID[k], e, head=True) if e.n else missing(*SAID[k], "none in so few conversations")
        for k, e in whole.items()
    ]
    rows += [share(*REAL[r["measure"]], r, head=True) for r in real if r["type"] == "all"]
    finish(o, "detectors", rows, NOT_MEASURED, detail)


if __name__ == "__main__":
    main()
