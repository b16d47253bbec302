"""The one call behind study 01: four methods, roles by name, a journal that is paid once, and the
numbers of what was made.
"""

import json
import math

import pytest

from synthlab.core.types import Message, Task, ToolCall, Trajectory, Usage, read_jsonl
from synthlab.generate.apigen_mt import generate
from synthlab.generate.pipeline import (
    GENERATORS,
    RoleAssignment,
    corpus_distinct_n,
    count_histogram,
    count_writes,
    diverse_sample,
    diversity_rows,
    funnel_rows,
    generation_flops,
    is_script,
    parse_model_size,
    published_yields,
    rejection_rows,
    role_costs,
    run_generator,
    self_similarity,
    shape_rows,
    tool_coverage,
    yield_shares,
)
from synthlab.verify.gates import Funnel


@pytest.fixture(scope="module")
def funnel():
    return generate(120, seed=4)


def wording(chat, **_):
    "A teacher that keeps every fact"
    note = chat[-1].content.split("Note: ")[1].split("\n")[0]
    return json.dumps(dict(message=f"Please help me. {note}"))


@pytest.fixture
def teacher(monkeypatch):
    "The scripted model `scripted:wording`, counting what it is asked"
    from synthlab.models import llm

    asked = []
    monkeypatch.setitem(
        llm.SCRIPTED_LLMS, "wording", lambda chat, **kw: asked.append(1) or wording(chat, **kw)
    )
    return asked


# ----------------------------------------------------------------------------------------- one call


def test_the_same_shape_for_all(tmp_path):
    with RoleAssignment(tmp_path) as cast:
        for m in set(GENERATORS) - {"toucan"}:
            f = run_generator(m, cast, ["mock"], 4, seed=2)
            assert (
                isinstance(f, Funnel)
                and len(f.kept) >= 4
                and all(isinstance(t, Trajectory) for t in f.kept)
            ), m
            assert [r["stage"] for r in f.rows()] == list(f.stages) and not cast.used()
    assert not list(tmp_path.iterdir())  # no journal where no model is asked


def test_a_model_s_answers_are_paid_once(tmp_path, teacher):
    def run():
        with RoleAssignment(tmp_path, teacher="scripted:wording") as cast:
            f = run_generator("apigen_mt", cast, ["mock", "retail"], 8, seed=3, jobs=2)
            return [t.messages[1].content for t in f.kept], cast.used()

    words, used = run()
    first = len(teacher)
    again, used_again = run()
    assert first and len(teacher) == first and again == words and used_again == used
    assert (
        all(w.startswith("Please help me.") for w in words)
        and used[0]["role"] == "teacher"
        and used[0]["usage"].inp > 0
    )


def test_models_in_each_role_of_a_conversation(tmp_path):
    """A model that knows no task gets nothing through, and that is a rejection with a reason, not
    an error
    """
    with RoleAssignment(tmp_path, agent="scripted:echo", user="scripted") as cast:
        f = run_generator("apigen_mt", cast, ["mock"], 3, seed=1)
        assert not f.kept and f.rejected and cast.used()[0]["asked"] > 0
        assert all(t.info["rejected"] for t in f.rejected)


def test_one_model_in_two_roles_is_made_once(tmp_path):
    with RoleAssignment(
        tmp_path, ["scripted:fill", "scripted:fill"], teacher="scripted:fill"
    ) as cast:
        assert cast.llm("teacher").llm.llm is cast.judges[0].llm.llm is cast.judges[1].llm.llm
        assert [u["role"] for u in cast.used()] == ["teacher", "judge", "judge"]


@pytest.mark.parametrize(
    "method, domains, text",
    [
        ("evol", ["mock"], "no method 'evol'"),
        ("simia", ["bank"], "no τ² domain 'bank'"),
        ("apigen_mt", [], "no τ² domain"),
    ],
)
def test_user_errors(method, domains, text):
    with RoleAssignment(".") as cast, pytest.raises(ValueError, match=text) as e:
        run_generator(method, cast, domains, 1)
    with RoleAssignment(".") as cast, pytest.raises(ValueError, match="no option 'rite'"):
        run_generator("simia", cast, ["mock"], 1, rite=[1])
    assert "\n" not in str(e.value)


def test_words_for_roles():
    assert (
        is_script("scripted")
        and is_script("scripted:oracle")
        and is_script("")
        and not is_script("hf:smollm2")
    )
    for kw, text in (
        (dict(teacher="gpt"), "names no model"),
        (dict(judges=["scripted"]), "a judge is a model"),
    ):
        with pytest.raises(ValueError, match=text):
            RoleAssignment(".", **kw)


# -------------------------------------------------------------------------------------- the numbers


def test_yields_of_each_generator(funnel, tmp_path):
    a = {r["stage"]: r for r in yield_shares(funnel)}
    assert (
        a["conversation"]["n_in"] == funnel.stages["conversation"][0]
        and a["blueprints"]["n_in"] == funnel.stages["runs"][0]
    )
    assert [p["value"] for p in published_yields(list(a.values()))] == [0.70, 0.28, 0.67]
    with RoleAssignment(tmp_path) as cast:
        (s,) = yield_shares(run_generator("simia", cast, ["mock"], 4, seed=2))
    assert s["stage"] == "conversation" and s["n_in"] >= s["n_out"] >= 4
    assert yield_shares(Funnel()) == [] and published_yields([]) == []


def test_funnel_rows_add_up(funnel):
    rows = funnel_rows(funnel)
    for k, (a, b) in funnel.stages.items():
        passed, stopped = (r["value"] for r in rows if r["stage"] == k)
        assert passed == b and stopped == max(0, a - b)


def test_writes_are_those_of_the_replay(funnel):
    for t in funnel.kept:
        bare = Trajectory(t.task, t.messages)
        assert count_writes(bare) == count_writes(t) == t.info["verify"]["writes"]
    assert count_writes(Trajectory(Task("1", "elsewhere"))) is None


def test_coverage_by_hand(funnel):
    rows = {
        (r["domain"], r["by"], r["kind"]): r for r in tool_coverage(funnel.kept, ["retail", "mock"])
    }
    used = {c.name for t in funnel.kept if t.task.domain == "retail" for c in t.calls}
    r = rows["retail", "assistant", "all tools"]
    assert (
        r["value"] == pytest.approx(len(used) / 15)
        and not used & set(r["unused"].split())
        and r["n"] == 15
    )
    assert list(rows)[0][0] == "retail" and not any(
        k[1] == "user" for k in rows if k[0] == "retail"
    )
    assert not [r for r in tool_coverage(funnel.kept, users=False) if r["by"] == "user"]
    none = tool_coverage([], ["mock"])
    assert [r["value"] for r in none] == [0.0, 0.0]


def test_tools_of_unknown_servers_are_those_offered():
    def tool(n):
        return dict(
            type="function", function=dict(name=n, parameters=dict(type="object", properties={}))
        )

    t = Trajectory(
        Task("1"), [Message("assistant", calls=[ToolCall("now")])], [tool("now"), tool("later")]
    )
    idle = Trajectory(Task("2"), [Message("assistant", "No.")], [tool("fly")])
    (r,) = tool_coverage([t, idle])
    assert (r["domain"], r["value"], r["unused"]) == ("several", 0.5, "later")


def test_distinct_by_hand():
    e = corpus_distinct_n(["a b a b"] * 10, 1, budget=8)
    assert e.value == e.lo == e.hi == 2 / 8 and e.n == 10
    assert corpus_distinct_n(["one two three four"], 2, budget=4).value == 1 and math.isnan(
        corpus_distinct_n(["a b"], budget=3).value
    )
    long, short = [f"{i} x" for i in range(500)], [f"{i} x" for i in range(100)]
    assert corpus_distinct_n(long, 1, budget=100).value == pytest.approx(
        corpus_distinct_n(short, 1, budget=100).value, abs=0.01
    )  # sizes do not matter


def test_similarity_by_hand():
    assert self_similarity(["a b c", "a b c", "x y z"]).value == pytest.approx(2 / 3, abs=0.02)
    assert math.isnan(self_similarity(["alone"]).value)


def test_variety_has_both_sides(funnel):
    rows = diversity_rows(funnel.kept)
    assert {(r["by"], r["measure"]) for r in rows} == {
        (b, m) for b in ("user", "agent") for m in ("distinct-1", "distinct-2", "self similarity")
    }
    assert all(r["lo"] <= r["value"] <= r["hi"] for r in rows)
    assert [r["value"] for r in diversity_rows([])] != [] and all(
        math.isnan(r["value"]) for r in diversity_rows([])
    )


@pytest.mark.parametrize(
    "name, n",
    [
        ("SmolLM2-135M-Instruct", 135e6),
        ("Qwen2.5-7B-Instruct", 7e9),
        ("llama-3.2-1b", 1e9),
        ("phi-3.8B", 3.8e9),
        ("gpt-4.1", None),
        ("o4-mini", None),
        ("claude", None),
        ("bge-m3", None),
    ],
)
def test_weights_by_name(name, n):
    assert parse_model_size(name) == n


def test_costs_are_unknown_rather_than_guessed():
    u = Usage(1000, 100, 200)
    assert generation_flops(u, "X-1B") == 2e9 * 900 and generation_flops(u, "gpt-4.1") is None
    (a,) = role_costs([dict(role="teacher", model="no-such-model", asked=1, usage=u)], 0)
    assert (
        a["usd"] is None
        and a["flops"] is None
        and a["tokens_per_kept"] is None
        and a["tokens_in"] == 1000
    )
    (b,) = role_costs([dict(role="teacher", model="X-1B", asked=1, usage=u)], 2)
    assert b["flops_per_kept"] == 2e9 * 900 / 2 and b["tokens_per_kept"] == 550
    (c,) = role_costs([], 5)
    assert (c["model"], c["usd"], c["flops"], c["tokens_per_kept"]) == ("scripted", 0, 0, 0)


def test_shapes_counts_and_reasons(funnel):
    rows = shape_rows(funnel.kept)
    assert sum(r["value"] for r in count_histogram(rows, "writes", 2)) == len(rows) and {
        r["writes"] for r in count_histogram(rows, "writes", 2)
    } == {"0", "1", "2 or more"}
    bad = [
        Trajectory(Task(str(i)), info=dict(rejected=f"{'abcdefghijklm'[i]}: x")) for i in range(13)
    ]
    rows = rejection_rows(Funnel([], bad), 10)
    assert len(rows) == 11 and rows[-1] == dict(reason="other reasons", value=3, n=13)


def test_samples_differ(funnel):
    some = diverse_sample(funnel.kept, 4, 1)
    assert (
        some == diverse_sample(funnel.kept, 4, 1)
        and len({(t.task.domain, t.info["kind"]) for t in some}) == 4
    )
    assert diverse_sample([], 3) == [] and len(diverse_sample(funnel.kept, 10**6)) == len(
        funnel.kept
    )


# --------------------------------------------------------------------------------------- from a run


@pytest.mark.slow
def test_a_run_is_exported_by_the_command(tmp_path, monkeypatch, capsys):
    from synthlab.cli.main import main
    from synthlab.runs.run import run_study

    monkeypatch.setenv("SYNTHLAB_OUTPUTS", str(tmp_path / "outputs"))
    folder = run_study("01_generate", dict(domains="mock", n=6, gallery=1))
    kept = list(read_jsonl(folder / "trajectories.jsonl", Trajectory))
    assert (
        main(["export", str(folder), "--to", "hermes", "--out", str(tmp_path / "h"), "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["rows"] == {"train.jsonl": len(kept)}
    card = (tmp_path / "h" / "README.md").read_text()
    assert (
        "01_generate" in card
        and "APIGen-MT: simulated conversations kept | 0.67" in card
        and "`6`" in card
    )
    assert main(["export", str(folder), "--to", "alpaca", "--out", str(tmp_path / "x")]) == 2
    assert "there are llamafactory" in capsys.readouterr().err
