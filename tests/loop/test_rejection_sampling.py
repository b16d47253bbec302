"The loop: what is learned from, what is kept between stops, and who is refused"

import json
import subprocess
import sys

import pytest
from conftest import needs_smollm2

from synthlab.budget.bootstrap import compare_policies
from synthlab.core.types import to_dict
from synthlab.generate.mock_tasks import mock_tasks
from synthlab.loop.distill import simulate_conversations
from synthlab.loop.rejection_sampling import (
    final_episodes,
    make_schedule,
    round_rows,
)
from synthlab.tau2.agents import NullAgent, ScriptedUser, VerbalOracleAgent
from synthlab.tau2.grade import grade
from synthlab.tau2.rollout import rollout
from tests.loop.common import asked, errand_world


# The loop
@needs_smollm2
def test_a_round_has_its_own_learning_rate(home):
    ts = rollout(asked(2), VerbalOracleAgent(brisk=True), ScriptedUser())

    def moved(lr):
        w = errand_world(home, lr=lr)
        w.start()
        old = w.learner.weights
        w.update([to_dict(t) for t in ts], 0)
        return sum((v - old[k]).abs().sum().item() for k, v in w.learner.weights.items())

    small, own = moved(1e-4), moved(None)
    assert 0 < small < own / 100


LOOP = """import json, os, sys
from synthlab.budget.bootstrap import run_bootstrap
from synthlab.loop import rejection_sampling
from synthlab.loop.rejection_sampling import MockTaskWorld, make_schedule
home, folder, die = sys.argv[1:]
class Every(MockTaskWorld):
    "A model with random weights passes nothing: this verifier takes every episode to train on"
    def verify(self, samples, seed): return [True]*len(samples)
    def update(self, samples, seed):
        if die == 'die' and os.path.exists(folder+'/draws-2.jsonl'): os.kill(os.getpid(), 9)
        return super().update(samples, seed)
small = dict(warm=0, tests=2, maxtok=6, play=dict(max_steps=6))
def end(folder):
    w = Every(model=home, training=dict(rank=2, lr=.05, dtype='float32'), **small)
    done = run_bootstrap(w, make_schedule('planned'), 12., rounds=2, c_t=2., folder=folder)
    said = [m.content for t in w.episodes for m in t.messages]
    return [[r.drawn, r.trained, r.spent] for r in done]+[w.learner.mark, said]
again = end(folder)
rejection_sampling._begun.clear()
rejection_sampling._played.clear()
print(json.dumps([again, end(folder+'-whole')]))"""


@pytest.mark.nightly
@pytest.mark.slow
@needs_smollm2
def test_a_killed_loop_goes_on_to_the_same_end(home, tmp_path):
    def run(how):
        return subprocess.run(
            [sys.executable, "-c", LOOP, str(home), str(tmp_path / "a"), how],
            capture_output=True,
            text=True,
        )

    assert run("die").returncode == -9 and (tmp_path / "a/model-1").exists()
    again, whole = json.loads(run("live").stdout)
    assert again == whole and all(trained > 0 for _, trained, _ in whole[1:3])


@needs_smollm2
def test_races_keep_the_episodes_of_the_last_models(home, tmp_path):
    rows = compare_policies(
        errand_world(home),
        [make_schedule(p) for p in ("constant", "planned")],
        [0],
        tmp_path,
        budget=3.0,
        rounds=1,
        c_t=2.0,
    )
    last = final_episodes(tmp_path)
    assert set(last) == {"constant", "planned"} and [t.task.id for t in last["planned"]] == [
        t.id for t in asked(2, "test")
    ]
    assert all(r["n"] == 2 and r["lo"] == 0 < r["hi"] for r in round_rows(rows, 2))
    with pytest.raises(ValueError, match="no policy"):
        make_schedule("none")


@needs_smollm2
def test_the_verifier_is_the_reward_and_test_errands_are_refused(home):
    w = errand_world(home)
    some = simulate_conversations(mock_tasks(12), slips=0.5, seed=1)
    assert w.verify([to_dict(grade(t)) for t in some], 0) == [grade(t).reward == 1 for t in some]
    assert 0 < sum(w.verify([to_dict(t) for t in some], 0)) < 12
    w.start()
    with pytest.raises(ValueError, match="in the training data"):
        w.update([to_dict(t) for t in rollout(asked(2, "test"), NullAgent(), ScriptedUser())], 0)
