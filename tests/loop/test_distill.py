"""The closed loop: what is kept between stops, what must not be compared, and the benchmark's own
command against a served model.
"""

import subprocess
import sys

import pytest
from conftest import needs_smollm2

from synthlab.generate.mock_tasks import mock_tasks
from synthlab.loop.distill import condition_candidates, select_conversations, simulate_pool
from synthlab.loop.prompts import training_row
from tests.loop.common import SHORT


@pytest.mark.slow
def test_verification_separates_the_pool():
    f = simulate_pool(mock_tasks(64), seed=3)
    assert all(t.reward == 1 for t in f.kept) and f.rejected
    assert len(condition_candidates(f, "unverified")) == 64 and all(
        t.info["rejected"] for t in f.rejected
    )
    assert {t.info["id"] for t in f.kept} == {
        t.info["id"] for t in simulate_pool(mock_tasks(64), seed=3).kept
    }


@needs_smollm2
def test_selection_says_when_the_pool_is_too_small():
    f = simulate_pool(mock_tasks(8), seed=0)
    some = condition_candidates(f, "verified")
    with pytest.raises(ValueError, match="make a larger pool"):
        select_conversations(some, [training_row(t, SHORT) for t in some], 99)


# A stopped study: the first process is killed in the middle of its evaluation, the second ends as
# one that was never stopped
RUN = """import os, sys
from synthlab.loop.prompts import PromptReduction, ReducedPromptAgent
from synthlab.runs.run import StepCache
from synthlab.loop.evaluate import evaluate
from synthlab.loop.distill import simulate_pool
from synthlab.generate.mock_tasks import mock_tasks
from synthlab.core.types import to_dict, content_key
from synthlab.tau2.agents import NullAgent
folder, die = sys.argv[1], sys.argv[2] == 'die'
at = StepCache(folder, seed=0)
def asked(n): return lambda: evaluate([b.task() for b in mock_tasks(n, 'test')], NullAgent())
first = at.trajs('first', [8], asked(8))
def second():
    if die: os.kill(os.getpid(), 9)
    return asked(5)()
second = at.trajs('second', [5], second)
ends = [[to_dict(m) for m in t.messages]+[t.task.id, t.reward] for t in first+second]
print(at.done, content_key(ends, 16))"""


@pytest.mark.slow
def test_a_killed_study_goes_on_to_the_same_end(tmp_path):
    def run(folder, how):
        return subprocess.run(
            [sys.executable, "-c", RUN, str(tmp_path / folder), how], capture_output=True, text=True
        )

    assert run("a", "die").returncode == -9
    again, whole = run("a", "live").stdout, run("b", "live").stdout
    assert again.split("'] ") == ["['second", whole.split("'] ")[1]] and whole.startswith(
        "['first', 'second']"
    )
