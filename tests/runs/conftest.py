"Fixtures that several tests of these modules use"

import shutil

import pytest
from conftest import ROOT
from toy import json_of, lab, repository

from tests.runs.common import TOY


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A repository with one study, a copy of the library that a test may change, and a folder deep
    inside
    """
    root = repository(
        tmp_path_factory.mktemp("toy"),
        {"01_toy": TOY},
        "01_toy:\n  smoke: {}\n  demo: {n: 4, file: data.txt}\n",
    )
    (root / "deep/down").mkdir(parents=True)
    (root / "data.txt").write_text("one")
    shutil.copytree(
        ROOT / "synthlab", root / "lib/synthlab", ignore=shutil.ignore_patterns("__pycache__")
    )
    return root


@pytest.fixture(scope="module")
def done(toy):
    r = lab(toy, "run", "01", "--profile", "demo", "--json")
    assert r.returncode == 0, r.stderr
    return json_of(r)
