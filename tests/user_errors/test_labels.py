"Labels of real conversations: read as they are written, and what the rules find of them."

import pytest
from conftest import DATA, needs_data

from synthlab.user_errors.detect import detect_user_errors
from synthlab.user_errors.labels import (
    class_cases,
    class_score_rows,
    labelled_trajectories,
    read_error_labels,
    reader_agreement,
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
    assert score["all", "recall"]["value"] >= 0.33


@needs_data
def test_readers_agree_more_often_than_not(labels):
    assert reader_agreement(labels).value > 0.5


@needs_data
def test_a_simulation_that_is_absent_is_named(labels, tmp_path):
    with pytest.raises(ValueError, match="no such results file"):
        labelled_trajectories(labels[:1], tmp_path)
