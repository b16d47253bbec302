"Selections: what is never chosen"

import math

import pytest
from conftest import installed

from synthlab.select.base import Budget, by_score, take_until_budget

if not installed("peft"):
    pytest.skip("peft is not installed: pip install -e .[cpu] or .[gpu]", allow_module_level=True)

from tests.select.common import families


def test_a_score_that_could_not_be_given_is_never_chosen():
    pool = families(6)
    assert by_score(pool, [3, math.nan, 1, math.nan, 2, 5], 6, "mine").idx == [5, 0, 4, 2]
    assert take_until_budget(range(6), Budget(pool, 2, cap=1)) == [0, 3]
