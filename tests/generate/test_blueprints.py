"Blueprints: drawn by seed, joined and proved again"

from synthlab.generate.apigen_mt import (
    roll_out_blueprints,
)
from synthlab.generate.blueprints import (
    join_blueprints,
    propose,
    recombine_blueprints,
)


def test_blueprints_differ_by_seed():
    a, b = ({x.id for x in propose("airline", 20, seed=s)} for s in (1, 2))
    assert len(a & b) < 5


# -------------------------------------------------------------------------------- joining two tasks
def test_joined_tasks_are_proved_again():
    bs = propose("retail", 250, (1,), 0.0, seed=6)
    joined = recombine_blueprints(bs, 12, seed=1)
    assert len(joined) >= 5 and len(roll_out_blueprints(joined).kept) == len(joined)
    by = {b.id: b for b in bs}
    for j in joined:
        a, b = (by[i] for i in j.info["joined"])
        assert (
            a.proof["actor"] == b.proof["actor"] == j.proof["actor"]
            and [x["name"] for x in j.actions] == a.proof["asks"] + b.proof["asks"]
        )


def test_what_cannot_be_joined():
    import random

    a, b = propose("retail", 2, (1,), 0.0, seed=6)
    assert "another person" in join_blueprints(a, b, random.Random(0)) and join_blueprints(
        a, a, random.Random(0)
    ).startswith("superfluous")
