"""The dial: rows that mean what they say, scorers that share no text with the model, curves whose
numbers are known beforehand.
"""

import math
import random

import numpy as np
import pytest
from conftest import installed

from synthlab.alpha.baselines import coin_flip_router, fixed_mixture_rows
from synthlab.alpha.calibration import (
    InverseCalibration,
    between_prompt_share,
    bimodality,
    calibration_metrics,
    control_curve,
    isotonic_fit,
    side_effects,
    spearman,
    variance_ratio,
)
from synthlab.alpha.data import (
    fetch_snippets,
    load_reviews,
    read_reviews,
    split_reviews,
    toy_reviews,
)
from synthlab.alpha.experiment import calibrated_settings, dial_rows, exact_label_curve
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
from synthlab.alpha.scorers import fit_threshold, rogan_gladen
from synthlab.core.stats import Estimate
from synthlab.export.formats import alpaca_rows, llamafactory_settings
from synthlab.models.hub import Prompter, cache_dir, toy_tokenizer
from synthlab.train.recipe import make_recipe
from synthlab.train.tokenize import encode_row

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% "
    "endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def pools():
    return TextPools(toy_reviews(), known=["camera", "screen", "menu"])


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


def test_perplexity_is_the_mean_over_texts_that_have_one():
    (row,) = side_effects(
        [dict(alpha=0.5, text="fine", ppl=p) for p in (4.0, 16.0, math.nan)], set()
    )
    assert row["ppl"] == pytest.approx(8.0) and row["n"] == 3


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


def test_splits_share_no_review_and_files_are_read(tmp_path):
    parts = split_reviews(toy_reviews())
    groups = [{r.group for r in p} for p in parts.values()]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    import pandas

    rows = [
        dict(stars=5, body="Fine.", asin="x"),
        dict(stars=1, body="Poor.", asin="y"),
        dict(stars=3, body=" ", asin="y"),
    ]
    pandas.DataFrame(rows).to_json(tmp_path / "r.jsonl", orient="records", lines=True)
    pandas.DataFrame(rows).to_csv(tmp_path / "r.csv", index=False)
    pandas.DataFrame(rows).to_parquet(tmp_path / "r.parquet")
    for kind in ("jsonl", "csv", "parquet"):
        got = read_reviews(tmp_path / f"r.{kind}", "body", "stars", "asin")
        assert [(r.text, r.rating, r.group) for r in got] == [
            ("Fine.", 4.0, "x"),
            ("Poor.", -4.0, "y"),
        ]
    with pytest.raises(ValueError, match="no column 'rating'; it has stars, body, asin"):
        read_reviews(tmp_path / "r.csv", "body")


def test_a_wrong_archive_is_refused_and_absence_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHLAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "x.zip").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="is not the archive of vaderSentiment==0.5"):
        fetch_snippets(tmp_path / "x.zip")
    monkeypatch.setattr("synthlab.alpha.data.sys.executable", "python-that-has-no-pip")
    with pytest.raises((FileNotFoundError, OSError)):
        fetch_snippets()
    assert not (tmp_path / "cache" / "vader-0.5").exists()


@pytest.mark.skipif(
    not (cache_dir() / "vader-0.5").is_dir(),
    reason="the rated sentences are not in the cache: synthlab.alpha.data.fetch_snippets()",
)
def test_the_amazon_sentences_are_the_published_ones():
    rows = load_reviews("amazon")
    assert (
        len(rows) == 3708
        and all(len(r.raters) >= 20 for r in rows)
        and len({r.group for r in rows}) == 300
    )
    assert max(abs(sum(r.raters) / len(r.raters) - r.rating) for r in rows) < 0.01


def samples(chance, n=400, tilt=0.0, seed=0):
    "Scored samples of a dial whose behaviour is known"
    rng = np.random.default_rng(seed)
    lean = {t: rng.choice([-tilt, tilt]) for t in "abcdefgh"}
    return [
        dict(alpha=round(a, 2), topic=t, a=float(rng.random() < np.clip(chance(a) + lean[t], 0, 1)))
        for a in np.linspace(0, 1, 11)
        for t in "abcdefgh"
        for _ in range(n // 8)
    ]


def test_known_dials_have_the_known_numbers():
    good, timid, stuck = (
        calibration_metrics(control_curve(samples(f)))
        for f in (lambda a: a, lambda a: 0.5 + 0.4 * (a - 0.5), lambda a: 0.5)
    )
    assert (
        good["mae"].value < 0.03
        and abs(good["slope"].value - 1) < 0.05
        and good["spearman"].value > 0.98
    )
    assert (
        abs(timid["slope"].value - 0.4) < 0.05
        and abs(timid["mae"].value - 0.6 * 0.273) < 0.03
        and timid["spearman"].value > 0.9
    )
    assert abs(stuck["mae"].value - 0.273) < 0.02 and abs(stuck["slope"].value) < 0.06
    assert timid["slope"].lo < 0.4 < timid["slope"].hi


def test_errors_of_the_scorer_are_taken_out_and_stay_in_the_interval():
    """Seen through a poor test the slope shrinks; corrected it is whole again; the 95 % interval
    holds the truth nearly as often
    """
    rng, held, n = np.random.default_rng(0), 0, 200
    for _ in range(n):
        sens, spec = (Estimate(rng.binomial(m, q) / m, n=m) for m, q in ((150, 0.87), (80, 0.76)))
        k = rng.binomial(300, 0.3 * 0.87 + 0.7 * 0.24)
        e = rogan_gladen(k / 300, 300, sens, spec, draws=400)
        held += e.lo <= 0.3 <= e.hi
    assert 0.90 <= held / n <= 1

    def score(ts):
        return np.array([float(t) for t in ts])

    c = fit_threshold(score, (["2", "3", "1"], ["-1", "0", ".5"]), (["2", ".7"], ["0", "1.5"]))
    assert 0.5 < c.threshold <= 1 and (c.sens.value, c.spec.value) == (0.5, 0.5)
    assert c([float("nan"), 3.0]) == [None, 1.0]


def test_mixture_and_intensity_are_told_apart():
    rng = np.random.default_rng(0)
    a, b = rng.normal(2, 0.8, 800), rng.normal(-2, 0.8, 800)
    for alpha in (0.3, 0.5, 0.7):
        coin = np.where(rng.random(600) < alpha, rng.normal(2, 0.8, 600), rng.normal(-2, 0.8, 600))
        warm = rng.normal(4 * alpha - 2, 0.8, 600)
        r, s = variance_ratio(coin, a, b, alpha), variance_ratio(warm, a, b, alpha)
        assert (
            0.85 < r.value < 1.15
            and r.half < 0.15
            and s.hi < 0.4
            and bimodality(coin).lo > 5 / 9 > bimodality(warm).hi
        )
    within, across = (
        between_prompt_share(samples(lambda a: a)),
        between_prompt_share(samples(lambda a: a, tilt=1.0)),
    )
    assert within[5]["value"] < 0.1 and across[5]["value"] > 0.9


def test_a_bent_dial_is_made_straight_on_other_settings():
    def bend(a):
        return 0.1 + 0.7 * a**2

    fit = control_curve(samples(bend, 2000))
    asked = {w: InverseCalibration(fit)(w) for w in (0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75)}
    assert max(abs(bend(x) - w) for w, x in asked.items()) < 0.04
    assert isotonic_fit([3, 1, 2], [1, 1, 2]) == [2, 2, 2] and isotonic_fit([]) == []
    exact = [dict(alpha=a, topic="t", p=a) for a in np.linspace(0, 1, 11).round(2)]
    told = [
        dict(said=[k], a=float(k == 0), alpha=0.5, topic="t") for k in (0, 1) for _ in range(50)
    ]

    class Perfect:
        sens = spec = Estimate(1.0, n=10**6)

    class J:
        tested = Perfect

    pts = exact_label_curve(exact, told, J)
    assert calibrated_settings(pts, [0.25, 0.85]) == pytest.approx(
        {0.25: 0.25, 0.85: 0.85}, abs=0.01
    )
    assert calibrated_settings([dict(alpha=0.0, value=math.nan, n=0)], [0.3]) == {0.3: 0.3}


def test_the_router_is_calibrated_and_fixed_mixes_are_exact(pools):
    ends = [dict(alpha=float(k), topic="t", a=float(k)) for k in (0, 1)]
    c = calibration_metrics(
        control_curve(coin_flip_router(ends, [round(i / 10, 1) for i in range(11)], 500))
    )
    assert c["mae"].value < 0.03 and c["spearman"].value > 0.97
    assert sum(r["end"] == [0] for r in fixed_mixture_rows(pools, 0.3, 200)) == 60


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


def test_a_study_trains_on_what_it_says(pools):
    class J:
        parts, topics, pools, attribute = dict(model=toy_reviews()), ["the camera"], None, POSITIVE

    J.pools = pools
    inner = dial_rows(J, "mixture", 60, held=[0.5], span=(0.2, 0.8))
    assert {r["alpha"][0] for r in inner} <= {
        a for a in alpha_grid((0.5,)) if 0.2 <= a <= 0.8
    } and len(inner) == 60


@pytest.mark.skipif(not installed("vaderSentiment"), reason="vaderSentiment is not installed")
def test_vader_says_what_vader_says():
    from synthlab.alpha.scorers import VaderScorer

    a, b, c = VaderScorer()(["It is GREAT!", "It is a box.", "It is awful."])
    assert a > 1 > 0 == b > -1 > c
