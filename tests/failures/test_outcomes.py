"""failures: known faults are found, tables agree with counting by hand, real files give the numbers
measured before
"""

import math
from collections import Counter
from dataclasses import replace

import pytest
from conftest import DATA, needs_data
from hypothesis import given
from hypothesis import strategies as st

from synthlab.core.stats import wilson
from synthlab.core.types import Message, Score, write_jsonl
from synthlab.failures.outcomes import (
    REWARD_COMPONENTS,
    action_rows,
    agent_name,
    audit_rows,
    component_rows,
    count_rows,
    find_results,
    group_by_run,
    issue_family,
    issue_family_rows,
    outcome_label,
    overall_success,
    overview_rows,
    pass_rows,
    pick_failures,
    read_results,
    reward_components,
    scripted_runs,
    task_success,
    termination_reason,
    transcript_html,
)
from synthlab.tau2.grade import write_graded_results
from tests.failures.common import traj


@pytest.fixture(scope="module")
def scripted():
    return scripted_runs(6, trials=4, seed=3)


def test_scripted_agents_fail_where_they_must(scripted):
    assert Counter(t.model for t in scripted) == {
        f"scripted:{a}": 72 for a in ("oracle", "forgetful", "null")
    }
    assert {t.reward for t in scripted if t.model == "scripted:oracle"} == {1.0}
    lost = [t for t in scripted if t.model == "scripted:forgetful" and task_success(t) == 0]
    assert lost and all(t.seed % 2 for t in lost), "with an even seed nothing is forgotten"
    assert all(len(t.calls) == len(t.task.gold) - 1 for t in lost)


def test_tables_count_what_there_is(scripted):
    runs = group_by_run(scripted)
    assert len(runs) == 9 and sum(map(len, runs.values())) == len(scripted)
    for what, name in ((outcome_label, "outcome"), (termination_reason, "ending")):
        rows = count_rows(runs, what, name)
        assert sum(r["value"] for r in rows) == len(scripted)
        assert {(r["run"], r[name]): r["value"] for r in rows if r["value"]} == Counter(
            (k, what(t)) for k, ts in runs.items() for t in ts
        )
        few = count_rows(runs, what, name, 1)
        assert sum(r["value"] for r in few) == len(scripted) and len({r[name] for r in few}) == min(
            2, len({r[name] for r in rows})
        )
    for rows in (
        action_rows(runs),
        [r for r in component_rows(runs) if r["part"] == "reward"],
        [r for r in audit_rows(runs) if r["tasks"] != "all"],
    ):
        by = Counter()
        for r in rows:
            by[r["run"]] += r["n"]
        assert by == {k: len(ts) for k, ts in runs.items()}
        assert sum(r["n"] * r["value"] for r in rows) == pytest.approx(
            sum(map(task_success, scripted))
        )
        assert all(0 <= r["lo"] <= r["value"] <= r["hi"] <= 1 for r in rows)
    assert [r["conversations"] for r in overview_rows(runs)] == [24] * 9


def test_reward_is_the_product_of_its_parts(scripted):
    for t in scripted:
        assert task_success(t) == math.prod(reward_components(t).values()) and set(
            reward_components(t)
        ) <= set(REWARD_COMPONENTS)


def test_idle_agent_passes_exactly_the_tasks_of_the_audit(scripted):
    rows = {
        r["tasks"]: r["value"]
        for r in audit_rows(group_by_run(t for t in scripted if t.model == "scripted:null"))
    }
    assert rows["doing nothing passes"] == 1 and rows["doing nothing fails"] == 0


@pytest.mark.parametrize(
    "model,name",
    [
        ("azure/gpt-4o-2024-11-20", "gpt-4o"),
        ("gpt-4.1-2025-04-14", "gpt-4.1"),
        ("o4-mini", "o4-mini"),
        ("openai/gpt-4.1-mini", "gpt-4.1-mini"),
        ("claude-3-7-sonnet-20250219", "claude-3.7-sonnet"),
        ("", "unknown agent"),
        ("anthropic/claude-3.7-sonnet", "claude-3.7-sonnet"),
        ("scripted:oracle", "scripted:oracle"),
    ],
)
def test_agent_names(model, name):
    assert agent_name(model) == name


def test_runs_are_kept_apart():
    ts = [
        traj(model="a/x", source="one.json"),
        traj(model="x", source="two.json.gz"),
        traj(model="x", domain="retail", source="two.json"),
        traj(model="x", source="one.json", solo=True),
    ]
    assert list(group_by_run(ts)) == [
        "x · airline (one)",
        "x · airline (two)",
        "x · airline · no-user",
        "x · retail",
    ]
    assert {r["who"] for r in component_rows(group_by_run(ts))} == {
        "x (one)",
        "x (two)",
        "x · no-user",
        "x",
    }


@pytest.mark.parametrize(
    "t,want",
    [
        (traj(), "passed"),
        (traj(reward=1 - 1e-9), "passed"),
        (traj(reward=math.nan), "not scored"),
        (traj(reward=0.0, DB=0.0, COMMUNICATE=1.0), "DB"),
        (traj(reward=0.0, COMMUNICATE=0.0, DB=0.0), "DB + COMMUNICATE"),
        (traj(reward=0.0, stop="max_steps"), "max_steps"),
        (traj(reward=0.0, stop="infrastructure_error"), "infrastructure_error"),
        (traj(reward=0.0, stop=""), "unknown"),
    ],
)
def test_outcomes(t, want):
    assert outcome_label(t) == want


@pytest.mark.parametrize(
    "t,want",
    [
        (traj(), "user: done"),
        (traj(last="ok ###TRANSFER###"), "user: transfer"),
        (traj(last="###OUT-OF-SCOPE###"), "user: out of scope"),
        (traj(last="bye"), "user_stop"),
        (traj(stop="agent_stop"), "agent_stop"),
        (traj(stop="max_steps"), "max_steps"),
        (traj(stop=""), "unknown"),
    ],
)
def test_endings(t, want):
    assert termination_reason(t) == want


def test_unscored_is_never_a_failure():
    runs = group_by_run([traj("1"), traj("2", reward=math.nan), traj("3", reward=0.0, DB=0.0)])
    reward, db = component_rows(runs)
    assert (reward["value"], reward["n"], reward["unscored"]) == (0.5, 2, 1) and (
        db["value"],
        db["n"],
        db["unscored"],
    ) == (0.0, 1, 2)
    assert (
        overall_success(runs["m · airline"]) == wilson(1, 2) and pass_rows(runs)[0]["value"] == 0.5
    )
    assert len(pick_failures(runs["m · airline"], 5)) == 1


def test_both_conventions_for_infrastructure_errors():
    runs = group_by_run(
        [traj("1"), traj("1", reward=0.0, stop="infrastructure_error"), traj("2"), traj("2")]
    )
    assert {(r["convention"], r["k"]): r["value"] for r in pass_rows(runs)} == {
        ("all", 1): 0.75,
        ("all", 2): 0.5,
        ("drop_infra", 1): 1.0,
    }


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from(["DB", "COMMUNICATE"]), st.integers(1, 9)
        ),
        max_size=20,
    ),
    st.integers(0, 8),
)
def test_chosen_failures_show_every_kind_first(spec, n):
    ts = [
        replace(traj(t, reward=0.0, **{p: 0.0}), messages=[Message("user", "x")] * m)
        for t, p, m in spec
    ]
    got = pick_failures(ts + [traj("z")], n)
    kinds = Counter(outcome_label(t) for t in ts)
    assert len(got) == min(n, len(ts)) and len({id(t) for t in got}) == len(got)
    assert len({outcome_label(t) for t in got}) == min(n, len(kinds))
    if got:
        assert kinds[outcome_label(got[0])] == max(kinds.values())


def test_transcripts_are_escaped_and_fold():
    t = replace(traj(task="<b>", reward=0.0, DB=0.0), messages=[Message("user", "<script>")])
    assert "<script>" not in transcript_html(t) and "<b>" not in transcript_html(t)
    assert (
        " open>" not in transcript_html(t).split("<summary>")[0]
        and " open>" in transcript_html(t, True).split("<summary>")[0]
    )


def test_found_in_order_and_once(tmp_path):
    for n in (
        "b.json",
        "a.json",
        "run/results_x.json",
        "run/manifest.json",
        "run/trajectories.jsonl",
        "plain/one.json.gz",
        "bench/simulations/1.json",
        "bench/results.json",
        "mine/trajectories.jsonl",
        "mine/rejected.jsonl",
        "mine/manifest.json",
    ):
        (tmp_path / n).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / n).write_text("{}")

    def names(spec):
        return [str(p.relative_to(tmp_path)) for p in find_results(spec, tmp_path)]

    assert names("*.json") == ["a.json", "b.json"] and names("b.json, *.json,") == [
        "b.json",
        "a.json",
    ]
    assert names(["run", "plain", "bench", "mine"]) == [
        "run/results_x.json",
        "plain/one.json.gz",
        "bench",
        "mine/trajectories.jsonl",
    ]
    assert names(str(tmp_path / "*.json")) == ["a.json", "b.json"] and names("") == []
    for spec in ("c.json", "none/*", str(tmp_path / "no" / "x.json")):
        with pytest.raises(FileNotFoundError, match="no results there; give"):
            find_results(spec, tmp_path)


def test_what_was_written_is_read_the_same(scripted, tmp_path):
    own = [t for t in scripted if t.model == "scripted:forgetful" and t.task.domain == "retail"]
    write_graded_results(own, tmp_path / "results.json.gz"), write_jsonl(own, tmp_path / "t.jsonl")
    (tmp_path / "torn.json").write_text((tmp_path / "t.jsonl").read_text()[:700])
    ts, rows, refused = read_results(
        [tmp_path / "results.json.gz", tmp_path / "t.jsonl", tmp_path / "torn.json"]
    )
    assert [task_success(t) for t in ts] == [task_success(t) for t in own] * 2
    assert [(r["same"], r["different"], r["raised"], r["wrong"]) for r in rows] == [
        (24, 0, 0, 0)
    ] * 2
    assert [r["file"] for r in refused] == ["torn.json"] and "not whole JSON" in refused[0][
        "refused"
    ]
    with pytest.raises(ValueError, match="no file can be read: torn.json"):
        read_results([tmp_path / "torn.json"])


def test_a_changed_verdict_and_an_unplayable_record_are_seen(scripted, tmp_path):
    a, b, c = [
        replace(t, scores=dict(t.scores), messages=[replace(m) for m in t.messages])
        for t in scripted
        if t.calls
    ][:3]
    a.scores["reward"] = Score(1 - a.reward)
    b.messages[
        next(i for i, m in enumerate(b.messages) if m.role == "tool")
    ].content = "something else"
    write_jsonl([a, b, c], tmp_path / "t.jsonl")
    ts, (row,), _ = read_results([tmp_path / "t.jsonl"])
    assert (row["same"], row["different"], row["raised"]) == (1, 1, 1)
    assert (
        outcome_label(ts[1]) == "not scored" and "cannot be replayed" in ts[1].scores["reward"].why
    )


@pytest.mark.slow
@needs_data
def test_real_runs_give_what_was_measured_before():
    ts, rows, refused = read_results(
        find_results([DATA / "tau2_runs" / "gpt-4.1_*", DATA / "tau2_runs" / "qwen*"])
    )
    assert (
        not refused
        and all(r["same"] == r["n"] for r in rows)
        and sum(r["wrong"] for r in rows) == 0
    )
    runs = group_by_run(ts)
    got = {(r["run"], r["part"]): (round(r["value"], 3), r["n"]) for r in component_rows(runs)}
    solo = "gpt-4.1 · telecom · no-user"
    assert got["gpt-4.1 · airline", "reward"] == (0.5, 20)
    assert got["gpt-4.1 · retail", "reward"] == (0.85, 40)
    assert got["gpt-4.1 · telecom", "reward"] == (0.45, 40)
    assert got["gpt-4.1 · telecom", "ENV_ASSERTION"] == (0.5, 40)
    assert got["gpt-4.1 · telecom", "ACTION"] == (0.75, 12)
    assert got[solo, "ACTION"] == (0.417, 12) and got[solo, "ENV_ASSERTION"] == (0.675, 40)
    assert got["qwen2.5:7b · airline", "reward"] == (0.18, 50)
    kinds = {
        (r["mode"], r["family"]): (round(r["value"], 2), r["n"]) for r in issue_family_rows(runs)
    }
    assert kinds == {
        ("default", "service"): (0.8, 15),
        ("default", "mobile_data"): (0.33, 9),
        ("default", "mms"): (0.19, 16),
        ("no-user", "service"): (0.33, 15),
        ("no-user", "mobile_data"): (0.89, 9),
        ("no-user", "mms"): (0.44, 16),
    }
    ends = {
        r["outcome"]: r["value"]
        for r in count_rows(runs, outcome_label, "outcome")
        if r["agent"] == "qwen2.5:7b"
    }
    assert ends["agent_error"] == 9 and sum(ends.values()) == 50
    assert {issue_family(t.task) for t in ts if t.task.domain != "telecom"} == {""}


@needs_data
def test_wrong_task_ids_are_repaired_before_grading():
    ts, (wrong, right), _ = read_results(find_results([DATA / "tau2_runs" / "toolorchestra*"]))
    assert (
        wrong["wrong"] > 40
        and wrong["repaired"] == wrong["wrong"]
        and wrong["same"] == right["same"] == 50
    )
    assert [r["value"] for r in component_rows(group_by_run(ts)) if r["part"] == "reward"] == [
        0.56,
        0.56,
    ]


@needs_data
def test_untrusted_and_foreign_files_are_refused_with_the_reason():
    good = DATA / "tau2_runs" / "gpt-4.1-mini_mock_1trial.json.gz"
    ts, rows, refused = read_results(
        [good, DATA / "tau2_runs" / "untrusted_no-info_airline.json.gz", *DATA.glob("tau1_runs/*")]
    )
    assert len(ts) == 10 and len(rows) == 1
    assert "no info" in refused[0]["refused"] and "τ-bench v1" in refused[1]["refused"]
