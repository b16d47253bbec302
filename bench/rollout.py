"""Episodes per minute with a served model: lockstep batches against the benchmark's own orchestrator.

Both sides play the same tasks, in turn, with the same model behind the same vLLM server, the same prompts, seeds and user.
The benchmark's orchestrator plays one episode at a time; with `--threads N`, N in threads, as its `--max-concurrency` does.
Prefix caching is on for both. Run: python bench/rollout.py [--n 32] [--live 32] [--maxtok 32] [--json PATH]
"""
import argparse, json, sys, time
from concurrent.futures import ThreadPoolExecutor

from tau2_orchestrator import graded

from synthlab.contexts import Context, FramedAgent
from synthlab.errands import errands
from synthlab.grade import grade
from synthlab.llm import make_llm, serve
from synthlab.rollout import episode_seed, rollout
from synthlab.scripted import ScriptedUser

TARGET = 3.
NOT_MEASURED = ('Not measured: starting the server (before, once for both), importing packages, and a user played by a model. The '
                "orchestrator is the benchmark's own with this lab's policies on both sides, so that both ask for the same tokens.")


def ours(ts, agent, live, steps):
    "Seconds, rewards and new tokens in lockstep"
    start = time.perf_counter()
    out = [grade(t) for t in rollout(ts, agent, ScriptedUser(), slots=live, max_steps=steps)]
    return time.perf_counter()-start, [t.reward for t in out], sum(t.usage.out for t in out)


def theirs(ts, agent, threads, steps):
    "The same by the benchmark's orchestrator and evaluator, one episode at a time in each thread"
    def one(t): return graded(t, agent, ScriptedUser(), max_steps=steps, seed=episode_seed(0, t, 0))[1].reward
    start = time.perf_counter()
    if threads == 1: rewards = [one(t) for t in ts]
    else:
        with ThreadPoolExecutor(threads) as ex: rewards = list(ex.map(one, ts))
    return time.perf_counter()-start, rewards


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--model', default='smollm2', help='served to both (default smollm2)')
    p.add_argument('--n', type=int, default=32, help='tasks (default 32)')
    p.add_argument('--live', type=int, default=32, help='episodes alive at once in lockstep (default 32)')
    p.add_argument('--threads', type=int, nargs='+', default=[1], help="threads of the benchmark's side (default 1)")
    p.add_argument('--maxtok', type=int, default=32, help='new tokens a turn (default 32)')
    p.add_argument('--steps', type=int, default=12, help='cut-off of an episode (default 12)')
    p.add_argument('--json', help='write the rows to this file too')
    a, rows = p.parse_args(), []
    ts = [b.task() for b in errands(a.n, 'test')]
    with serve(a.model, max_model_len=2048, enforce_eager=True, seed=0) as s:
        agent = FramedAgent(make_llm(s.spec(), style=s.style), Context(schemas='signatures'), maxtok=a.maxtok)
        ours(ts[:2], agent, 2, a.steps) # warm: the first request compiles
        took, rewards, tokens = ours(ts, agent, a.live, a.steps)
        print(f'lockstep, {a.live} live: {60*a.n/took:.1f} episodes/min, {tokens/took:.0f} tokens/s, mean reward {sum(rewards)/a.n:.2f}')
        for k in a.threads:
            base, again = theirs(ts, agent, k, a.steps)
            same = sum(x == y for x,y in zip(rewards, again))
            rows.append(dict(n=a.n, live=a.live, threads=k, ours_per_min=60*a.n/took, benchmark_per_min=60*a.n/base,
                ratio=base/took,
                             same_rewards=same, target=TARGET if k == 1 else None))
            print(f'benchmark, {k} at once: {60*a.n/base:.1f} episodes/min, ratio {base/took:.2f}, same reward in {same} of {a.n}')
    print(NOT_MEASURED)
    if a.json:
        with open(a.json, 'w') as f: json.dump(dict(bench='rollout', rows=rows, not_measured=NOT_MEASURED), f, indent=1)
    return int(any(r['ratio'] < (r['target'] or 0) for r in rows))


if __name__ == '__main__': sys.exit(main())
