"""the gallery: buttons for each kind of error, the turn marked, nothing from a conversation read as
markup
"""

import re
from dataclasses import replace

from synthlab.core.types import Message, Task, Trajectory
from synthlab.failures.outcomes import (
    component_rows,
    group_by_run,
    pass_rows,
)
from synthlab.failures.report import (
    AttributedRun,
    clearest_cases,
    error_gallery,
    paper_counterparts,
    paper_pass_rows,
)
from tests.failures.common import traj

BAD = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def a_case(i, n=6, severity="minor", kind="hallucination", text="hello"):
    messages = [Message("user" if k % 2 == 0 else "assistant", f"{text} {k}") for k in range(n)]
    t = Trajectory(Task(f"{i}", "retail", "You want help."), messages, model="a")
    return AttributedRun(
        t, "user", [dict(source="user", type=kind, severity=severity, turn=2, evidence=text)]
    )


def test_nothing_that_is_shown_is_read_as_markup():
    c = a_case("t", text=BAD)
    c.traj.task, c.traj.model = replace(c.traj.task, id=BAD), f"<b>{BAD}"
    c.errors[0] |= dict(severity=BAD, type=BAD)
    html = error_gallery([c])
    assert (
        "<script" not in html
        and "<img" not in html
        and "<b>&lt;" not in html
        and html.count("&lt;script&gt;") > 5
    )


def test_three_of_each_kind_the_critical_and_short_first_with_one_turn_marked():
    cases = [a_case(i, 6 + i) for i in range(5)] + [
        a_case("c", 30, "critical_hindered"),
        a_case("d", kind="wrong_sequence"),
    ]
    rows = clearest_cases(cases, 3)
    assert [c.traj.task.id for k, c, _ in rows if k == "user: hallucination"] == ["c", "0", "1"]
    html = error_gallery(cases, 3)
    assert html.count('class="card') == len(re.findall('class="m hit', html)) == 4
    assert len(re.findall('<input type="radio"', html)) == 2 and html.count("checked>") == 1
    assert error_gallery([]) == ""


def test_paper_is_whole_and_falls_with_k():
    rows = paper_pass_rows()

    def key(r):
        return (r["figure"], r["agent"], r["domain"], r["mode"], r["family"], r["k"])

    assert len({key(r) for r in rows}) == len(rows) == 4 * 3 * 4 + 8 + 4 * 3 * 4
    for a, b in zip(rows, rows[1:]):
        if b["k"] == a["k"] + 1:
            assert 0 < b["value"] <= a["value"] < 1
    for r in rows:
        if r["figure"] == 3 and r["domain"] == "telecom":
            mean = (
                sum(
                    q["value"]
                    for q in rows
                    if q["figure"] == 6 and (q["agent"], q["k"]) == (r["agent"], r["k"])
                )
                / 3
            )
            assert abs(mean - r["value"]) < 0.07, (
                "the kinds of figure 6 average to the domain of figure 3"
            )


def test_published_stands_only_beside_the_same_thing():
    ts = [
        traj(model="gpt-4.1", domain="telecom"),
        traj(model="gpt-4.1", domain="telecom", solo=True),
        traj(model="gpt-4.1", domain="mock"),
    ]
    marks = paper_counterparts(component_rows(group_by_run(ts)))
    assert [(r["run"], r["value"]) for r in marks] == [
        ("gpt-4.1 · telecom", 0.34),
        ("gpt-4.1 · telecom · no-user", 0.52),
    ]
    assert all("lo" not in r and "n" not in r for r in marks)
    two = group_by_run([traj(model="gpt-4.1", domain="retail")] * 2)
    assert [r["value"] for r in paper_counterparts(pass_rows(two, ["all"]), None)] == [0.74, 0.64]
