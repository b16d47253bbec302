"Mock tasks of training and test share nothing"

import pytest

from synthlab.generate.mock_tasks import check_disjoint, mock_tasks, shared_tasks


@pytest.mark.slow
def test_errands_of_the_two_halves_share_nothing():
    train, test = ([b.task() for b in mock_tasks(120, h)] for h in ("train", "test"))
    assert not shared_tasks(train, test) and {b.kind for b in mock_tasks(16, "test")} == {
        "do",
        "refuse",
        "transfer",
    }
    with pytest.raises(ValueError, match="in the training data, the first by id"):
        check_disjoint(train, train[5:6])
    again = train[5]
    again.id = "another"
    assert [
        o.split(":")[0]
        for o in shared_tasks([again], [b.task() for b in mock_tasks(6, "train")][5:])
    ][:1] == ["words"]
