"""Tokens per second of the local backends on the same prompts, and what our layer costs over vLLM's
own `LLM.generate`.

python bench/generate.py [--prompts 64] [--tokens 64] [--repeats 5] [--dtype bfloat16] [--threads 2]
[--quick] [--json PATH]

Raw and ours run in turns on one engine, each time with an empty prefix cache, and must give the
same words. The ratio is the median over pairs; processor time is given beside wall time, because on
a shared machine only the former is ours.
"""

import argparse
import os
import time

from common import finish, missing, options, versus

from synthlab.models.compare_backends import benchmark_questions

NOT_MEASURED = (
    "Not measured: other models, requests that arrive one by one, and a GPU, unless "
    "the machine named has one."
)


def timed(f):
    wall, cpu = time.perf_counter(), time.process_time()
    out = f()
    return out, time.perf_counter() - wall, time.process_time() - cpu


def bench_hf(o):
    from synthlab.models.llm import make_llm

    llm = make_llm("hf:smollm2", dtype=o.dtype, batch=o.prompts)
    llm(benchmark_questions(2), maxtok=2)
    asked = benchmark_questions(o.prompts)
    got = [timed(lambda: llm(asked, maxtok=o.tokens)) for _ in range(o.repeats)]
    return [sum(r.usage.out for (r,) in out) / wall for out, wall, _ in got]


def bench_vllm(o):
    from vllm import SamplingParams

    from synthlab.models.llm import make_llm

    llm = make_llm("vllm:smollm2", dtype=o.dtype, max_model_len=2048)
    batch, greedy = (
        benchmark_questions(o.prompts),
        SamplingParams(temperature=0, max_tokens=o.tokens),
    )
    texts = [llm.prompter.text(c) for c in batch]

    def raw():
        return [x.outputs[0].text for x in llm.engine.generate(texts, greedy, use_tqdm=False)]

    def ours():
        return [r.text for (r,) in llm(batch, maxtok=o.tokens)]

    raw(), ours()
    rows = []
    for i in range(o.repeats):
        got = {}
        for name, f in [("raw", raw), ("ours", ours)][:: 1 if i % 2 else -1]:
            llm.engine.reset_prefix_cache()
            got[name] = timed(f)
        assert got["raw"][0] == got["ours"][0], "the two arms said different things"
        rows.append(
            {f"{k}_{what}": v[j] for k, v in got.items() for j, what in ((1, "wall"), (2, "cpu"))}
        )
    n = sum(r.usage.out for (r,) in llm(batch, maxtok=o.tokens))
    llm.close()
    return {k: [n / r[k] if "wall" in k else r[k] / n * 1e3 for r in rows] for k in rows[0]}


if __name__ == "__main__":
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--prompts", type=int, default=64)
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--dtype", default="bfloat16")
    p.add_argument("--threads", type=int, default=0, help="processor threads; 0: all")
    p.add_argument("--only", choices=["hf", "vllm"], help="run one of the two")
    o = options(p, repeats=5).parse_args()
    if o.quick:
        o.prompts, o.tokens, o.repeats = 4, 4, 1
    if o.threads:
        os.environ.update(
            OMP_NUM_THREADS=str(o.threads),
            VLLM_CPU_OMP_THREADS_BIND=",".join(map(str, range(o.threads))),
        )
    rows, got = [], {}
    for k, f in (("vllm", bench_vllm), ("hf", bench_hf)):
        if o.only in (None, k):
            try:
                got[k] = f(o)
            except ImportError as e:
                rows.append(missing("generate text", k, f"{e.name} is not installed"))
    if v := got.get("vllm"):
        rows.append(
            versus(
                "generate text, by our layer over vLLM",
                "vLLM's own LLM.generate",
                v["ours_wall"],
                v["raw_wall"],
                "tokens/s",
                o.prompts,
                rate=True,
                head=True,
            )
        )
        rows.append(
            versus(
                "the same, processor time",
                "vLLM's own LLM.generate",
                v["ours_cpu"],
                v["raw_cpu"],
                "ms a token",
                o.prompts,
            )
        )
        if "hf" in got:
            rows.append(
                versus(
                    "the same",
                    "transformers, one batch, by our layer",
                    v["ours_wall"],
                    got["hf"],
                    "tokens/s",
                    o.prompts,
                    rate=True,
                )
            )
    finish(
        o,
        "generate",
        rows,
        NOT_MEASURED,
        dict(got, prompts=o.prompts, tokens=o.tokens, dtype=o.dtype, threads=o.threads),
    )
