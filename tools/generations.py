"""Digests of the benchmark's tasks by generation, from checkouts: facts, no task is copied.

python tools/generations.py TAU2_CHECKOUT VERIFIED_CHECKOUT writes synthlab/tau2/generations.json.
"""

import argparse
import json
import subprocess
from pathlib import Path

from synthlab.core.settings import repo_root
from synthlab.tau2.database import domains_dir
from synthlab.tau2.env import from_tau2
from synthlab.tau2.generations import generation_table

DOMAINS = ("mock", "airline", "retail", "telecom", "banking_knowledge")


def run_git(
    checkout: Path,  # a git repository
    *words: str,  # the command
) -> bytes:  # what it prints; empty when it fails
    "Ask git"
    return subprocess.run(["git", *words], cwd=checkout, capture_output=True).stdout


def installed_copy(
    checkout: Path,  # a git repository, for its hashing
    blob: str,  # id of a file's content
    domain: str,  # τ² domain name
) -> bytes:  # empty when the installed package has another content
    "A file of the installed package, if it is the very same: partial clones lack large ones"
    for f in sorted((domains_dir() / domain).glob("tasks*.json")):
        if run_git(checkout, "hash-object", str(f)).decode().strip() == blob:
            return f.read_bytes()
    return b""


def tasks_at(
    checkout: Path,  # a git repository
    revision: str,  # of it
    domain: str,  # τ² domain name
) -> list:  # tasks; empty where there are none
    "The tasks of a domain at a revision; telecom's full set where there is one"
    for name in ("tasks_full.json", "tasks.json"):
        path = f"{revision}:data/tau2/domains/{domain}/{name}"
        blob = run_git(checkout, "rev-parse", "--verify", "-q", path).decode().strip()
        if not blob:
            continue
        content = run_git(checkout, "cat-file", "blob", blob)
        content = content or installed_copy(checkout, blob, domain)
        if content:
            return [from_tau2(d, domain) for d in json.loads(content)]
        print(f"{revision} {domain}/{name}: content absent")
    return []


def main():
    "Write the table"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("upstream", type=Path, help="git repository of τ²-bench")
    parser.add_argument("verified", type=Path, help="git repository of τ²-bench-Verified")
    given = parser.parse_args()
    sources = [
        ("0.1 to 0.2", given.upstream, "v0.2.0"),
        ("1.0.0", given.upstream, "v1.0.0"),
        ("1.0.1", given.upstream, "v1.0.1"),
        ("Verified", given.verified, "HEAD"),
    ]
    known = {d: {name: tasks_at(r, rev, d) for name, r, rev in sources} for d in DOMAINS}
    table = {d: generation_table(by_name) for d, by_name in known.items()}
    out = repo_root() / "synthlab/tau2/generations.json"
    out.write_text(json.dumps(table, indent=None, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
