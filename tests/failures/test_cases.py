"""Conversations rebuilt from public reports: errors of the user, controls without one, and blame.

The files lie outside the repository; where they are absent these tests are skipped.
"""

from pathlib import Path

import pytest
import yaml
from conftest import DATA, needs_data

from synthlab.failures.attribution import attribute_failure, attribute_files
from synthlab.failures.outcomes import read_results
from synthlab.user_errors.detect import detect_user_errors, undecided_types

CASES = DATA / "cases"

SAID = yaml.safe_load((Path(__file__).parent / "cases.yaml").read_text("utf8"))


def case(name):
    (found,) = CASES.glob(f"{name}.json*")
    return read_results([found])[0][0]


@needs_data
@pytest.mark.parametrize("name", SAID["errors"])
def test_the_error_of_the_report_is_found_and_no_other(name):
    found = [[f.type, f.turn] for f in detect_user_errors(case(name))]
    assert found == [SAID["errors"][name]]


@needs_data
@pytest.mark.parametrize("name", SAID["controls"])
def test_where_there_is_no_error_none_is_found(name):
    assert detect_user_errors(case(name)) == []


@needs_data
def test_another_language_is_undecided_and_not_without_error():
    assert "hallucination" in undecided_types(case("f05_german_agent_skips"))
    assert undecided_types(case("f05c_english_agent_skips")) == ()


@needs_data
def test_files_leave_the_same_open_as_single_runs():
    "Also where a finding that reads no words was made"
    (run,) = attribute_files([next(CASES.glob("c11_language.json*"))])["runs"]
    assert run["undecided"] == attribute_failure(case("c11_language"))["undecided"] != []
    assert [e["type"] for e in run["errors"] if e["source"] == "user"] == ["guideline_violation"]


@needs_data
@pytest.mark.parametrize("name", SAID["blame"])
def test_blame(name):
    found = attribute_failure(case(name))
    assert [found["by"], *found["also"]] == SAID["blame"][name]
    assert found["chain"] and found["chain"][0]["who"] == found["by"]
