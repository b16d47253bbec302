"""Rejection sampling and GRPO on τ²: a loop that a kill does not change, tokens as they were
sampled, rewards that are the grade, judges by hand.
"""

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from conftest import needs_smollm2

from synthlab.budget.bootstrap import compare_policies
from synthlab.core.types import Message, Score, Task, Trajectory, to_dict
from synthlab.generate.mock_tasks import mock_tasks
from synthlab.loop.distill import simulate_conversations
from synthlab.loop.grpo import TokenAgent, run_grpo, train_grpo
from synthlab.loop.rejection_sampling import (
    MockTaskWorld,
    final_episodes,
    make_schedule,
    round_rows,
)
from synthlab.loop.simulated_env import (
    LLMJudge,
    LLMSimulator,
    RewardSource,
    ScriptedJudge,
    ScriptedSimulator,
    judge_agreement_rows,
    replay_in_real_env,
    reward_source,
    rollout_with,
    simulator_accuracy,
)
from synthlab.models.chat import Backend, Reply
from synthlab.models.hub import toy_model
from synthlab.tau2.agents import NullAgent, ScriptedUser, VerbalOracleAgent
from synthlab.tau2.grade import grade
from synthlab.tau2.rollout import rollout


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return toy_model(tmp_path_factory.mktemp("toy") / "toy")


def errand_world(home, **kw):
    return MockTaskWorld(
        **dict(
            model=str(home),
            warm=0,
            tests=2,
            maxtok=6,
            play=dict(max_steps=6),
            training=dict(rank=2, lr=0.05, dtype="float32"),
        )
        | kw
    )


def asked(n, half="train", seed=0):
    return [b.task() for b in mock_tasks(n, half, seed)]


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


# GRPO


class Insisting:
    "A user who never lets go"

    name = "insisting"

    def __call__(self, eps):
        return [Message("user", "And then?") for _ in eps]


@needs_smollm2
def test_tokens_are_those_that_were_sampled(home):
    learner = errand_world(home).learner
    agent = TokenAgent(learner, 1.0, 6)
    (t,) = rollout(asked(1), agent, Insisting(), max_steps=8)
    first, then, own = agent.tokens(t)
    said = [m for m in t.messages[1:] if m.role == "assistant"]
    assert (
        len(said) > 1
        and len(then) == len(own)
        and 0 < sum(own) < len(own)
        and sum(own) <= 7 * len(said)
    )
    text = learner.hf.tok.decode(first + then)
    assert (
        text.startswith("<|im_start|>system")
        and text.count("<|im_start|>assistant\n") == len(said) + 1
    )
    parts, now = [], []
    for i, mine in zip(then, own):
        if mine:
            now.append(i)
        elif now:
            parts.append(now)
            now = []
    parts += [now] if now else []
    assert [learner.hf.tok.decode(p, skip_special_tokens=True).strip() for p in parts] == [
        m.content.strip() for m in said
    ]


@needs_smollm2
def test_a_step_changes_the_adapter_where_rewards_differ_and_only_there(home, tmp_path):
    w = errand_world(home)
    w.start()
    before = w.learner.mark
    flat, seen = train_grpo(
        w.learner,
        RewardSource(),
        asked(2),
        groups=2,
        size=2,
        lr=0.01,
        maxtok=4,
        play=dict(max_steps=4),
    )
    assert [t.reward for t in seen] == [0] * 4 and flat[0]["flat"] == 1 and w.learner.mark == before
    a = RewardSource("judged", ScriptedSimulator(0.5), ScriptedJudge(0.5, 0), True)
    rows, seen, after = run_grpo(w, a, asked(4), tmp_path / "arm", groups=2, size=2, lr=0.01)
    assert (
        w.learner.mark != before
        and {r["step"] for r in rows} == {1, 2}
        and len(seen) == 8
        and len(after) == 2
    )
    assert {t.reward for t in seen} == {0.0, 1.0} and all(
        t.scores["grade"].value == 0 for t in seen
    )
    assert rows[0]["n"] == 4 and min(r["flat"] for r in rows) < 1
    w.start()
    again = run_grpo(w, a, asked(4), tmp_path / "arm", groups=2, size=2, lr=0.01)
    assert again[0] == rows and w.learner.mark == before
    with pytest.raises(ValueError, match="make no step"):
        train_grpo(w.learner, a, asked(1), groups=2)
    with pytest.raises(ValueError, match="in the training data"):
        run_grpo(w, a, asked(2, "test"))


# Rewards


def test_the_reward_is_the_real_grade_whoever_answers():
    tasks = [b.task() for b in mock_tasks(24)]
    real = rollout_with(RewardSource(), tasks, NullAgent())
    assert [t.reward for t in real] == [grade(replace(t, scores={})).reward for t in real]
    clerk = [b.played() for b in mock_tasks(24)]
    false = rollout_with(reward_source("simulated"), clerk, VerbalOracleAgent())
    true = [grade(t) for t in rollout(clerk, VerbalOracleAgent(), ScriptedUser())]
    assert [t.reward for t in false] == [t.reward for t in true] == [1] * 24
    assert [m.content for t in false for m in replay_in_real_env(t).messages] == [
        m.content for t in true for m in t.messages
    ]
    assert 0 < simulator_accuracy(false).value < 1 and simulator_accuracy(true).value == 1
    assert any(math.isnan(grade(replace(t, scores={})).reward) for t in false), (
        "what a simulator answered cannot be graded as it stands"
    )


class Says(Backend):
    "A model that always says the same"

    def __init__(self, text):
        self.text, self.name, self.read = text, "says", []

    def _run(self, rows, temp, maxtok, schema):
        self.read += [r.chat for r in rows]
        return [Reply(self.text) for _ in rows]


def test_models_in_the_place_of_environment_and_judge():
    clerk = [b.played() for b in mock_tasks(4, kinds=("create",))]
    env, judge = Says("Error: not today"), Says('{"solved": true, "comment": ""}')
    ts = rollout_with(
        RewardSource("judged", LLMSimulator(env), LLMJudge(judge), True), clerk, VerbalOracleAgent()
    )
    assert all(
        m.error and m.content == "Error: not today"
        for t in ts
        for m in t.messages
        if m.role == "tool"
    )
    assert [t.reward for t in ts] == [1] * 4 == [t.scores["judge"].value for t in ts]
    assert ts[0].task.id not in env.read[0][0].content and clerk[0].init["initialization_data"][
        "agent_data"
    ]["users"].keys() == {
        u
        for u in clerk[0].init["initialization_data"]["agent_data"]["users"]
        if u in env.read[0][0].content
    }
    assert (
        "create_task" in env.read[-1][1].content and "Error: not today" in judge.read[0][0].content
    )
    unread = LLMJudge(Says("no idea"))(ts)
    assert all(math.isnan(s.value) for s in unread)


def test_agreement_by_hand():
    said = [(1, 1)] * 4 + [(0, 0)] * 3 + [(1, 0)] * 2 + [(0, 1)] + [(math.nan, 1)] * 2
    ts = [
        Trajectory(Task(str(i), "mock"), [], scores=dict(judge=Score(j), grade=Score(g)))
        for i, (j, g) in enumerate(said)
    ]
    rows = {r["measure"]: r for r in judge_agreement_rows(ts)}
    assert (rows["agreement"]["value"], rows["agreement"]["n"]) == (0.7, 10)
    assert rows["agreement"]["lo"] == pytest.approx(0.3968, abs=1e-4) and rows["agreement"][
        "hi"
    ] == pytest.approx(0.8922, abs=1e-4)
    assert rows["kappa"]["value"] == pytest.approx((0.7 - 0.5) / (1 - 0.5))  # chance: .6*.5 + .4*.5
    assert (rows["passes rewarded"]["value"], rows["passes rewarded"]["n"]) == (0.8, 5)
    assert (rows["failures rewarded"]["value"], rows["failures rewarded"]["n"]) == (0.4, 5)
    assert rows["verdicts read"]["value"] == pytest.approx(10 / 12)
    assert math.isnan({r["measure"]: r for r in judge_agreement_rows(ts[:4])}["kappa"]["value"])
