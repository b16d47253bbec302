"""What every benchmark measures in the same way and writes with --json: one shape, of which
bench/table.py makes one table.

A file holds `bench`, `rows`, `not_measured`, `machine`, `load` (over the minute before it began),
`commit` (`+`: with changes not committed), `date`, `quick`, and `detail`, the benchmark's own
numbers. A row holds `what` is measured, the `peer`, `ours` and `peers` in `unit`, `ratio` with `lo`
and `hi`, `n` things in each repeat, `repeats`, and a `note` where there is no number.
"""

import json
import os
import statistics
import time
from pathlib import Path

LOAD, ROOT = os.getloadavg()[0], Path(__file__).resolve().parent.parent
KEYS = dict(
    what="",
    peer="",
    unit="",
    ours=None,
    peers=None,
    ratio=None,
    lo=None,
    hi=None,
    n=None,
    repeats=None,
    times=False,
    head=False,
    note="",
)


def row(what, peer, **more):
    return KEYS | dict(what=what, peer=peer) | more


def versus(what, peer, ours, peers, unit, n, rate=False, **more):
    """Repeats in turn, ours and the peer's: medians, and how many times better ours is; the ends
    are the worst and the best repeat
    """
    each = [a / b if rate else b / a for a, b in zip(ours, peers, strict=True)]
    ends = dict(lo=min(each), hi=max(each)) if len(each) > 1 else {}
    return row(
        what,
        peer,
        unit=unit,
        ours=statistics.median(ours),
        peers=statistics.median(peers),
        ratio=statistics.median(each),
        n=n,
        repeats=len(each),
        times=True,
        **ends,
        **more,
    )


def share(what, peer, e, **more):
    "A share with its interval: an `Estimate`, or its row"
    e = e if isinstance(e, dict) else e.row()
    return row(what, peer, ratio=e["value"], lo=e["lo"], hi=e["hi"], n=e["n"], **more)


def missing(what, peer, why):
    return row(what, peer, note=f"not measured: {why}")


def num(x):
    "Three digits"
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:#.3g}".rstrip(".") if x else "0"


def ratio_str(r):
    "`457×`, `0.84`, or why there is none"
    return (
        r["note"]
        if r["ratio"] is None
        else num(r["ratio"]) + "×"
        if r["times"]
        else f"{r['ratio']:.2f}"
    )


def interval_str(r):
    "The ends, and what they are the ends of"
    f, out = num if r["times"] else "{:.2f}".format, []
    if r["lo"] is not None:
        out.append(f"[{f(r['lo'])}, {f(r['hi'])}]")
    if r["n"]:
        out.append(f"n={r['n']:,}")
    if r["repeats"]:
        out.append(f"{r['repeats']} repeat{'s' if r['repeats'] > 1 else ''}")
    return ", ".join(out)


def side_str(r, side):
    return "" if r[side] is None else f"{num(r[side])} {r['unit']}"


def say(r):
    "One line for a terminal"
    print(
        f"{r['what']}, against {r['peer']}: {ratio_str(r)} {interval_str(r)}".rstrip(), flush=True
    )


def options(p, repeats=3):
    "The flags that all benchmarks have"
    if repeats:
        p.add_argument(
            "--repeats",
            type=int,
            default=repeats,
            help=f"times that both sides take turns (default {repeats})",
        )
    p.add_argument(
        "--quick",
        action="store_true",
        help="tiny sizes, to see that it runs; the numbers mean nothing",
    )
    p.add_argument("--json", help="write the numbers to this file")
    return p


def save(path, bench, rows, not_measured, quick=False, detail=None):
    "The file of one benchmark"
    from synthlab.runs.report import describe_device, git_state

    git = git_state(ROOT)
    facts = dict(
        machine=describe_device(),
        load=round(LOAD, 2),
        commit=(git["commit"] or "unknown")[:10] + "+" * bool(git["dirty"]),
        date=time.strftime("%Y-%m-%d"),
    )
    out = dict(
        bench=bench, not_measured=not_measured, **facts, quick=quick, rows=rows, detail=detail
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(
        json.dumps(out, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf8"
    )


def finish(args, bench, rows, not_measured, detail=None):
    "Say the rows, and write them where that was asked for"
    for r in rows:
        say(r)
    print(not_measured)
    if args.json:
        save(args.json, bench, rows, not_measured, args.quick, detail)
