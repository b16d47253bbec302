"What several tests of these modules share"

TOY = [
    ("markdown", "# Toy?\n\n> Yes.", []),
    (
        "code",
        "import os, time\nfrom pathlib import Path\nfrom synthlab.core.plot import bars\nfrom "
        "synthlab.runs.run import Run; from synthlab.core.parallel import progress",
        [],
    ),
    (
        "code",
        "n: int = 3 # how many\nfile: str = '' # read\ngate: str = '' # a file NAME.txt that "
        "must exist\nnap: float = 0. # s\n"
        "api_key: str = '' # of a server\nlabels: list[str]|None = None # any",
        ["parameters"],
    ),
    (
        "code",
        "run = Run('01_toy', dict(n=n, file=file, gate=gate, nap=nap, api_key=api_key, "
        "labels=labels))\nrun",
        [],
    ),
    (
        "code",
        "with open('ran.txt', 'a') as f: print(n, file=f)\nprint('the key is', "
        "api_key)\nos.getcwd()",
        [],
    ),
    (
        "code",
        "rows = [dict(i=i, y=i*i) for i in progress(range(n), "
        "'squaring')]\nrun.save_rows('rows.jsonl', rows)",
        [],
    ),
    ("code", "run.save_fig(bars(rows, 'i', 'y'), 'squares', rows)", []),
    ("code", "run.save_fig(bars(rows, 'i', 'i').figure, 'numbers', rows)", []),
    (
        "code",
        "time.sleep(nap)\nif gate and not Path(gate+'.txt').exists(): raise "
        "RuntimeError(f'{gate} is shut, {api_key}')",
        [],
    ),
    (
        "code",
        "text = run.input(file).read_text() if file else ''\nrun.finish(dict(n=n, "
        "undefined=float('nan')))",
        [],
    ),
]
