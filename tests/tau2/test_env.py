"""The copy-on-write world is the benchmark's: same outputs, same states, and no episode sees
another.
"""

import copy
import hashlib
import json
import pickle

import pytest
from conftest import DATA, RUNS, needs_data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthlab.core.types import Task, ToolCall
from synthlab.tau2.database import DOMAINS, read_domain_json, tau2_module
from synthlab.tau2.env import (
    Env,
    canonical_json,
    domain_policy,
    domain_table,
    from_tau2,
    plain_database,
    splits,
    tasks,
    to_tau2,
    tools,
)
from synthlab.tau2.grade import regrade
from synthlab.tau2.results import load_results

MODES = [
    ("mock", False),
    ("airline", False),
    ("retail", False),
    ("telecom", False),
    ("mock", True),
    ("telecom", True),
]


def calm(n):
    return settings(max_examples=n, deadline=None, suppress_health_check=list(HealthCheck))


def official(domain, solo=False):
    "A new environment of the benchmark's own, on a database of its own"
    return tau2_module(f"domains.{domain}.environment").get_environment(solo_mode=solo)


@pytest.fixture(scope="module")
def benchmark():
    "One environment of the benchmark a domain, and the way to put it back to its start"
    made = {}

    def fresh(domain, solo):
        if (domain, solo) not in made:
            env = official(domain, solo)
            made[domain, solo] = env, pickle.dumps((env.tools, env.user_tools))
        env, state = made[domain, solo]
        env.tools, env.user_tools = pickle.loads(state)
        if env.user_tools:
            env.user_tools.__dict__["default_vpn_details"] = (
                env.user_tools.default_vpn_details.model_copy()
            )
        return env

    return fresh


def begun(env, task):
    "The benchmark's environment in a task's initial state"
    init = tau2_module("data_model.tasks").Task.model_validate(to_tau2(task)).initial_state
    if init:
        env.set_state(
            init.initialization_data, init.initialization_actions, init.message_history or []
        )
    return env


def talked(task):
    return any(m["role"] == "user" for m in (task.init or {}).get("message_history") or [])


def their_step(env, call):
    tau2_call = tau2_module("data_model.message").ToolCall(
        id=call.id, name=call.name, arguments=call.args, requestor=call.by
    )
    r = env.get_response(tau2_call)
    return r.content, r.error, r.id, r.requestor


def our_step(env, call):
    m = env.step(call)
    return m.content, m.error, m.call_id, m.by


def hashes(env):
    return env.get_db_hash(), env.get_user_db_hash()


def digest(env):
    "Our state as the benchmark hashes its own"
    kits = env._env.tools, env._env.user_tools
    return tuple(
        kit and hashlib.sha256(canonical_json(plain_database(kit.db)).encode()).hexdigest()
        for kit in kits
    )


def pool(domain):
    "Arguments that occur in a domain: those of gold actions, and ids of the first records"
    found = {}
    for t in tasks(domain):
        for a in t.gold or []:
            for k, v in a["arguments"].items():
                found.setdefault(k, []).append(v)
    return found


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.lists(st.text(max_size=3), max_size=2),
)


def calls(domain):
    "Gold actions, which often work, and calls that mostly do not: arguments mixed, wrong, reserved"
    steps = [a for t in tasks(domain) for a in t.gold or []]
    gold = [(a["name"], a["arguments"], a.get("requestor", "assistant")) for a in steps]
    args = pool(domain)
    schemas = [t for by in ("assistant", "user") for t in tools(domain, by)]
    names = [t["function"]["name"] for t in schemas]
    odd = st.sampled_from([*args, "self", "tool_name", "requestor", "nothing"])
    mixed = st.dictionaries(odd, junk, max_size=4)
    swapped = st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in args.items()})
    by = st.sampled_from(["assistant", "assistant", "user"])
    free = st.builds(
        lambda n, a, b: (n, a, b),
        st.sampled_from([*names, "no_such_tool"]),
        st.one_of(mixed, swapped),
        by,
    )
    typed = st.builds(
        lambda g, k, v: (g[0], g[1] | ({k: v} if k in g[1] else {}), g[2]),
        st.sampled_from(gold),
        st.sampled_from([*args]),
        junk,
    )

    def made(rows):
        return [ToolCall(n, copy.deepcopy(a), f"c{i}", b) for i, (n, a, b) in enumerate(rows)]

    some = st.one_of(st.sampled_from(gold), st.sampled_from(gold), typed, free)
    return st.lists(some, max_size=20).map(made)


@pytest.mark.slow
@pytest.mark.parametrize("domain,solo", MODES)
def test_any_calls_give_the_benchmarks_outputs_and_state(domain, solo, benchmark):
    @calm(
        dict(airline=5, retail=8).get(domain, 25)
    )  # hashing a large database takes the benchmark a third of a second
    @given(st.sampled_from([t for t in tasks(domain) if not (solo and talked(t))]), calls(domain))
    def check(task, sequence):
        ours, theirs = Env(task, solo), begun(benchmark(domain, solo), task)
        for c in sequence:
            if c.name == "refuel_data":
                continue  # may draw a random bill id
            assert our_step(ours, c) == their_step(theirs, copy.deepcopy(c))
        assert digest(ours) == hashes(theirs)

    check()


@pytest.mark.slow
@pytest.mark.parametrize("domain,solo", MODES)
def test_episodes_do_not_see_each_other(domain, solo, benchmark):
    start = hashes(benchmark(domain, solo))

    @calm(25)
    @given(calls(domain), calls(domain))
    def check(first, second):
        a, b = Env(Task("x", domain), solo), Env(Task("x", domain), solo)
        for c in first:
            a.step(c)
        middle = a.fork()
        kept = middle.diff()
        for c in second:
            a.step(c)
        assert not b.diff() and not b.touched and middle.diff() == kept
        for c in second:
            middle.step(c)
        if not any(c.name == "refuel_data" for c in first + second):
            assert middle.same_state(a) == (True, True)

    check()
    assert digest(Env(Task("x", domain), solo)) == start


def test_arguments_are_not_kept():
    "A database must not share a list with the call that brought it"
    call = ToolCall("update_task_status", dict(task_id="task_1", status=["a"]))
    env = Env(tasks("mock")[0])
    env.step(call)
    call.args["status"].append("b")
    assert env.diff()["agent/tasks/task_1/status"] == ("pending", ["a"])


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["mock", "airline", "retail", "telecom"])
def test_tasks_and_splits_are_the_packages(domain):
    module, model = (
        tau2_module(f"domains.{domain}.environment"),
        tau2_module("data_model.tasks").Task,
    )
    known, theirs = module.get_tasks_split(), module.get_tasks(None)
    assert splits(domain) == known
    for split, ids in known.items():
        assert [t.id for t in tasks(domain, split)] == [t.id for t in theirs if t.id in set(ids)]
    for d, t in zip(read_domain_json(domain, "tasks.json"), theirs, strict=True):
        back = to_tau2(from_tau2(d, domain))
        assert model.model_validate(back) == t
        assert from_tau2(json.loads(json.dumps(back)), domain) == from_tau2(d, domain)


@pytest.mark.parametrize("domain,solo", MODES)
def test_policies_and_tools_are_the_packages(domain, solo):
    env = official(domain, solo)
    agent = env.get_tools() + (env.get_user_tools() if solo and env.user_tools else [])
    assert domain_policy(domain, solo) == env.get_policy()
    assert tools(domain, solo=solo) == [t.openai_schema for t in agent]
    if env.user_tools and not solo:
        assert tools(domain, "user") == [t.openai_schema for t in env.get_user_tools()]


def test_workflow_is_telecom_with_another_policy():
    env = tau2_module("domains.telecom.environment").get_environment(policy_type="workflow")
    assert domain_policy("telecom-workflow") == env.policy != domain_policy("telecom")
    assert tools("telecom-workflow") == tools("telecom") and len(tasks("telecom-workflow")) == 114


@pytest.mark.parametrize("domain", ["airline", "retail"])
def test_no_solo_mode_where_the_benchmark_has_none(domain):
    with pytest.raises(ValueError, match="does not support solo mode"):
        Env(tasks(domain)[0], solo=True)


@pytest.mark.parametrize("domain", ["mock", "telecom"])
def test_every_initial_state_is_the_benchmarks(domain, benchmark):
    for t in tasks(domain):
        assert digest(Env(t)) == hashes(begun(benchmark(domain, False), t)), t.id


def test_domain_table():
    rows = {r["domain"]: r for r in domain_table()}
    assert list(rows) == list(DOMAINS)
    assert rows["telecom"]["splits"] == dict(small=20, train=74, test=40, full=2285, base=114)
    assert (
        rows["airline"]["splits"] == dict(train=30, test=20, base=50)
        and rows["retail"]["splits"]["base"] == 114
    )
    assert rows["telecom"]["reward_basis"] == {"ENV_ASSERTION": 2253, "ENV_ASSERTION+ACTION": 32}
    assert [d for d in rows if rows[d]["solo"]] == ["mock", "telecom", "telecom-workflow"]


def test_vpn_details_stay_in_their_episode():
    "The benchmark keeps them on the class, where one simulation's broken VPN reaches the next"
    broken, clean = Env(Task("x", "telecom")), Env(Task("y", "telecom"))
    broken.call(dict(env_type="user", func_name="break_vpn", arguments={}))
    clean.step(ToolCall("connect_vpn", by="user"))
    assert clean.diff()["user/device/vpn_details"][1]["server_performance"] == "excellent"


def test_faults_name_what_is_wrong():
    with pytest.raises(ValueError, match="no τ² domain 'banking'; there are mock"):
        Env(Task("x", "banking"))
    with pytest.raises(ValueError, match="not a τ² task"):
        from_tau2({"id": "1"}, "mock")
    wrong = Task(
        "7",
        "telecom",
        init=dict(initialization_actions=[dict(env_type="user", func_name="gone", arguments={})]),
    )
    with pytest.raises(ValueError, match="telecom task 7: cannot set its initial state"):
        Env(wrong)
    with pytest.raises(ValueError, match="for the assistant or the user"):
        tools("mock", by="system")


def test_an_assertion_that_raises_is_not_met():
    env = Env(Task("x", "mock"))

    def status(task, want=True):
        return dict(
            env_type="assistant",
            func_name="assert_task_status",
            assert_value=want,
            arguments=dict(task_id=task, expected_status="pending"),
        )

    assert env.check(status("task_1")) and not env.check(status("task_1", False))
    assert not env.check(status("gone")) and not env.check(status("gone", False))
    assert not env.check(dict(env_type="assistant", func_name="no_such_function", arguments={}))


def test_replay_is_strict():
    t = next(t for t in tasks("mock") if talked(t))
    with pytest.raises(ValueError, match="user messages in solo mode"):
        Env(t, solo=True)
    init = copy.deepcopy(t.init)
    init["message_history"][2]["content"] = '{"task_id": "task_9"}'
    with pytest.raises(ValueError, match="the record says"):
        Env(Task("x", "mock", init=init))
    init["message_history"][2]["id"] = "another call"
    with pytest.raises(ValueError, match="has no answer"):
        Env(Task("x", "mock", init=init))


@needs_data
@pytest.mark.parametrize(
    "path", [p for p in RUNS if "no-info" not in p.name], ids=lambda p: p.name.split(".json")[0]
)
def test_recorded_calls_give_the_recorded_outputs(path):
    """Every call recorded in a simulation that ran to its end; `replay` raises at the first output
    that differs
    """
    n = 0
    for t in load_results(path).trajectories:
        if t.stop not in ("user_stop", "agent_stop"):
            continue
        Env(t.task, t.solo, history=False).replay(t.messages)
        n += len(t.calls)
    assert n > 10


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9",
        "9**9**9**9",
        "(9**9**9) - (9**9**9)",
        "-9**9**9",
        "((9**999)**999)**999",
        "*".join(["9**999999"] * 50),
        "2**" * 400 + "2",
        "(" * 150 + "9**9**9" + ")" * 150,
    ],
)
def test_no_expression_keeps_the_lab_waiting(expression):
    "Where the benchmark would not come back, an error does"
    call = ToolCall("calculate", dict(expression=expression))
    answer = Env(tasks("retail")[0]).step(call)
    assert answer.error and answer.content.startswith("Error: ")


@pytest.mark.parametrize(
    "expression",
    [
        "2**10",
        "2**-1",
        "2.5**3",
        "(-8)**3",
        "10**400/10**399",
        "1//0",
        "1**",
        "()",
        "3(4)",
        "7//2",
        "",
    ],
)
def test_expressions_that_end_have_the_benchmarks_own_answer(expression):
    world = Env(tasks("airline")[0])
    ours = world.step(ToolCall("calculate", dict(expression=expression))).content
    try:
        theirs = world._env.tools.calculate(expression)
    except Exception as e:
        theirs = f"Error: {e}"
    assert ours == theirs


@needs_data
def test_a_published_kind_of_file_that_hung_is_graded():
    assert regrade(DATA / "cases/f20_calculate_hang.json")["n"] == 1
