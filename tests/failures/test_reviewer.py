"a model as the reviewer: what it gets to read, what counts as a review, and how it is measured"

import json
import math
import re
from dataclasses import replace

import pytest
from conftest import DATA, needs_data

from synthlab.cli.main import main
from synthlab.core.stats import kappa, wilson
from synthlab.failures.attribution import attribute_failure
from synthlab.failures.reviewer import (
    ERROR_DEFINITIONS,
    SEVERITIES,
    JudgeReview,
    human_label_rows,
    parse_review,
    read_human_labels,
    review_files,
    review_prompt,
    review_runs,
    review_schema,
    reviewer_agreement,
    reviewer_metrics,
)
from synthlab.models.durable import DurableLLM
from synthlab.models.llm import ScriptedLLM, make_llm
from synthlab.tau2.grade import write_graded_results
from synthlab.user_errors.detect import USER_ERROR_TYPES
from synthlab.user_errors.resimulate import oracle_runs
from synthlab.user_errors.validation import fault_suite

ONE = dict(source="user", type="hallucination", severity="minor", turn=1, evidence="x")


def says(**kw):
    return json.dumps(dict(errors=[ONE | kw]))


@pytest.fixture(scope="module")
def known():
    return fault_suite(oracle_runs(each=2), "dev", each=2)


def truth(chat, **_):
    "A reviewer that knows each injected error by the text of its turn"
    return truth.said[chat[0].content]


@pytest.fixture(scope="module")
def informed(known):
    def told(t):
        f = t.info["fault"]
        if f["source"] != "user":
            return dict(errors=[])
        return dict(
            errors=[
                dict(
                    source="user",
                    type=f["type"],
                    severity=f["severity"],
                    turn=f["turn"],
                    evidence="",
                )
            ]
        )

    truth.said = {review_prompt(t): json.dumps(told(t)) for t in known}
    return ScriptedLLM(truth)


def test_the_form_has_all_kinds_and_severities_apart_for_each_side():
    sides = {
        s["properties"]["source"]["enum"][0]: s["properties"]
        for s in review_schema()["properties"]["errors"]["items"]["anyOf"]
    }
    assert tuple(sides["user"]["type"]["enum"]) == USER_ERROR_TYPES and sides["user"]["severity"][
        "enum"
    ] == ["minor", "critical_helped", "critical_hindered"]
    assert sides["agent"]["type"]["enum"] == list(ERROR_DEFINITIONS["agent"]) and set(sides) == set(
        SEVERITIES
    )


def test_outcome_and_reference_are_not_shown(known):
    t = next(t for t in known if t.task.domain == "retail" and t.task.gold)
    empty = replace(t, task=replace(t.task, gold=None, checks=None), scores={}, stop="")
    assert review_prompt(t) == review_prompt(empty)
    assert all(
        f"[{i}] {m.role}:" in review_prompt(t)
        for i, m in enumerate(t.messages)
        if m.role != "system"
    )


def test_an_unknown_domain_is_reviewed_without_a_policy(known):
    t = replace(known[0], task=replace(known[0].task, domain="banking"))
    assert "POLICY" not in review_prompt(t) and "POLICY" in review_prompt(known[0])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no errors",
        '{"errors": [',
        '{"errors": null}',
        '{"errors": {}}',
        "[]",
        '{"errors": ["none"]}',
        says(turn=9),
        says(turn="one"),
        says(turn=True),
        says(turn=-1),
        says(type="rude"),
        says(source="system"),
        says(severity="critical"),
        says(source="agent"),
        '{"verdict": "fine"}',
    ],
)
def test_what_cannot_be_read_is_no_review_with_a_reason(text):
    r = parse_review(text, 9)
    assert r.errors is None and not r.read and r.why and not r.findings()


def test_one_bad_error_takes_the_review_with_it():
    assert parse_review(json.dumps(dict(errors=[ONE, ONE | dict(type="rude")])), 9).errors is None


def test_an_empty_list_is_a_review():
    assert parse_review('{"errors": []}', 9) == JudgeReview([], "", "")


def test_a_failed_call_and_a_prompt_that_does_not_fit_are_no_reviews(known):
    def tired(chat, **_):
        raise RuntimeError("busy")

    rs, _ = review_runs(known[:2], ScriptedLLM(tired))
    assert [r.errors for r in rs] == [None, None] and all("busy" in r.why for r in rs)


def test_a_reviewer_that_knows_is_counted_as_one(known, informed):
    rs, usage = review_runs(known, informed)
    rows = {
        (r["measure"], r["who"]): r
        for r in reviewer_metrics(known, [attribute_failure(t)["errors"] for t in known], rs)
    }
    user = [t for t in known if t.info["fault"]["source"] == "user"]
    assert (
        rows["recall", "reviewer"]["value"]
        == rows["precision, right class", "reviewer"]["value"]
        == 1
    )
    assert (
        rows["recall", "reviewer"]["n"] == rows["recall", "rules"]["n"] == len(user)
        and usage.inp > 0
    )


def test_unread_reviews_are_left_out_of_every_count_and_said(known, informed):
    rs, _ = review_runs(known, informed)
    lost = [JudgeReview(None, "torn")] * len(rs)
    half = [l if i % 2 else r for i, (l, r) in enumerate(zip(lost, rs))]
    ruled = [[] for _ in known]
    assert all(
        math.isnan(r["value"]) and r["n"] == 0 and r["unread"] == len(known)
        for r in reviewer_metrics(known, ruled, lost)
    )
    assert {r["n"] for r in reviewer_agreement(known, ruled, half)} == {
        len(known) - len(known) // 2
    }
    assert [
        r["value"] for r in reviewer_agreement(known, ruled, lost) if r["value"] == r["value"]
    ] == []


def test_kappa_is_that_of_the_textbook():
    a, b = [True] * 25 + [False] * 25, [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    assert kappa(a, b).value == pytest.approx(0.4) and kappa(a, b).lo < 0.4 < kappa(a, b).hi
    assert (
        math.isnan(kappa([True] * 5, [True] * 5).value)
        and kappa([True, False], [False, True]).value == -1
    )
    assert kappa([True, False], [False, True]).lo >= -1


def test_agreement_counts_each_kind(known):
    ruled, said = (
        [[ONE]] * 2 + [[]] * (len(known) - 2),
        [JudgeReview([ONE]), *(JudgeReview([]) for _ in known[1:])],
    )
    row = next(r for r in reviewer_agreement(known, ruled, said) if r["type"] == "hallucination")
    assert (row["both"], row["rules_only"], row["reviewer_only"], row["n"]) == (1, 1, 0, len(known))


def test_a_journal_answers_a_second_time(known, informed, tmp_path):
    asked = []

    def once(chat, **kw):
        asked.append(1)
        return truth(chat)

    for _ in range(2):
        with DurableLLM(ScriptedLLM(once, "once"), tmp_path / "calls.sqlite", "reviewer") as llm:
            rs, _ = review_runs(known[:3], llm)
    assert len(asked) == 3 and all(r.read and r.by == "once" for r in rs)


def test_labels_without_a_column_are_refused(tmp_path):
    (tmp_path / "x.csv").write_text("simulation_id,final_source\n1,user\n")
    with pytest.raises(ValueError, match="need a column 'llm_user_error'"):
        read_human_labels(tmp_path / "x.csv")


@needs_data
def test_upstreams_reviewer_on_the_labels_of_people():
    "By hand: of 60 failures with both, 11 are the user's alone; 30 were flagged, 8 of them rightly"
    rows = {
        (r["who"], r["truth"], r["measure"]): r
        for r in human_label_rows(
            read_human_labels(DATA / "labels/human_failure_labels_tau_voice_91.csv")
        )
    }
    for k, hit, n in (("precision", 8, 30), ("recall", 8, 11)):
        r = rows["upstream reviewer: any", "the user alone", k]
        assert {x: r[x] for x in ("value", "lo", "hi", "n")} == wilson(hit, n).row()


def test_the_command_adds_reviews_and_never_a_verdict(known, tmp_path, capsys):
    good = [t for t in known if t.task.domain == "airline"][:3]
    write_graded_results(good, tmp_path / "r.json")
    failures = ["failures", str(tmp_path / "r.json")]
    out = ["--out", str(tmp_path / "o")]
    assert main([*failures, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert main([*failures, "--json", "--reviewer", "scripted:fill", *out]) == 0
    d = json.loads(capsys.readouterr().out)
    assert [{k: v for k, v in r.items() if k != "review"} for r in d["runs"]] == plain["runs"]
    assert all(r["review"] == dict(errors=[], why="") for r in d["runs"])
    assert d["reviewer"]["unread"] == 0
    assert json.loads((tmp_path / "o/failures.json").read_text()) == d
    assert main([*failures, "--reviewer", "scripted:echo", *out]) == 0
    said = capsys.readouterr().out
    assert re.search(r"3 of 3 .*not be read", said), said
    assert main([*failures, "--reviewer", "scripted:nobody"]) == 2


def test_reviewed_has_no_review_where_there_is_no_user(tmp_path):
    from synthlab.tau2.agents import OracleAgent, ScriptedUser
    from synthlab.tau2.env import tasks
    from synthlab.tau2.grade import grade
    from synthlab.tau2.rollout import rollout

    solo = [
        grade(t) for t in rollout(tasks("telecom")[:1], OracleAgent(), ScriptedUser(), solo=True)
    ]
    write_graded_results(solo, tmp_path / "s.json")
    d = review_files([tmp_path / "s.json"], make_llm("scripted:fill"))
    assert "review" not in d["runs"][0] and d["reviewer"]["n"] == 0
