"""The gates: true transcripts pass, corrupted ones are caught, a model never decides what the state
is.
"""

import copy
import gzip
import json
import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from conftest import DATA, RUNS, needs_data

from synthlab.core.types import (
    Message,
    Score,
    Task,
    ToolCall,
    Trajectory,
    Usage,
    read_jsonl,
    to_dict,
    write_jsonl,
)
from synthlab.models.chat import from_openai
from synthlab.tau2.agents import OracleAgent, ScriptedUser
from synthlab.tau2.env import Env, tasks, tools
from synthlab.tau2.replay import (
    argument_validators,
    match_call_results,
    replay,
    run_actions,
    schema_error,
    strict_schema,
    tool_kind,
)
from synthlab.tau2.rollout import rollout
from synthlab.verify.gates import (
    GATES,
    RULES,
    Funnel,
    broken_rules,
    execution,
    filter_by_gates,
    gate_name,
    gold_violations,
    heuristics,
    outcome,
    passes_gates,
    policy,
    policy_rule_rows,
    provenance,
    replay_fidelity,
    schema,
    verify,
    violation_rates,
)
from synthlab.verify.judges import JudgePanel
from tests.verify.airline_cases import (
    bags,
    cancel,
    plain,
)
from tests.verify.common import (
    Judge,
    Q,
    act,
    cancels,
    play,
    say,
    swap_message,
)

DOMAIN_OF = dict(book_reservation="airline", get_order_details="retail", refuel_data="telecom")


def seeds():
    "The seed file as trajectories: chat messages, tools, and the task each was rolled out on"
    known = {d: {t.id: t for t in tasks(d)} for d in DOMAIN_OF.values()}
    d = json.loads(gzip.decompress((DATA / "seeds" / "tau2_sft_small.json.gz").read_bytes()))
    for r in (r for rows in d["splits"].values() for r in rows):
        domain = next(
            v for k, v in DOMAIN_OF.items() if k in {t["function"]["name"] for t in r["tools"]}
        )
        yield Trajectory(
            known[domain][r["task_id"]],
            from_openai(r["messages"]),
            r["tools"],
            stop="user_stop",
            source="seed",
            info=dict(left_out="user calls"),
        )


@pytest.fixture(scope="module")
def oracle():
    return rollout(
        [t for d in ("mock", "airline", "retail", "telecom") for t in tasks(d)][::3],
        OracleAgent(),
        ScriptedUser(),
    )


# the seeds
# -------------------------------------------------------------------------------------------------


@needs_data
def test_every_answer_in_the_seed_file_is_the_environments():
    trajs = verify(list(seeds()))
    assert len(trajs) == 61 and all(passes_gates(t, (schema, execution, provenance)) for t in trajs)
    feedback = [x for t in trajs for x in t.info["verify"]["feedback"]]
    assert len(feedback) == 487 and all(feedback)
    inferred = [x["call"] for t in trajs for x in t.info["verify"]["inferred"]]
    assert inferred == ["make_payment"] * 3, (
        "the file leaves out what users did: three bills were paid unseen"
    )
    assert all(t.scores["outcome"].value == 1 for t in trajs if t.task.domain != "telecom")
    assert all(math.isnan(t.scores["outcome"].value) for t in trajs if t.task.domain == "telecom")


# corruption
# -------------------------------------------------------------------------------------------------


def writes(t):
    """Accepted state-changing calls: their message, their place in it, and the message that answers
    them
    """
    by_call = {(s.turn, id(s.call)): s for s in replay(t).steps if s.changed}
    place = {id(m): i for i, m in enumerate(t.messages)}
    return [(s.turn, s.call, place[id(s.said)]) for s in by_call.values()]


def leaves(x, path=()):
    if isinstance(x, dict):
        return [p for k, v in x.items() for p in leaves(v, path + (k,))]
    if isinstance(x, list):
        return [p for i, v in enumerate(x) for p in leaves(v, path + (i,))]
    return [(path, x)]


def other(x):
    "A value of the same type"
    if isinstance(x, bool) or x is None:
        return not x
    return x + 1 if isinstance(x, (int, float)) else x + "x" if isinstance(x, str) else x


def parsed(s):
    try:
        return json.loads(s)
    except json.JSONDecodeError:
        return s


def field_changed(t, rng):
    "One value in the answer to a write is another"
    turn, call, at = rng.choice(writes(t))
    x = parsed(t.messages[at].content)
    path, v = rng.choice(leaves(x))
    if not path:
        x = other(v)
    else:
        o = x
        for k in path[:-1]:
            o = o[k]
        o[path[-1]] = other(v)
    return swap_message(
        t, at, replace(t.messages[at], content=x if isinstance(x, str) else json.dumps(x))
    )


def refusal_made_up(t, rng):
    "The transcript says that an accepted write was refused"
    at = rng.choice(writes(t))[2]
    return swap_message(t, at, replace(t.messages[at], content="Error: not possible", error=True))


def write_dropped(t, rng):
    "A write and its answer are gone"
    turn, call, at = rng.choice(writes(t))
    m = t.messages[turn]
    rest = [c for c in m.calls if c is not call]
    lost = {at} if rest else {at, turn}
    out = [
        replace(x, calls=rest) if i == turn else x
        for i, x in enumerate(t.messages)
        if i not in lost
    ]
    return replace(t, messages=out, info=dict(t.info), scores={})


def id_swapped(t, rng, real=False):
    "A write names another record, or one that does not exist; its answer stays"
    turn, call, _ = rng.choice(writes(t))
    ids = [(k, v) for k, v in call.args.items() if k.endswith("_id") and isinstance(v, str)]
    if not ids:
        return None
    k, v = rng.choice(ids)
    new = (
        rng.choice([x for x in records(t.task.domain, k) if x != v] or [v[:-1] + "~"])
        if real
        else v[:-1] + "~"
    )
    calls = [replace(c, args=c.args | {k: new}) if c is call else c for c in t.messages[turn].calls]
    return swap_message(t, turn, replace(t.messages[turn], calls=calls))


def other_record(t, rng):
    "A write names another record that exists"
    return id_swapped(t, rng, real=True)


def records(domain, key):
    "Ids of the records that an argument of this name may mean"
    table = key.removesuffix("_id") + "s"
    rows = getattr(Env(Task("1", domain))._env.tools.db, table, [])
    return [getattr(x, key) for x in rows] if isinstance(rows, list) else list(rows)


def tally(kind, trajs, n=120):
    "How many corruptions are caught by `execution`, by `outcome` only, change nothing, or get away"
    rng, count, away = random.Random(0), Counter(), []
    fit = [t for t in trajs if writes(t)]
    for i in range(n):
        t = fit[i % len(fit)]
        bad = kind(t, rng)
        if bad is None:
            continue
        same = all(replay(bad).env.same_state(replay(t).env))
        how = (
            "execution"
            if execution(bad).value == 0
            else "outcome"
            if outcome(bad).value == 0
            else "nothing changed"
            if same
            else "away"
        )
        count[how] += 1
        if how == "away":
            away.append((t.task.domain, t.task.id, bad))
    return count, away


ALWAYS = [field_changed, refusal_made_up, id_swapped]


@pytest.mark.parametrize("kind", ALWAYS, ids=lambda f: f.__name__)
def test_corrupted_writes_of_oracles_are_always_caught(kind, oracle):
    count, _ = tally(kind, oracle)
    assert set(count) == {"execution"} and count["execution"] >= 90


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("kind", ALWAYS, ids=lambda f: f.__name__)
def test_corrupted_writes_of_real_text_are_always_caught(kind):
    count, _ = tally(kind, list(seeds()))
    assert set(count) == {"execution"} and count["execution"] >= 100


def test_another_record_is_caught_where_answers_name_it(oracle):
    """Airline, retail and mock answer with the record, so a wrong one shows.

    Telecom says "Roaming enabled successfully" of any

    line: such a swap is ambiguous in the transcript, and left to the task's criteria
    """
    clear, _ = tally(other_record, [t for t in oracle if t.task.domain != "telecom"])
    vague, _ = tally(other_record, [t for t in oracle if t.task.domain == "telecom"])
    assert set(clear) == {"execution"} and clear["execution"] >= 90
    assert set(vague) == {"execution", "outcome"}


def test_dropped_writes_are_caught_by_the_outcome(oracle):
    """Nothing in a transcript shows a write that is not there, unless a later answer does: this one
    is for the task's criteria
    """
    count, away = tally(write_dropped, oracle)
    assert not away and count["execution"] and count["outcome"] > 80 and sum(count.values()) == 120


@needs_data
def test_dropped_writes_of_real_text():
    count, away = tally(write_dropped, [t for t in seeds() if t.task.domain != "telecom"])
    assert not away and count["outcome"] + count["execution"] >= 110


@needs_data
def test_changed_reads_are_caught_too():
    "A changed value in any answer is a difference, not only in those of writes"
    rng, n = random.Random(1), 0
    for t in seeds():
        reads = [s for s in replay(t).steps if s.kind == "read" and leaves(parsed(s.said.content))]
        if not reads:
            continue
        s = rng.choice(reads)
        at = next(i for i, m in enumerate(t.messages) if m is s.said)
        x = parsed(s.said.content)
        path, v = rng.choice(leaves(x))
        o = x
        for k in path[:-1]:
            o = o[k]
        if path:
            o[path[-1]] = other(v)
        else:
            x = other(v)
        bad = swap_message(
            t, at, replace(s.said, content=x if isinstance(x, str) else json.dumps(x))
        )
        assert execution(bad).value == 0
        n += 1
    assert n >= 55


# replay
# -------------------------------------------------------------------------------------------------


def test_gates_agree_with_the_rollout(oracle):
    "What our own environment wrote is true, well formed and graded as the benchmark grades it"
    verify(oracle)
    assert all(passes_gates(t, (schema, execution)) for t in oracle)
    # the one mock task without gold actions cannot be solved by an oracle
    assert {t.task.id for t in oracle if not passes_gates(t, (outcome,))} <= {
        "update_task_with_history_and_env_assertions",
        "create_task_1_nl_eval",
    }


def test_wording_of_json_does_not_matter():
    t = run_actions(Task("1", "airline"), [act("get_reservation_details", reservation_id="XEHM4B")])
    spaced = swap_message(
        t,
        1,
        replace(t.messages[1], content=json.dumps(json.loads(t.messages[1].content), indent=2)),
    )
    assert execution(spaced).value == 1


@pytest.mark.parametrize(
    "messages,why",
    [
        ([Message("assistant", calls=[ToolCall("get_users", {}, "1")])], "no answer"),
        ([Message("tool", "hi", call_id="9")], "an answer to no call"),
        (
            [
                Message("assistant", calls=[ToolCall("get_users", {}, "1")]),
                Message("tool", "Error: no", call_id="1"),
            ],
            "the environment",
        ),
        (
            [
                Message("assistant", calls=[ToolCall("nope", {}, "1")]),
                Message("tool", "[]", call_id="1"),
            ],
            "nope",
        ),
    ],
)
def test_broken_transcripts_are_findings(messages, why):
    s = execution(Trajectory(Task("1", "mock"), messages))
    assert s.value == 0 and why in s.why


def test_parallel_calls_are_matched_by_id_and_without_ids_by_order():
    calls = [ToolCall("a", id="1"), ToolCall("b", id="2")]
    assert [
        t.content
        for *_, t in match_call_results(
            [
                Message("assistant", calls=calls),
                Message("tool", "B", call_id="2"),
                Message("tool", "A", call_id="1"),
            ]
        )[0]
    ] == ["A", "B"]
    bare = [ToolCall("a"), ToolCall("b")]
    assert [
        t.content
        for *_, t in match_call_results(
            [Message("assistant", calls=bare), Message("tool", "A"), Message("tool", "B")]
        )[0]
    ] == ["A", "B"]


def test_replay_of_the_unreplayable_says_why():
    t = Trajectory(Task("1", "mcp"), [Message("assistant", calls=[ToolCall("x")])])
    assert all(
        math.isnan(g(t).value) and g(t).why
        for g in (schema, execution, outcome, policy, heuristics, provenance)
    )
    untold = run_actions(Task("1", "airline"), [])
    assert math.isnan(outcome(untold).value) and "criteria" in outcome(untold).why
    own = replace(
        t,
        tools=[
            dict(
                type="function",
                function=dict(name="x", parameters=dict(type="object", properties={})),
            )
        ],
    )
    assert schema(own).value == 1


def test_tasks_with_history_are_replayed_with_it():
    for t in tasks("mock"):
        if t.init and t.init.get("message_history"):
            (run,) = rollout([t], OracleAgent(), ScriptedUser())
            assert execution(run).value == 1 and provenance(run).value == 1


def test_replay_changes_nothing(oracle):
    before = copy.deepcopy([to_dict(t) for t in oracle[:20]])
    for t in oracle[:20]:
        replay(t)
    assert before == [to_dict(t) for t in oracle[:20]]


# schema
# -------------------------------------------------------------------------------------------------


def test_gold_actions_are_well_formed():
    bad = [
        (t.task.id, s.why)
        for d in ("mock", "airline", "retail", "telecom")
        for t in (run_actions(x, x.gold or []) for x in tasks(d))
        if (s := schema(t)).value != 1
    ]
    assert not bad


@pytest.mark.parametrize(
    "call,ok",
    [
        (ToolCall("calculate", dict(expression="1+1")), True),
        (ToolCall("calculate", dict(expression=2)), False),
        (ToolCall("calculate", dict()), False),
        (ToolCall("calculate", dict(expression="1", precision=2)), False),
        (ToolCall("calculate", '{"expression": "1"'), False),
        (ToolCall("Calculate", dict(expression="1")), False),
        (ToolCall("cancel_pending_order", dict(order_id="#W1", reason=None)), False),
        (
            ToolCall(
                "return_delivered_order_items",
                dict(order_id="#W1", item_ids="1", payment_method_id="p"),
            ),
            False,
        ),
    ],
)
def test_schema(call, ok):
    assert (schema_error(call, argument_validators(Trajectory(Task("1", "retail")))) == "") is ok


def test_strict_schemas_accept_what_the_tools_accept():
    "Arguments named like schema keywords survive; optional ones may be null"
    kinds = {n: v.schema for n, v in argument_validators(Trajectory(Task("1", "mock"))).items()}
    assert set(kinds["create_task"]["properties"]) == {"user_id", "title", "description"}
    for d in ("mock", "airline", "retail", "telecom"):
        for t in tools(d):
            assert (
                strict_schema(t["function"]["parameters"]).get("properties", {}).keys()
                == t["function"]["parameters"].get("properties", {}).keys()
            )


def test_users_have_their_own_tools():
    t = run_actions(
        Task("1", "telecom"), [act("toggle_airplane_mode", "user"), act("toggle_airplane_mode")]
    )
    assert (
        "turn 2" in schema(t).why
        and tool_kind("telecom", "toggle_airplane_mode", "user") == "write"
    )


# provenance
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "t,ok",
    [
        (cancels(), False),
        (cancels(Message("user", "XEHM4B")), True),
        (cancels(read=True), True),
        (cancels(Message("assistant", "Your reservation is XEHM4B.")), False),
        (cancels(Message("system", "The reservation is XEHM4B.")), True),
        (cancels(Message("user", "it is x e h m 4 b")), True),
        (cancels(Message("user", "XEHM4")), False),
    ],
    ids=["nowhere", "user", "tool", "own words", "system", "spelt out", "not quite"],
)
def test_provenance(t, ok):
    assert provenance(t).value == ok


def test_a_refusal_is_no_source():
    t = run_actions(
        Task("1", "airline"),
        [
            act("get_reservation_details", reservation_id="ABC123"),
            act("cancel_reservation", reservation_id="ABC123"),
        ],
    )
    assert "ABC123" in t.messages[1].content and provenance(t).value == 0
    assert t.info["verify"]["ungrounded"][0]["name"] == "reservation_id"


def test_what_the_user_sees_on_the_phone_is_not_the_agents_to_know():
    t = run_actions(
        Task("1", "telecom"),
        [
            act("check_status_bar", "user"),
            act("enable_roaming", customer_id="C1001", line_id="L1001"),
        ],
    )
    swapped = swap_message(t, 1, replace(t.messages[1], content="C1001 L1001"))
    assert provenance(swapped).value == 0


@needs_data
def test_real_agents_know_what_they_write():
    "gpt-4.1 made up one payment method in 100 runs with a user, copied from a tool description"
    from synthlab.tau2.results import load_results

    runs = [
        t
        for f in RUNS
        if f.name.startswith("gpt-4.1_") and "default" in f.name
        for t in load_results(f).trajectories
    ]
    bad = [t for t in runs if provenance(t).value == 0]
    assert len(runs) == 100 and len(bad) == 1 and bad[0].info["verify"]["ungrounded"][0]["example"]


# the panel
# -------------------------------------------------------------------------------------------------


def test_one_batch_for_all_and_only_for_survivors():
    good, bad = cancels(Message("user", "XEHM4B please")), cancels()
    judge = Judge(say(a=True, b=True))
    f = filter_by_gates([good, bad], (schema, provenance, JudgePanel([judge], Q)))
    assert f.kept == [good] and f.rejected == [bad] and len(judge.asked) == 1
    assert f.stages == dict(schema=(2, 2), provenance=(2, 1), panel=(1, 1)) and f.usage == Usage(
        10, 2
    )
    assert bad.info["rejected"].startswith("provenance: turn 0") and "panel" not in bad.scores


# all gates
# -------------------------------------------------------------------------------------------------


def test_verify_fills_in_place_and_twice_is_once(oracle):
    some = oracle[:8]
    assert verify(some) == some
    first = [to_dict(t) for t in some]
    verify(some)
    assert first == [to_dict(t) for t in some]
    assert all(
        {gate_name(g) for g in GATES} <= t.scores.keys() and t.scores["schema"].by == "gate"
        for t in some
    )


@pytest.mark.slow
def test_two_processes_say_the_same(oracle):
    a, b = copy.deepcopy(oracle[:6]), copy.deepcopy(oracle[:6])
    assert [to_dict(t) for t in verify(a)] == [to_dict(t) for t in verify(b, jobs=2)]


def test_verified_trajectories_survive_the_disk(oracle, tmp_path):
    some = verify(oracle[:5])
    write_jsonl(some, tmp_path / "t.jsonl")
    back = list(read_jsonl(tmp_path / "t.jsonl", Trajectory))
    assert [to_dict(t) for t in back] == [to_dict(t) for t in some] and [
        passes_gates(t) for t in back
    ] == [passes_gates(t) for t in some]


def test_a_gate_of_ones_own_and_one_that_fails():
    def polite(traj, r):
        return Score(float("please" in traj.messages[0].content), "looked for please")

    def buggy(traj, r):
        return 1 / 0

    (t,) = verify([cancels(Message("user", "XEHM4B please"))], (polite, buggy))
    assert (
        t.scores["polite"].value == 1
        and math.isnan(t.scores["buggy"].value)
        and "ZeroDivisionError" in t.scores["buggy"].why
    )
    assert (
        passes_gates(t, (polite,)) and not passes_gates(t, (polite, buggy)) and not passes_gates(t)
    )


def test_funnel_adds_up():
    a = Funnel([1], [], dict(x=(2, 1)), Usage(1, 1))
    b = Funnel([2], [], dict(x=(4, 1), y=(1, 1)), Usage(2, 0))
    both = a + b
    assert (
        both.kept == [1, 2]
        and both.stages == dict(x=(6, 2), y=(1, 1))
        and both.usage == Usage(3, 1)
    )
    assert [(r["stage"], r["n_in"], r["n_out"], round(r["value"], 3)) for r in both.rows()] == [
        ("x", 6, 2, 0.333),
        ("y", 1, 1, 1.0),
    ]
    grow, none = Funnel(stages=dict(split=(2, 5), gone=(0, 0))).rows()
    assert grow["value"] == 2.5 and math.isnan(none["value"])


def test_fidelity_shows_the_cliff():
    "Right answers about reads, wrong ones about writes"
    read, write = (
        act("get_user_details", user_id="daiki_muller_1116"),
        act("cancel_reservation", reservation_id="XEHM4B"),
    )
    t = run_actions(Task("1", "airline"), [read, write])
    lie = swap_message(t, 3, replace(t.messages[3], content="Cancelled!"))
    refused = swap_message(t, 3, replace(t.messages[3], content="Error: no"))
    trajs = verify([run_actions(Task("1", "airline"), [read]), t, lie, refused], (execution,))
    rows = {(r["writes"], r["measure"]): (r["value"], r["n"]) for r in replay_fidelity(trajs)}
    assert rows == {(0, "feedback"): (1, 1), (1, "feedback"): (4 / 6, 6), (1, "state"): (1 / 3, 3)}


def test_two_refusals_leave_the_same_state():
    t = run_actions(Task("1", "airline"), [act("cancel_reservation", reservation_id="ABC123")])
    other_words = swap_message(t, 1, replace(t.messages[1], content="Error: unknown reservation"))
    assert execution(other_words).value == 0 and other_words.info["verify"]["state"] is None
    made_up = swap_message(
        t, 1, replace(t.messages[1], content='{"status": "cancelled"}', error=False)
    )
    assert execution(made_up).value == 0 and made_up.info["verify"]["state"] is False


def test_a_rule_that_fails_costs_its_own_gate_only():
    from synthlab.verify.rules import RULES, rule

    rule("mock/buggy", "Each task must have a title", "create_task")(lambda r, s: 1 / 0)
    try:
        (t,) = verify(
            [run_actions(Task("1", "mock"), [act("create_task", user_id="user_1", title="Tea")])],
            (schema, execution, policy),
        )
    finally:
        del RULES["mock/buggy"]
        rule("mock/title", RULES["mock/title"].sentence, "create_task")(RULES["mock/title"].check)
    assert (
        passes_gates(t, (schema, execution))
        and "ZeroDivisionError" in t.scores["policy"].why
        and math.isnan(t.scores["policy"].value)
    )


def test_telecom_and_mock_gold_keeps_the_policy():
    assert (
        not gold_violations("mock")
        and not gold_violations("telecom")
        and not gold_violations("telecom", solo=True)
    )
    assert not gold_violations("telecom-workflow")


@needs_data
@pytest.mark.parametrize("domain", ["airline", "retail"])
def test_gold_that_breaks_the_policy_was_corrected_later(domain):
    fixes = json.loads((DATA / "labels" / f"task_fix_labels_{domain}.json").read_text())
    corrected = {i for labels in fixes.values() for i, what in labels.items() if "A" in what}
    hits = gold_violations(domain)
    real, tried = ({h["task"] for h in hits if h["refused"] == x} for x in (False, True))
    assert real <= corrected, (
        "a rule and the benchmark disagree on a task that nobody has corrected"
    )
    assert tried - corrected == ({"64", "105"} if domain == "retail" else set())
    assert len((real | tried) & corrected) >= 5


def graded(t, reward):
    t.scores["reward"] = Score(reward)
    return t


def test_breakage_counts_trajectories_and_leaves_out_ungraded():
    bad = [
        graded(play("airline", cancel(plain), cancel(plain)), 0.0),
        graded(play("airline", bags(plain, 0, 0)), 1.0),
        graded(play("airline", cancel(plain)), float("nan")),
    ]
    rows = {(r["rule"], r["outcome"]): r for r in violation_rates(bad)}
    assert (
        rows["airline/cancel-terms", "failed"]["broken"],
        rows["airline/cancel-terms", "failed"]["n"],
    ) == (1, 1)
    assert (
        rows["airline/bags-stay", "passed"]["broken"],
        rows["airline/bags-stay", "failed"]["broken"],
    ) == (1, 0)
    assert all(0 <= r["lo"] <= r["value"] <= r["hi"] <= 1 for r in rows.values())


@needs_data
def test_real_runs_break_rules_more_often_when_they_failed():
    """Facts about airline cancellations: found in failed runs, never in passed ones of gpt-4.1,
    gpt-4o and qwen2.5-7b
    """
    from synthlab.tau2.results import load_results

    runs = [
        t
        for f in RUNS
        if "airline" in f.name and "qwen" in f.name or "gpt-4" in f.name and "airline" in f.name
        for t in load_results(f).trajectories
    ]
    for t in runs:
        t.scores["reward"] = Score((t.info["stored"] or {}).get("reward", float("nan")))
    rows = {(r["rule"], r["outcome"]): r for r in violation_rates(runs, kinds=("state",))}
    assert len(runs) == 120 and rows["airline/cancel-terms", "passed"]["broken"] == 0
    assert rows["airline/cancel-terms", "failed"]["broken"] >= 12


def test_rows_cover_all_rules():
    assert [r["rule"] for r in policy_rule_rows()] == list(RULES)


def test_oracle_conversations_keep_the_manners():
    from synthlab.tau2.agents import OracleAgent, ScriptedUser
    from synthlab.tau2.rollout import rollout

    played = rollout(
        tasks("mock") + tasks("airline")[:15] + tasks("telecom")[:15], OracleAgent(), ScriptedUser()
    )
    shape = {
        h["rule"].split("/")[1] for t in played for h in broken_rules(t) if h["kind"] == "form"
    }
    assert shape <= {"identify", "bill-checked"}, (
        "gold actions leave out lookups; all other manners are kept"
    )
