"MinHash: estimates and banding keep their bounds"

import random

import numpy as np
import pytest
from conftest import installed

from synthlab.select.dedup import banding_threshold, drop_near, minhash_signatures

if not installed("peft"):
    pytest.skip("peft is not installed: pip install -e .[cpu] or .[gpu]", allow_module_level=True)


# MinHash
# -------------------------------------------------------------------------------------------------
def shingles(text, n=5):
    w = text.lower().split()
    return {tuple(w[i : i + n]) for i in range(len(w) - n + 1)}


def edited(words, share, rng):
    return [w if rng.random() > share else f"x{rng.getrandbits(30)}" for w in words]


def test_minhash_estimates_stay_within_their_error_bound():
    rng, texts = random.Random(0), []
    for share in np.linspace(0, 0.15, 200):
        words = [f"w{rng.randrange(5000)}" for _ in range(rng.randrange(80, 200))]
        texts += [" ".join(words), " ".join(edited(words, share, rng))]
    true = np.array(
        [
            len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))
            for a, b in zip(texts[::2], texts[1::2])
        ]
    )
    sig = minhash_signatures(texts, size=128)
    off = ((sig[::2] == sig[1::2]).mean(1) - true) / np.sqrt(
        np.maximum(true * (1 - true), 1 / 128) / 128
    )
    assert (abs(off) < 3).mean() >= 0.98 and abs(off.mean()) < 0.3, (
        "at most the share of errors that three standard errors allow, and no bias"
    )


def test_banding_finds_what_its_curve_says():
    rng, found, n = random.Random(1), 0, 400
    texts = []
    for _ in range(n):
        words = [f"w{rng.getrandbits(40)}" for _ in range(120)]
        both = rng.randrange(118)
        texts += [
            " ".join(words),
            " ".join(
                [*words[:both], *(f"y{rng.getrandbits(40)}" for _ in range(2)), *words[both + 2 :]]
            ),
        ]
    j = np.mean(
        [
            len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))
            for a, b in zip(texts[::2], texts[1::2])
        ]
    )
    d = drop_near(texts, threshold=0)
    found = sum(x["row"] == x["of"] + 1 for x in d.drops) / n
    expected = 1 - (1 - j**8) ** 14
    assert abs(found - expected) < 0.05 and j > banding_threshold()
