"Every notebook runs from top to bottom: lessons are tests, studies run their smoke parameters."

import pytest
from conftest import ROOT
from nbdev.test import test_nb as run_nb

LIB = sorted((ROOT / "nbs/lib").glob("*/*.ipynb"))
OTHERS = sorted((ROOT / "nbs").glob("*.ipynb")) + sorted((ROOT / "nbs/studies").glob("*.ipynb"))
# Lessons that train or play for longer than some seconds
LONG = {
    "alpha/02_mixture",
    "alpha/04_calibration",
    "budget/01_theory",
    "budget/04_bootstrap",
    "budget/06_experiment",
    "core/04_stats",
    "failures/01_outcomes",
    "failures/03_attribution",
    "generate/04_blueprints",
    "generate/06_apigen_mt",
    "generate/11_simia",
    "generate/17_audit",
    "loop/01_prompts",
    "loop/02_evaluate",
    "loop/06_grpo",
    "models/05_server",
    "runs/02_report",
    "select/03_reader",
    "train/03_sft",
    "user_errors/18_local_reader",
    "verify/06_gates",
}

# Lessons and studies of half a minute and more, whose modules have quicker tests of their own
NIGHTLY = {
    "alpha/05_baselines",
    "alpha/06_experiment",
    "budget/05_learners",
    "generate/07_mock_tasks",
    "loop/03_distill",
    "loop/04_rejection_sampling",
    "loop/05_simulated_env",
    "models/10_compare_backends",
    "nbs/growing",
    "select/08_evaluation",
    "select/09_experiment",
    "studies/00_backends",
}


def name(nb):
    return f"{nb.parent.name}/{nb.stem}"


def case(nb):
    marks = [pytest.mark.slow] if nb in OTHERS or name(nb) in LONG | NIGHTLY else []
    marks += [pytest.mark.nightly] if name(nb) in NIGHTLY else []
    return pytest.param(nb, id=name(nb), marks=marks)


@pytest.mark.parametrize("nb", [case(nb) for nb in LIB + OTHERS])
def test_notebook_runs(nb, monkeypatch, tmp_path):
    monkeypatch.setenv("MPLBACKEND", "agg")
    if nb.parent.name == "nbs":
        monkeypatch.setenv("SYNTHLAB_OUTPUTS", str(tmp_path))  # these run studies
    ok, _ = run_nb(nb, skip_flags=["notest", "slow", "gpu"])
    assert ok, f"{nb.name} failed: its traceback is above"
