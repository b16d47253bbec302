"What several test files of loop use"

from synthlab.generate.mock_tasks import mock_tasks
from synthlab.loop.prompts import PromptReduction
from synthlab.loop.rejection_sampling import (
    MockTaskWorld,
)

SHORT = PromptReduction(schemas="signatures", intro="short")


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
