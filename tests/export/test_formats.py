"""Real LLaMA-Factory, from its own venv, on a folder that was exported: it trains without an edit,
with the same loss.
"""

import os
import re
import shutil
import subprocess

import pytest
from conftest import installed, needs_smollm2

CLI = os.environ.get("LLAMAFACTORY_CLI") or shutil.which("llamafactory-cli")
pytestmark = [
    needs_smollm2,
    pytest.mark.skipif(
        not installed("trl"), reason="trl is not installed: pip install -e .[cpu] or .[gpu]"
    ),
    pytest.mark.skipif(
        not CLI,
        reason="LLaMA-Factory is not installed: sh bench/install_llamafactory.sh FOLDER, "
        "then LLAMAFACTORY_CLI=FOLDER/bin/llamafactory-cli",
    ),
]


@pytest.mark.slow
def test_first_step_loss_is_that_of_llamafactory(tmp_path):
    "The whole data set in one step, so that the order of rows does not matter"
    from synthlab.alpha.data import toy_reviews
    from synthlab.alpha.mixture import TextPools, alpha_grid, mixture_rows
    from synthlab.export.formats import write_llamafactory
    from synthlab.train.recipe import make_recipe
    from synthlab.train.sft import train

    rows = mixture_rows(TextPools(toy_reviews()), alpha_grid((0.3, 0.7)), 16, "draw", label=False)
    r = make_recipe(
        steps=1, batch=4, accumulate=4, cutoff=128, tail=True, dtype="float32", warmup=1, threads=1
    )
    path = write_llamafactory(tmp_path / "theirs", dict(alpha_mix=rows), r)
    env = dict(os.environ, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", DISABLE_VERSION_CHECK="1")
    done = subprocess.run(
        [CLI, "train", path.name],
        cwd=path.parent,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    said = re.search(r"'loss': '?([\d.]+)", done.stdout + done.stderr)
    assert done.returncode == 0 and said, (done.stdout + done.stderr)[-2000:]
    assert train(rows, r, tmp_path / "ours").losses[0]["value"] == pytest.approx(
        float(said[1]), rel=0.01
    )
