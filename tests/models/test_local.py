"""Models in this process: the same words from both engines, for each seed, with schemas, adapters,
failures.
"""

import json
import os
import signal
import threading
import time
from pathlib import Path

import jsonschema
import pytest
from conftest import needs_smollm2, needs_vllm

from synthlab.core.types import Message
from synthlab.models.local import HF
from tests.models.common import PERSON

pytestmark = needs_smollm2


def ask(*qs):
    return [[Message("user", q)] for q in qs]


PROMPTS = ask(
    "Name three colours.",
    "Write a line about the sea and the wind that comes over it in the morning.",
    "Count to five.",
    "What is a cat?",
    "Tell me a joke about trains.",
    "Why is the sky blue?",
    'Translate "good morning" to French.',
    "Who wrote Hamlet?",
    "Give one reason to walk.",
    "What is two plus two?",
)
TREE = {
    "type": "object",
    "required": ["kind", "left"],
    "additionalProperties": False,
    "$defs": dict(leaf=dict(enum=[1, 2, 3])),
    "properties": dict(
        kind=dict(const="node"),
        left={"$ref": "#/$defs/leaf"},
        note=dict(anyOf=[dict(type="null"), dict(type="boolean")]),
    ),
}


def texts(out):
    return [[r.text for r in rs] for rs in out]


@pytest.fixture(scope="module")
def greedy(hf):
    return hf(PROMPTS, maxtok=16)


def test_loads_in_two_seconds(hf):
    def load():
        start = time.perf_counter()
        HF("smollm2", dtype="bfloat16")
        return time.perf_counter() - start

    assert min(load() for _ in range(3)) < 2


@pytest.mark.slow
def test_greedy_is_the_librarys_own_greedy(hf, greedy):
    "Batched, padded and sorted, the words are those of one plain generate call after another"
    for chat, (r,) in zip(PROMPTS[:4], greedy):
        ids = hf.tok.apply_chat_template(
            [dict(role="user", content=chat[0].content)],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        with hf._net() as net:
            new = net.generate(**ids, max_new_tokens=16, do_sample=False)[
                0, ids["input_ids"].shape[1] :
            ]
        assert hf.tok.decode(new, skip_special_tokens=True) == r.text
        assert (r.usage.inp, r.usage.out) == (
            ids["input_ids"].shape[1],
            len(new),
        ) and r.finish == "length"


@pytest.mark.slow
def test_a_seed_gives_the_same_words_wherever_it_lands(hf):
    all_ = texts(hf(PROMPTS[:6], n=2, temp=1.0, seed=list(range(6)), maxtok=8))
    back = texts(hf(PROMPTS[5::-1], n=2, temp=1.0, seed=list(range(6))[::-1], maxtok=8))[::-1]
    alone = [texts(hf([c], n=1, temp=1.0, seed=i, maxtok=8))[0] for i, c in enumerate(PROMPTS[:3])]
    assert all_ == back and [a[:1] for a in all_[:3]] == alone
    assert (
        len({t for ts in all_ for t in ts}) >= 11
        and texts(hf(PROMPTS[:1], temp=1.0, seed=99, maxtok=8))[0] != all_[0][:1]
    )


def test_stops_at_the_end_of_turn(hf):
    ((r,),) = hf(ask("Say hi."), maxtok=200)
    assert r.finish == "stop" and r.usage.out < 200 and "<|im_end|>" not in r.text


@pytest.mark.slow
@pytest.mark.parametrize("schema", [PERSON, TREE], ids=["person", "tree"])
def test_hf_obeys_a_schema(hf, schema):
    for temp in (0, 1.0):
        for (r,) in hf(PROMPTS[:3], temp=temp, maxtok=80, schema=schema):
            assert r.finish == "stop"
            jsonschema.validate(json.loads(r.text), schema)


def test_a_schema_that_is_none_is_the_callers_error(hf):
    with pytest.raises(ValueError, match="^schema: .*nope"):
        hf(PROMPTS[:1], schema=dict(type="nope"))


@pytest.mark.slow
def test_hf_adapter(hf, adapter, greedy):
    """An adapter changes the words, the model without it keeps its own, and the view shares the
    weights
    """
    shouty = hf.tuned(adapter)
    assert shouty.name == "SmolLM2-135M-Instruct+shouty" and hf.name == "SmolLM2-135M-Instruct"
    changed = texts(shouty(PROMPTS[:3], maxtok=16))
    assert all(a != b for a, b in zip(changed, texts(greedy)))
    assert texts(hf(PROMPTS[:3], maxtok=16)) == texts(greedy)[:3]
    assert texts(HF("smollm2", adapter, dtype="float32")(PROMPTS[:3], maxtok=16)) == changed
    with pytest.raises(FileNotFoundError, match="adapter_config.json"):
        hf.tuned("nowhere")


def test_a_batch_that_fails_is_halved_and_only_the_culprit_fails(hf, monkeypatch):
    real, seen = hf._batch, []

    def batch(net, prompts, *o):
        seen.append(len(prompts))
        if len(prompts) > 2:
            raise RuntimeError("out of memory")
        if any("cat" in hf.tok.decode(p) for p in prompts):
            raise RuntimeError("poison")
        return real(net, prompts, *o)

    monkeypatch.setattr(hf, "_batch", batch)
    out = [r for (r,) in hf(PROMPTS[:6], maxtok=2)]
    assert [r.error for r in out] == ["", "", "", "RuntimeError: poison", "", ""] and max(seen) == 6


def test_a_prompt_that_cannot_fit(hf):
    (long,), (r,) = hf(ask("x " * 9000, "Hi"), maxtok=2)
    assert "leaves no room in a context of 8,192" in long.error and r.ok


@pytest.fixture
def tiny(tmp_path):
    """A random Llama in Llama-3's template whose folder carries settings that would change what it
    says; gives (folder, set settings)
    """
    import torch
    import trl
    from transformers import LlamaConfig, LlamaForCausalLM

    from synthlab.models.hub import toy_tokenizer

    tok = toy_tokenizer(
        (Path(trl.__file__).parent / "chat_templates/llama3_1.jinja").read_text(),
        ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    )
    torch.manual_seed(1)
    net = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tok),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            initializer_range=0.2,
        )
    )

    def save(**o):
        net.generation_config.update(**o)
        net.save_pretrained(tmp_path)
        tok.save_pretrained(tmp_path)
        return str(tmp_path)

    return save


def test_settings_in_a_models_folder_do_not_change_what_is_asked(tiny):
    "Hub models carry sampling settings; only the tokens that end a turn are taken from there"
    import torch

    llm = HF(
        tiny(do_sample=True, temperature=0.3, top_k=2, repetition_penalty=3.0, eos_token_id=[258])
    )
    ids = llm.prompter.ids(PROMPTS[3])
    want = list(ids)
    with torch.inference_mode():
        for _ in range(24):
            want.append(int(llm._shared["net"](torch.tensor([want])).logits[0, -1].argmax()))
    new = want[len(ids) :]
    assert llm._generate([ids], [0], [24], 0, None) == [(new, "length")]
    end = next(i for i, t in enumerate(new) if t not in new[:i] and i)
    again = HF(tiny(eos_token_id=[new[end], 258]))
    assert again._generate([ids, again.prompter.ids(PROMPTS[1])], [0, 0], [24, 24], 0, None)[0] == (
        new[:end],
        "stop",
    )
    assert again.prompter.style == "llama3" and set(again.stops) == {
        again.tok.eos_token_id,
        258,
        new[end],
    }


# vLLM, one engine for all of it
# ---------------------------------------------------------------------------------------

pytest_vllm = [pytest.mark.vllm, needs_vllm]


def vllm_test(f):
    for m in pytest_vllm:
        f = m(f)
    return f


@pytest.mark.slow
@vllm_test
def test_vllm_agrees_with_transformers(vllm, hf, greedy):
    "At least 95 % of the first 16 greedy tokens, float32"

    def ids(out):
        return [hf.tok(r.text, add_special_tokens=False)["input_ids"] for (r,) in out]

    pairs = list(zip(ids(greedy), ids(vllm(PROMPTS, maxtok=16))))
    same = sum(x == y for a, b in pairs for x, y in zip(a, b))
    total = sum(max(len(a), len(b)) for a, b in pairs)
    assert total >= 120 and same / total >= 0.95


@pytest.mark.slow
@vllm_test
@pytest.mark.parametrize("schema", [PERSON, TREE], ids=["person", "tree"])
def test_vllm_obeys_a_schema(vllm, schema):
    for rs in vllm(PROMPTS, n=2, temp=1.0, maxtok=80, schema=schema):
        for r in rs:
            assert r.finish == "stop"
            jsonschema.validate(json.loads(r.text), schema)


@vllm_test
def test_vllm_bad_schema_and_long_prompt_leave_the_engine_working(vllm, greedy):
    with pytest.raises(ValueError, match="^schema: "):
        vllm(PROMPTS[:1], schema=dict(type="nope"))
    (long,), (r,) = vllm(ask("x " * 2000) + PROMPTS[:1], maxtok=16)
    assert "leaves no room in a context of 1,024" in long.error and r.text == greedy[0][0].text


@vllm_test
def test_vllm_seed_and_samples(vllm):
    all_ = texts(vllm(PROMPTS[:4], n=2, temp=1.0, seed=7, maxtok=8))
    assert texts(vllm(PROMPTS[3:0:-1], n=2, temp=1.0, seed=7, maxtok=8))[::-1] == all_[1:]
    assert all(a != b for a, b in all_)


@pytest.mark.slow
@vllm_test
def test_vllm_answers_more_seeded_prompts_than_fit_a_step(vllm):
    "A prompt cut at the end of a step would end in an error: on a CPU a seed cannot be rewound"
    long = [
        c for i in range(30) for c in ask(f"{i}. " + "Say why, and give an example of it. " * 12)
    ]  # all different: what is cached is not cut
    assert all(r.ok for (r,) in vllm(long, temp=1.0, seed=list(range(30)), maxtok=4))


@pytest.mark.slow
@vllm_test
def test_vllm_adapter(vllm, hf, adapter, greedy):
    """An adapter changes the words to what it makes transformers say; the base model is untouched
    beside it
    """
    shouty = vllm.tuned(adapter)
    said = texts(shouty(PROMPTS[:3], maxtok=16))
    assert all(a != b for a, b in zip(said, texts(greedy)))
    assert texts(vllm(PROMPTS[:3], maxtok=16)) == texts(greedy)[:3]
    assert [s[0][:12] for s in said] == [
        s[0][:12] for s in texts(hf.tuned(adapter)(PROMPTS[:3], maxtok=16))
    ]


@pytest.mark.nightly
@pytest.mark.slow
@vllm_test
def test_a_learner_in_vllm_speaks_with_the_weights_it_has_now(vllm, greedy):
    """An engine lasts while the weights do; an untrained adapter says what the model says, and new
    weights what transformers makes of them
    """
    from synthlab.loop.rejection_sampling import AdapterLearner
    from synthlab.train.recipe import make_recipe

    learner = AdapterLearner(
        make_recipe(model="smollm2", rank=4, dtype="float32", steps=1), engine="vllm"
    )
    first = learner.llm()
    assert learner.llm() is first
    start = [s[0][:8] for s in texts(first(PROMPTS[:4], maxtok=16))]
    assert sum(a == s[0][:8] for a, s in zip(start, texts(greedy))) >= 3  # merged to bfloat16
    learner.weights = {k: v + 0.05 if "lora_B" in k else v for k, v in learner.weights.items()}
    now = learner.llm()
    said = [s[0][:8] for s in texts(now(PROMPTS[:4], maxtok=16))]
    assert now is not first and said != start
    assert sum(a == s[0][:8] for a, s in zip(said, texts(learner.hf(PROMPTS[:4], maxtok=16)))) >= 3
    now.close()
    assert texts(vllm(PROMPTS[:2], maxtok=16)) == texts(greedy)[:2]  # the shared engine goes on


@pytest.mark.slow
@vllm_test
def test_closing_one_engine_leaves_the_other_working(vllm, greedy):
    from synthlab.models.local import VLLM

    second = VLLM("smollm2", dtype="float32", max_model_len=256, kv_cache_memory_bytes=2**25)
    assert texts(second(PROMPTS[:1], maxtok=4))[0][0] == texts(vllm(PROMPTS[:1], maxtok=4))[0][0]
    second.close()
    assert texts(vllm(PROMPTS[1:2], maxtok=16)) == texts(greedy)[1:2]


@vllm_test
def test_an_interrupted_batch_leaves_nothing_behind(vllm, greedy):
    """After Ctrl-C in the middle of a batch the next batch gets its own answers, not those of the
    last one
    """
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        vllm(PROMPTS, n=4, temp=1.0, maxtok=400)
    assert texts(vllm(PROMPTS[:2], maxtok=16)) == texts(greedy)[:2]
