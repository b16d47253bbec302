"""How far the rules for user errors can be trusted: real conversations, rebuilt ones, known errors.

Labelled real conversations (../shared/data/labels, where they are) are scored by class and
conversation, and by who failed the run; conversations rebuilt from public reports
(../shared/data/cases) by class and turn. Then one error of the user or the agent goes into each
conversation that went well, everything after it is run again in the real environment, and the
rules and the attribution are asked. Three sets of words say these errors: `dev` was seen by
whoever wrote the rules; `heldout` and `final` were written without sight of the rules, but have
been opened since. `--half` is the set that the figures by class are given for. Recorded
conversations that went well get errors too: of result files that are named, else of
../shared/data/tau2_runs where that is.

Run: python bench/detectors.py [--half final] [--each 40] [--errors 3] [--seed 0] [--quick]
    [--json PATH] [RESULTS…]
"""

import argparse
import time
from pathlib import Path
from types import SimpleNamespace

import yaml
from common import ROOT, finish, missing, options, share

BARS = dict(recall=0.80, precision=0.90, blamed=0.05, alarms=0.02)
NOT_MEASURED = "Not measured: errors of kinds that are not put in, and words that no set has."
SAID = dict(
    recall=("the user's errors found, in the right class", "errors put in"),
    precision=("the same, right among those reported", "errors reported"),
    blamed=("the agent's errors blamed on the user", "agent's errors put in"),
    alarms=("untouched runs called critical", "untouched runs"),
)

HALVES = ("dev", "heldout", "final")
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
    p.add_argument("--fit", action="store_true", help="only count what each rule is worth, anew")
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


def labelled_pairs():
    "Labels with their conversations; none where they are not there"
    from synthlab.user_errors import labels as lab

    data = ROOT.parent / "shared" / "data"
    file = data / "labels" / "user_errors_real_dev.json"
    if not file.exists():
        return []
    return lab.labelled_trajectories(lab.read_error_labels(file), data / "tau2_runs")


def real_scores(pairs):
    "Rows by class on labelled real conversations, rules weighed by what they did on other tasks"
    from synthlab.user_errors import labels as lab

    rows = lab.class_score_rows(lab.cross_validated_cases(pairs)) if pairs else []
    return [{k: None if v != v else v for k, v in r.items()} for r in rows]


def local_rows(pairs):
    "The same with the local reader; what is missing is said where there is no embedding model"
    from synthlab.user_errors import labels as lab
    from synthlab.user_errors.local_reader import cross_validated_local_cases

    what = {k: (f"{w}, local reader", peer) for k, (w, peer) in REAL.items()}
    try:
        cases = cross_validated_local_cases(pairs)
    except ValueError as e:
        return [missing(*what[k], str(e)) for k in REAL]
    scores = dict(precision=lab.case_precision(cases), recall=lab.case_recall(cases))
    return [share(*what[k], scores[k]) for k in REAL]


def blame_score(pairs):
    "How often the side is named that the reading of a failed run leaves"
    from synthlab.failures.attribution import attribute_failure
    from synthlab.failures.outcomes import read_results, task_success
    from synthlab.user_errors.labels import blame_agreement

    folder = ROOT.parent / "shared" / "data" / "tau2_runs"
    names = {label.file for label, _ in pairs}
    files = [p for p in sorted(folder.glob("*.json*")) if p.name.split(".json")[0] in names]
    runs = {t.info["id"]: t for t in read_results(files)[0]}
    failed = [(label, runs[label.id]) for label, _ in pairs if task_success(runs[label.id]) == 0]
    return blame_agreement([(label, attribute_failure(t)["by"]) for label, t in failed])


def case_scores():
    "Rebuilt conversations: errors found, controls in which nothing is, and blame"
    from synthlab.core.stats import rate
    from synthlab.failures.attribution import attribute_failure
    from synthlab.failures.outcomes import read_results
    from synthlab.user_errors.detect import detect_user_errors

    folder = ROOT.parent / "shared" / "data" / "cases"
    said = yaml.safe_load((ROOT / "tests" / "failures" / "cases.yaml").read_text("utf8"))

    def run(name):
        return read_results(sorted(folder.glob(f"{name}.json*")))[0][0]

    if not folder.exists():
        return []
    errors = said["errors"].items()
    found = [[[f.type, f.turn] for f in detect_user_errors(run(n))] == [e] for n, e in errors]
    quiet = [not detect_user_errors(run(n)) for n in said["controls"]]
    who = [attribute_failure(run(n)) for n in said["blame"]]
    right = [[a["by"], *a["also"]] == e for a, e in zip(who, said["blame"].values())]
    return [
        share(
            "rebuilt conversations whose error is found, in class and turn", "errors", rate(found)
        ),
        share("rebuilt conversations without an error, nothing found", "controls", rate(quiet)),
        share("rebuilt conversations, who is to blame and who else", "failed runs", rate(right)),
    ]


def seconds_each(pairs):
    "Seconds for a conversation"
    from synthlab.user_errors.detect import detect_user_errors

    start = time.perf_counter()
    for _, t in pairs:
        detect_user_errors(t)
    return (time.perf_counter() - start) / len(pairs)


def real_rows(pairs, real):
    "What is said of real and of rebuilt conversations"
    from synthlab.user_errors.labels import reader_agreement

    if not pairs:
        return []
    rows = [share(*REAL[r["measure"]], r, head=True) for r in real if r["type"] == "all"]
    agreed = reader_agreement([label for label, _ in pairs])
    what = "classes of error that one reader names, named by another of the same conversation"
    who = "failed runs in which one side erred by reading, that side named"
    return [
        *rows,
        *local_rows(pairs),
        share(what, "readings", agreed),
        share(who, "failed runs", blame_score(pairs), head=True),
        *case_scores(),
    ]


def fit():
    "Write down what each rule is worth on the labelled conversations"
    from synthlab.user_errors.labels import rule_reliability

    path = ROOT / "synthlab" / "user_errors" / "reliability.yaml"
    head = [s for s in path.read_text("utf8").splitlines() if s.startswith("#")]
    counts = rule_reliability(labelled_pairs())
    rows = [f"{k}: [{read}, {reported}]" for k, (read, reported) in counts.items()]
    path.write_text("\n".join(head + rows) + "\n", "utf8")
    print(path.read_text("utf8"))


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


def other_words(o):
    "Recall and precision where the errors are said in the words of another set"
    from synthlab.user_errors import validation as v

    rows = []
    for half in HALVES:
        if half == o.half:
            continue
        ts = examine(argparse.Namespace(**vars(o) | dict(half=half)))
        right = v.precision(ts, True)
        rows += [
            share(f"{SAID['recall'][0]}, {half} words", SAID["recall"][1], v.recall(ts)),
            share(f"{SAID['precision'][0]}, {half} words", SAID["precision"][1], right),
        ]
    return rows


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
    if o.fit:
        return fit()
    ts = examine(o)
    kinds = v.recall_by_type(ts)
    whole = dict(
        recall=v.recall(ts),
        precision=v.precision(ts, True),
        blamed=v.false_blame_rate(ts),
        alarms=v.false_alarm_rate(ts),
    )
    pairs = [] if o.quick else labelled_pairs()
    real = real_scores(pairs)
    print(f"{len(ts)} conversations, words: {o.half}, seed {o.seed}")
    print_scores(ts, kinds, whole)
    detail = dict(
        classes=kinds,
        scores=v.score_rows(ts),
        agent_errors_blamed=blamed_by_type(ts),
        real=real,
        real_recall={r["type"]: r["value"] for r in real if r["measure"] == "recall"},
        seconds=seconds_each(pairs) if pairs else None,
        conversations=len(ts),
        recorded=len(o.results),
        half=o.half,
        seed=o.seed,
    )
    rows = real_rows(pairs, real) + [
        share(*SAID[k], e, head=True) if e.n else missing(*SAID[k], "none in so few conversations")
        for k, e in whole.items()
    ]
    rows += [] if o.quick else other_words(o)
    finish(o, "detectors", rows, NOT_MEASURED, detail)


if __name__ == "__main__":
    main()
