"""Shared by the tests of failures."""

from synthlab.core.types import Message, Score, Task, Trajectory


def traj(
    task="1",
    domain="airline",
    model="m",
    reward=1.0,
    stop="user_stop",
    last="Thanks ###STOP###",
    solo=False,
    source="",
    **scores,
):
    given = dict(
        reward=Score(reward, by="test"), **{k: Score(v, by="test") for k, v in scores.items()}
    )
    return Trajectory(
        Task(task, domain, gold=[]),
        [Message("user", last)],
        scores=given,
        model=model,
        stop=stop,
        solo=solo,
        source=source,
    )
