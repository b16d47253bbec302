"What several test files of select use"

import random

import numpy as np

from synthlab.core.text import normalize_rows
from synthlab.select.base import Item
from synthlab.train.recipe import Recipe

# A reader
# -------------------------------------------------------------------------------------------------
ASKED = [
    "Cancel order W1 please.",
    "Where is my refund? I have been waiting for three weeks now and nobody answers.",
    "Hi",
    "Book the flight to Rome.",
    "My phone has no signal since yesterday, and the bars come and go whenever I move.",
    "Change the address of order W77 to Elm Street 5.",
]
SAID = [
    "Order W1 is cancelled.",
    "The refund of 20.50 was sent to your card on Monday.",
    "Hello, how can I help you with your order today?",
    "Done.",
    "Please switch airplane mode off, then on again, and tell me what you see.",
    "I changed it: Elm Street 5.",
]


# Gradients
# -------------------------------------------------------------------------------------------------
def toy(seed=0, vocab=61, **kw):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            vocab_size=vocab,
            **kw,
        )
    )


def tossed(n, rng, low=0, high=61, **kw):
    ids = [rng.randrange(low, high) for _ in range(n)]
    return Item(ids, [-100] * (n // 3) + ids[n // 3 :], " ".join(map(str, ids)), **kw)


# Spread
# -------------------------------------------------------------------------------------------------
def value(e, idx):
    return float(np.maximum(normalize_rows(e) @ normalize_rows(e)[idx].T, 0).max(1).sum())


# Choosing
# -------------------------------------------------------------------------------------------------
def families(n=60, each=3, seed=0):
    "Rows in families of one parent, of two sources"
    rng = random.Random(seed)
    return [
        tossed(
            rng.randrange(10, 30), rng, 0, 50, id=f"{i}", source="ab"[i % 2], parent=f"p{i // each}"
        )
        for i in range(n)
    ]


def recipe(toy, **kw):
    return Recipe(model=toy, **(dict(rank=2, epochs=1, batch=2, lr=1e-3, dtype="float32") | kw))
