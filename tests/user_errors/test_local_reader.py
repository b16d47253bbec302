"The rules with an embedding model beside them, on labelled real conversations."

import pytest
from conftest import DATA, needs_data

from synthlab.user_errors.labels import (
    case_precision,
    case_recall,
    labelled_trajectories,
    read_error_labels,
)
from synthlab.user_errors.local_reader import cross_validated_local_cases


@pytest.mark.nightly
@needs_data
@pytest.mark.slow
def test_the_local_reader_on_real_conversations():
    "The figure that README gives; thresholds come from other tasks"
    labels = read_error_labels(DATA / "labels" / "user_errors_real_dev.json")
    cases = cross_validated_local_cases(labelled_trajectories(labels, DATA / "tau2_runs"))
    assert case_precision(cases).value >= 0.75 and case_recall(cases).value >= 0.55
