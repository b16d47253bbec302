"""Selection: scores against plain references, selectors on a pool of known structure, costs against
the profiler, the command.
"""

import json
import random

import pytest
from conftest import installed, needs_smollm2

from synthlab.cli.main import main
from synthlab.select.base import make_item
from synthlab.select.dedup import drop_exact, drop_near

if not installed("peft"):
    pytest.skip("peft is not installed: pip install -e .[cpu] or .[gpu]", allow_module_level=True)
from synthlab.core.types import Message, Score, Task, ToolCall, Trajectory, from_dict, to_dict
from synthlab.models.hub import Prompter, toy_tokenizer
from synthlab.select.registry import SELECTORS, SelectorInputs, select
from synthlab.train.tokenize import encode_row
from tests.select.common import families, toy


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


@pytest.mark.slow
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


def found_by(call, i):
    messages = [
        Message("user", f"Find {call.args}"),
        Message("assistant", calls=[call]),
        Message("tool", "found", call_id=call.id),
        Message("assistant", "Found."),
    ]
    scores = dict(reward=Score(1.0))
    return Trajectory(Task(str(i // 2), "retail"), messages, source="mine", scores=scores)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A folder with a toy model, a pool in three forms with a torn line, and queries"
    at, tok, rng = tmp_path_factory.mktemp("select"), toy_tokenizer(CHATML), random.Random(0)
    for part in (toy(vocab=len(tok)), tok):
        part.save_pretrained(at / "model")
    chats = [request(i, rng) for i in range(9)]
    calls = [ToolCall("find", dict(order=f"W{i}"), f"c{i}") for i in range(3)]
    lines = [json.dumps(to_dict(found_by(c, i))) for i, c in enumerate(calls)]
    for c in chats[:3]:
        said = [{"from": f, "value": m["content"]} for f, m in zip(("human", "gpt"), c)]
        lines.append(json.dumps(dict(conversations=said, tools="[]", source="share")))
    lines.append('{"messages": [{"role"')
    lines += [json.dumps(dict(messages=c, source="chat")) for c in [*chats[3:], chats[3]]]
    lines.append('{"conversations": [{"from": "narrator"}]}')
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
