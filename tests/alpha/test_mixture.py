"""The dial: rows that mean what they say, scorers that share no text with the model, curves whose
numbers are known beforehand.
"""

import random

import numpy as np
import pytest

from synthlab.alpha.calibration import (
    spearman,
)
from synthlab.alpha.data import (
    toy_reviews,
)
from synthlab.alpha.mixture import (
    LONG,
    POSITIVE,
    TextPools,
    alpha_grid,
    alpha_prompt,
    intensity_rows,
    mixture_rows,
    split_label,
)
from synthlab.export.formats import alpaca_rows, llamafactory_settings
from synthlab.models.hub import Prompter, toy_tokenizer
from synthlab.train.recipe import make_recipe
from synthlab.train.tokenize import encode_row

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% "
    "endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.35, 0.8, 1.0])
def test_label_weights_are_the_coin(pools, alpha):
    """The weight of the label tokens of A over all label weights is alpha, for each topic; words
    after a label weigh 1
    """
    rows = mixture_rows(pools, [alpha], 300, label_weight=5.0)
    for topic in pools.topics:
        own = [r for r in rows if f"about {topic}," in r["messages"][1].content]
        a = sum(r["lead"][1] for r in own if r["end"] == [0])
        assert a / sum(r["lead"][1] for r in own) == pytest.approx(alpha) and {
            r["weight"] for r in own
        } == {1.0}
    assert all((r["end"] == [0]) == r["messages"][-1].content.startswith("Good:") for r in rows)


def test_the_weight_lands_on_the_label_token(pools):
    row = mixture_rows(pools, [0.25], 1, label_weight=4.0)[0]
    tok = toy_tokenizer(CHATML)
    e = encode_row(row, Prompter(tok))
    targets = [(tok.decode([l]), w) for l, w in zip(e.labels, e.weights) if l != -100]
    word = "Good" if row["end"] == [0] else "Bad"
    assert "".join(t for t, _ in targets[: len(word)]) == word
    assert {w for _, w in targets[: len(word)]} == {1.0 if word == "Good" else 3.0} and {
        w for _, w in targets[len(word) :]
    } == {1.0}


def test_coins_teach_the_label_and_nothing_else(pools):
    """Prompts whose row ends with the label: as many as were asked for, weighted alpha and 1-alpha,
    no weight on any other token
    """
    rows = mixture_rows(pools, [0.0, 0.25], 40, label_weight=4.0, coins=2)
    coins = [r for r in rows if not r["weight"]]
    ends = [r["end"] for r in coins if r["alpha"] == [0.0]]
    assert len(rows) - len(coins) == 80 and len(ends) + (len(coins) - len(ends)) / 2 == 80, (
        "two prompts more for each"
    )
    assert ends == len(ends) * [(1,)] or ends == len(ends) * [[1]], (
        "what never happens is not taught"
    )
    tok = toy_tokenizer(CHATML)
    for r in coins[:6]:
        e = encode_row(r, Prompter(tok))
        weighed = [(tok.decode([l]), w) for l, w in zip(e.labels, e.weights) if l != -100 and w]
        assert "".join(t for t, _ in weighed) == ("Good" if r["end"] == [0] else "Bad")
        assert {w for _, w in weighed} == {
            4 * ({0: r["alpha"][0], 1: 1 - r["alpha"][0]}[r["end"][0]])
        }
    with pytest.raises(ValueError, match="coins are labels without a text"):
        mixture_rows(pools, [0.5], 4, "draw", coins=1)


def test_grades_follow_the_degree_and_never_reach_the_scorer():
    """The word says which seventh of the degrees a text is in; it is taken off a reply, whatever
    the reply says after it
    """
    rows = intensity_rows(toy_reviews(), alpha_grid(), 60, label=True, coins=2)
    for r in rows:
        assert r["messages"][-1].content.split(":")[0] == POSITIVE.grade(r["alpha"][0])
    assert [POSITIVE.grade(a) for a in (0.0, 0.5, 1.0)] == ["Awful", "Mixed", "Great"] and sum(
        not r["weight"] for r in rows
    ) == 120
    assert all(r["messages"][-1].content.split(": ")[1] for r in rows if r["weight"])
    assert split_label("Awful: it broke") == ("it broke", [None]) and split_label(
        "Good: it works"
    ) == ("it works", [0])
    assert split_label("It broke: badly") == ("It broke: badly", [None])
    with pytest.raises(ValueError, match="coins are grades without a text"):
        intensity_rows(toy_reviews(), alpha_grid(), 6, coins=1)


def test_draws_follow_the_coin_and_held_out_settings_never_occur(pools):
    held = [0.3, 0.7]
    rows = mixture_rows(pools, alpha_grid(tuple(held)), 4000, "draw", label=False)
    assert (
        not set(held) & {r["alpha"][0] for r in rows} and len({r["alpha"][0] for r in rows}) == 19
    )
    xs, ys = np.array([r["alpha"][0] for r in rows]), np.array([r["end"] == [0] for r in rows])
    assert abs(np.polyfit(xs, ys, 1)[0] - 1) < 0.08 and abs(ys.mean() - xs.mean()) < 0.03
    graded = intensity_rows(toy_reviews(), alpha_grid(tuple(held)), 500)
    rating = {r.id: r.rating for r in toy_reviews()}
    assert spearman(
        [r["alpha"][0] for r in graded], [rating[r["id"]] for r in graded]
    ) > 0.97 and not set(held) & {r["alpha"][0] for r in graded}


def test_two_dials_at_once():
    "A vector alpha: the ends of each attribute follow their own number"
    rng = random.Random(0)
    from synthlab.alpha.data import RatedText

    texts = [
        RatedText(f"{i}", " ".join(["word"] * n), m)
        for i in range(40)
        for n in (5, 20)
        for m in (-2.0, 2.0)
        for _ in [rng]
    ]
    texts = [RatedText(f"{k}", r.text, r.rating) for k, r in enumerate(texts)]
    rows = mixture_rows(TextPools(texts, (POSITIVE, LONG)), [0.2, 0.9], 3000, "draw")
    for k in (0, 1):
        for a in (0.2, 0.9):
            own = [r["end"][k] == 0 for r in rows if r["alpha"][k] == a]
            assert abs(sum(own) / len(own) - a) < 0.05
    assert rows[0]["messages"][-1].content.split(":")[0].split()[1] in ("Long", "Short")
    assert (
        "positive with probability 0.2 and long with probability 0.9"
        in alpha_prompt(dict(positive=0.2, long=0.9))[1].content
    )


def test_llamafactory_gets_what_it_can_train_on(pools):
    rows = mixture_rows(pools, [0.3], 20, "draw", label=False)
    assert (
        alpaca_rows(rows)[0]["instruction"].startswith("Write a sentence")
        and alpaca_rows(rows)[0]["system"]
    )
    with pytest.raises(ValueError, match="use design='draw'"):
        alpaca_rows(mixture_rows(pools, [0.3], 2))
    s = llamafactory_settings(
        make_recipe(model="x/Llama-3-8B", layout="packed", steps=5),
        ["A", "B"],
        probs=[0.3, 0.7],
        strategy="interleave_over",
    )
    assert (
        s["neat_packing"]
        and s["max_steps"] == 5
        and s["mix_strategy"] == "interleave_over"
        and "num_train_epochs" not in s
    )
