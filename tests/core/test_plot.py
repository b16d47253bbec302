"""What a figure promises: colours that everybody can tell apart, heights and intervals at the given
values, no silent zeros
"""

import math
from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from synthlab.core import plot
from synthlab.core.stats import Estimate
from tests.core.common import rows

mpl.use("Agg")


MACHADO = {  # Machado, Oliveira & Fernandes 2009, severity 1.0, linear RGB
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def linear(color):
    c = np.array(mpl.colors.to_rgb(color))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    v = np.array(to_xyz) @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(v > 0.008856, np.cbrt(v), 7.787 * v + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", MACHADO)
def test_palette_is_told_apart(vision):
    labs = [lab(np.array(MACHADO[vision]) @ linear(c)) for c in plot.PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in combinations(labs, 2)) >= 16


def test_text_is_readable():
    for c in (plot.TEXT_COLOR, plot.MUTED_COLOR):
        assert 1.05 / (linear(c) @ [0.2126, 0.7152, 0.0722] + 0.05) >= 4.5


@pytest.mark.parametrize("flip", [True, False])
def test_bars_stand_at_their_values(flip):
    ax = plot.bars(
        rows,
        "agent",
        hue="part",
        flip=flip,
        ref=[dict(agent="x", part="DB", value=0.4), dict(agent="z", part="DB", value=0.9)],
    )
    size = [p.get_width() if flip else p.get_height() for p in ax.patches]
    assert size == [r["value"] for r in rows]
    ends = sorted(
        tuple(s[0][:, 0 if flip else 1]) for s in (c.get_segments() for c in ax.collections)
    )
    assert ends == sorted((r["lo"], r["hi"]) for r in rows)
    (mark,) = list(ax.lines)
    assert (mark.get_xdata() if flip else mark.get_ydata())[
        0
    ] == 0.4 and mark.get_markerfacecolor() == "white"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["DB", "ALL", "published"]


def test_missing_is_not_zero():
    ax = plot.bars(
        [dict(a="x", **Estimate().row()), dict(a="y", value=None), dict(a="z", value=0.0)], "a"
    )
    assert [p.get_height() for p in ax.patches] == [0.0]
    assert [t.get_text() for t in ax.texts] == ["not scored", "not scored", "0.00"]


def test_long_names_lie_down():
    long = [dict(a=f"a rather long name for category {i}", value=0.5) for i in range(4)]
    assert plot.bars(long, "a").patches[0].get_width() == 0.5


def test_a_missing_column_is_named():
    for f in (plot.bars, plot.lines, plot.points, plot.heatmap):
        args = ("agent", "part") if f is plot.heatmap else ("agent",)
        with pytest.raises(ValueError, match="need the column 'score'"):
            f(rows, *args, **{"value" if f is plot.heatmap else "y": "score"})


def test_lines_are_sorted_and_named_without_overlap():
    pts = [
        dict(k=k, agent=a, **Estimate(v - 0.001 * i, v - 0.1, v + 0.1, 9).row())
        for i, a in enumerate("abcd")
        for k, v in ((2, 0.4), (1, 0.5))
    ]
    ax = plot.lines(pts, "k", hue="agent", ylim=(0, 1))
    drawn = [l for l in ax.lines if len(l.get_xdata()) == 2]
    assert len(drawn) == 4 and all(np.allclose(l.get_xdata(), [1, 2], atol=0.05) for l in drawn)
    assert len({l.get_xdata()[0] for l in drawn}) == 4, "four series stand aside of each other"
    assert [t.get_color() for t in ax.texts] == [l.get_color() for l in drawn]
    heights = sorted(t.xy[1] for t in ax.texts)
    boxes = sorted((t.get_window_extent().y0, t.get_window_extent().y1) for t in ax.texts)
    assert len(heights) == 4 and all(b[0] >= a[1] - 1 for a, b in zip(boxes, boxes[1:]))
    few = plot.lines([p for p in pts if p["agent"] in "ab"], "k", hue="agent")
    assert [list(l.get_xdata()) for l in few.lines] == [[1, 2], [1, 2]]


def apart(ax):
    "Whether no two labels of the horizontal axis touch"
    ax.figure.canvas.draw()
    boxes = [t.get_window_extent() for t in ax.get_xticklabels() if t.get_text()]
    return len(boxes) > 2 and all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:]))


def test_numbers_and_names_under_an_axis_do_not_touch():
    assert apart(
        plot.lines(
            [dict(x=x, value=0.5) for x in (0, 12, 14, 24, 38, 39, 52, 78, 80)], "x", ylim=(0, 1)
        )
    )
    names = (
        "15 prompts",
        "60 prompts",
        "240 prompts",
        "rank 2",
        "rank 8",
        "rank 64",
        "trained on .2 to .8",
    )
    assert apart(plot.points([dict(case=c, value=0.2, n=126) for c in names], "case"))


def test_stacked_shares_add_up():
    ax = plot.stacked_bars(
        [dict(run="a", end=e, value=v) for e, v in (("stop", 30), ("error", 9), ("max", 1))]
        + [dict(run="b", end="max", value=4)],
        "run",
        "end",
    )
    assert [round(p.get_width(), 3) for p in ax.patches] == [0.75, 0.225, 0.025, 1.0]
    assert [t.get_text() for t in ax.texts] == ["30", "9", "4"]


def test_heat_writes_given_cells_only():
    ax = plot.heatmap(
        [
            dict(x="p", y="q", value=0.25),
            dict(x="r", y="q", value=math.nan),
            dict(x="r", y="s", value=1),
        ],
        "x",
        "y",
    )
    assert [t.get_text() for t in ax.texts] == ["0.25", "1.00"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plot.bars([], "a"),
        lambda: plot.lines([], "a", hue="b"),
        lambda: plot.points([], "a"),
        lambda: plot.strip_plot([], "a", "b"),
        lambda: plot.stacked_bars([], "a", "b"),
        lambda: plot.heatmap([], "a", "b"),
    ],
)
def test_no_rows_say_so(draw):
    ax = draw()
    ax.figure.canvas.draw()
    assert "no rows to show" in [t.get_text() for t in ax.texts]


def test_style_does_not_leak():
    before = dict(mpl.rcParams)
    plot.bars(rows, "agent", hue="part")
    assert dict(mpl.rcParams) == before


def test_figures_save_at_any_size(tmp_path):
    for i, ax in enumerate(
        (
            plot.points(rows, "agent", hue="part"),
            plot.strip_plot(rows, "agent", "value", hue="part"),
        )
    ):
        ax.figure.savefig(tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").stat().st_size > 2000


def test_panels_split_rows_and_references():
    own = [dict(r, domain=d) for d in ("a", "b") for r in rows if d == "a" or r["agent"] == "x"]
    axs = plot.panels(
        own,
        "domain",
        plot.bars,
        "agent",
        hue="part",
        ref=[dict(domain="b", agent="x", part="DB", value=0.4)],
    )
    assert [(len(ax.patches), len(ax.lines)) for ax in axs] == [(4, 0), (2, 1)] and len(
        {ax.figure for ax in axs}
    ) == 1
    assert len(plot.panels([], "domain", plot.bars, "agent")) == 1


@pytest.mark.parametrize("flip", [True, False])
def test_long_names_and_legends_leave_room_for_the_plot(flip):
    many = [
        dict(run=f"agent-with-a-long-name-{r} · telecom · no-user", part=p, value=0.5, n=40)
        for r in range(3)
        for p in ("reward", "DB", "COMMUNICATE", "ENV_ASSERTION", "NL_ASSERTION", "ACTION")
    ]
    ax = plot.bars(many, "run", hue="part", flip=flip)
    ax.figure.canvas.draw()
    assert ax.get_window_extent().width > 0.5 * ax.figure.bbox.width
    assert ax.get_legend().get_window_extent().x1 <= ax.figure.bbox.width


def test_series_absent_from_a_category_take_no_room():
    ax = plot.bars(
        [dict(a="x", s=s, value=1) for s in "pq"] + [dict(a="y", s=s, value=1) for s in "rt"],
        "a",
        hue="s",
        flip=False,
    )
    middles = [p.get_x() + p.get_width() / 2 for p in ax.patches]
    assert middles == pytest.approx([-0.2, 0.2, 0.8, 1.2])


def test_given_colours_stay_with_their_series():
    ax = plot.bars(
        rows, "agent", hue="part", colors={"ALL": "#112233", "DB": "#445566", "other": "#778899"}
    )
    assert [mpl.colors.to_hex(p.get_facecolor()) for p in ax.patches] == [
        "#445566",
        "#445566",
        "#112233",
        "#112233",
    ]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["ALL", "DB"]
