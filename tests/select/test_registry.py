"""Selection: scores against plain references, selectors on a pool of known structure, costs against
the profiler, the command.
"""

import json
import math
import random

import numpy as np
import pytest
from conftest import installed, needs_smollm2

from synthlab.cli.main import main
from synthlab.core.text import normalize_rows
from synthlab.select.base import Budget, Item, by_score, make_item, take_until_budget
from synthlab.select.coverage import farthest_first, greedy_facility, nearest_neighbours
from synthlab.select.dedup import banding_threshold, drop_exact, drop_near, minhash_signatures

if not installed("peft"):
    pytest.skip("peft is not installed: pip install -e .[cpu] or .[gpu]", allow_module_level=True)
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from synthlab.core.types import Message, Score, Task, ToolCall, Trajectory, from_dict, to_dict
from synthlab.models.hub import Prompter, toy_tokenizer
from synthlab.select.less import (
    adam_step,
    add_lora,
    gradient_features,
    less,
    row_gradients,
    warm_up,
)
from synthlab.select.likelihood import ifd
from synthlab.select.reader import (
    Reader,
    embed_rows,
    measure_flops,
    target_perplexity,
    training_flops,
    unconditional_perplexity,
)
from synthlab.select.registry import SELECTORS, SelectorInputs, select
from synthlab.train.tokenize import Row, encode_row

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


@pytest.fixture(scope="session")
def embedded(hf):
    return Reader(hf._shared["net"], "cpu", batch=300)


@pytest.fixture(scope="session")
def rows(hf):
    "Some short chats as the embedded model reads them"
    tok = Prompter(hf.tok)
    return [
        Item(e.input_ids, e.labels, id=str(i))
        for i, (q, a) in enumerate(zip(ASKED, SAID))
        for e in [
            encode_row(
                Row([Message("system", "Help."), Message("user", q), Message("assistant", a)]), tok
            )
        ]
    ]


def plain_loss(net, ids, labels):
    with torch.no_grad():
        return net(torch.tensor([ids]), labels=torch.tensor([labels])).loss.item()


def bare(x):
    return [t for t in x.labels if t != -100]


@needs_smollm2
def test_perplexity_and_ifd_are_what_transformers_computes_row_by_row(embedded, rows):
    net = embedded.net
    whole = [math.exp(plain_loss(net, x.input_ids, x.labels)) for x in rows]
    without = [math.exp(plain_loss(net, bare(x), bare(x))) for x in rows]
    assert target_perplexity(rows, embedded) == pytest.approx(whole, rel=1e-4)
    assert unconditional_perplexity(rows, embedded) == pytest.approx(without, rel=1e-4)
    s = ifd(rows, 3, embedded)
    assert s.score == pytest.approx([a / b for a, b in zip(whole, without)], rel=1e-4)
    assert (
        s.idx
        == sorted((i for i in range(len(rows)) if s.score[i] < 1), key=lambda i: -s.score[i])[:3]
    )


@needs_smollm2
def test_rds_weights_grow_with_position(embedded, rows):
    for x, e in zip(rows, embed_rows([x.input_ids for x in rows], embedded)):
        with torch.no_grad():
            h = (
                embedded.net(torch.tensor([x.input_ids]), output_hidden_states=True)
                .hidden_states[-1][0]
                .double()
            )
        w = torch.arange(1, x.tokens + 1) / (x.tokens * (x.tokens + 1) / 2)
        want = (w[:, None] * h).sum(0)
        assert np.allclose(e, want / want.norm(), atol=1e-5)


@needs_smollm2
def test_what_was_read_is_not_read_again_and_costs_the_same(embedded, rows, monkeypatch):
    first = select("rds+", rows, 2, SelectorInputs(rows[:1], embedded.net))
    given = SelectorInputs(rows[:1])
    given.reader = embedded
    again = select("rds+", rows, 2, given)
    monkeypatch.setattr(embedded, "hidden", None)
    third = select("rds+", rows, 2, given)
    assert first.idx == again.idx == third.idx and first.flops == again.flops == third.flops > 0


@needs_smollm2
def test_flops_by_formula_are_what_the_profiler_counts(embedded, rows):
    """Row by row, as padding is in no formula, with attention written out, as the counter does not
    see the fused kernel on a CPU
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fresh = Reader(embedded.net, "cpu", batch=1)
    ids = [x.input_ids for x in rows]
    with sdpa_kernel(SDPBackend.MATH):
        seen = (
            measure_flops(lambda: target_perplexity(rows, fresh))[1],
            measure_flops(lambda: embed_rows(ids, fresh))[1],
        )
    formula = fresh.flops(ids, sum(x.targets for x in rows)), fresh.flops(ids, 0)
    assert seen == pytest.approx(formula, rel=0.15)


# Gradients
# -------------------------------------------------------------------------------------------------


def toy(seed=0, vocab=61, **kw):
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


def by_autograd(net, x):
    ws = [p for n, p in net.named_modules() if ".lora_" in n and hasattr(p, "weight")]
    net.zero_grad(set_to_none=True)
    net(torch.tensor([x.input_ids]), labels=torch.tensor([x.labels])).loss.backward()
    return torch.cat([p.weight.grad.flatten() for p in ws])


def check_gradients(reader, items):
    gen = torch.Generator().manual_seed(0)
    for n, m in reader.net.named_modules():
        if ".lora_" in n and hasattr(m, "weight"):
            m.weight.data.normal_(0, 0.05, generator=gen)
    want = torch.stack([by_autograd(reader.net, x) for x in items])
    got = row_gradients(reader, items)
    assert ((got - want).norm(dim=1) / want.norm(dim=1)).max() < 1e-3


def test_batched_gradients_are_those_of_autograd_row_by_row():
    rng = random.Random(0)
    check_gradients(
        add_lora(Reader(toy(), "cpu"), 4), [tossed(rng.randrange(6, 30), rng) for _ in range(12)]
    )


@needs_smollm2
def test_batched_gradients_on_the_embedded_model(rows):
    check_gradients(add_lora(Reader("smollm2", "cpu"), 2), rows[:3])


def test_less_features_are_adams_steps_projected_row_by_row():
    rng = random.Random(1)
    items = [tossed(rng.randrange(8, 24), rng) for _ in range(10)]
    reader = add_lora(Reader(toy(), "cpu", batch=100), 4)
    (c,) = warm_up(reader, items[:6], 1, 1e-2, batch=3)
    got = gradient_features(reader, items, c, True, dims=64, seed=3)
    grads = torch.stack([by_autograd(reader.net, x) for x in items])
    g = torch.Generator().manual_seed(3 * 1_000_003)
    signs = torch.randint(0, 2, (len(c.m), 64), generator=g, dtype=torch.int8).double() * 2 - 1
    step = (0.9 * c.m + 0.1 * grads) / (0.999 * c.v + 0.001 * grads**2 + 1e-8).sqrt()
    assert torch.allclose(step, adam_step(grads, c))
    want = torch.nn.functional.normalize(step.double() @ signs, dim=1).numpy()
    assert np.abs(got - want).max() < 1e-3


def test_features_on_disk_survive_a_torn_file(tmp_path):
    rng = random.Random(2)
    items = [tossed(12, rng) for _ in range(6)]
    reader = add_lora(Reader(toy(), "cpu"), 2)
    (c,) = warm_up(reader, items[:4], 1, 1e-2)
    first = gradient_features(reader, items, c, False, 32, cache=tmp_path, block=2)
    files = sorted(tmp_path.glob("*/*.npz"))
    assert len(files) == 3
    files[0].write_bytes(files[0].read_bytes()[:50])
    assert np.allclose(
        gradient_features(reader, items, c, False, 32, cache=tmp_path, block=2), first, atol=1e-6
    )


def test_less_finds_the_kind_that_is_wanted():
    rng = random.Random(3)
    pool = [tossed(40, rng, 0, 30, source="low") for _ in range(30)] + [
        tossed(40, rng, 31, 61, source="high") for _ in range(30)
    ]
    want = [tossed(40, rng, 0, 30, source="task") for _ in range(6)]
    s = less(
        pool, 20, want, add_lora(Reader(toy(), "cpu"), 4), share=0.4, epochs=2, rate=1e-3, dims=256
    )
    assert sum(pool[i].source == "low" for i in s.idx) >= 18


def test_training_flops_by_formula_are_what_the_profiler_counts():
    from synthlab.train.recipe import gather_target_logits

    net, rng = toy(attn_implementation="eager"), random.Random(4)
    x = tossed(60, rng)
    reader = Reader(net, "cpu")
    gather_target_logits(net)
    ids, labels = torch.tensor([x.input_ids]), torch.tensor([x.labels])
    seen = measure_flops(
        lambda: net(input_ids=ids, labels=labels, fused_lm_head=True)["nll"].mean().backward()
    )[1]
    assert seen == pytest.approx(
        training_flops(reader.arch, [x.tokens], logits=x.targets), rel=0.15
    )


# Spread
# -------------------------------------------------------------------------------------------------


def value(e, idx):
    return float(np.maximum(normalize_rows(e) @ normalize_rows(e)[idx].T, 0).max(1).sum())


def greedy(e, k):
    "Facility location, every candidate looked at every time"
    s, best, out = np.maximum(normalize_rows(e) @ normalize_rows(e).T, 0), 0, []
    for _ in range(k):
        out.append(int(np.maximum(s - best, 0).sum(1).argmax()))
        best = np.maximum(best, s[out[-1]])
    return out


def lumpy(n, d, seed, spread=0.6):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (12, d))[rng.integers(0, 12, n)] + rng.normal(0, spread, (n, d))


@pytest.mark.parametrize("seed", range(3))
def test_facility_location_is_within_a_percent_of_the_exact_greedy(seed):
    e = lumpy(500, 16, seed)
    exact = value(e, greedy(e, 40))
    assert value(e, greedy_facility(e, 40)[0]) >= 0.99 * exact
    assert value(e, greedy_facility(e, 40, m=150)[0]) >= 0.97 * exact, "neighbours only"


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_farthest_first_is_the_plain_one_whatever_the_block(block):
    e = normalize_rows(lumpy(300, 8, 5))
    order, dist = farthest_first(e, 60, seed=2, block=block)
    want = [order[0]]
    while len(want) < 60:
        want.append(int((e @ e[want].T).max(1).argmin()))
    assert order == want
    assert dist[1:] == pytest.approx(
        [np.linalg.norm(e[want[:t]] - e[want[t]], axis=1).min() for t in range(1, 60)], abs=1e-3
    )


@pytest.mark.parametrize("block", [50, 4096])
def test_neighbours_are_the_nearest(block):
    e = normalize_rows(lumpy(400, 8, 6))
    at, cos = nearest_neighbours(e, 10, block)
    s = e @ e.T
    assert np.allclose(np.sort(cos, 1), np.maximum(np.sort(s, 1)[:, -10:], 0), atol=1e-5)
    assert np.allclose(np.take_along_axis(s, at, 1).clip(0), cos, atol=1e-5)


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


@pytest.fixture(scope="module")
def given():
    rng = random.Random(9)
    return SelectorInputs(
        [tossed(20, rng, 0, 50, source=s) for s in "ab"], toy(), batch=400, embed="lexical"
    )


@pytest.mark.parametrize("method", [m for m in SELECTORS if m != "deita"])
@pytest.mark.parametrize("unit_of", ["rows", "tokens"])
def test_each_selector_keeps_the_cap_and_the_budget(given, method, unit_of):
    pool, more = families(), dict(share=0.2, epochs=1, dims=32) if method == "less" else {}
    k = 15 if unit_of == "rows" else 300
    s = select(method, pool, k, given, seed=1, unit=unit_of, cap=1, **more)
    used = [pool[i].parent for i in s.idx]
    assert len(set(used)) == len(used) and len(set(s.idx)) == len(s)
    spent = len(s) if unit_of == "rows" else sum(pool[i].tokens for i in s.idx)
    assert 0.8 * k < spent <= k
    assert len(s.score) == len(pool) and len(s.reason) == len(s) and s.flops >= 0
    assert select(method, pool, k, given, seed=1, unit=unit_of, cap=1, **more).idx == s.idx, (
        "a seed says it all"
    )


def test_more_than_there_is_gives_all_that_may_be_taken(given):
    pool = families(12)
    assert sorted(select("random", pool, 99).idx) == list(range(12))
    assert len(select("facility", pool, 99, given, cap=2).idx) == 8
    assert len(select("rds+", pool, 99, given, cap=2).idx) == 8


def test_a_score_that_could_not_be_given_is_never_chosen():
    pool = families(6)
    assert by_score(pool, [3, math.nan, 1, math.nan, 2, 5], 6, "mine").idx == [5, 0, 4, 2]
    assert take_until_budget(range(6), Budget(pool, 2, cap=1)) == [0, 3]


@pytest.mark.parametrize(
    "wrong,said",
    [
        (dict(method="magic"), "no selector 'magic'; there are random"),
        (dict(method="rds+"), "needs queries"),
        (dict(method="random", unit="words"), "'rows' or 'tokens'"),
    ],
)
def test_what_is_wrong_is_said(wrong, said):
    with pytest.raises(ValueError, match=said):
        select(**{**dict(items=families(6), k=2), **wrong})


# A pool of known structure
# -----------------------------------------------------------------------------------------------


def request(i, rng):
    "A made-up request of a shop's customer and the call that answers it"
    what, order = (
        rng.choice(["kettle", "desk lamp", "bookshelf", "backpack", "keyboard"]),
        f"#W{rng.randrange(10**6, 10**7)}",
    )
    ask, tool = rng.choice(
        [
            (
                f"I want to return the {what} of order {order} and have the money on my card.",
                "return_delivered_order_items",
            ),
            (
                f"Please cancel order {order}, the {what} comes too late for me.",
                "cancel_pending_order",
            ),
            (
                f"Exchange the {what} in order {order} for a blue one, please.",
                "exchange_delivered_order_items",
            ),
        ]
    )
    return [
        dict(role="user", content=ask),
        dict(role="assistant", content=f"{tool} order_id={order} item={what}"),
    ]


def other_trade(i, rng):
    a, b = rng.randrange(100, 999), rng.randrange(100, 999)
    poem = rng.sample(
        [
            "moon",
            "river",
            "silver",
            "dream",
            "night",
            "winter",
            "song",
            "willow",
            "shadow",
            "light",
        ],
        6,
    )
    return rng.choice(
        [
            [
                dict(role="user", content=f"What is {a} plus {b}?"),
                dict(role="assistant", content=f"{a} plus {b} is {a + b}."),
            ],
            [
                dict(role="user", content="Write a verse."),
                dict(role="assistant", content=f"O {' '.join(poem[:3])}, {' '.join(poem[3:])}."),
            ],
        ]
    )


@needs_smollm2
def test_copies_and_rows_of_other_trades_are_rejected(hf, embedded):
    rng, tok = random.Random(0), Prompter(hf.tok)

    def made(chat, i, kind):
        return make_item(
            encode_row(dict(messages=chat), tok),
            text=" ".join(m["content"] for m in chat),
            id=str(i),
            source=kind,
        )

    chats = [request(i, rng) for i in range(24)]
    twice = [
        [dict(m, content=m["content"].replace("Please", "please").replace(".", " .")) for m in c]
        for c in chats[:10]
    ]
    pool = [
        made(c, i, k)
        for i, (c, k) in enumerate(
            [
                *((c, "good") for c in chats),
                *((c, "copy") for c in [*chats[:10], *twice]),
                *((other_trade(i, rng), "other") for i in range(24)),
            ]
        )
    ]
    rng.shuffle(pool)
    texts = [x.text for x in pool]
    one = drop_exact(texts)
    two = drop_near([texts[i] for i in one.kept])
    left = [pool[one.kept[i]] for i in two.kept]
    assert len({x.text.lower().replace(" .", ".") for x in left if x.source != "other"}) == 24, (
        "of each request one is left"
    )
    copies = len([x for x in left if x.source != "other"]) - 24
    assert 1 - copies / 20 >= 0.95
    given = SelectorInputs([made(request(i, rng), i, "wanted") for i in range(6)])
    given.reader = embedded
    s = select("rds+", left, 24, given)
    assert 1 - sum(left[i].source == "other" for i in s.idx) / 24 >= 0.95


# The command
# -------------------------------------------------------------------------------------------------

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A folder with a toy model, a pool in three forms with a torn line, and queries"
    at, tok, rng = tmp_path_factory.mktemp("select"), toy_tokenizer(CHATML), random.Random(0)
    for part in (toy(vocab=len(tok)), tok):
        part.save_pretrained(at / "model")
    chats = [request(i, rng) for i in range(9)]
    calls = [ToolCall("find", dict(order=f"W{i}"), f"c{i}") for i in range(3)]
    trajs = [
        Trajectory(
            Task(str(i // 2), "retail"),
            [
                Message("user", f"Find {c.args}"),
                Message("assistant", calls=[c]),
                Message("tool", "found", call_id=c.id),
                Message("assistant", "Found."),
            ],
            source="mine",
            scores=dict(reward=Score(1.0)),
        )
        for i, c in enumerate(calls)
    ]
    share = [
        dict(
            conversations=[
                {"from": "human", "value": c[0]["content"]},
                {"from": "gpt", "value": c[1]["content"]},
            ],
            tools="[]",
            source="share",
        )
        for c in chats[:3]
    ]
    lines = (
        [json.dumps(to_dict(x)) for x in trajs]
        + [json.dumps(x) for x in share]
        + ['{"messages": [{"role"']
        + [json.dumps(dict(messages=c, source="chat")) for c in chats[3:]]
        + [
            json.dumps(dict(messages=chats[3], source="chat")),
            '{"conversations": [{"from": "narrator"}]}',
        ]
    )
    (at / "pool.jsonl").write_text("\n".join(lines) + "\n")
    (at / "want.jsonl").write_text(json.dumps(dict(messages=chats[4], source="chat")))
    return at


def lines_of(path):
    return [json.loads(l) for l in path.read_text().splitlines()]


def run(place, *args, method="rds+", k=4, model=None, queries=True):
    more = ["--queries", str(place / "want.jsonl")] if queries else []
    return main(
        [
            "select",
            str(place / "pool.jsonl"),
            "--method",
            method,
            "--k",
            str(k),
            "--out",
            str(place / "out.jsonl"),
            "--model",
            str(model or place / "model"),
            *more,
            *args,
        ]
    )


def test_the_command_keeps_rows_with_their_scores_and_says_what_it_left(place, capsys):
    before = (place / "pool.jsonl").read_bytes()
    assert run(place, "--json") == 0
    report, rows = json.loads(capsys.readouterr().out), lines_of(place / "out.jsonl")
    assert rows[0]["messages"] == lines_of(place / "want.jsonl")[0]["messages"] and rows[0][
        "selection"
    ]["score"] == pytest.approx(1, abs=1e-3)
    assert (
        [x["line"] for x in report["left"]] == [7, 15]
        and report["pool"] == 13
        and report["kept"] == len(rows) == 4
    )
    assert [x["line"] for x in lines_of(place / "out.jsonl.left.jsonl")] == [7, 15] and (
        place / "pool.jsonl"
    ).read_bytes() == before
    assert (
        report["flops"] > 0
        and report["train_flops"] > 0
        and sum(s["kept"] for s in report["sources"]) == 4
    )
    assert run(place) == 0
    said = capsys.readouterr()
    assert "line 7: torn" in said.err and "rds+: 4 of 13 rows" in said.out and "FLOPs" in said.out


def test_trajectories_stay_trajectories(place, capsys):
    assert run(place, method="random", k=13) == 0
    trajs = [from_dict(Trajectory, d) for d in lines_of(place / "out.jsonl") if "task" in d]
    assert len(trajs) == 3 and all(t.scores["selection"].by == "select random" for t in trajs)
    assert run(place, "--cap", "1", "--dedup", method="random", k=12) == 0
    rows = lines_of(place / "out.jsonl")
    assert sum("task" in d for d in rows) == 2 and len(rows) == 11, (
        "two rollouts of a task count once, and a chat was there twice"
    )
    assert any("copy of line" in x["why"] for x in lines_of(place / "out.jsonl.left.jsonl"))


def test_a_budget_of_tokens(place, capsys):
    assert run(place, "--tokens", "900", "--json", method="balanced", k=0) == 0
    assert json.loads(capsys.readouterr().out)["tokens"] <= 900


@pytest.mark.parametrize(
    "args,said",
    [
        (dict(method="magic"), "no selector 'magic'; there are random, balanced"),
        (dict(k=99), "99 rows are more than the pool has: 13"),
        (dict(queries=False), "rds+ needs rows of what is wanted: --queries FILE"),
        (dict(k=0), "--k ROWS or --tokens TOKENS"),
        (dict(model="/nowhere/model"), "is no folder with a config.json"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(place, capsys, args, said):
    assert run(place, **args) == 2
    err = capsys.readouterr().err
    assert said in err and len([l for l in err.splitlines() if l.startswith("synthlab:")]) == 1


def test_a_pool_that_is_not_there(place, capsys):
    assert (
        main(
            [
                "select",
                str(place / "no.jsonl"),
                "--method",
                "random",
                "--k",
                "2",
                "--out",
                str(place / "x.jsonl"),
            ]
        )
        == 2
    )
    assert "no such file" in capsys.readouterr().err
    (place / "empty.jsonl").write_text('{"torn')
    assert (
        main(
            [
                "select",
                str(place / "empty.jsonl"),
                "--method",
                "random",
                "--k",
                "2",
                "--out",
                str(place / "x.jsonl"),
                "--model",
                str(place / "model"),
            ]
        )
        == 2
    )
    assert "no row can be learned from; line 1 is torn" in capsys.readouterr().err
