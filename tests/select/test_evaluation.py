"Labelled pools and trials: rows are what they are called, trials go on where they were"

from pathlib import Path

import pytest
from conftest import needs_smollm2

from synthlab.select.evaluation import (
    FineTuneRun,
    make_labelled_pool,
    run_fine_tune,
    run_fine_tunes,
)
from tests.select.common import recipe

pytestmark = needs_smollm2


def test_rows_are_what_they_are_called(pool):
    by = {}
    for x in pool.items:
        by.setdefault(x.info["what"], []).append(x)
    assert set(by) == {"verified", "rejected", "exact copy", "near copy", "off-domain"}
    text = {x.id: x.text for x in by["verified"]}
    assert all(x.text == text[x.info["of"]] for x in by["exact copy"])
    assert all(
        x.text != text[x.info["of"]]
        and x.labels[-20:] == next(y for y in by["verified"] if y.id == x.info["of"]).labels[-20:]
        for x in by["near copy"]
    )
    place = {x.id: i for i, x in enumerate(pool.items)}
    assert all(place[x.info["of"]] < i for i, x in enumerate(pool.items) if "of" in x.info)
    assert not {x.text for x in pool.tests} & {x.text for x in (*pool.items, *pool.queries)}
    assert all(x.good == 0 for x in by["rejected"]) and all(x.good == 1 for x in by["verified"])


def test_the_same_seed_is_the_same_pool(pool):
    again = make_labelled_pool(14, 6, 8)
    assert [x.input_ids for x in again.items] == [x.input_ids for x in pool.items]


@pytest.mark.slow
def test_examination_is_greedy_decoding(pool, toy):
    """A model that knows some of the rows: each decision is judged right exactly when it would have
    been written token by token
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from synthlab.select.evaluation import action_targets, next_action_accuracy
    from synthlab.select.likelihood import agent_turn_spans
    from synthlab.select.reader import Reader

    rows = [x for x in pool.items if x.info["what"] == "verified"][:3]
    torch.manual_seed(0)
    size = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    net = LlamaForCausalLM(LlamaConfig(vocab_size=49152, **size))
    opt = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(70):
        for x in rows[:2]:
            net(torch.tensor([x.input_ids]), labels=torch.tensor([x.labels])).loss.backward()
            opt.step()
            opt.zero_grad()
    net.generation_config.eos_token_id = None  # the end of a turn is a token like others here
    greedy, seen = dict(do_sample=False, pad_token_id=0), []
    for x in rows:
        judged = next_action_accuracy(Reader(net.eval(), "cpu"), [x])
        for (a, b), d, line in zip(agent_turn_spans(x), action_targets(x), judged):
            with torch.inference_mode():
                start = torch.tensor([x.input_ids[:a]])
                said = net.generate(start, max_new_tokens=b - a, **greedy)[0, a:].tolist()
            if d["name"]:
                assert line["name"] == (said[: d["head"]] == x.input_ids[a : a + d["head"]])
            if d["whole"]:
                assert line["whole"] == (said == x.input_ids[a:b])
            seen.append((line["name"], line["whole"]))
    assert {True, False} <= {n for n, _ in seen} | {w for _, w in seen}


def test_llama3_calls_are_examined_in_their_own_form(tmp_path):
    """Llama 3 writes calls in another way: the head of a decision is its own text up to the name's
    end, and any reply that opens a call counts as one
    """
    trl = pytest.importorskip("trl", reason="trl carries the chat templates")
    from synthlab.models.hub import load_prompter, toy_tokenizer
    from synthlab.select.evaluation import action_targets, call_start_token
    from synthlab.select.likelihood import agent_turn_spans

    tok = toy_tokenizer(
        (Path(trl.__file__).parent / "chat_templates/llama3_1.jinja").read_text(),
        [
            "<|begin_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eom_id|>",
            "<|python_tag|>",
            "<|eot_id|>",
        ],
    )
    tok.save_pretrained(tmp_path / "m")
    (tmp_path / "m/config.json").write_text("{}")
    name = str(tmp_path / "m")
    assert (
        load_prompter(name).style == "llama3"
        and call_start_token(name) == tok("{", add_special_tokens=False)["input_ids"][0]
    )
    rows, called = make_labelled_pool(8, 3, 4, model=name).items, 0
    for x in rows:
        for (a, _), d in zip(agent_turn_spans(x), action_targets(x, name), strict=True):
            if not d["name"]:
                continue
            called += 1
            assert tok.decode(
                x.input_ids[a : a + d["head"]]
            ) == f'{{"name": "{d["name"]}' and x.input_ids[a] == call_start_token(name)
    assert called > 5


def test_a_comparison_goes_on_where_it_was_killed(pool, toy, tmp_path):
    trials = [
        FineTuneRun(pool.items[i : i + 2], pool.tests[:2], recipe(toy, seed=i), str(tmp_path))
        for i in range(3)
    ]
    first = run_fine_tunes(trials)
    lost = sorted(tmp_path.glob("*.jsonl"))[1]
    when = {f: f.stat().st_mtime_ns for f in tmp_path.glob("*.jsonl")}
    lost.unlink()
    (tmp_path / f"{lost.name}.part").write_text('{"torn')
    again = run_fine_tunes(trials)
    assert [a["decisions"] for a in again] == [a["decisions"] for a in first] and [
        a["losses"] for a in again
    ] == [a["losses"] for a in first]
    assert [f for f in tmp_path.glob("*.jsonl") if when[f] != f.stat().st_mtime_ns] == [lost]


def test_another_seed_or_row_is_another_trial(pool, toy):
    base = FineTuneRun(pool.items[:2], pool.tests, recipe(toy))
    others = [
        FineTuneRun(pool.items[1:3], pool.tests, recipe(toy)),
        FineTuneRun(pool.items[:2], pool.tests[:1], recipe(toy)),
        FineTuneRun(pool.items[:2], pool.tests, recipe(toy, seed=1)),
        FineTuneRun(pool.items[:2], pool.tests, recipe(toy, lr=1e-2)),
    ]
    assert base.key not in {t.key for t in others} and len({t.key for t in others}) == 4


def test_training_teaches(pool, toy):
    """With enough passes even the toy's loss falls on the rows it sees, and the model as it is is
    not touched by a trial before it
    """
    zero = run_fine_tune(FineTuneRun([], pool.tests[:2], recipe(toy)))
    t = run_fine_tune(
        FineTuneRun(pool.items[:2], pool.tests[:2], recipe(toy, epochs=15, lr=2e-2, rank=8))
    )
    assert t["losses"][-1] < t["losses"][0] - 0.1 and t["flops"] > 0 == zero["flops"]
    assert (
        run_fine_tune(FineTuneRun([], pool.tests[:2], recipe(toy)))["decisions"]
        == zero["decisions"]
    )
