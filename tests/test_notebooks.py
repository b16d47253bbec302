"Every notebook runs from top to bottom: lessons are tests, studies run their smoke parameters."

import pytest
from conftest import ROOT
from nbdev.test import test_nb as run_nb

NOTEBOOKS = [
    p
    for where in ("", "lib", "studies")
    for p in sorted((ROOT / "nbs" / where).glob("*/*.ipynb" if where == "lib" else "*.ipynb"))
]


@pytest.mark.parametrize("nb", NOTEBOOKS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_notebook_runs(nb, monkeypatch, tmp_path):
    monkeypatch.setenv("MPLBACKEND", "agg")
    if nb.parent.name == "nbs":
        monkeypatch.setenv("SYNTHLAB_OUTPUTS", str(tmp_path))  # these run studies
    ok, _ = run_nb(nb, skip_flags=["notest", "slow", "gpu"])
    assert ok, f"{nb.name} failed: its traceback is above"
