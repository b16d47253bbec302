"""Rejection sampling and GRPO on τ²: a loop that a kill does not change, tokens as they were
sampled, rewards that are the grade, judges by hand.
"""

import pytest
from conftest import needs_smollm2

from synthlab.core.types import Message
from synthlab.loop.grpo import TokenAgent, run_grpo, train_grpo
from synthlab.loop.simulated_env import (
    RewardSource,
    ScriptedJudge,
    ScriptedSimulator,
)
from synthlab.tau2.rollout import rollout
from tests.loop.common import asked, errand_world


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


@pytest.mark.slow
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
