"""Every benchmark in one table: what is measured, against which peer, the ratio with its interval,
on which machine.

python bench/table.py [--only NAME ...] [--quick] [--readme]

Each benchmark runs in a process of its own, one after the other, and writes
bench/results/NAME.json; the table is made of these files, and written into README.md and
README.zh-CN.md with the other numbers there. `--readme` runs nothing and only does that. `--quick`
runs tiny sizes, to see that all work here, and writes nothing into the repository. Peers that are
not installed are named as such in their row: bench/install_peers.sh (PEERS_PYTHON) and
bench/install_llamafactory.sh (LLAMAFACTORY_CLI) install those that need a Python of their own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from common import interval_str, missing, ratio_str, side_str

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from readme import ORDER, RESULTS, result, write

HERE = Path(__file__).resolve().parent
FULL = dict(memory=["--rows", "100000"])


def run(name, folder, quick):
    "The exit code and the file of one benchmark; what it prints is passed on"
    path = Path(folder) / f"{name}.json"
    before = path.stat().st_mtime_ns if path.exists() else 0
    print(f"== {name}", flush=True)
    code = subprocess.run(
        [
            sys.executable,
            HERE / f"{name}.py",
            *(["--quick"] if quick else FULL.get(name, [])),
            "--json",
            path,
        ]
    ).returncode
    return code, json.loads(
        path.read_text("utf8")
    ) if path.exists() and path.stat().st_mtime_ns > before else None


def lines(d):
    where = f"{d['machine']}, load {d['load']}" if d["machine"] else "not recorded"
    for r in d["rows"]:
        yield (
            r["what"],
            side_str(r, "ours"),
            r["peer"],
            side_str(r, "peers"),
            ratio_str(r),
            interval_str(r),
            where,
        )


def show(found):
    "One table of all"
    rows = [
        ("what", "ours", "peer", "peer's", "ratio", "interval", "machine"),
        *(l for d in found for l in lines(d)),
    ]
    wide = [max(map(len, c)) for c in zip(*rows)]
    for r in rows:
        print("  ".join(s.ljust(w) for s, w in zip(r, wide)).rstrip())
    for d in found:
        print(f"{d['bench']}: {d['not_measured']}")


def arguments():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    some = f"some of {', '.join(ORDER)}"
    p.add_argument("--only", nargs="+", choices=ORDER, default=ORDER, metavar="NAME", help=some)
    p.add_argument(
        "--quick", action="store_true", help="tiny sizes; nothing is written into the repository"
    )
    p.add_argument(
        "--readme",
        action="store_true",
        help="run nothing: the table and the READMEs from the files that are there",
    )
    return p.parse_args()


def failed_result(name, code):
    "What stands in the table for a quick benchmark that gave no file"
    rows = [missing(name, "", f"exit code {code}")]
    return dict(bench=name, rows=rows, machine="", load=None, not_measured="")


def main():
    a = arguments()
    failed, found = [], []
    with tempfile.TemporaryDirectory() as tmp:
        for name in () if a.readme else a.only:
            code, got = run(name, tmp if a.quick else RESULTS, a.quick)
            if code:
                failed.append(f"{name} ended with exit code {code}")
            if a.quick:
                found.append(got or failed_result(name, code))
    if not a.quick:
        there = [n for n in ORDER if (RESULTS / f"{n}.json").exists()]
        found = [result(n) for n in there if n in a.only or not a.readme]
        for name in write():
            print(f"{name} has new numbers")
    print()
    show(found)
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
