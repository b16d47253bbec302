"""Learners: resumed where they were killed, scored by their own verifiers."""

import pytest
from conftest import needs_smollm2

from synthlab.budget.schedules import (
    CONSTANT,
    LINEAR,
    BudgetPolicy,
)
from tests.budget.common import Killed, plain

TINY = dict(digits=(1,), hidden=32, layers=1, pretrain=600, begin=0.2, test=300)


def resumed(monkeypatch, folder, make, policy, **kw):
    """Rounds of an undisturbed run, and of one that dies after training in its second round, before
    that counts, and is resumed
    """
    from synthlab.budget.bootstrap import run_bootstrap

    undisturbed = run_bootstrap(make(), policy, **kw)
    kind, calls = type(make()), [0]
    update = kind.update

    def dies(self, samples, seed):
        out = update(self, samples, seed)
        calls[0] += 1
        if calls[0] == 2:
            raise Killed
        return out

    with monkeypatch.context() as mp:
        mp.setattr(kind, "update", dies)
        with pytest.raises(Killed):
            run_bootstrap(make(), policy, folder=folder, **kw)
    assert calls[0] == 2 and all(r.training.seconds > 0 for r in undisturbed[1:])
    return undisturbed, run_bootstrap(make(), policy, folder=folder, **kw)


@pytest.mark.slow
def test_a_real_model_resumes_where_it_was_killed(tmp_path, monkeypatch):
    "Weights, draws and order of training are the same after a kill in the middle of a round"
    from synthlab.budget.learners import AdditionTask

    a, b = resumed(
        monkeypatch,
        tmp_path / "r",
        lambda: AdditionTask(**TINY, epochs=2),
        BudgetPolicy(rate=0.5),
        budget=2000,
        rounds=3,
        c_t=6,
        chunk=200,
    )
    assert plain(a) == plain(b) and len(b) == 4


SMALL = dict(pretrain=150, hidden=48, epochs=10)


@pytest.mark.slow
def test_denoising_resumes_where_it_was_killed(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    from synthlab.budget.learners import DenoisingTask

    a, b = resumed(
        monkeypatch,
        tmp_path / "r",
        lambda: DenoisingTask(**SMALL),
        LINEAR,
        budget=2000,
        rounds=3,
        c_t=4,
        chunk=200,
    )
    assert plain(a) == plain(b) and len(b) == 4


@pytest.mark.nightly
@needs_smollm2
def test_a_chat_model_resumes_where_it_was_killed(tmp_path, monkeypatch):
    """The embedded model with an adapter, on sums: what was drawn, the adapter and its training are
    the same after a kill
    """
    pytest.importorskip("reasoning_gym", reason="the extra puzzles is not installed")
    from synthlab.budget.learners import PuzzleTask

    a, b = resumed(
        monkeypatch,
        tmp_path / "r",
        lambda: PuzzleTask(test=2, epochs=1, maxtok=4),
        CONSTANT,
        budget=32,
        rounds=2,
        c_t=1,
        chunk=16,
    )
    assert plain(a) == plain(b) and len(b) == 3


def test_reasoning_problems_are_scored_by_their_own_verifier():
    pytest.importorskip("reasoning_gym", reason="the extra puzzles is not installed")
    from synthlab.budget.learners import PuzzleTask

    w = PuzzleTask()
    asked, data = w.problems(6, ["ask", 7])
    again, _ = w.problems(6, ["ask", 7])
    assert [e["question"] for e in asked] == [e["question"] for e in again]
    rows = [
        [7, 6, i, e["question"], f" {e['answer']}\n" if i % 2 else "no idea"]
        for i, e in enumerate(asked)
    ]
    assert w.verify(rows, 0) == [bool(i % 2) for i in range(6)]


def test_what_is_accepted_of_denoised_digits_beats_the_noisy_image_by_the_threshold():
    pytest.importorskip("sklearn")
    import torch

    from synthlab.budget.learners import DenoisingTask, load_digit_images, psnr

    w = DenoisingTask(**SMALL, gain=2.0)
    w.start()
    rows, _ = w.generate(600, seed=3)
    ok = torch.tensor(w.verify(rows, 4))
    x = torch.tensor(rows)
    gain = psnr(x[:, 2:] / 1e4, torch.tensor(load_digit_images()[1])[x[:, 0]]) - x[:, 1] / 1e3
    assert (
        0 < ok.float().mean() < 1
        and gain[ok].min() >= 2 > gain[~ok].max()
        and abs(x[:, 1].float().mean() / 1e3 - 14) < 0.2
    )
    assert w.generate(5, seed=3)[0] == w.generate(5, seed=3)[0]


@pytest.mark.slow
def test_more_rounds_raise_psnr_where_the_threshold_is_exact():
    """On three first models: each ends above where it began, and rises on the whole, as does the
    share that is accepted
    """
    pytest.importorskip("sklearn")
    from synthlab.budget.bootstrap import run_bootstrap
    from synthlab.budget.learners import DenoisingTask

    for seed in range(3):
        w = DenoisingTask(pretrain=300, hidden=96, gain=2.0, seed=seed)
        r = run_bootstrap(w, CONSTANT, budget=20_000, rounds=4, c_t=w.c_t, seed=seed)
        got, share = [x.scores["psnr"] for x in r], [x.accepted / x.drawn for x in r[1:]]
        assert got[4] > got[2] > got[0] and share[3] > share[0], (seed, got, share)
