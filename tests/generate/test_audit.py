"Audit of released data: rows built by each schema, good ones and odd ones"

import gzip
import json
import tracemalloc
from dataclasses import replace
from functools import lru_cache

import pytest
from conftest import DATA, needs_data

from synthlab.core.stats import wilson
from synthlab.core.types import Message, to_dict
from synthlab.generate.audit import (
    AUDIT_STEPS,
    WITHOUT_INSTRUCTIONS,
    audit_file_report,
    audit_row,
    audit_rows,
    audit_table,
    iter_rows,
    read_audited_row,
)
from synthlab.generate.seeds import TOUCAN_FIELDS, read_seeds, scripted_seeds
from synthlab.models.chat import to_openai
from synthlab.tau2.env import domain_policy, tasks, to_tau2, tools
from synthlab.tau2.grade import oracle_trajectory
from synthlab.user_errors.detect import reported_errors
from tests.generate.common import SEEDS


@lru_cache(maxsize=None)
def spoken(domain="airline"):
    "A conversation in which the agent changes something"
    return next(t for t in scripted_seeds((domain,), each=4) if _shows_change(t))


def _shows_change(t):
    return audit_row(read_audited_row(to_dict(t)))["state"].value is not None


def fresh(t=None):
    return read_audited_row(to_dict(t or spoken())).traj


# ---- the same messages as rows of each data set
def as_apigen(messages):
    who, turns = dict(user="human", assistant="gpt", tool="observation"), []
    for m in messages:
        if m.content.strip() or not m.calls:
            turns.append({"from": who[m.role], "value": m.content})
        for c in m.calls:
            call = json.dumps(dict(name=c.name, arguments=c.args))
            turns.append({"from": "function_call", "value": call})
    kit = json.dumps([t["function"] for t in tools("airline")])
    return dict(conversations=turns, system=domain_policy("airline"), tools=kit)


def as_simia(messages):
    who, turns = dict(user="human", assistant="gpt", tool="human"), []
    for m in messages:
        calls = [json.dumps(dict(name=c.name, arguments=c.args)) for c in m.calls]
        tagged = "\n".join(f"<tool_call>\n{c}\n</tool_call>" for c in calls)
        text = "\n".join(filter(None, [m.content, tagged]))
        turns.append({"from": who[m.role], "value": text})
    return dict(conversations=turns, system=domain_policy("airline"))


def as_toucan(messages):
    said = []
    for m in messages:
        if m.role == "tool":
            said.append(dict(role="function", name="f", content=m.content))
            continue
        if m.content.strip() or not m.calls:
            said.append(dict(role=m.role, content=m.content))
        for c in m.calls:
            call = dict(name=c.name, arguments=json.dumps(c.args))
            said.append(dict(role=m.role, content="", function_call=call))
    row = dict.fromkeys(TOUCAN_FIELDS, "")
    kit = json.dumps(tools("airline"))
    return row | dict(uuid="u", messages=json.dumps(said), available_tools=kit, question="help")


def as_areal(messages, dialog="airline_dialog_1", reward=1.0):
    wire = to_openai(messages)
    for m in wire:  # calls without `function`, answers without ids
        calls = m.pop("tool_calls", None) or []
        flat = [
            dict(name=c["function"]["name"], arguments=c["function"]["arguments"]) for c in calls
        ]
        m.update(dict(tool_calls=flat) if flat else {})
        m.pop("tool_call_id", None)
    k = max(i for i, m in enumerate(messages) if m.role == "assistant")
    return dict(
        messages=[dict(role="system", content=domain_policy("airline")), *wire[:k]],
        answer=wire[k] | dict(thinking="Now I am done."),
        metadata=dict(source_dialog_id=dialog, turn_index=k, correct=1, reward=reward),
    )


def as_sft(messages, task_id="none", reward=1.0, domain="airline"):
    kit = tools(domain)
    return dict(messages=to_openai(messages), tools=kit, task_id=task_id, reward=reward)


SCHEMAS = {
    "apigen-mt": as_apigen,
    "simia-tau": as_simia,
    "toucan": as_toucan,
    "areal-tau2-sft": as_areal,
    "tau2-sft": as_sft,
}


# ---- what can be wrong with a conversation
def with_wrong_answer(messages):
    i = next(i for i, m in enumerate(messages) if m.role == "tool" and m.content.startswith("{"))
    changed = json.loads(messages[i].content) | dict(user_id="nobody_at_all")
    return [*messages[:i], replace(messages[i], content=json.dumps(changed)), *messages[i + 1 :]]


def with_broken_rule(messages):
    "A transfer that is announced without a call"
    i = max(i for i, m in enumerate(messages) if m.role == "assistant")
    words = "YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON."
    return [*messages[:i], replace(messages[i], content=words), *messages[i + 1 :]]


def with_two_calls(messages):
    "Two calls in one turn"
    i = next(i for i, m in enumerate(messages) if m.calls)
    c, answer = messages[i].calls[0], messages[i + 1]
    twice = replace(messages[i], calls=[c, replace(c, id="again")])
    rest = [answer, replace(answer, call_id="again"), *messages[i + 2 :]]
    return [*messages[:i], twice, *rest]


def said(verdicts):
    return {k: v.value for k, v in verdicts.items()}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_good_row_of_each_schema_parses_replays_and_keeps_the_rules(schema):
    row = read_audited_row(SCHEMAS[schema](fresh().messages))
    assert row.schema == schema and not row.why
    got = said(audit_row(row))
    want = ("parses", "domain", "replays", "agrees", "state")
    assert all(got[k] is True for k in want), {k: got[k] for k in want}
    assert got["rule_form"] is False and got["rule_state"] is False
    assert got["reward"] is None and got["user_error"] is None
    assert [(c.name, c.args) for c in row.traj.calls] == [(c.name, c.args) for c in spoken().calls]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_wrong_answer_is_found_in_each_schema_and_leaves_the_state_rules_open(schema):
    row = SCHEMAS[schema](with_wrong_answer(fresh().messages))
    verdicts = audit_row(read_audited_row(row))
    assert verdicts["replays"].value is False and verdicts["agrees"].value is False
    assert "at user_id: the row has 'nobody_at_all'" in verdicts["agrees"].why
    assert verdicts["rule_state"].value is None and verdicts["rule_form"].value is False


def test_an_answer_with_fewer_fields_agrees_without_replaying():
    ms = fresh().messages
    i = next(i for i, m in enumerate(ms) if m.role == "tool" and '"user_id"' in m.content)
    less = json.loads(ms[i].content)
    left_out = less.pop("user_id")
    ms[i] = replace(ms[i], content=json.dumps(less))
    got = audit_row(read_audited_row(as_sft(ms)))
    assert got["replays"].value is False and got["agrees"].value is True
    assert f"user_id: the row has 'nothing', the environment '{left_out}'" in got["replays"].why
    assert got["rule_state"].value is False and got["state"].value is True
    for odd in ("{}", "[]", '"text"', "Error: no such user", json.dumps(dict(other=left_out))):
        ms[i] = replace(ms[i], content=odd)
        assert audit_row(read_audited_row(as_sft(ms)))["agrees"].value is False, odd


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_broken_rule_is_found_by_name_in_each_schema(schema):
    verdicts = audit_row(read_audited_row(SCHEMAS[schema](with_broken_rule(fresh().messages))))
    assert verdicts["rule_form"].names == ("airline/transfer-call",), verdicts["rule_form"]
    assert verdicts["replays"].value is True


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_torn_row_costs_itself_and_a_row_of_no_domain_is_left_open(schema, tmp_path):
    make = SCHEMAS[schema]
    good = json.dumps(make(fresh().messages))
    hello = [m for m in fresh().messages if not m.calls and m.role != "tool"]
    off = make([replace(m, content="Hello there.") for m in hello])
    for k in ("system", "tools"):
        off.pop(k, None)
    off = off | (dict(available_tools="[]") if schema == "toucan" else {})
    if schema == "areal-tau2-sft":
        off["messages"][0]["content"] = "Be nice."
        off["metadata"]["source_dialog_id"] = "d1"
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([good, good[: len(good) // 2], json.dumps(off), good]))
    a = audit_rows(path)
    by = {s["step"]: (s["k"], s["n"], s["undecided"]) for s in a.steps}
    assert by["parses"] == (3, 4, 0) and by["domain"] == (2, 3, 1) and by["replays"] == (2, 2, 2)
    where = {(w["step"], w["line"], w["row"]) for w in a.worst}
    assert where == {("parses", 2, 1), ("domain", 3, 2)} and a.problems == []


def test_undecided_rows_are_counted_beside_the_share_and_never_in_it(tmp_path):
    path = tmp_path / "rows.jsonl"
    ms = fresh().messages
    rows = [as_sft(ms), as_sft(with_wrong_answer(ms)), as_sft(ms[:1]), dict(odd=1), 7]
    path.write_text("\n".join(map(json.dumps, rows)))
    a = audit_rows(path)
    assert [s["step"] for s in a.steps] == [s.name for s in AUDIT_STEPS] and a.n == 5
    for s in a.steps:
        assert s["n"] + s["undecided"] == 5
        assert sum(r["rows"] for r in a.undecided if r["step"] == s["step"]) == s["undecided"]
    s = next(s for s in a.steps if s["step"] == "replays")
    e = wilson(1, 2)
    assert (s["k"], s["n"], s["share"], s["lo"], s["hi"]) == (1, 2, 0.5, e.lo, e.hi)
    assert a.schemas == {"tau2-sft": 3, "": 2}


def gold_row(task, **change):
    t = oracle_trajectory(task)
    return as_sft(change.pop("messages", t.messages), task.id, domain=task.domain, **change)


def test_a_claimed_reward_is_compared_with_the_benchmarks_own():
    task = next(t for t in tasks("airline") if t.gold and t.gold[-1]["name"].startswith("update"))
    ms = oracle_trajectory(task).messages
    i = max(i for i, m in enumerate(ms) if m.calls)
    undone = ms[:i] + ms[i + 2 :]
    rows = [
        (gold_row(task), True),
        (gold_row(task, messages=undone), False),
        (gold_row(task, messages=undone, reward=0.0), True),
        (gold_row(task, reward=0.0), False),
        (gold_row(task, reward=None), None),
    ]
    got = [audit_row(read_audited_row(r))["reward"] for r, _ in rows]
    assert [v.value for v in got] == [want for _, want in rows]
    assert "it states 1, its calls earn 0 (not met: DB" in got[1].why
    cut = audit_row(read_audited_row(as_areal(fresh().messages)))["reward"]
    assert cut.value is None and "before its conversation ends" in cut.why


def test_a_change_that_is_only_claimed_is_no_state():
    ms = fresh().messages
    r = audit_row(read_audited_row(as_sft(ms)))
    assert r["state"].value is True
    names = {t["function"]["name"] for t in tools("airline")}
    i = max(i for i, m in enumerate(ms) if m.calls and m.calls[0].name in names - {"calculate"})
    call = ms[i].calls[0]
    for key in call.args:
        if key.endswith("_id"):
            call.args[key] = "NOWHERE"
    got = audit_row(read_audited_row(as_sft(ms)))
    assert got["state"].value is False and call.name in got["state"].why


def test_user_errors_are_asked_only_where_the_instructions_are_known(tmp_path):
    task = next(t for t in tasks("airline") if t.gold)
    ms = oracle_trajectory(task).messages
    lie = [Message("user", "My reservation is ZQ7ZQ7 and my user id is jon_snow_1234."), *ms]
    got = audit_row(read_audited_row(gold_row(task, messages=lie)))["user_error"]
    assert got.value is True and "hallucination" in got.names
    open_ = audit_row(read_audited_row(as_sft(lie)))
    assert open_["user_error"].value is None and open_["user_form"].value is not None
    agent = [*lie[:1], Message("assistant", "Which one?"), Message("user", '{"name": "f"}')]
    text = Message("user", '<tool_call>\n{"name": "cancel", "arguments": {}}\n</tool_call>')
    got = audit_row(read_audited_row(as_sft([*agent, text])))["user_form"]
    assert got.value is True and "guideline_violation" in got.names


def test_calls_of_the_user_belong_to_the_user():
    def at(role, **kw):
        return dict(role=role, content=kw.pop("content", ""), **kw)

    row = dict(
        messages=[
            at("system", content=domain_policy("telecom")),
            at("assistant", content="Please check your status bar."),
            at("user", tool_calls=[dict(name="check_status_bar", arguments={})]),
            at("tool", content="no bar"),
            at("user", content="It shows no bar."),
        ],
        answer=at("assistant", content="I see."),
        metadata=dict(source_dialog_id="d", reward=1),
    )
    r = read_audited_row(row)
    assert r.traj.task.domain == "telecom" and [c.by for c in r.traj.calls] == ["user"]
    assert audit_row(r)["user_form"].value is not None


def test_rows_of_one_conversation_count_for_less_than_as_many_conversations(tmp_path):
    good, bad = fresh().messages, with_wrong_answer(fresh().messages)
    wide = {}
    for name, dialog in (("one", lambda i, k: f"d{k}"), ("many", lambda i, k: f"d{i}{k}")):
        rows = [as_areal(ms, dialog(i, k)) for i in range(6) for k, ms in enumerate((good, bad))]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        s = next(s for s in audit_rows(path).steps if s["step"] == "replays")
        assert (s["k"], s["n"]) == (6, 12)
        wide[name] = s["hi"] - s["lo"]
    assert wide["one"] > 1.3 * wide["many"]


def test_tasks_and_undocumented_rows_are_left_open_but_tasks_parse():
    rl = to_tau2(tasks("airline")[0]) | dict(id="airline_1", db_path="tau2_rl_database/x.json")
    got = audit_row(read_audited_row(rl))
    assert said(got)["parses"] is True and said(got)["domain"] is True
    assert {got[k].why for k in ("replays", "reward", "user_error")} == {
        "a task, not a conversation"
    }
    row = dict(task_id="[airline]1", prompt=[], response="", metadata={})
    assert set(said(audit_row(read_audited_row(row))).values()) == {None}


ODD = [
    None,
    [],
    {},
    dict(messages=None),
    dict(messages=[]),
    dict(messages=[3]),
    dict(messages=[dict(content="x")]),
    dict(messages=[dict(role="user", tool_calls=[7])]),
    dict(messages=[dict(role="assistant", tool_calls=[dict(name="f", arguments="{")])]),
    dict(conversations=[{"from": "bird", "value": "x"}]),
    dict(conversations=[{"from": "function_call", "value": "f("}]),
    dict(conversations=3, system=4, tools="["),
    dict(messages=[dict(role="user", content="x")], answer=3, metadata=[]),
    dict(uuid=1, messages="[", available_tools="["),
    dict(id=3, user_scenario=4, evaluation_criteria=5),
    dict(task=3, messages=4),
    dict(task=dict(id="x", domain="nowhere"), messages=[dict(role="fish")]),
]


@pytest.mark.parametrize("row", ODD, ids=range(len(ODD)))
def test_no_row_stops_the_audit(row):
    v = audit_row(read_audited_row(row))["parses"]
    assert v.value is False and v.why


def test_files_of_every_kind_hold_the_same_rows(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="parquet is read with pyarrow")
    pq = pytest.importorskip("pyarrow.parquet", reason="parquet is read with pyarrow")
    rows = [as_apigen(fresh().messages)] * 2 + [as_apigen(with_wrong_answer(fresh().messages))]
    lines = "\n".join(map(json.dumps, rows))
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "b.json").write_text(json.dumps(rows))
    (tmp_path / "c.json").write_text(json.dumps(rows, indent=2))
    (tmp_path / "d.json").write_text(json.dumps(dict(splits=dict(train=rows[:1], test=rows[1:]))))
    (tmp_path / "e.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "f.parquet")
    (tmp_path / "g.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    found = [to_dict(audit_rows(p)) for p in sorted(tmp_path.iterdir())]
    assert len(found) == 7 and all(f["steps"] == found[0]["steps"] for f in found)
    assert found[0]["n"] == 3 and json.dumps(found[0], allow_nan=False)


def test_a_cut_archive_gives_what_came_before_the_cut(tmp_path):
    rows = [as_sft(fresh().messages, str(i)) for i in range(40)]
    packed = gzip.compress("\n".join(map(json.dumps, rows)).encode())
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(packed[: len(packed) - 40])
    a = audit_rows(path)
    assert 0 < a.n < 40 and "cannot be read on" in a.problems[0]
    path.write_bytes(packed[:12])
    with pytest.raises(ValueError, match="no row in it"):
        audit_rows(path)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        audit_rows(tmp_path / "none.jsonl")
    run = tmp_path / "run.json"
    run.write_text(json.dumps(dict(timestamp="x", info={}, tasks=[], simulations=[])))
    with pytest.raises(ValueError, match="results file of τ²"):
        audit_rows(run)
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(ValueError, match="no row in it"):
        audit_rows(tmp_path / "empty.jsonl")
    with pytest.raises(ValueError, match="from 1 on"):
        audit_rows(run, limit=0)


def test_a_list_longer_than_memory_is_read_a_row_at_a_time_and_torn_rows_are_passed_over(tmp_path):
    path, n = tmp_path / "list.json", 3000
    row = dict(conversations=[{"from": "human", "value": "x" * 5000}], system="", tools="[]")
    torn = '{"conversations": [{"from": "human", "value": "x'
    with open(path, "w") as f:
        for i in range(n):
            f.write("[\n" if not i else ",\n")
            f.write(torn if i in (7, 2000) else json.dumps(row))
        f.write("]")
    tracemalloc.start()
    found = sum(isinstance(x, dict) for _, x in iter_rows(path))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == n - 2 and path.stat().st_size > 14e6 and most < 10e6


def test_a_limit_and_the_report_for_a_terminal(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [as_sft(with_two_calls(fresh().messages))] * 7 + [5]
    path.write_text("\n".join(map(json.dumps, rows)))
    a = audit_rows(path, limit=7)
    assert a.n == 7 and not a.whole and audit_rows(path).whole
    table, problems = audit_file_report(path)
    at = {r["question"].strip(): r for r in table}
    rule = at["airline/one-call"]
    assert (rule["k"], rule["n"]) == (7, 7) and at["parses"]["undecided"] == 0
    assert len(audit_table(a, names=False)) == len(AUDIT_STEPS)
    assert [p["line"] for p in problems if p["step"] == "rule_form"] == [1, 2, 3, 4, 5]
    assert [(p["line"], p["row"]) for p in problems if p["step"] == "parses"] == [(8, 7)]


@pytest.mark.slow
@needs_data
def test_the_real_seeds_hold_what_they_claim_and_break_the_rule_of_one_call_at_a_time():
    a = audit_rows(SEEDS)
    by = {s["step"]: (s["k"], s["n"]) for s in a.steps}
    assert a.problems == [] and a.schemas == {"tau2-sft": 61}
    assert by["parses"] == by["domain"] == by["replays"] == by["agrees"] == (61, 61)
    assert by["state"] == (41, 41) and by["reward"] == (47, 47)
    assert by["rule_form"] == (43, 61) and by["rule_state"][1] == 61
    assert by["user_error"][1] == by["user_form"][1] == 47, "telecom leaves out the user's calls"


@pytest.mark.slow
@needs_data
def test_detectors_that_are_asked_without_instructions_need_none():
    for t in read_seeds(SEEDS)[0]:
        bare = replace(t, task=replace(t.task, goal="", persona=None))
        with_, without = (
            [r for r in reported_errors(x) if r[0] in WITHOUT_INSTRUCTIONS] for x in (t, bare)
        )
        assert with_ == without


@needs_data
@pytest.mark.slow
def test_true_runs_of_the_first_benchmark_agree_but_for_its_own_error_and_seldom_replay(tmp_path):
    packed = (DATA / "tau1_runs" / "gpt-4o_airline_4trials.json.gz").read_bytes()
    runs = json.loads(gzip.decompress(packed))
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(dict(messages=r["traj"])) for r in runs))
    by = {s["step"]: (s["k"], s["n"]) for s in audit_rows(path).steps}
    assert by["replays"] == (9, 182) and by["agrees"] == (140, 182)
    parted = [audit_row(read_audited_row(dict(messages=r["traj"])))["agrees"] for r in runs]
    at_cabin = [v for v in parted if v.value is False and "flights at cabin" in v.why]
    assert len(at_cabin) >= 34, "the first benchmark does not set the cabin"
