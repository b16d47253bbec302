"The scripted teacher: every corrupted answer is caught"

import random
from dataclasses import replace

import pytest
from conftest import needs_data

from synthlab.generate.scripted_teacher import misreport_answer
from synthlab.generate.seeds import read_seeds, scripted_seeds
from synthlab.tau2.replay import replay
from synthlab.verify.gates import execution
from tests.generate.common import SEEDS


# ---- corruption
def corrupted_writes(trajs, rng):
    "For each accepted write: the trajectory with a wrong answer to it"
    for t in trajs:
        place = {id(m): i for i, m in enumerate(t.messages)}
        for s in replay(t).writes:
            i = place[id(s.said)]
            wrong = replace(s.said, content=misreport_answer(s.said.content, rng))
            yield (
                s,
                wrong,
                replace(
                    t,
                    messages=[*t.messages[:i], wrong, *t.messages[i + 1 :]],
                    info=dict(t.info),
                    scores={},
                ),
            )


@pytest.mark.parametrize("source", ["ours", pytest.param("seeds", marks=needs_data)])
def test_every_wrong_answer_to_a_write_is_caught(source):
    trajs = read_seeds(SEEDS)[0] if source == "seeds" else scripted_seeds(each=8, seed=9)
    some = [
        (s, wrong, execution(t).value) for s, wrong, t in corrupted_writes(trajs, random.Random(0))
    ]
    away = [(s.call, s.said.content, wrong.content) for s, wrong, caught in some if caught]
    assert len(some) > 40 and not away
