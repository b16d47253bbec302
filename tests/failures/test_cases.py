"""Conversations rebuilt from public reports: errors of the user, controls without one, and blame.

The files lie outside the repository; where they are absent these tests are skipped.
"""

import pytest
from conftest import DATA, needs_data

from synthlab.failures.attribution import attribute_failure
from synthlab.failures.outcomes import read_results
from synthlab.user_errors.detect import detect_user_errors, undecided_types

CASES = DATA / "cases"

# what the report says of the simulated user: file, class, turn
ERRORS = [
    ("c01_abroad", "hallucination", 9),
    ("c03_one_of_two", "missed_required_action", 17),
    ("c05_confirms_wrong", "inconsistent_behavior", 9),
    ("c07_same_call", "irrelevant_tool_call", 11),
    ("c08_claims_action", "missed_required_action", 7),
    ("c10_wrong_end", "premature_termination", 9),
    ("c11_language", "guideline_violation", 17),
    ("c13_no_pushback", "missed_required_action", 9),
    ("f01_nl_basis_stop", "premature_termination", 19),
]
CONTROLS = [
    "k01_changes_mind_as_told",
    "k02_both_orders",
    "k03_transfer_made",
    "f05_german_agent_skips",
    "f05b_chinese_all_well",
    "f05c_english_agent_skips",
    "f06_true_id_then_agent_errs",
    "f06b_true_id_asked_first",
    "f06c_certificate",
    "f06d_certificate_asked",
    "f16_stop_when_solved",
    "f17_told_as_shown",
    "f17b_on_then_off",
    "f17c_which_first",
    "f18_nonbreaking_hyphen",
    "f18b_plain_hyphen",
    "f18c_tool_by_name",
]
BLAME = [
    ("c01_abroad", "user", []),
    ("c03_one_of_two", "user", ["agent"]),
    ("c07_same_call", "user", []),
    ("c08_claims_action", "user", []),
    ("f01_nl_basis_stop", "user", []),
    ("f01b_nl_basis_no_verdict_db_fails", "user", []),
    ("f05_german_agent_skips", "agent", []),
    ("f05c_english_agent_skips", "agent", []),
    ("f06_true_id_then_agent_errs", "agent", []),
    ("f06b_true_id_asked_first", "agent", []),
    ("f06c_certificate", "agent", []),
    ("f06d_certificate_asked", "agent", []),
    ("f07_corrected_task_in_file", "agent", []),
]


def case(name):
    (found,) = CASES.glob(f"{name}.json*")
    return read_results([found])[0][0]


@needs_data
@pytest.mark.parametrize("name, kind, turn", ERRORS)
def test_the_error_of_the_report_is_found(name, kind, turn):
    found = [(f.type, f.turn) for f in detect_user_errors(case(name))]
    assert found == [(kind, turn)]


@needs_data
@pytest.mark.parametrize("name", CONTROLS)
def test_where_there_is_no_error_none_is_found(name):
    assert detect_user_errors(case(name)) == []


@needs_data
def test_another_language_is_undecided_and_not_without_error():
    assert "hallucination" in undecided_types(case("f05_german_agent_skips"))
    assert undecided_types(case("f05c_english_agent_skips")) == ()


@needs_data
@pytest.mark.parametrize("name, by, also", BLAME)
def test_blame(name, by, also):
    found = attribute_failure(case(name))
    assert (found["by"], found["also"]) == (by, also)
    assert found["chain"] and found["chain"][0]["who"] == by
