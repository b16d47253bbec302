"""Graded oracle episodes per second: this lab against the benchmark's own orchestrator, environment and evaluator.

Both sides play the same policies (scripted oracle and scripted user) on the same tasks, in one process, ours first and
cold: its database is parsed within the time measured. Run: python bench/rollout_scripted.py [--n 25] [--json PATH]
"""
import argparse, json, statistics, sys, time

from tau2_orchestrator import graded

from synthlab.grade import grade
from synthlab.rollout import rollout
from synthlab.scripted import OracleAgent, ScriptedUser
from synthlab.world import tasks

TARGET = dict(airline=100, retail=100)
NOT_MEASURED = ('Not measured: importing packages (done before, for both sides), calls to a language model (there is '
                'none), and more than one process. The benchmark runs one episode at a time; ours keep 256 alive.')
COLUMNS = dict(domain='8', n='4', reward='6.2f', benchmark_per_s='15.2f', ours_per_s='11.1f', ratio='6.0f',
               ours_warm_per_s='15.1f', ratio_warm='10.0f')


def ours(ts):
    "Seconds and rewards of one pass"
    start = time.perf_counter()
    rewards = [grade(t).reward for t in rollout(ts, OracleAgent(), ScriptedUser())]
    return time.perf_counter()-start, rewards


def theirs(ts):
    start = time.perf_counter()
    rewards = [graded(t, OracleAgent(), ScriptedUser())[1].reward for t in ts]
    return time.perf_counter()-start, rewards


def compare(domain, n):
    "Both sides on `n` tasks spread over the base split; ours again, warm, for comparison"
    ts = tasks(domain)
    ts = ts[::max(1, len(ts)//n)][:n]
    (cold, a), (base, b) = ours(ts), theirs(ts)
    if a != b: sys.exit(f'{domain}: the rewards differ on {[t.id for t, x, y in zip(ts, a, b) if x != y]}')
    warm = statistics.median(ours(ts)[0] for _ in range(5))
    return dict(domain=domain, n=len(ts), reward=round(statistics.mean(a), 4), benchmark_per_s=len(ts)/base,
                ours_per_s=len(ts)/cold, ratio=base/cold, ours_warm_per_s=len(ts)/warm, ratio_warm=base/warm,
                target=TARGET.get(domain))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=25, help='tasks a domain (default 25)')
    p.add_argument('--domains', nargs='+', default=['mock', 'airline', 'retail', 'telecom'])
    p.add_argument('--json', help='write the rows to this file too')
    args, rows = p.parse_args(), []
    print(*(f'{k:>{f.split(".")[0]}}' for k, f in COLUMNS.items()))
    for d in args.domains:
        r = compare(d, args.n); rows.append(r)
        below = r['ratio'] < (r['target'] or 0)
        print(*(f'{r[k]:>{f}}' for k, f in COLUMNS.items()), f'below {r["target"]}' if below else '')
    print(NOT_MEASURED)
    if args.json:
        found = dict(bench='rollout_scripted', rows=rows, not_measured=NOT_MEASURED)
        with open(args.json, 'w') as f: json.dump(found, f, indent=1)
    return int(any(r['ratio'] < (r['target'] or 0) for r in rows))


if __name__ == '__main__': sys.exit(main())
