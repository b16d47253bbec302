"Every notebook runs from top to bottom: lessons are tests, studies run their smoke parameters."
import pytest

from conftest import ROOT
from nbdev.test import test_nb as run_nb

NOTEBOOKS = sorted((ROOT/'nbs/lib').glob('*.ipynb'))+sorted((ROOT/'nbs/studies').glob('*.ipynb'))


@pytest.mark.parametrize('nb', NOTEBOOKS, ids=lambda p: f'{p.parent.name}/{p.stem}')
def test_notebook_runs(nb, monkeypatch):
    monkeypatch.setenv('MPLBACKEND', 'agg')
    ok, _ = run_nb(nb, skip_flags=['notest', 'slow', 'gpu'])
    assert ok, f'{nb.name} failed: its traceback is above'
