"""Injected errors: true worlds, known truth, sets of words that have none in common."""

import json
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import combinations

import fresh_words
import pytest
from conftest import DATA, needs_data

from synthlab.core.types import to_dict
from synthlab.failures.divergence import criticality
from synthlab.tau2.agents import VerbalOracleAgent
from synthlab.tau2.database import DOMAINS, domain_records
from synthlab.tau2.env import tasks, tools
from synthlab.tau2.grade import grade
from synthlab.tau2.replay import replay
from synthlab.tau2.results import load_results
from synthlab.tau2.rollout import rollout
from synthlab.user_errors import validation
from synthlab.user_errors.detect import detect_user_errors
from synthlab.user_errors.faults import ID_PATTERNS
from synthlab.user_errors.resimulate import (
    TRANSFER_TOOL,
    ParaphrasingUser,
)
from synthlab.user_errors.validation import (
    ALL_FAULTS,
    WORDING_SPLITS,
    control_run,
    fault_suite,
    inject_fault,
    precision,
    read_wordings,
    recall,
    run_detector,
)


@pytest.fixture(scope="module")
def more(runs):
    "With tasks whose solution is a transfer"

    def transfers(t):
        return any(a["name"] == TRANSFER_TOOL for a in t.gold or [])

    todo = [
        t
        for d in ("airline", "retail", "telecom")
        for t in [t for t in tasks(d) if transfers(t)][:2]
    ]
    own = [
        grade(replace(t, source="oracle"))
        for t in rollout(todo, VerbalOracleAgent(), ParaphrasingUser(), seed=1)
    ]
    return runs + [t for t in own if t.reward == 1]


@pytest.fixture(scope="module", params=WORDING_SPLITS)
def injected(runs, request):
    return fault_suite(runs, request.param, each=5)


def test_every_answer_is_what_the_environment_says(injected):
    for t in injected:
        r = replay(t)
        assert not r.loose and all(s.match for s in r.steps), t.info["fault"]


def test_the_truth_says_what_was_done(injected):
    for t in injected:
        f = t.info["fault"]
        if f["source"] == "none":
            assert t.reward == 1
            continue
        assert t.messages[f["turn"]].role == ("user" if f["source"] == "user" else "assistant"), f
        assert (f["severity"] in ("minor", "critical_helped")) == (t.reward == 1), f


def test_all_classes_of_the_taxonomy_are_there(injected):
    kinds = {t.info["fault"]["type"] for t in injected if t.info["fault"]["source"] == "user"}
    assert kinds == {f.type for f in ALL_FAULTS.values() if f.source == "user"}
    assert {t.info["fault"]["type"] for t in injected if t.info["fault"]["source"] == "agent"} == {
        f.type for f in ALL_FAULTS.values() if f.source == "agent"
    }


def test_the_same_seed_gives_the_same_bytes(runs):
    a, b = (fault_suite(runs[:6], each=3, seed=7) for _ in range(2))
    assert [to_dict(t) for t in a] == [to_dict(t) for t in b]
    assert [to_dict(t) for t in fault_suite(runs[:6], each=3, seed=8)] != [to_dict(t) for t in a]


DEV, HELDOUT, FINAL = SETS = [read_wordings(half) for half in WORDING_SPLITS]


def test_the_sets_share_no_words_and_no_invented_values():
    def plain(o):
        return "".join(c for c in str(o).lower() if c.isalnum() or c in "{}")

    def texts(w):
        return {plain(o) for k in ("user", "agent", "invented") for v in w[k].values() for o in v}

    def calls(w):
        return {str(o) for k in ("schema", "idle") for o in w["calls"][k]} | {
            o for v in w["calls"]["value"].values() for o in v
        }

    for a, b in combinations(SETS, 2):
        assert not texts(a) & texts(b) and not calls(a) & calls(b)


def test_the_other_sets_have_at_least_as_many_of_each_as_the_one_to_develop_on():
    def sizes(w):
        return {(part, k): len(set(map(str, v))) for part, d in w.items() for k, v in d.items()}

    least = sizes(DEV)
    for w in (HELDOUT, FINAL):
        assert sizes(w).keys() == least.keys() and all(n >= least[k] for k, n in sizes(w).items())


def test_the_wordings_have_the_blanks_of_the_others():
    def blanks(w):
        return {
            k: {
                f
                for o in w[p][k]
                for f in ("value", "fact", "secret", "label", "other", "text", "what")
                if "{" + f + "}" in o
            }
            for p in ("user", "agent")
            for k in w[p]
        }

    assert blanks(FINAL) == blanks(HELDOUT) == blanks(DEV)


@pytest.mark.parametrize("words", SETS, ids=WORDING_SPLITS)
def test_invented_values_exist_nowhere_and_look_like_the_real_ones(words):
    world = json.dumps([domain_records(d) for d in DOMAINS], default=str)
    for k, values in words["invented"].items():
        for v in values:
            assert k in ("fact", "date") or f'"{v}"' not in world, v
            assert k not in ID_PATTERNS or re.fullmatch(ID_PATTERNS[k], v), v


class Only(random.Random):
    "Draws one given wording whenever it can be drawn"

    def __init__(self, seed, want):
        super().__init__(seed)
        self.want = want

    def random(self):
        return 0.9

    def choice(self, xs):
        return self.want if isinstance(xs, list) and self.want in xs else super().choice(xs)


USED = dict(
    stop_confirm="stop at the confirmation",
    take_transfer="transfer before it is made",
    demand_human="transfer out of the blue",
    corrected="invented identifier, corrected",
    aside="invented aside",
    enough="wish never told",
    early="fallback told up front",
    contradict="fact contradicted",
    deny="wish denied",
    fine="wish denied",
    flip="wish denied for a moment",
    as_done="offer taken as done",
    as_answered="another question answered",
    false_report="result misreported",
    as_agent="words of an agent",
    acted_as_agent="deeds of an agent",
    thanks="no end of thanks",
    with_call="words and a call in a turn",
)
AGENT_USED = dict(
    offer_transfer="user: transfer before it is made",
    hold="agent: transfer announced, never made",
    not_found="user: invented identifier, corrected",
    understood="user: wish denied",
    unsure="user: wish denied for a moment",
    again="user: another question answered",
    refuse="agent: wrong refusal",
    done="agent: done, it says",
    tempting="user: stop that spares a mistake",
    loop="agent: loop",
    welcome="user: no end of thanks",
)


@pytest.mark.parametrize(
    "part,key,name",
    [("user", k, f"user: {n}") for k, n in USED.items()]
    + [("agent", k, n) for k, n in AGENT_USED.items()]
    + [("invented", "fact", "user: invented aside")],
)
def test_every_wording_of_the_final_set_can_be_used(more, part, key, name):
    for want in FINAL[part][key]:
        pieces = [x for x in re.split(r"\{\w+\}", want) if x]
        for t in more:
            try:
                bad = inject_fault(t, name, Only(5, want), "final")
            except ValueError:
                continue
            if any(all(x in m.content for x in pieces) for m in bad.messages):
                break
        else:
            pytest.fail(f"{want}")
        assert bad.info["fault"]["half"] == "final" and all(s.match for s in replay(bad).steps)


def test_every_call_of_the_final_set_is_one_the_phone_can_be_asked_for(runs):
    schemas = {t["function"]["name"]: t["function"]["parameters"] for t in tools("telecom", "user")}
    calls = FINAL["calls"]
    assert all(n in schemas and not schemas[n]["properties"] for n in calls["idle"])
    assert all(
        n not in schemas or set(a) != set(schemas[n]["properties"]) for n, a in calls["schema"]
    )
    assert {k for s in schemas.values() for k in s["properties"]} >= calls["value"].keys()


def test_nothing_that_happened_before_the_error_is_changed(runs):
    for t in runs[:10]:
        same = control_run(t)
        assert [(m.role, m.content) for m in same.messages] == [
            (m.role, m.content) for m in t.messages
        ]
        try:
            bad = inject_fault(t, "user: invented aside", random.Random(3))
        except ValueError:
            continue
        k = bad.info["fault"]["turn"]
        assert [m.content for m in bad.messages[:k]] == [m.content for m in t.messages[:k]]
        assert bad.messages[k].content != t.messages[k].content


@pytest.mark.parametrize("injected", ["dev", "heldout"], indirect=True)
def test_criticality_agrees_with_the_truth(injected):
    "Most of what is known to be critical is found to be, and little else"
    user = [t for t in injected if t.info["fault"]["source"] == "user"]
    both = Counter(
        (t.info["fault"]["severity"], criticality(t, t.info["fault"]["turn"])) for t in user
    )
    right = sum(n for (a, b), n in both.items() if a == b)
    assert right / len(user) >= 0.85, both
    assert all(
        both["minor", c] <= 0.1 * len(user) for c in ("critical_hindered", "critical_helped")
    ), both


def test_what_does_not_fit_is_refused(runs):
    empty = replace(runs[0], messages=runs[0].messages[:1])
    with pytest.raises(ValueError, match="no place"):
        inject_fault(empty, "user: wish denied", random.Random(1))
    with pytest.raises(ValueError, match="half is one of"):
        fault_suite(runs[:1], "both")


@needs_data
def test_recorded_runs_are_changed_the_same_way():
    ts = [
        grade(t)
        for t in load_results(
            DATA / "tau2_runs" / "gpt-4.1_telecom_default_1trial.json.gz"
        ).trajectories
    ]
    some = fault_suite([t for t in ts if t.reward == 1], each=6)
    assert all(t.info["fault"]["real"] and all(s.match for s in replay(t).steps) for t in some)
    assert len({t.info["fault"]["name"] for t in some}) > 20


@pytest.mark.slow
def test_the_rules_carry_to_words_of_our_own(runs, monkeypatch):
    monkeypatch.setattr(validation, "read_wordings", lambda half: fresh_words.WORDS)
    monkeypatch.setattr(validation, "WORDING_SPLITS", (*validation.WORDING_SPLITS, "fresh"))
    ts = run_detector(validation.fault_suite(runs, "fresh", 1, 5), detect_user_errors)
    loops = [t for t in ts if t.fault["type"] == "loop"]
    assert recall(ts).value >= 0.9 and precision(ts, True).value >= 0.9 and recall(ts).n > 80
    assert loops and not any(t.new for t in loops), (
        "the agent repeats itself, the user only answers"
    )
