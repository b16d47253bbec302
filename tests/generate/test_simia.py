"""Simulated conversations: every form is read or refused with a reason, every lie about the state is
caught, nothing is paid twice
"""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest
from conftest import DATA, ROOT, needs_data, needs_smollm2
from hypothesis import given, settings
from hypothesis import strategies as st

from synthlab.core.types import Message, Task, ToolCall, to_dict
from synthlab.generate.scripted_teacher import ScriptedTeacher, misreport_answer, sample_blueprint
from synthlab.generate.seeds import filter_seeds, read_seeds, scripted_seeds
from synthlab.generate.simia import (
    SIMULATION_GATES,
    DialogueSpec,
    ExampleSampler,
    fidelity_rows,
    generate,
    infer_task,
    novel,
    simulator_prompt,
)
from synthlab.generate.transcripts import (
    conversation_id,
    from_sharegpt,
    number_calls,
    ordering_error,
    read_call,
    read_transcript,
    write_transcript,
)
from synthlab.models.llm import ScriptedLLM
from synthlab.tau2.agents import OracleAgent, ScriptedUser
from synthlab.tau2.env import tasks, to_tau2, tools
from synthlab.tau2.replay import replay
from synthlab.tau2.rollout import rollout
from synthlab.verify.gates import execution, passes_gates, provenance, schema, verify

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
SITES = ("mock", "airline", "retail", "telecom")

quick = settings(max_examples=60, deadline=None)


# ---- transcripts

words = st.one_of(
    st.text(min_size=1).map(str.strip).filter(bool),
    st.sampled_from(
        ["HUMAN: x", "a\nOBSERVATION: {}", "END", "\\END", "x\n\\\\HUMAN: y", "a\nEND\nb"]
    ),
)
words = words.filter(
    lambda s: (
        "<t" not in s
        and "```" not in s
        and not set(s) & set("\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
    )
)
value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text(max_size=4), v, max_size=2),
    max_leaves=4,
)
call = st.builds(
    ToolCall,
    st.from_regex(r"[a-z_]{1,12}", fullmatch=True),
    st.dictionaries(st.text(max_size=5), value, max_size=3),
)


@st.composite
def dialogues(draw):
    "User and agent take turns; before its words, a side may have calls answered"
    out = []
    for k in range(draw(st.integers(1, 4))):
        role = ("user", "assistant")[k % 2]
        for _ in range(draw(st.integers(0, 2))):
            calls = draw(st.lists(call, min_size=1, max_size=2))
            out += [
                Message(role, draw(st.just("") | words), calls),
                *(Message("tool", draw(words)) for _ in calls),
            ]
        out.append(Message(role, draw(words)))
    return number_calls(out)


@quick
@given(dialogues())
def test_what_is_written_is_read_back(messages):
    d = read_transcript(write_transcript(messages))
    assert (d.messages, d.repairs, d.why, d.ended) == (messages, [], "", True)


@quick
@given(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(
                [
                    "HUMAN:",
                    "A:",
                    "FUNCTION_CALL: ",
                    '{"name": "x"',
                    "}",
                    "```",
                    "\n",
                    "END",
                    '[{"role": "user"',
                    '"content": 1}]',
                    "<tool_call>",
                    "</tool_call>",
                    "<think>",
                    "\\",
                    "OBSERVATION:",
                    "**User:**",
                    '[{"from": "gpt", "value": 3}]',
                    '{"messages": [{}]}',
                    "[[[",
                    '"',
                ]
            ),
            max_size=12,
        ).map("".join),
    )
)
def test_garbage_is_refused_or_read_but_never_raises(text):
    d = read_transcript(text)
    assert d.messages or d.why
    assert isinstance(ordering_error(d.messages), str)
    read_call(text)


@quick
@given(dialogues(), st.integers(0, 3))
def test_other_forms_give_the_same_conversation_and_are_on_record(messages, form):
    text = write_transcript(messages)
    plain = [m for m in messages if not m.calls and m.role != "tool"]
    other = [
        f"Here you are:\n```\n{text}\n```\nEnjoy.",
        f"```text\n{text}\n```",
        json.dumps([dict(role=m.role, content=m.content) for m in plain]),
        json.dumps(
            dict(
                conversations=[
                    {"from": dict(user="human", assistant="gpt")[m.role], "value": m.content}
                    for m in plain
                ]
            )
        ),
    ][form]
    d = read_transcript(other)
    assert d.messages == (messages if form < 2 else number_calls(plain)) and d.repairs and not d.why


def test_each_way_to_write_a_call_has_one_reading_and_a_name():
    good = ToolCall("f", dict(x=1))
    for text, what in [
        ('{"name": "f", "arguments": {"x": 1}}', []),
        ('{"name": "f", "arguments": "{\\"x\\": 1}"}', ["arguments as a string"]),
        ("{'name': 'f', 'arguments': {'x': 1}}", ["a Python literal instead of JSON"]),
        ('{"name": "f", "arguments": {"x": 1}, }', ["a comma too many"]),
        ('<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>', ["tag around a call"]),
        (
            '```json\n{"name": "f", "parameters": {"x": 1}}\n```',
            ["code fence around a call", "`parameters` instead of `arguments`"],
        ),
        (
            '[{"function": {"name": "f", "arguments": {"x": 1}}}]',
            ["a list of one call", "a call inside `function`"],
        ),
    ]:
        call, did = read_call(text)
        assert call == good, text
        assert (
            did == what or text.endswith(", }") and did == ["a Python literal instead of JSON"]
        ), text
    assert read_call('{"name": "f"}') == (ToolCall("f", {}), ["no arguments"])
    for bad in (
        "",
        "f(x=1)",
        '{"name": "f", "arguments": {"x": 1}',
        '{"arguments": {}}',
        '{"name": 3}',
        '{"name": "f"} and more',
        "[]",
        "null",
    ):
        assert read_call(bad) == (None, []), bad


def test_arguments_that_are_no_object_stay_text_and_are_never_made_empty():
    call, did = read_call('{"name": "f", "arguments": "x=1"}')
    assert (call.args, did) == ("x=1", [])
    assert read_call('{"name": "f", "arguments": [1]}')[0].args == "[1]"


def test_the_answer_after_a_hermes_call_is_a_tools_even_without_its_tag():
    "As in the released Simia data"
    turns = [
        {"from": "human", "value": "hi"},
        {"from": "gpt", "value": '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'},
        {"from": "human", "value": "A: 3"},
        {"from": "gpt", "value": "three"},
    ]
    ms, did = from_sharegpt(turns)
    assert [m.role for m in ms] == ["user", "assistant", "tool", "assistant"] and did == [
        dict(where="turn 2", what="an answer in the turn of the human")
    ]
    turns[2]["value"] = "<tool_response>\nA: 3\n</tool_response>"
    assert from_sharegpt(turns) == (ms, [])


# ---- seeds

SEEDS = DATA / "seeds" / "tau2_sft_small.json.gz"


@needs_data
def test_every_seed_of_the_real_file_is_read_and_every_answer_in_it_is_the_environments():
    trajs, odd = read_seeds(SEEDS)
    assert (
        len(trajs) == 61
        and not odd
        and Counter(t.task.domain for t in trajs) == dict(retail=34, telecom=14, airline=13)
    )
    verify(trajs, (schema, execution, provenance))
    assert all(passes_gates(t, (schema, execution, provenance)) for t in trajs)
    assert sum(len(t.info["verify"]["feedback"]) for t in trajs) == 487
    f = filter_seeds(trajs)
    assert len(f.kept) == 60 and f.reasons() == dict(logical=1), (
        "one agent looks the same customer up three times in a row"
    )


@needs_data
def test_real_conversations_survive_the_way_through_text():
    for t in read_seeds(SEEDS)[0]:
        d = read_transcript(write_transcript(t.messages))
        assert (
            not d.why
            and not d.repairs
            and conversation_id(replace(t, messages=d.messages)) == conversation_id(t)
        )
        assert (
            execution(replace(t, messages=d.messages, info=dict(left_out="user calls"))).value == 1
        )


def test_rows_that_are_none_are_listed_with_place_and_reason(tmp_path):
    (t,) = scripted_seeds(("mock",), 1)
    good = json.dumps(to_dict(t))
    (tmp_path / "a.jsonl").write_text(
        "\n".join(
            [
                good,
                "",
                good[:50],
                "[1]",
                '{"messages": 3}',
                '{"messages": [{"role": "user", "content": "hi"}]}',
                good,
            ]
        )
    )
    trajs, odd = read_seeds(tmp_path / "a.jsonl")
    assert [conversation_id(x) for x in trajs] == [conversation_id(t)] * 2
    assert [o["where"] for o in odd] == [f"a.jsonl line {k}" for k in (3, 4, 5, 6)]
    assert [o["why"].split(":")[0] for o in odd] == [
        "torn",
        "not a JSON object",
        "neither `messages` nor `conversations` is a list",
        "no τ² domain has these tools or this policy; name it",
    ]
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(b"[]" * 500)[:-20])
    with pytest.raises(ValueError, match="not a whole gzip file"):
        read_seeds(tmp_path / "b.json.gz")
    (tmp_path / "c.json").write_text('{"x": [1]}')
    with pytest.raises(ValueError, match="no conversation in it; c.json x 0: not a JSON object"):
        read_seeds(tmp_path / "c.json")


def test_apigen_mt_rows_are_read_without_the_tool_that_thinks():
    from synthlab.generate.seeds import read_conversation_row

    def call(name, **a):
        return {"from": "function_call", "value": json.dumps(dict(name=name, arguments=a))}

    row = dict(
        system="Be kind.",
        tools=json.dumps(
            [t["function"] for t in tools("retail")] + [dict(name="think", parameters={})]
        ),
        conversations=[
            {"from": "human", "value": "My order?"},
            call("think", thought="hm"),
            {"from": "observation", "value": ""},
            call("get_order_details", order_id="#W1"),
            {"from": "observation", "value": "Error: Order not found"},
            {"from": "gpt", "value": "There is none."},
        ],
    )
    t = read_conversation_row(row)
    assert (
        [m.role for m in t.messages] == ["user", "assistant", "tool", "assistant"]
        and t.task.domain == "retail"
        and t.messages[2].error
    )
    assert (
        t.info["repairs"] == [dict(where="turn 1", what="a call of `think` left out")]
        and execution(t).value == 1
    )


# ---- corruption


def corrupted_writes(trajs, rng):
    "For each accepted write: the trajectory with a wrong answer to it"
    for t in trajs:
        place = {id(m): i for i, m in enumerate(t.messages)}
        for s in replay(t).writes:
            i = place[id(s.said)]
            wrong = replace(s.said, content=misreport_answer(s.said.content, rng))
            yield (
                s,
                wrong,
                replace(
                    t,
                    messages=[*t.messages[:i], wrong, *t.messages[i + 1 :]],
                    info=dict(t.info),
                    scores={},
                ),
            )


@pytest.mark.parametrize("source", ["ours", pytest.param("seeds", marks=needs_data)])
def test_every_wrong_answer_to_a_write_is_caught(source):
    trajs = read_seeds(SEEDS)[0] if source == "seeds" else scripted_seeds(each=8, seed=9)
    some = [
        (s, wrong, execution(t).value) for s, wrong, t in corrupted_writes(trajs, random.Random(0))
    ]
    away = [(s.call, s.said.content, wrong.content) for s, wrong, caught in some if caught]
    assert len(some) > 40 and not away


def told(t, teacher):
    return teacher.dialogue(t.task.domain, t.info["asked_writes"], t.seed)[1]


@pytest.fixture(scope="module")
def faulty():
    return ScriptedTeacher(observation=0.05, invented=0.04, skipped=0.1, garbled=0.02, fenced=0.3)


@pytest.fixture(scope="module")
def funnel(faulty):
    return generate(48, teacher=faulty, seed=2)


def test_nothing_that_was_misreported_invented_or_garbled_is_kept(funnel, faulty):
    assert not [f for t in funnel.kept for f in told(t, faulty) if f["fault"] != "skipped"]
    why = Counter(
        (f["fault"], t.info["rejected"].split(":")[0])
        for t in funnel.rejected
        for f in told(t, faulty)[:1]
    )
    assert {r for f, r in why if f == "garbled"} == {"not read"} and {
        r for f, r in why if f in ("observation", "invented")
    } <= {"execution", "not read"}
    assert len(why) > 4


def test_what_was_told_truly_is_kept_unless_the_benchmark_has_it(funnel, faulty):
    true = [t for t in funnel.rejected if not told(t, faulty)]
    assert {t.info["rejected"].split(":")[0] for t in true} <= {"novel"}


def test_a_skipped_write_is_the_ambiguous_case_and_it_is_known_how_ambiguous():
    """Consistent with the environment: only words tell, and the rule for words sees it where nothing
    at all was done
    """
    liar = ScriptedTeacher(skipped=1.0)
    f = generate(24, ("retail", "airline"), teacher=liar, seed=1, tries=1, writes=(1,))
    fates = Counter(
        t.info.get("rejected", "kept").split(":")[0]
        for t in f.kept + f.rejected
        if t.source == "simia" and told(t, liar)
    )
    assert set(fates) <= {"promised", "execution", "kept"} and fates["promised"] > 0.8 * sum(
        fates.values()
    ), fates


def test_fidelity_is_exactly_what_was_corrupted():
    liar = ScriptedTeacher(observation=0.1)
    f = generate(40, ("airline", "retail"), teacher=liar, seed=3, tries=1)
    seen = [t for t in f.kept + f.rejected if t.source == "simia"]
    assert len(seen) == 40 and all(
        len(t.info["verify"]["feedback"]) - sum(t.info["verify"]["feedback"]) == len(told(t, liar))
        for t in seen
    )
    rows = fidelity_rows(seen)
    for domain in ("all", "airline", "retail"):
        mine = [t for t in seen if domain in ("all", t.task.domain)]
        at = {(r["writes"], r["measure"]): r for r in rows if r["domain"] == domain}
        for k in {min(t.info["verify"]["writes"], 4) for t in mine}:
            group = [t for t in mine if min(t.info["verify"]["writes"], 4) == k]
            whole = [not told(t, liar) for t in group]
            assert at[k, "whole"]["n"] == len(group) and at[k, "whole"]["value"] == sum(
                whole
            ) / len(whole)
            assert at[k, "whole"]["lo"] <= at[k, "whole"]["value"] <= at[k, "whole"]["hi"]
            wrong = [not any(f["write"] for f in told(t, liar)) for t in group]
            if k:
                assert at[k, "state"]["value"] == sum(wrong) / len(wrong)


# ---- generation


def benchmark_reward(t):
    "By the benchmark's own evaluator"
    from loguru import logger

    logger.disable("tau2")
    from tau2.data_model.simulation import SimulationRun
    from tau2.data_model.tasks import Task as TheirTask
    from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation

    from synthlab.tau2.results import simulation_json

    sim = SimulationRun.model_validate(simulation_json(0, t, 0) | dict(reward_info=None))
    return evaluate_simulation(
        sim, TheirTask.model_validate(to_tau2(t.task)), EvaluationType.ALL, False, t.task.domain
    ).reward


@pytest.mark.parametrize("mode", ["simulated", "grounded"])
def test_what_is_kept_is_regraded_to_one_by_the_benchmark(mode):
    f = generate(16, mode=mode, seed=4)
    assert (
        len(f.kept) >= 16
        and {t.task.domain for t in f.kept} == set(SITES)
        and all(passes_gates(t, SIMULATION_GATES) for t in f.kept)
    )
    sample = [t for d in SITES for t in f.kept if t.task.domain == d][::2]
    assert [benchmark_reward(t) for t in sample] == [1.0] * len(sample)
    assert (
        len({t.task.id for t in f.kept}) == len({conversation_id(t) for t in f.kept}) == len(f.kept)
    )


def test_telecom_under_its_other_policy():
    f = generate(2, ("telecom-workflow",), seed=1)
    assert len(f.kept) >= 2 and {t.task.domain for t in f.kept} == {"telecom-workflow"}


def test_grounded_mode_leaves_nothing_to_misreport():
    both = [
        generate(12, teacher=ScriptedTeacher(observation=0.3), mode=m, seed=6, tries=1)
        for m in ("simulated", "grounded")
    ]
    assert [f.stages["execution"][1] == f.stages["execution"][0] for f in both] == [False, True]
    plain = generate(12, seed=6, tries=1)
    assert {conversation_id(t) for t in both[1].kept} == {conversation_id(t) for t in plain.kept}


def test_a_task_of_the_benchmark_is_not_kept():
    ts = [
        t
        for d in ("airline", "retail")
        for t in rollout([t for t in tasks(d) if t.gold][:6], OracleAgent(), ScriptedUser())
        if replay(t).env.touched
    ]
    assert len(ts) > 3
    for t in ts:
        bare = replace(t, task=Task("", t.task.domain), info={})
        assert novel(replace(bare, task=infer_task(bare))).value == 0


def test_a_teacher_that_repeats_its_example_teaches_nothing():
    def parrot(chat, **_):
        return chat[0].content.split("for its form only:\n\n")[1].split("\n\n# How to write")[0]

    f = generate(3, ("retail",), teacher=ScriptedLLM(parrot, "parrot"), tries=1)
    assert not f.kept and f.reasons() == dict(copy=3) and f.stages["distinct"] == (3, 0)


def test_judges_come_last_and_are_paid_for():
    def judge(chat, schema=None, **_):
        return json.dumps(
            {k: "refund" not in chat[-1].content for k in schema["required"] if k != "comment"}
            | dict(comment="no refunds")
        )

    with_one = generate(6, ("retail",), judges=(ScriptedLLM(judge, "judge"),), seed=1, tries=2)
    without = generate(6, ("retail",), seed=1, tries=2)
    assert list(with_one.stages)[-1] == "panel" and with_one.usage.inp > without.usage.inp
    assert all(t.scores["panel"].value == 1 for t in with_one.kept)


@pytest.mark.parametrize(
    "bad, message",
    [
        (dict(domains=("bank",)), "no τ² domain 'bank'"),
        (dict(mode="dreamt"), "mode is 'simulated' or 'grounded', not 'dreamt'"),
        (dict(n=0), "at least one conversation"),
        (dict(writes=(-1,)), "whole numbers from 0"),
        (dict(seeds=[], domains=("mock",)), "none of 0 seeds is fit"),
        (dict(domains=()), "at least one conversation"),
    ],
)
def test_bad_arguments_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        generate(**dict(n=1) | bad)


def test_the_example_is_dealt_without_replacement_and_the_prompt_has_all_schemas():
    seeds = scripted_seeds(("retail",), 5)
    deck = ExampleSampler(seeds, 3)
    cards = [conversation_id(deck.deal("retail", i)) for i in range(20)]
    assert (
        all(len(set(cards[i : i + 5])) == 5 for i in range(0, 20, 5))
        and len({tuple(cards[i : i + 5]) for i in range(0, 20, 5)}) > 1
    )
    text = simulator_prompt(DialogueSpec("telecom", 1, example=seeds[0]))
    assert all(
        json.dumps(t["function"], ensure_ascii=False) in text
        for by in ("assistant", "user")
        for t in tools("telecom", by)
    )
    assert (
        sample_blueprint("retail", 2, 5).id
        == sample_blueprint("retail", 2, 5).id
        != sample_blueprint("retail", 2, 6).id
    )


# ---- resume


def test_a_second_run_asks_nothing_and_gives_the_same(tmp_path):
    asked = Counter()
    teacher = ScriptedTeacher(observation=0.05, garbled=0.02)

    def counting(chat, seed, **_):
        asked[seed, len(chat)] += 1
        return teacher([chat], seed=seed)[0][0]

    llm = ScriptedLLM(counting, "counting")
    for mode in ("simulated", "grounded"):
        first, again = (
            generate(6, ("mock", "retail"), teacher=llm, mode=mode, resume=tmp_path / mode)
            for _ in range(2)
        )
        assert (
            to_dict([first.kept, first.rejected, first.usage])
            == to_dict([again.kept, again.rejected, again.usage])
            and first.stages == again.stages
        )
    assert (
        set(asked.values()) == {1}
        or max(asked.values()) == 2
        and all(k[1] == 1 for k, v in asked.items() if v == 2)
    ), "the two modes have their own prompts"
    longer = generate(9, ("mock", "retail"), teacher=llm, resume=tmp_path / "simulated")
    assert {
        t.task.id
        for t in generate(6, ("mock", "retail"), teacher=llm, resume=tmp_path / "simulated").kept
    } <= {t.task.id for t in longer.kept}


_run = """
import sys, time
from synthlab.models.llm import ScriptedLLM
from synthlab.generate.simia import generate
from synthlab.generate.scripted_teacher import ScriptedTeacher
from synthlab.core.types import write_jsonl
teacher = ScriptedTeacher(observation=.05)
def slow(chat, seed, **_):
    with open(sys.argv[1]+'/asked', 'a') as f: f.write(f'{seed}/{len(chat)}\\n')
    time.sleep(float(sys.argv[2]))
    return teacher([chat], seed=seed)[0][0]
llm = ScriptedLLM(slow, 'slow'); llm.chunk = 3
kept = generate(8, ('retail',), teacher=llm, mode='grounded', resume=sys.argv[1]).kept
write_jsonl(kept, sys.argv[1]+'/kept.jsonl')
"""


def test_a_kill_loses_nothing_doubles_nothing_and_pays_at_most_the_open_chunk_again(tmp_path):
    def start(pause):
        return subprocess.Popen([sys.executable, "-c", _run, str(tmp_path), str(pause)], cwd=ROOT)

    p, asked = start(0.05), tmp_path / "asked"
    until = time.time() + 90
    while (
        time.time() < until
        and p.poll() is None
        and (not asked.exists() or len(asked.read_text().splitlines()) < 20)
    ):
        time.sleep(0.02)
    os.kill(p.pid, signal.SIGKILL)
    p.wait()
    before = asked.read_text().split()
    assert len(before) >= 20 and not (tmp_path / "kept.jsonl").exists()
    assert start(0).wait() == 0
    every = Counter(asked.read_text().split())
    assert sum(v - 1 for v in every.values()) <= 3, (
        "only what was under way when it was killed is asked again"
    )
    kept = [json.loads(l) for l in (tmp_path / "kept.jsonl").read_text().splitlines()]
    plain = generate(8, ("retail",), teacher=ScriptedTeacher(observation=0.05), mode="grounded")
    assert [k["task"]["id"] for k in kept] == [t.task.id for t in plain.kept] and len(
        {k["task"]["id"] for k in kept}
    ) == len(kept)


# ---- a model


@needs_smollm2
def test_the_embedded_model_goes_through_both_modes(hf):
    "It is far too weak for the form: what it wrote is kept with the reason"
    f = generate(
        1,
        ("mock",),
        teacher=hf,
        mode="grounded",
        tries=1,
        maxtok=16,
        writes=(1,),
        records=False,
        rounds=2,
    )
    assert (
        f.stages["written"] == (1, 1)
        and len(f.kept) + len(f.rejected) == 1
        and f.usage.inp > 500
        and 0 < f.usage.out <= 32
    )
    (t,) = f.kept + f.rejected
    assert (
        t.model == hf.name
        and t.info["rejected"].startswith(("not read", "cut off"))
        and t.info["raw"]
    )
