"""Tokens per second of the local backends on the same prompts, and what our layer costs over vLLM's own `LLM.generate`.

python bench/generate.py [--prompts 64] [--tokens 64] [--repeats 5] [--dtype bfloat16] [--threads 2]

Raw and ours run in turns on one engine, each time with an empty prefix cache, and must give the same words. The ratio is the median
over pairs; processor time is given beside wall time, because on a shared machine only the former is ours.
"""
import argparse, json, os, statistics, time

TOPICS = ['rivers', 'trains', 'bread', 'glass', 'winter', 'maps', 'bridges', 'paper', 'salt', 'clocks', 'birds', 'wool', 'stars', 'tea', 'rope', 'ink']


def chats(n):
    from synthlab.types import Message
    lead = 'You answer customers of a shop. Be brief, be exact, and never promise what you cannot keep. '
    return [[Message('system', lead*(1+i % 4)), Message('user', f'Question {i}: tell me about {TOPICS[i % len(TOPICS)]}.')] for i in range(n)]


def timed(f):
    wall, cpu = time.perf_counter(), time.process_time()
    out = f()
    return out, time.perf_counter()-wall, time.process_time()-cpu


def speed(name, tokens, seconds): print(f'{name:24}{tokens:8,} tokens {seconds:8.1f} s {tokens/seconds:9.0f} tokens/s', flush=True)


def bench_hf(o):
    from synthlab.llm import make_llm
    llm = make_llm('hf:smollm2', dtype=o.dtype, batch=o.prompts)
    llm(chats(2), maxtok=2)
    out, wall, _ = timed(lambda: llm(chats(o.prompts), maxtok=o.tokens))
    n = sum(r.usage.out for r, in out)
    speed('hf', n, wall)
    return dict(tokens=n, seconds=wall, tokens_per_second=n/wall)


def bench_vllm(o):
    from synthlab.llm import make_llm
    from vllm import SamplingParams
    llm = make_llm('vllm:smollm2', dtype=o.dtype, max_model_len=2048)
    batch, greedy = chats(o.prompts), SamplingParams(temperature=0, max_tokens=o.tokens)
    texts = [llm.prompter.text(c) for c in batch]
    def raw(): return [x.outputs[0].text for x in llm.engine.generate(texts, greedy, use_tqdm=False)]
    def ours(): return [r.text for r, in llm(batch, maxtok=o.tokens)]
    raw(), ours()
    rows = []
    for i in range(o.repeats):
        got = {}
        for name, f in [('raw', raw), ('ours', ours)][::1 if i % 2 else -1]:
            llm.engine.reset_prefix_cache()
            got[name] = timed(f)
        assert got['raw'][0] == got['ours'][0], 'the two arms said different things'
        rows.append({f'{k}_{what}': v[j] for k, v in got.items() for j, what in ((1, 'wall'), (2, 'cpu'))})
    n = sum(r.usage.out for r, in llm(batch, maxtok=o.tokens))
    for k in ('raw', 'ours'): speed(f'vllm, {k}', n, statistics.median(r[k+'_wall'] for r in rows))
    ratio = {w: statistics.median(r['ours_'+w]/r['raw_'+w] for r in rows) for w in ('wall', 'cpu')}
    print(f'ours over raw: wall {ratio["wall"]:.3f}, processor {ratio["cpu"]:.3f} (median of {o.repeats} pairs; at most 1.05)')
    llm.close()
    return dict(tokens=n, rows=rows, ratio=ratio)


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--prompts', type=int, default=64); p.add_argument('--tokens', type=int, default=64)
    p.add_argument('--repeats', type=int, default=5); p.add_argument('--dtype', default='bfloat16')
    p.add_argument('--threads', type=int, default=0, help='processor threads; 0: all')
    p.add_argument('--only', choices=['hf', 'vllm'], help='run one of the two'); p.add_argument('--json', help='write the numbers here')
    o = p.parse_args()
    if o.threads: os.environ.update(OMP_NUM_THREADS=str(o.threads), VLLM_CPU_OMP_THREADS_BIND=','.join(map(str, range(o.threads))))
    got = {k: f(o) for k, f in (('hf', bench_hf), ('vllm', bench_vllm)) if o.only in (None, k)}
    if o.json: open(o.json, 'w').write(json.dumps(dict(vars(o), **got), indent=1))
