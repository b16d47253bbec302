"""Generated conversations are what they say: the benchmark grades them 1, no rule is broken,
nothing of the test is in them.
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
from conftest import ROOT

from synthlab.core.types import Message, Task, ToolCall, Trajectory, from_dict, read_jsonl, to_dict
from synthlab.generate.apigen_mt import (
    CONVERSATION_GATES,
    end,
    generate,
    review_blueprints,
    roll_out_blueprints,
)
from synthlab.generate.blueprints import (
    REFUSAL_REASONS,
    Blueprint,
    benchmark_index,
    benchmark_leak,
    propose,
)
from synthlab.generate.committee import BlueprintAuthor
from synthlab.generate.sampler import write_tools
from synthlab.models.chat import Reply
from synthlab.models.llm import ScriptedLLM
from synthlab.tau2.agents import BestOfNUser, LLMAgent, LLMUser
from synthlab.tau2.env import Env, to_tau2
from synthlab.tau2.replay import replay, run_actions, tool_kind
from synthlab.verify.gates import broken_rules, passes_gates

SITES = ("mock", "airline", "retail", "telecom")


@pytest.fixture(scope="module")
def funnel():
    return generate(480, shares=dict(mock=0.1, airline=0.3, retail=0.3, telecom=0.3), seed=1)


@pytest.fixture(scope="module")
def kept(funnel):
    return funnel.kept


@pytest.fixture(scope="module")
def evaluator():
    "The benchmark's own evaluator on one of our trajectories"
    from loguru import logger

    logger.disable("tau2")
    from tau2.data_model.simulation import SimulationRun
    from tau2.data_model.tasks import Task as TheirTask
    from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation

    from synthlab.tau2.results import simulation_json

    def reward(t):
        sim = SimulationRun.model_validate(simulation_json(0, t, 0) | dict(reward_info=None))
        return evaluate_simulation(
            sim, TheirTask.model_validate(to_tau2(t.task)), EvaluationType.ALL, False, t.task.domain
        ).reward

    return reward


def of(kept, domain, kind=None):
    return [t for t in kept if t.task.domain == domain and kind in (None, t.info["kind"])]


@pytest.mark.slow
# ------------------------------------------------------------------------------------ what was made
def test_as_many_as_asked_and_all_different(kept):
    assert len(kept) >= 480 and len({t.info["blueprint"] for t in kept}) == len(kept)
    said = [json.dumps([[m.role, m.content, to_dict(m.calls)] for m in t.messages]) for t in kept]
    assert len(set(said)) == len(kept)
    assert {t.task.domain for t in kept} == set(SITES) and all(
        t.model == "scripted:clerk" and t.info["user"] == "scripted:user" for t in kept
    )


@pytest.mark.slow
def test_a_hundred_regraded_by_the_benchmark(kept, evaluator):
    """The evaluator takes half a second for an airline task, so its share is smaller than in the
    mixture
    """
    sample = [
        t
        for d, n in zip(SITES, (25, 20, 20, 35))
        for t in of(kept, d)[:: max(1, len(of(kept, d)) // n)][:n]
    ]
    assert len(sample) == 100 and {t.info["kind"] for t in sample} == {"do", "refuse"}
    assert [evaluator(t) for t in sample] == [1.0] * 100


def test_no_rule_is_broken_and_every_gate_passed(kept):
    assert all(passes_gates(t, CONVERSATION_GATES) for t in kept)
    assert [h for t in kept for h in broken_rules(t)] == []


@pytest.mark.parametrize("domain", SITES)
def test_every_write_tool_of_the_agent_is_reached(kept, domain):
    used = {
        c.name
        for t in of(kept, domain)
        for c in t.calls
        if tool_kind(domain, c.name, c.by) == "write" and c.by == "assistant"
    }
    assert used == set(write_tools(domain))


def test_every_write_tool_of_the_telecom_user_is_reached(kept):
    used = {c.name for t in of(kept, "telecom") for c in t.calls if c.by == "user"}
    assert set(write_tools("telecom", "user")) <= used


def test_refusals_change_nothing_though_the_environment_would_have_let_them():
    bs = [b for d in SITES for b in propose(d, 25, refuse=0.6, seed=3) if b.kind == "refuse"]
    assert {b.domain for b in bs} == set(SITES) and len(
        {r for b in bs for r in b.proof["rules"]}
    ) >= 6
    for b, t in zip(bs, roll_out_blueprints(bs).kept, strict=True):
        env = Env(b.task())
        assert not any(
            env.step(ToolCall(a["name"], a["arguments"], by=a["requestor"])).error
            for a in b.proof["forbidden"]
        )
        assert env.touched and not replay(t).writes and t.task.gold == []
        assert (
            set(b.proof["rules"]) <= set(REFUSAL_REASONS)
            and b.proof["refusal"] in t.messages[-2].content
            or t.messages[-2].content.isupper()
        )


def test_identifiers_were_seen_before_they_are_written(kept):
    """Also by this test's own count, for the longest: each id argument of a write is in an earlier
    message of the agent's side
    """
    for t in sorted(kept, key=lambda t: -len(t.messages))[:60]:
        for i, m in enumerate(t.messages):
            for c in m.calls:
                if c.by != "assistant" or tool_kind(t.task.domain, c.name) != "write":
                    continue
                before = "\n".join(
                    o.content for o in t.messages[:i] if o.role == "user" or o.by == "assistant"
                )
                ids = [
                    v
                    for k, v in c.args.items()
                    for v in (v if isinstance(v, list) else [v])
                    if k.endswith(("_id", "_ids"))
                ]
                assert all(v in before for v in ids if isinstance(v, str)), (t.task.id, c)


def test_authentication_comes_first_in_retail(kept):
    for t in of(kept, "retail"):
        assert t.calls[0].name.startswith("find_user_id")


@pytest.mark.slow
def test_nothing_of_the_benchmark_is_repeated(kept):
    """By end state against every task of the domain's file, telecom's 2,285 included, and by runs
    of eight words
    """
    for d in SITES:
        full = "full" if d == "telecom" else "base"
        states, grams = benchmark_index(d, full)
        assert len(states) > (1 if d == "mock" else 20) and grams
        for t in of(kept, d):
            b = Blueprint(t.task.id, d, t.task.goal, t.task.gold, init=t.task.init)
            assert not benchmark_leak(b, full), t.task.id


def test_tools_are_balanced(kept):
    for d in ("airline", "retail"):
        n = Counter(a for t in of(kept, d, "do") for a in t.info["asks"])
        assert min(n.values()) > max(n.values()) / 6, n


def test_records_are_plain_json_and_come_back(kept, tmp_path):
    for t in kept[::40]:
        assert to_dict(from_dict(Trajectory, json.loads(json.dumps(to_dict(t))))) == to_dict(t)


@pytest.mark.slow
# ----------------------------------------------------------------------------- same seed, same data
def test_the_seed_decides_everything():
    code = (
        "import json, sys\nfrom synthlab.generate.apigen_mt import generate\nfrom "
        "synthlab.core.types import content_key\n"
        'if __name__ == "__main__":\n    f = generate(60, chunk=15, seed=9, '
        "jobs=int(sys.argv[1]))\n    print(content_key(f.kept), len(f.kept))"
    )

    def run(jobs, salt):
        r = subprocess.run(
            [sys.executable, "-c", code, jobs],
            env=os.environ | dict(PYTHONHASHSEED=salt),
            capture_output=True,
            text=True,
            check=True,
        )
        return r.stdout.split("\n")[-2]

    assert run("1", "1") == run("2", "2")


@pytest.mark.slow
def test_kill_and_resume(tmp_path):
    """Killed at several moments, then finished: as if never interrupted, and finished chunks are
    not made again
    """
    code = (
        "import sys\nfrom synthlab.generate.apigen_mt import generate\n"
        'generate(80, ("retail", "mock"), chunk=10, seed=4, resume=sys.argv[1])'
    )
    folder = tmp_path / "chunks"
    seen = 0
    for _ in range(3):
        p = subprocess.Popen(
            [sys.executable, "-c", code, folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.time() + 90
        while time.time() < until and p.poll() is None and len(list(folder.glob("*.json"))) <= seen:
            time.sleep(0.01)
        p.send_signal(signal.SIGKILL)
        p.wait()
        seen = len(list(folder.glob("*.json")))
    before = {f: f.stat().st_mtime_ns for f in folder.glob("*.json")}
    assert 1 <= len(before) < 8
    f = generate(80, ("retail", "mock"), chunk=10, seed=4, resume=folder)
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())
    whole = generate(80, ("retail", "mock"), chunk=10, seed=4)
    assert to_dict(f.kept) == to_dict(whole.kept) and f.stages == whole.stages
    lines = [t.info["blueprint"] for p in folder.glob("*.jsonl") for t in read_jsonl(p, Trajectory)]
    assert set(lines) == {t.info["blueprint"] for t in f.kept}


def test_other_parameters_are_other_chunks(tmp_path):
    for refuse in (0.2, 0.0):
        generate(10, ("mock",), refuse=refuse, chunk=10, resume=tmp_path)
    assert len(list(tmp_path.glob("mock-0000-*.json"))) == 2


# --------------------------------------------------------------------------------------- gates bite
def spoiled(t, **kw):
    return replace(from_dict(Trajectory, to_dict(t)), **kw)


def test_the_end_state_is_compared_in_telecom(kept):
    "A trajectory that leaves out its last write, or does one more, ends elsewhere"
    t = next(t for t in of(kept, "telecom") if t.info["asks"] == ["disable_roaming"])
    assert end(t).value == 1
    cut = spoiled(
        t,
        messages=[
            m
            for m in t.messages
            if not any(c.name == "disable_roaming" for c in m.calls)
            and m.content != "Roaming disabled successfully"
        ],
    )
    assert end(cut).value == 0
    more = spoiled(t)
    more.messages += run_actions(
        Task("x", "telecom", init=t.task.init),
        [
            dict(
                name="suspend_line",
                arguments=dict(customer_id="C1002", line_id="L1005", reason="x"),
            )
        ],
    ).messages
    assert end(more).value == 0


def test_a_refusal_that_gives_in_is_rejected():
    "The forbidden call is made after all: the state differs and a rule is broken"
    b = next(
        b
        for b in propose("airline", 30, refuse=0.5, seed=5)
        if b.kind == "refuse" and b.proof["asks"] != ["send_certificate"]
    )
    weak = replace(b, plan=b.plan + b.proof["forbidden"])
    f = roll_out_blueprints([weak])
    assert not f.kept and f.rejected[0].scores["outcome"].value == 0
    assert set(b.proof["rules"]) <= {h["rule"] for h in broken_rules(f.rejected[0])}


def test_an_author_in_the_pipeline():
    "A function as the author: it writes one valid idea and one that cannot be read"

    def write(chat, seed=0, **_):
        if seed % 2:
            return "I would rather talk about the weather."
        user = json.loads(
            chat[-1].content.split('\n{"user_id"')[1].join(['{"user_id"', ""]).split("\n")[0]
        )
        a = dict(user["address"], address1=f"{100 + seed % 800} Hill Road")
        return json.dumps(
            dict(
                thought="moved",
                instruction=f"You have moved. Your address is now {', '.join(a.values())}.",
                actions=[
                    dict(name="modify_user_address", arguments=dict(user_id=user["user_id"], **a))
                ],
                outputs=[],
            )
        )

    f = generate(
        6, ("retail",), author=ScriptedLLM(write, "writes"), ideas="author", chunk=8, seed=2
    )
    assert f.kept and all(t.info["by"] == "writes" and t.reward == 1 for t in f.kept)
    made, read = f.stages["format of ideas"]
    assert 0 < read < made and f.usage.inp > 0


def told(chat):
    return chat[-1].content.split("Note: ")[1].split("\n")[0]


def test_copied_words_are_set_aside():
    from synthlab.tau2.env import tasks

    theirs = tasks("retail")[3].goal["reason_for_call"]

    def copies(chat, **_):
        return json.dumps(dict(message=f"{told(chat)} {theirs}"))

    f = generate(3, ("retail",), author=ScriptedLLM(copies, "copies"), refuse=0.0, seed=1)
    assert not f.kept and {b.info["rejected"].split(":")[0] for b in f.rejected} == {"leak"}


def test_committee_rounds():
    bs = [replace(b, info={**b.info}) for b in propose("retail", 6, refuse=0, seed=8)]
    ask = dict(correctness=True, completeness=True, satisfaction=True, creativity=True)

    def strict(chat, **_):
        return json.dumps(
            ask
            | dict.fromkeys(("satisfaction", "creativity"), "please" in chat[-1].content.lower())
            | dict(comment="be polite")
        )

    def polite(chat, **_):
        assert "be polite" in chat[-1].content
        return json.dumps(dict(message=f"Please help. {told(chat)}"))

    f = review_blueprints(
        bs, [ScriptedLLM(strict, "s")] * 2, BlueprintAuthor(ScriptedLLM(polite, "p")), rounds=3
    )
    assert len(f.kept) == 6 and f.stages["round 1"][1] < 6 and f.usage.inp
    g = review_blueprints(bs, [ScriptedLLM(lambda chat, **_: "hm", "mute")])
    assert not g.kept and all(b.info["rejected"].startswith("committee") for b in g.rejected)


def test_models_that_fail_are_rejected_with_a_reason():
    bs = propose("mock", 3, refuse=0, seed=1)
    f = roll_out_blueprints(
        bs,
        LLMAgent(ScriptedLLM(lambda chat, **_: "I cannot help.", "useless")),
        LLMUser(ScriptedLLM(lambda chat, **_: "Hello. ###STOP###", "curt")),
        attempts=2,
    )
    assert (
        not f.kept
        and len(f.rejected) == 3
        and all(t.info["rejected"] and t.info["attempt"] == 2 for t in f.rejected)
    )
    assert f.stages["conversation"] == (3, 0) and f.stages["outcome"][0] <= 6


def test_a_second_attempt_counts():
    "An agent that is right every other time: the union of unique successes, one for a blueprint"
    bs = propose("mock", 4, (1,), 0.0, seed=2)
    gold = {b.id: b.actions for b in bs}

    class Moody(LLMAgent):
        def __call__(self, eps):
            def turn(e):
                said = [m for m in e.messages if m.role == "assistant" and m.content][1:]
                if e.seed % 2 or not said:
                    return Message(
                        "assistant", "Shall I add what you asked for?" if not said else "I cannot."
                    )
                n = sum(len(m.calls) for m in e.messages)
                acts = gold[e.task.id]
                return (
                    Message("assistant", calls=[ToolCall(acts[n]["name"], acts[n]["arguments"])])
                    if n < len(acts)
                    else Message("assistant", "Done.")
                )

            return [turn(e) for e in eps]

    from synthlab.tau2.agents import ScriptedUser

    f = roll_out_blueprints(
        bs,
        Moody(ScriptedLLM(lambda chat, **_: "", "moody")),
        ScriptedUser(),
        attempts=6,
        gates=CONVERSATION_GATES[:3],
    )
    assert len(f.kept) == 4 and len({t.info["blueprint"] for t in f.kept}) == 4 and not f.rejected
    assert {t.info["attempt"] for t in f.kept} != {1}


def test_best_of_n_survives_what_a_model_may_say():
    from synthlab.tau2.rollout import Episode

    ep = Episode(Task("t", "mock", "You want a task."), messages=[Message("assistant", "Hi!")])

    def user(pick):
        return lambda chat, seed=0, schema=None, **_: (
            pick if schema else Reply(error="down") if seed % 3 == 0 else f"say {seed}"
        )

    for pick in ('{"best": 99}', '{"best": "x"}', "no", '{"best": 2}'):
        m = BestOfNUser(ScriptedLLM(user(pick), "u"), n=4)([ep])[0]
        assert isinstance(m, Message) and m.content.startswith("say ")
    assert isinstance(
        BestOfNUser(ScriptedLLM(lambda chat, **_: Reply(error="down"), "u"))([ep])[0], RuntimeError
    )


@pytest.mark.parametrize(
    "kw, text",
    [
        (dict(domains=("bank",)), "no τ² domain 'bank'"),
        (dict(ideas="author"), "needs an author"),
        (dict(ideas="muse"), "not 'muse'"),
        (dict(author=ScriptedLLM(lambda c, **_: "", "a"), jobs=2), "jobs=1"),
    ],
)
def test_user_errors_are_one_line(kw, text):
    with pytest.raises(ValueError) as e:
        generate(3, **kw)
    assert text in str(e.value) and "\n" not in str(e.value)


@pytest.mark.nightly
@pytest.mark.slow
def test_bench_says_a_ratio(tmp_path):
    r = subprocess.run(
        [
            sys.executable,
            ROOT / "bench" / "generate_verified.py",
            "--quick",
            "--json",
            tmp_path / "o.json",
        ],
        capture_output=True,
        text=True,
    )
    assert r.returncode == 0 and "Not measured" in r.stdout, r.stderr[-500:]
    d = json.loads((tmp_path / "o.json").read_text())
    graded, many, ratio, sampled = d["rows"]
    assert graded["ratio"] == 1 and graded["n"] == 3 and many["n"] >= 40 and many["ours"] > 0
    assert (
        ratio["ratio"] > 1
        and ratio["ratio"] == pytest.approx(ratio["peers"] / ratio["ours"])
        and sampled["ours"] > ratio["ours"]
    )
    assert all(
        x["ours_kept"] == x["ours_n"] == 10 and x["theirs_kept"] == x["theirs_n"] == 2
        for x in d["detail"]["runs"][0]
    )


def test_twins_are_played_once():
    """A joined blueprint may equal a sampled one: each conversation still belongs to its own
    blueprint
    """
    bs = propose("telecom", 12, seed=3)
    f = roll_out_blueprints(bs + bs[::-1])
    assert (
        sorted(t.info["blueprint"] for t in f.kept) == sorted(b.id for b in bs) and not f.rejected
    )
    asks = {b.id: b.proof["asks"] for b in bs}
    assert all(t.info["asks"] == asks[t.task.id] for t in f.kept)


def test_a_domain_that_runs_dry_is_made_up_for():
    "Mock has a handful of tasks that must be refused; retail gives the rest"
    from synthlab.generate.apigen_mt import next_wave_sizes

    assert next_wave_sizes(
        dict(a=50, b=50), dict(a=[20, 1], b=[40]), dict(a=[50, 30], b=[50]), 100
    ) == dict(b=[39])
    assert next_wave_sizes(dict(a=50), dict(a=[20, 1]), dict(a=[50, 30]), 100) == {}
