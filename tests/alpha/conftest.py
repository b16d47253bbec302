"""Fixtures of the tests of alpha."""

import pytest

from synthlab.alpha.data import (
    toy_reviews,
)
from synthlab.alpha.mixture import (
    TextPools,
)


@pytest.fixture(scope="module")
def pools():
    return TextPools(toy_reviews(), known=["camera", "screen", "menu"])
