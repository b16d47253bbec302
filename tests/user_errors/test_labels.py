"Labels of real conversations: read as they are written, and what the rules find of them."

import json
import random
import re

import pytest
from conftest import DATA, needs_data

from synthlab.core.types import Trajectory, from_dict, to_dict
from synthlab.tau2.database import domain_records
from synthlab.user_errors.detect import detect_user_errors, packaged_reliability
from synthlab.user_errors.labels import (
    class_cases,
    class_score_rows,
    labelled_trajectories,
    read_error_labels,
    reader_agreement,
    rule_reliability,
)

LABELS = DATA / "labels" / "user_errors_real_dev.json"


@pytest.fixture(scope="module")
def labels():
    return read_error_labels(LABELS)


@needs_data
def test_labels_are_all_read(labels):
    errors = [e for x in labels for e in x.errors]
    assert (len(labels), len(errors)) == (68, 101)
    assert sum(e.severity == "critical" for e in errors) == 42
    assert sum(bool(x.readings) for x in labels) == 4


@needs_data
def test_turns_of_labels_are_turns_of_the_user(labels):
    for label, traj in labelled_trajectories(labels, DATA / "tau2_runs"):
        for e in label.errors:
            assert traj.messages[e.turn].role == "user", (label.file, label.id, e.turn)


@needs_data
def test_the_rules_on_real_conversations(labels):
    "The figure that counts; it may only rise"
    pairs = labelled_trajectories(labels, DATA / "tau2_runs")
    rows = class_score_rows(class_cases(pairs, detect_user_errors))
    score = {(r["type"], r["measure"]): r for r in rows}
    assert score["all", "recall"]["n"] == 69
    assert score["all", "precision"]["value"] >= 0.9
    assert score["all", "recall"]["value"] >= 0.5


@needs_data
def test_what_rules_are_worth_is_what_the_labels_say(labels):
    "`python bench/detectors.py --fit` writes it down"
    pairs = labelled_trajectories(labels, DATA / "tau2_runs")
    assert rule_reliability(pairs) == packaged_reliability()


@needs_data
def test_readers_agree_more_often_than_not(labels):
    assert reader_agreement(labels).value > 0.5


@needs_data
def test_a_simulation_that_is_absent_is_named(labels, tmp_path):
    with pytest.raises(ValueError, match="no such results file"):
        labelled_trajectories(labels[:1], tmp_path)


def renamed(traj, swaps):
    "A trajectory with words exchanged for others, in its task and in everything said and done"
    pattern = re.compile(r"(?<![A-Za-z0-9])(" + "|".join(map(re.escape, swaps)) + r")(?![a-z0-9])")
    text = json.dumps(to_dict(traj), ensure_ascii=False)
    return from_dict(Trajectory, json.loads(pattern.sub(lambda m: swaps[m[1]], text)))


def other_words(traj):
    "Persons, identifiers, months and items of a conversation, each with another of its kind"
    text = json.dumps(to_dict(traj), ensure_ascii=False)
    rng = random.Random(0)
    users = domain_records(traj.task.domain).get("users", {})
    first = sorted({u["name"]["first_name"] for u in users.values()})
    last = sorted({u["name"]["last_name"] for u in users.values()})
    swaps = {}
    for names in (first, last):
        swaps |= dict(zip(names, names[3:] + names[:3]))
        swaps |= {a.lower(): b.lower() for a, b in swaps.items()}
    for kind in (r"\b\d{10}\b", r"#W\d{7}\b", r"\b(?=[A-Z0-9]*\d)[A-Z0-9]{6}\b", r"\bHAT\d{3}\b"):
        for old in sorted(set(re.findall(kind, text))):
            new = "".join(str(rng.randrange(10)) if c.isdigit() else c for c in old)
            swaps[old] = new
    return swaps | {"May": "June", "2024-05": "2024-06"}


@needs_data
@pytest.mark.slow
def test_findings_do_not_hang_on_names_identifiers_and_dates(labels):
    "Rules state a meaning: with other persons, numbers and months they find the same"
    changed = []
    for label, traj in labelled_trajectories(labels, DATA / "tau2_runs"):
        if traj.task.domain not in ("airline", "retail"):
            continue
        other = renamed(traj, other_words(traj))
        before, after = ({(f.turn, f.type) for f in detect_user_errors(t)} for t in (traj, other))
        if before != after:
            changed.append((label.file, label.task, before ^ after))
    assert not changed
