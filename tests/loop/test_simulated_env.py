"Simulated environments and judges: the reward is the real grade, whoever answers"

import math
from dataclasses import replace

import pytest

from synthlab.core.types import Score, Task, Trajectory
from synthlab.generate.mock_tasks import mock_tasks
from synthlab.loop.simulated_env import (
    LLMJudge,
    LLMSimulator,
    RewardSource,
    judge_agreement_rows,
    replay_in_real_env,
    reward_source,
    rollout_with,
    simulator_accuracy,
)
from synthlab.models.chat import Backend, Reply
from synthlab.tau2.agents import NullAgent, ScriptedUser, VerbalOracleAgent
from synthlab.tau2.grade import grade
from synthlab.tau2.rollout import rollout


# Rewards
@pytest.mark.slow
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
