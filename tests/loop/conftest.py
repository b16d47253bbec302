"Fixtures that several test files of loop use"

import pytest

from synthlab.models.hub import toy_model


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return toy_model(tmp_path_factory.mktemp("toy") / "toy")
