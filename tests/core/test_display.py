"""What objects show of themselves in a notebook: whatever a field holds stays text, and what is
long is folded away.
"""

import math
import re
from dataclasses import replace

import pytest

from synthlab.budget.planner import plan
from synthlab.budget.theory import Gaussian
from synthlab.core.display import long_table, table
from synthlab.core.types import Message, Task, ToolCall, Trajectory, Usage
from synthlab.runs.run import Run
from synthlab.select.base import Selection

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table><iframe src='x'>",
    "<b>&amp;</b>",
]
evil = pytest.mark.parametrize("bad", EVIL)
OURS = (
    r"</?(?:div|b|code|p|table|thead|tbody|tr|th|td|details|summary|span|style)(?: "
    r'style="text-align:(?:left|right)"| class="[\w -]*")?>'
)


def inert(html):
    "Nothing but the tags and attributes that we write ourselves"
    rest = re.sub(r"(?s)<style>.*?</style>", "", html)
    return (
        "<" not in re.sub(OURS, "", rest)
        and rest.count("<details>") == rest.count("</details>")
        and rest.count("<table>") == rest.count("</table>")
    )


@evil
def test_a_selection_stays_text(bad):
    s = Selection(
        [1, 0],
        [0.5, math.nan],
        [bad, bad * 200],
        bad,
        None,
        Usage(),
        {bad: bad, "long": [bad] * 100},
    )
    assert inert(s._repr_html_()) and "FLOPs not known" in s._repr_html_()


@evil
def test_a_schedule_stays_text(bad):
    s = plan(5000, acceptance=Gaussian(), rounds=6)
    s = replace(s, others={**s.others, bad: s.n}, warnings=[bad, bad * 300])
    assert inert(s._repr_html_()) and "6 rounds" in s._repr_html_()


@evil
def test_a_run_stays_text(bad, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHLAB_RUN_DIR", str(tmp_path / "run"))
    r = Run("01_toy", {"asked": bad, "long": bad * 300, bad: [bad]})
    r.finish({bad: 1.0, "said": bad})
    assert inert(r._repr_html_()) and "<details>" in r._repr_html_()


@evil
def test_a_trajectory_stays_text(bad):
    call = ToolCall(bad, {bad: bad}, bad)
    t = Trajectory(
        Task(bad, bad, bad),
        [
            Message("user", bad),
            Message("assistant", bad * 2000, [call]),
            Message("tool", bad * 200, call_id=bad),
        ],
        model=bad,
        source=bad,
        stop=bad,
    )
    assert inert(t._repr_html_())


def test_a_long_selection_stays_small():
    s = Selection(
        list(range(50_000)),
        [0.1] * 100_000,
        ["near"] * 50_000,
        "rds+",
        3.2e12,
        info=dict(words="y" * 10**6, rows=list(range(10**5))),
    )
    html = s._repr_html_()
    assert (
        len(html) < 40_000
        and "50,000 of 100,000 rows" in html
        and "190 more rows, 49,800 are not shown" in html
    )
    assert (
        html.split("<details>")[0].count("<tr>") == 11
        and repr(s) == "Selection(rds+, 50,000 of 100,000 rows)"
    )


def test_short_tables_are_as_before():
    rows = [dict(a=1, b="x" * 600)]
    assert (
        long_table(rows) == table(rows).data
        and "<details>" not in table(rows).data
        and "<details>" in table([dict(b="x" * 601)]).data
    )
