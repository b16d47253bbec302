"Parameters of studies, and what names a run"

import json
import subprocess
import sys

import pytest
from toy import env, lab, notebook

from synthlab.runs.parameters import (
    check_params,
    closure_key,
    import_closure,
    library_key,
    parse_value,
    read_params,
    read_study,
)
from tests.runs.common import TOY


def key_of(toy, _params=None, **kw):
    code = (
        f"from synthlab.runs.run import _plan; print(_plan('01_toy', {_params or {}!r}, "
        "'demo').key)"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=toy,
        env=env(toy, **kw),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def changed(path, old, new, f):
    "`f()` while a file says something else"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    try:
        return f()
    finally:
        path.write_text(text)


@pytest.mark.slow
def test_the_key_follows_what_would_be_computed(toy, done):
    def key():
        return key_of(toy)

    assert key() == done["key"] != key_of(toy, dict(n=5))
    assert key_of(toy, dict(api_key="sk-secret-1")) == key_of(toy, dict(api_key="sk-secret-2"))
    assert key_of(toy, SYNTHLAB_AGENT="hf:another") != done["key"] == key_of(toy, SYNTHLAB_JOBS="3")
    study = toy / "nbs/studies/01_toy.ipynb"
    assert changed(study, "# Toy?", "# Toys?", key) == done["key"], "words are not code"
    others = [
        changed(toy / "data.txt", "one", "two", key),
        changed(study, "y=i*i", "y=i+i", key),
        changed(toy / "lib/synthlab/core/types.py", "class Usage", "class  Usage", key),
    ]
    assert len({done["key"], *others}) == 4, "inputs, code and library each make another run"
    assert key() == done["key"]


def test_changed_library_is_another_library_key(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "_modidx.py").write_text("d = 1\n")
    first = library_key(tmp_path)
    (tmp_path / "_modidx.py").write_text("d = 2\n")
    assert library_key(tmp_path) == first
    (tmp_path / "a.py").write_text("x = 2\n")
    assert library_key(tmp_path) != first
    second = library_key(tmp_path)
    (tmp_path / "package").mkdir()
    (tmp_path / "package/b.py").write_text("y = 1\n")
    assert library_key(tmp_path) not in (first, second), "modules of packages count"


def test_import_closure_is_what_a_module_needs_and_no_more():
    "Only what a module imports, directly or through others, makes another key"
    needed = import_closure("synthlab.generate.simia")
    assert {"synthlab.generate.simia", "synthlab.tau2.replay", "synthlab.core.types"} <= set(needed)
    assert not [
        m for m in needed if m.startswith(("synthlab.cli", "synthlab.loop", "synthlab.alpha"))
    ]
    assert closure_key("synthlab.core.types") != closure_key("synthlab.core.stats")


@pytest.mark.parametrize(
    "cells, said", [([TOY[1]], "0 cells are tagged"), ([TOY[2], TOY[2]], "2 cells are tagged")]
)
def test_a_study_has_exactly_one_tagged_cell(tmp_path, cells, said):
    (tmp_path / "nbs/studies").mkdir(parents=True)
    (tmp_path / "settings.ini").touch()
    (tmp_path / "nbs/studies/01_toy.ipynb").write_text(json.dumps(notebook(cells)))
    r = lab(tmp_path, "run", "01_toy", cwd=".")
    assert r.returncode == 2 and said in r.stderr and not (tmp_path / "outputs").exists()


def test_a_torn_notebook_is_named(tmp_path):
    (tmp_path / "nbs/studies").mkdir(parents=True)
    (tmp_path / "nbs/studies/01_toy.ipynb").write_text('{"cells": [')
    with pytest.raises(ValueError, match="01_toy.ipynb is not a notebook"):
        read_study("01_toy", tmp_path)


def test_values_and_types(toy):
    st = read_study("01_toy", toy)
    assert (
        check_params(st, dict(nap=2))["nap"] == 2.0
        and check_params(st, dict(labels=None))["labels"] is None
    )
    for bad in (dict(n=True), dict(nap="2"), dict(file=None), dict(labels="a")):
        with pytest.raises(ValueError, match="01_toy: parameter"):
            check_params(st, bad)
    assert parse_value("[a, 1]") == ["a", 1] and parse_value("5", "api_key") == "5"
    assert read_params("x: float = -1e-3 # a # b")["x"].help == "a # b"
