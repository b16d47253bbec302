"""What objects show of themselves in a notebook: whatever a field holds stays text, and what is
long is folded away.
"""

import math
import re
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest

from synthlab.budget.planner import plan
from synthlab.budget.theory import Gaussian
from synthlab.core import plot
from synthlab.core.display import long_table, small_png, table
from synthlab.core.types import Message, Task, ToolCall, Trajectory, Usage
from synthlab.runs.run import Run
from synthlab.select.base import Selection
from tests.core.common import rows

mpl.use("Agg")


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


@pytest.mark.slow
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


def test_small_png_is_a_small_png_of_the_same_figure():
    import io

    from PIL import Image

    ax = plot.bars(rows, "agent", hue="part")
    raw = io.BytesIO()
    ax.figure.savefig(raw, format="png", dpi=150, bbox_inches="tight")
    a, b = (
        np.asarray(Image.open(io.BytesIO(x)).convert("RGB"), float)
        for x in (raw.getvalue(), small_png(ax.figure))
    )
    assert (
        a.shape == b.shape
        and abs(a - b).mean() < 2
        and len(small_png(ax.figure)) < len(raw.getvalue())
    )


@pytest.mark.slow
def test_every_figure_shows_in_a_kernel():
    "Real kernels load the backend late: each cell's figure must still be shown, as an indexed PNG"
    import base64
    import io

    import nbformat
    from nbclient import NotebookClient
    from PIL import Image

    draw = "bars([dict(a='x', value=.5, lo=.4, hi=.6)], 'a');"
    sources = [
        "from synthlab.core.plot import bars\nfrom synthlab.core.display import "
        "inline_figures\ninline_figures()",
        draw,
        draw,
        "import matplotlib.pyplot as plt; plt.plot([1, 2]);",
    ]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    NotebookClient(nb, kernel_name="python3", timeout=120).execute()
    shown = [
        [o.data["image/png"] for o in c.outputs if "image/png" in o.get("data", {})]
        for c in nb.cells
    ]
    assert list(map(len, shown)) == [0, 1, 1, 1]
    assert {Image.open(io.BytesIO(base64.b64decode(x))).mode for xs in shown for x in xs} == {"P"}


def test_tables_escape_and_say_what_is_missing():
    html = table([dict(a_b="<i>", n=3, v=1 / 3), dict(a_b="x", n=None, v=math.nan)]).data
    assert (
        "&lt;i&gt;" in html
        and "<th>a b</th>" in html
        and ">3<" in html
        and "0.33" in html
        and html.count("–") == 2
    )
    assert table([]).data
