"""Simulated conversations: every form is read or refused with a reason, every lie about the state
is caught, nothing is paid twice
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest
from conftest import ROOT, needs_smollm2

from synthlab.core.types import Task, to_dict
from synthlab.generate.scripted_teacher import ScriptedTeacher, sample_blueprint
from synthlab.generate.seeds import scripted_seeds
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
)
from synthlab.models.llm import ScriptedLLM
from synthlab.tau2.agents import OracleAgent, ScriptedUser
from synthlab.tau2.env import tasks, to_tau2, tools
from synthlab.tau2.replay import replay
from synthlab.tau2.rollout import rollout
from synthlab.verify.gates import passes_gates

SITES = ("mock", "airline", "retail", "telecom")


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
    """Consistent with the environment: only words tell, and the rule for words sees it where
    nothing at all was done
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
