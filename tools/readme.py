"""The numbers of README.md and README.zh-CN.md, from the files that hold them: bench/results/*.json
and nbs/reports/*.ipynb.

A number in a sentence stands between `<!--= SOURCE; KEY; FORMAT -->` and `<!--/-->`. SOURCE is the
name of a file without its ending; KEY leads to the value through names and, in lists,
`field:value`, separated by ` / `; FORMAT is Python's, or `estimate`. A table stands between `<!--
begin NAME -->` and `<!-- end NAME -->`. `filled` writes both anew; tests/test_readme.py compares,
and finds other numbers. Run: python bench/table.py --readme
"""

import functools
import html
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))
from common import ROOT, interval_str, num, ratio_str, side_str

RESULTS, REPORTS = ROOT / "bench" / "results", ROOT / "nbs" / "reports"
READMES = ROOT / "README.md", ROOT / "README.zh-CN.md"
ORDER = (
    "regrade",
    "rollout_scripted",
    "generate_verified",
    "memory",
    "calls",
    "generate",
    "rollout",
    "train",
    "selection",
    "budget",
    "detectors",
)
VALUE = re.compile(r"(<!--= ([^;]+); ([^;]+); (\S+) -->)(.*?)(<!--/-->)", re.S)
BLOCK = re.compile(r"(<!-- begin (\w+) -->\n)(.*?)(<!-- end \2 -->)", re.S)


# ------------------------------------------------------------------------------ what the files hold


def metric(text):
    "`0.51 [0.443, 0.578], n=290` as value, lo, hi, n; None where it is unknown"
    m = re.fullmatch(r"(\S+?)(?: \[(\S+), (\S+?)\])?(?:, n=([\d,]+))?", text)
    if not m:
        return dict(value=text)

    def f(s):
        return None if s in (None, "unknown") else float(s.replace(",", ""))

    return dict(value=f(m[1]), lo=f(m[2]), hi=f(m[3]), n=m[4] and int(f(m[4])))


def tables(cells):
    "Rows of the tables that a notebook shows, as dicts of text"
    for c in cells:
        for o in c.get("outputs", []):
            for t in re.findall(
                r"(?s)<table>.*?</table>", "".join(o.get("data", {}).get("text/html", ""))
            ):

                def text(tag, s):
                    return [
                        html.unescape(re.sub("<.*?>", "", x))
                        for x in re.findall(rf"(?s)<{tag}\b[^>]*>(.*?)</{tag}>", s)
                    ]

                head = text("th", t)
                yield [
                    dict(zip(head, text("td", r)))
                    for r in re.findall(r"(?s)<tr>(.*?)</tr>", t.split("</thead>")[1])
                ]


@functools.cache
def report(name):
    """A frozen run: what its second cell says of it, its metrics, the cells of its tables by first
    column and heading
    """
    nb = json.loads((REPORTS / f"{name}.ipynb").read_text("utf8"))
    facts = "".join(nb["cells"][1]["source"])
    head = re.match(
        r"Frozen run `(?P<study>[^/`]+)/\w+`.*?: (?P<machine>.*); commit `(?P<commit>\w+)`.*; "
        r"(?P<date>[\d-]+); (?P<seconds>[\d.,]+) s\.",
        facts,
    )
    if not head:
        raise ValueError(f"{name} does not say where it comes from")
    metrics = {k: metric(v) for k, v in re.findall(r"(?m)^- (.+): (.+)$", facts)}
    cell = {}
    for t in tables(nb["cells"]):
        for r in t:
            cell.setdefault(next(iter(r.values())), {}).update(
                {k: v for k, v in r.items() if k not in cell.get(next(iter(r.values())), {})}
            )
    return dict(
        head.groupdict(),
        seconds=float(head["seconds"].replace(",", "")),
        metrics=metrics,
        cells=cell,
    )


@functools.cache
def result(name):
    "A benchmark's file. Raises ValueError when it has not the common shape"
    d = json.loads((RESULTS / f"{name}.json").read_text("utf8"))
    if not isinstance(d, dict) or not {
        "bench",
        "rows",
        "machine",
        "load",
        "commit",
        "date",
        "not_measured",
    } <= set(d):
        raise ValueError(
            f"bench/results/{name}.json has not the shape that bench/common.py describes: run "
            f"bench/{name}.py --json again"
        )
    if d.get("quick"):
        raise ValueError(f"bench/results/{name}.json is of a quick run, whose numbers mean nothing")
    return d


def step(at, key):
    if isinstance(at, dict):
        return at[key]
    field, _, value = key.partition(":")
    return next(x for x in at if str(x[field]) == value)


def lookup(source, key):
    "The value behind a number of the text. Raises ValueError naming both when there is none"
    try:
        return functools.reduce(
            step,
            key.split(" / "),
            result(source) if (RESULTS / f"{source}.json").exists() else report(source),
        )
    except (KeyError, StopIteration, FileNotFoundError, TypeError):
        raise ValueError(f"README names {source}; {key}: there is no such number") from None


def shown(v, form):
    "A value as text"
    if form == "estimate":
        return f"{v['value']:.2f} [{v['lo']:.2f}, {v['hi']:.2f}]"
    if isinstance(v, dict):
        v = v["value"]
    return format(
        float(v)
        if form.endswith("f")
        else int(float(str(v).replace(",", "")))
        if form in (",", "d")
        else v,
        form,
    )


# ------------------------------------------------------------------------------------------- tables

ZH = json.loads((ROOT / "tools" / "zh.json").read_text("utf8"))


def say(text, zh):
    return ZH.get(text, text) if zh else text


def line(*cells):
    return "| " + " | ".join(str(c).replace("|", "\\|") for c in cells) + " |\n"


def table(head, rows, right=()):
    return (
        line(*head)
        + "|"
        + "".join("---:|" if i in right else "---|" for i in range(len(head)))
        + "\n"
        + "".join(rows)
    )


def results():
    return [result(n) for n in ORDER if (RESULTS / f"{n}.json").exists()]


def bench_line(d, r, zh):
    what, peer = say(r["what"], zh), say(r["peer"], zh)

    def side(k):
        return side_str(dict(r, unit=say(r["unit"], zh)), k)

    ratio = ratio_str(dict(r, note=say(r["note"], zh)))
    spread = interval_str(r)
    if zh:
        spread = re.sub(r"(\d+) repeats?", r"\1 次重复", spread)
    return line(
        what,
        side("ours"),
        f"{peer}: {side('peers')}" if r["peers"] is not None else peer,
        f"{ratio}{' ' if spread.startswith('[') else ', ' if spread else ''}{spread}",
        f"{d['machine'] or say('machine not recorded', zh)}"
        + (f", {say('load', zh)} {d['load']:.1f}" if d["load"] is not None else ""),
    )


def bench_block(zh=False):
    "The headline rows, and the rest folded, with what no benchmark measures"
    head = [say(h, zh) for h in ("measured", "ours", "against", "ratio", "machine")]

    def t(keep):
        return table(
            head, [bench_line(d, r, zh) for d in results() for r in d["rows"] if r["head"] == keep]
        )

    missing = [f"`{n}`" for n in ORDER if not (RESULTS / f"{n}.json").exists()]
    none = (
        f"\n{say('No result in this repository yet', zh)}: {', '.join(missing)}.\n"
        if missing
        else ""
    )
    notes = "".join(
        f"- `{d['bench']}` ({say('commit', zh)} {d['commit']}, {d['date']}): "
        f"{say(d['not_measured'], zh)}\n"
        for d in results()
    )
    rest = t(False) + "\n" if any(not r["head"] for d in results() for r in d["rows"]) else ""
    title = say("The other rows, and what is not measured", zh)
    fold = f"\n<details><summary>{title}</summary>\n\n{rest}{notes}\n</details>\n"
    return t(True) + none + fold


def runs_block(zh=False):
    "The reward of each published run that was graded again"
    m = report("05_failures-published-runs")["metrics"]
    rows = [(k.removeprefix("reward "), v) for k, v in m.items() if k.startswith("reward ")]
    head = [say(h, zh) for h in ("run", "success", "95 % interval", "n")]
    return table(
        head,
        [line(k, f"{v['value']:.2f}", f"[{v['lo']:.2f}, {v['hi']:.2f}]", v["n"]) for k, v in rows],
        right=(1, 3),
    )


def said(v):
    if not isinstance(v["value"], float):
        return None
    if v["lo"] is None and v["value"].is_integer():
        return f"{v['value']:,.0f}"  # a count
    return (
        num(v["value"])
        + (f" [{num(v['lo'])}, {num(v['hi'])}]" if v["lo"] is not None else "")
        + (f", n={v['n']:,}" if v["n"] else "")
    )


def reports_block(zh=False):
    "Each report that is kept, with the first metrics that have a value"
    out = []
    for p in sorted(REPORTS.glob("*.ipynb")):
        r = report(p.stem)
        known = [(k, v) for k, v in r["metrics"].items() if said(v)]
        first = [
            f"{say(k, zh)}: {said(v)}"
            for k, v in known[: 1 if known and known[0][1]["lo"] is not None else 2]
        ]
        out.append(
            line(
                f"[{p.stem}](nbs/reports/{p.name})",
                "; ".join(first),
                f"{r['machine']}, {r['seconds']:,.0f} s",
            )
        )
    return table([say(h, zh) for h in ("report", "its first numbers", "machine")], out)


BLOCKS = dict(bench=bench_block, runs=runs_block, reports=reports_block)


def filled(text, zh=False):
    "The text with every table and number anew"
    text = BLOCK.sub(lambda m: f"{m[1]}\n{BLOCKS[m[2]](zh)}\n{m[4]}", text)
    return VALUE.sub(lambda m: m[1] + shown(lookup(m[2], m[3]), m[4]) + m[6], text)


def bare(text):
    "The text without what `filled` writes"
    return VALUE.sub("", BLOCK.sub("", text))


def write():
    "Write the READMEs anew; names of those that changed"
    out = []
    for p in READMES:
        if not p.exists():
            continue
        old = p.read_text("utf8")
        if (new := filled(old, "zh" in p.name)) != old:
            p.write_text(new, "utf8")
            out.append(p.name)
    return out
