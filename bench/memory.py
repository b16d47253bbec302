"""Files of any length: peak memory of verifying and selecting N and 2N trajectories, and what one
row costs.

Conversations without a model over four domains are written N times over, each made different by a
number in its first message, so that no two are repeats. A fresh process verifies the file through
all gates with repeats dropped, and chooses a tenth of what is kept; its peak resident memory is the
operating system's own count. Parquet shards are written and read back as a stream; their size is
that of the first conversations, which are no copies of each other. Stages are timed each on its
own, one process on one core; the capacity plan of nbs/growing.ipynb is computed from the file that
--json writes. A bare reading of the same lines as JSON is timed beside loading them as records.
Run: python bench/memory.py [--rows 10000] [--quick] [--json bench/results/memory.json]     (the
stated case: --rows 100000)
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import finish, options, row

MOST, GROWTH, BASE = 2000, 0.10, 400
NOT_MEASURED = (
    "Not measured: generation by a model, more than one process, a disk that is slow or far "
    "away, and selectors "
    "that compare rows with each other."
)


def written(path, rows):
    """N different conversations in a file; the seconds of making the first ones, and how many these
    were
    """
    from synthlab.core.types import to_dict
    from synthlab.generate.apigen_mt import generate

    start = time.perf_counter()
    base = [json.dumps(to_dict(t), allow_nan=False) for t in generate(BASE, seed=1).kept]
    seconds = time.perf_counter() - start
    with open(path, "w") as f:
        for i in range(rows):
            t = json.loads(base[i % len(base)])
            t["messages"][0]["content"] = t["messages"][0].get("content", "") + f" [{i}]"
            f.write(json.dumps(t) + "\n")
    return seconds, len(base)


def timed(f, *args, **kw):
    start = time.perf_counter()
    out = f(*args, **kw)
    return out, time.perf_counter() - start


def one(src, folder):
    "Verify and select, then the peak; shards after it, so that they do not count"
    from synthlab.core.types import Trajectory, read_jsonl
    from synthlab.export.dataset import from_shards, select_file, to_shards, verify_file

    said, verify = timed(verify_file, src, folder / "kept.jsonl", folder / "dropped.jsonl")
    kept, tenth = folder / "kept.jsonl", said["read"] // 10
    chosen, select = timed(
        select_file, kept, folder / "chosen.jsonl", tenth, lambda t: len(t.messages)
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    n, load = timed(lambda: sum(1 for _ in read_jsonl(src, Trajectory)))
    with open(src) as f:
        _, bare = timed(lambda: sum(1 for line in f if json.loads(line)))
    _, shard = timed(to_shards, read_jsonl(kept, Trajectory), folder / "shards", 5000)
    back, stream = timed(lambda: sum(1 for _ in from_shards(folder / "shards")))
    assert (n, back) == (said["read"], said["kept"]) and chosen["kept"] == min(back, tenth)
    # none a copy of another
    few = to_shards(itertools.islice(read_jsonl(kept, Trajectory), BASE), folder / "few")
    seconds = dict(verify=verify, select=select, load=load, to_parquet=shard, from_parquet=stream)
    return dict(
        rows=n,
        kept=said["kept"],
        peak_mb=peak,
        seconds={k: v / n for k, v in seconds.items()},
        seconds_bare=bare / n,
        bytes=dict(
            jsonl=os.path.getsize(src) / n,
            parquet=sum(p.stat().st_size for p in few) / min(back, BASE),
        ),
    )


def main(rows):
    out = []
    with tempfile.TemporaryDirectory() as d:
        for n in (rows, 2 * rows):
            src = Path(d) / f"{n}.jsonl"
            made, base = written(src, n)
            r = subprocess.run(
                [sys.executable, __file__, "--one", str(src)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            out.append(dict(json.loads(r.stdout.splitlines()[-1]), seconds_generate=made / base))
            src.unlink()
    return out


def show(out):
    a, b = out
    print(
        f"{'rows':>9} {'peak MiB':>9} {'ms a row: verify':>17} {'select':>8} {'load':>8} "
        f"{'to parquet':>11} {'from':>8}"
    )
    for r in out:
        ms = {k: 1000 * v for k, v in r["seconds"].items()}
        print(
            f"{r['rows']:9,} {r['peak_mb']:9.0f} {ms['verify']:17.2f} {ms['select']:8.3f} "
            f"{ms['load']:8.3f} "
            f"{ms['to_parquet']:11.3f} {ms['from_parquet']:8.3f}"
        )
    ratio = b["peak_mb"] / a["peak_mb"]
    ok = b["peak_mb"] < MOST and ratio < 1 + GROWTH
    print(
        f"ratio {ratio:.3f} of the peaks, twice the rows (under {1 + GROWTH:.2f}, and {MOST} "
        f"MiB): {'met' if ok else 'missed'}"
    )
    print(f"{b['bytes']['jsonl']:.0f} bytes a row as JSONL, {b['bytes']['parquet']:.0f} as parquet")


def alone(what, seconds, n, **more):
    "A row without a peer: rows a second"
    return row(
        what, "none", unit="rows/s", ours=1 / seconds, n=n, repeats=1, note="no peer", **more
    )


def rows_of(out):
    "Rows of the common table, from the smaller and the larger run"
    a, b = out
    n, seconds = b["rows"], b["seconds"]
    peak = row(
        "peak memory of verifying and selecting",
        "half the rows",
        unit="MiB",
        ours=b["peak_mb"],
        peers=a["peak_mb"],
        ratio=b["peak_mb"] / a["peak_mb"],
        n=n,
        repeats=1,
        head=True,
    )
    load = row(
        "load trajectories from JSONL",
        "json.loads of the same lines, no records made",
        unit="rows/s",
        ours=1 / seconds["load"],
        peers=1 / b["seconds_bare"],
        ratio=b["seconds_bare"] / seconds["load"],
        n=n,
        repeats=1,
        times=True,
        head=True,
    )
    return [
        peak,
        load,
        alone("verify trajectories through all gates", seconds["verify"], n, head=True),
        alone("choose a tenth by a score", seconds["select"], n),
    ]


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rows", type=int, default=10_000, help="N; 2N are tried too")
    p.add_argument("--one", help=argparse.SUPPRESS)
    a = options(p, repeats=0).parse_args()
    if a.one:
        with tempfile.TemporaryDirectory() as d:
            print(json.dumps(one(Path(a.one), Path(d))))
        sys.exit()
    if a.quick:
        a.rows, BASE = 40, 40
    out = main(a.rows)
    show(out)
    finish(a, "memory", rows_of(out), NOT_MEASURED, dict(runs=out))
