"""Rollouts follow the benchmark's protocol: its own orchestrator, driven by the same policies, is
the reference
"""

import copy
import json
import os
import random
import subprocess
import sys

import pytest
from conftest import ROOT

from synthlab.core.types import Message, Task, ToolCall
from synthlab.tau2.agents import NullAgent, OracleAgent, ScriptedUser
from synthlab.tau2.grade import reward_info, write_graded_results
from synthlab.tau2.results import load_results
from synthlab.tau2.rollout import (
    OUT_OF_SCOPE,
    STOP,
    TRANSFER,
    Episode,
    env_after,
    episode_seed,
    iter_rollouts,
    rollout,
    supports_solo,
)
from tests.tau2.common import base


@pytest.fixture(scope="module")
def peer():
    "The benchmark's own orchestrator behind thin adapters"
    sys.path.insert(0, str(ROOT / "bench"))
    import tau2_orchestrator

    yield tau2_orchestrator
    sys.path.remove(str(ROOT / "bench"))


def plain(messages):
    "Messages without what may differ: call ids are numbered by first appearance"
    ids = {}

    def n(i):
        return ids.setdefault(i, len(ids))

    return [
        (
            m.role,
            m.content,
            [(n(c.id), c.name, c.args, c.by) for c in m.calls],
            n(m.call_id) if m.role == "tool" else None,
            m.error,
            m.by,
        )
        for m in messages
    ]


def same(peer, task, agent, user=None, solo=False, **kw):
    "Roll out on both sides; assert that all of it is equal, give the trajectory"
    o = peer.orchestrator(task, agent, user, solo, seed=episode_seed(0, task, 0), **kw)
    theirs, (ours,) = o.run(), rollout([task], agent, user, solo=solo, **kw)
    assert plain(ours.messages) == plain(map(peer.ours, theirs.messages)), task.id
    assert ended(ours) == (theirs.termination_reason.value, o.step_count, o.num_errors), task.id
    return ours


def ended(t):
    return t.stop, t.info["steps"], t.info["errors"]


def sample(domain, k):
    "Every task of mock, else `k` spread over the base split"
    ts = base(domain)
    return ts if domain == "mock" else ts[:: max(1, len(ts) // k)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "domain, k",
    [("mock", 9), ("airline", 3), ("retail", 5), ("telecom", 12), ("telecom-workflow", 3)],
)
@pytest.mark.parametrize("agent", [OracleAgent(), NullAgent()], ids=lambda a: a.name)
def test_transcripts_are_the_benchmarks_own(peer, domain, k, agent):
    for t in sample(domain, k):
        assert same(peer, t, agent, ScriptedUser()).stop == "user_stop"


@pytest.mark.parametrize("domain, k", [("mock", 9), ("telecom", 12)])
def test_solo_transcripts_are_the_benchmarks_own(peer, domain, k):
    ready = [t for t in sample(domain, k) if supports_solo(t)]
    for t in ready:
        assert same(peer, t, OracleAgent(), solo=True).stop == "agent_stop"
    assert len(ready) >= 6


class Chaos:
    """Says and does at random what a policy may, depending on the seed and the number of its own
    turns alone
    """

    def __init__(self, role, tools):
        self.role, self.tools = role, tools

    def __call__(self, eps):
        return [self.turn(e) for e in eps]

    def turn(self, ep):
        n = sum(m.role == self.role for m in ep.messages[ep.start :])
        r = random.Random(f"{ep.seed} {n} {self.role}")
        gold = [ToolCall(a["name"], copy.deepcopy(a["arguments"])) for a in ep.task.gold or []]
        wrong = [ToolCall("no_such_tool", {"a": 1}), ToolCall("get_users", {"wrong": 1})]
        pool = gold + [ToolCall(t) for t in self.tools] + wrong
        calls = r.sample(pool, min(len(pool), r.choice([0, 1, 1, 1, 2, 3])))
        if ep.solo and r.random() < 0.1:
            calls.append(ToolCall("done"))
        ends = [TRANSFER, f"No. {OUT_OF_SCOPE}", f"{STOP} thanks"]
        words = r.choice(
            ["Hello.", "Is it on?", f"Bye {STOP}"] if not ep.solo else ["Hello.", STOP]
        )
        if r.random() < 0.5:
            words = ""
        if self.role == "user" and r.random() < 0.2:
            words = r.choice(ends)
        if ep.solo and calls:
            words = ""
        for i, c in enumerate(calls):
            c.id = f"{self.role}_{n}_{i}"
        return Message(self.role, words if words or calls else "Well.", calls)


@pytest.mark.parametrize("solo", [False, True])
@pytest.mark.parametrize("domain", ["mock", "telecom"])
def test_protocol_is_the_benchmarks_whatever_is_said(peer, domain, solo):
    """Tool calls in one message, by either side, with words, to unknown tools; stops of every kind;
    limits in between
    """
    agent = Chaos("assistant", ["get_users", "get_data_usage", "toggle_data"])
    user = Chaos("user", ["toggle_data", "check_status_bar", "reboot_device"])
    stops = []
    for i, t in enumerate(
        t
        for t in sample(domain, 22) * (5 if domain == "mock" else 1)
        if not solo or supports_solo(t)
    ):
        limit = random.Random(i)
        kw = dict(
            max_steps=limit.choice([1, 2, 3, 5, 9, 200]), max_errors=limit.choice([1, 2, 4, 10])
        )
        o = peer.orchestrator(t, agent, user, solo, seed=i, **kw)
        theirs = o.run()
        ours = one_with_seed(t, agent, user, solo, i, **kw)
        assert plain(ours.messages) == plain(map(peer.ours, theirs.messages)), (t.id, i)
        assert ended(ours) == (theirs.termination_reason.value, o.step_count, o.num_errors), (
            t.id,
            i,
        )
        stops.append(ours.stop)
    ends = {
        "max_steps",
        "too_many_errors",
        *(["agent_stop", "agent_error"] if solo else ["user_stop"]),
    }
    assert set(stops) == ends, "the chaos is meant to reach every end"


def one_with_seed(task, agent, user, solo, seed, **kw):
    "A rollout whose policies see `seed`"

    def seeded(policy):
        def ask(eps):
            for e in eps:
                e.seed = seed
            return policy(eps)

        return ask

    return rollout([task], seeded(agent), seeded(user), solo=solo, **kw)[0]


def ask(eps):
    return [Message("user", "Please help.") for _ in eps]


def talk(eps):
    return [Message("assistant", "Go on.") for _ in eps]


def only(bad, give):
    "An agent that is normal but on the task `bad`, where it gives (or raises) `give`"

    def policy(eps):
        out = talk(eps)
        for i, e in enumerate(eps):
            if e.task.id == bad and isinstance(give, Exception) and give.args[0] == "raise":
                raise give
            if e.task.id == bad:
                out[i] = give
        return out

    return policy


@pytest.mark.parametrize(
    "give, why",
    [
        (RuntimeError("raise", "server gone"), "RuntimeError"),
        (TimeoutError("too slow"), "TimeoutError: too slow"),
        (None, "expected a Message, got NoneType"),
        ("Hello", "expected a Message, got str"),
        (Message("user", "Hi"), "the message is from 'user'"),
        (Message("assistant", "  \n"), "empty message"),
        (Message("assistant", ["Hi"]), "content must be text, got list"),
        (Message("assistant", calls=["get_users"]), "expected a ToolCall"),
        (Message("assistant", calls=[ToolCall("f", [1])]), "expected a ToolCall"),
        (Message("assistant", calls=[ToolCall(None)]), "expected a ToolCall"),
        (Message("assistant", calls=1), "must be a list"),
    ],
    ids=lambda x: x if isinstance(x, str) and len(x) < 40 else "",
)
def test_a_fault_ends_its_own_episode_only(give, why):
    ts = base("mock")[:4]
    out = rollout(ts, only(ts[1].id, give), ask, max_steps=6)
    assert [t.stop for t in out] == ["max_steps", "agent_error", "max_steps", "max_steps"]
    assert why in out[1].info["why"] and [m.role for m in out[1].messages] == ["assistant", "user"]
    assert all("why" not in t.info for i, t in enumerate(out) if i != 1)


def test_user_faults_are_the_users():
    out = rollout(base("mock")[:2], talk, lambda eps: [Message("user", "") for _ in eps])
    assert {t.stop for t in out} == {"user_error"} and "empty" in out[0].info["why"]


def test_a_short_answer_is_never_shifted_onto_other_episodes():
    "A list of the wrong length: asked again in halves, each episode gets its own answer"

    def short(eps):
        return [Message("assistant", e.task.id) for e in eps[: max(1, len(eps) - 1)]]

    ts = base("mock")[:4]
    for t in rollout(ts, short, ask, max_steps=4):
        assert {m.content for m in t.messages[1:] if m.role == "assistant"} == {t.task.id}


def test_a_task_whose_world_cannot_be_set_up_is_kept_with_its_reason():
    good = base("mock")[0]
    action = dict(env_type="assistant", func_name="no_such", arguments={})
    bad = Task("broken", "mock", init=dict(initialization_actions=[action]))
    a, b = rollout([bad, good], talk, ask, max_steps=3)
    assert a.stop == "infrastructure_error" and "no_such" in a.info["why"] and b.stop == "max_steps"


def test_malformed_arguments_are_answered_with_an_error_and_kept():
    broken = ToolCall("create_task", '{"user_id": "user_')
    (t,) = rollout(
        base("mock")[:1],
        lambda eps: [Message("assistant", calls=[broken]) for _ in eps],
        ask,
        max_errors=3,
    )
    assert t.stop == "too_many_errors" and t.info["errors"] == 3
    assert [c.args for c in t.calls] == [broken.args] * 3 and all(
        m.error for m in t.messages if m.role == "tool"
    )


@pytest.mark.parametrize(
    "kw, why",
    [
        (dict(trials=0), "trials must be"),
        (dict(max_steps=0), "max_steps must be"),
        (dict(max_errors=-1), "max_errors must be"),
        (dict(slots=0), "slots must be"),
        (dict(slots=2.5), "slots must be"),
        (dict(user=None), "needs a user"),
        (dict(solo=True), "cannot be played solo"),
    ],
)
def test_bad_input_is_one_line(kw, why):
    with pytest.raises(ValueError, match=why) as e:
        rollout(base("airline"), talk, **{"user": ask, **kw})
    assert "\n" not in str(e.value)


def timeless(ts):
    "Trajectories without their timings"
    keep = ("id", "trial", "steps", "errors", "user")
    return [{**vars(t), "info": {k: t.info[k] for k in keep}} for t in ts]


def test_transcripts_and_seeds_do_not_depend_on_slots_or_order():
    ts = base("telecom")[::12]
    ref = rollout(ts, OracleAgent(), ScriptedUser(), trials=2, seed=3)
    assert [(t.info["trial"], t.task.id) for t in ref] == [(k, t.id) for k in (0, 1) for t in ts]
    assert len({t.seed for t in ref}) == len({t.info["id"] for t in ref}) == len(ref)
    for slots in (1, 3):
        assert timeless(
            rollout(ts, OracleAgent(), ScriptedUser(), trials=2, seed=3, slots=slots)
        ) == timeless(ref)
    back = rollout(ts[::-1], OracleAgent(), ScriptedUser(), seed=3)
    assert timeless(back[::-1]) == timeless(ref[: len(ts)])
    assert not {t.seed for t in rollout(ts, OracleAgent(), ScriptedUser(), seed=4)} & {
        t.seed for t in ref
    }


def test_slots_are_refilled_without_a_barrier():
    "One endless conversation does not hold up the others, and no more than `slots` are alive"
    alive, ended = [], []
    ts = [Task(f"{i}", "mock") for i in range(40)]

    def user(eps):
        alive.append(len(eps))
        return [Message("user", "Wait." if e.task.id == "0" else f"Bye. {STOP}") for e in eps]

    for t in iter_rollouts(ts, talk, user, slots=4, max_steps=100):
        ended.append(t.task.id)
    assert ended[-1] == "0" and max(alive) == 4 and alive[:13] == [4] * 13 and len(alive) < 60


def test_one_model_on_both_sides_is_asked_once_a_round():
    sizes = []

    def both(eps):
        sizes.append((len(eps), {e.turn for e in eps}))
        return [Message(e.turn, "Yes.") for e in eps]

    ts = [Task(f"{i}", "mock") for i in range(6)]
    out = rollout(ts[:4], both, both, max_steps=4, slots=4)
    assert [n for n, _ in sizes] == [4] * 4 and {t.stop for t in out} == {"max_steps"}


def test_trajectories_share_nothing_with_their_tasks():
    t = next(t for t in base("airline") if any(a["name"] == "book_reservation" for a in t.gold))
    before = copy.deepcopy(t.gold)
    (traj,) = rollout([t], OracleAgent(), ScriptedUser())
    for c in traj.calls:
        c.args.clear()
    assert t.gold == before


def test_each_side_sees_its_own():
    "What an agent may see is what the benchmark's orchestrator passes to it"
    both = next(t for t in base("telecom") if len({a.get("requestor") for a in t.gold}) == 2)
    (t,) = rollout([both], OracleAgent(), ScriptedUser())
    views = {by: Episode(t.task, messages=t.messages).seen_by(by) for by in ("assistant", "user")}
    for by, seen in views.items():
        assert (
            {c.by for m in seen for c in m.calls}
            == {by}
            == {m.by for m in seen if m.role == "tool"}
        )
    assert {id(m) for seen in views.values() for m in seen} == {id(m) for m in t.messages}


def test_an_agents_stop_token_ends_solo_only():
    """In conversation the benchmark's agent has no stop; in solo mode `done` is recorded as the
    token
    """

    def stops(eps):
        return [Message("assistant", f"Bye. {STOP}") for _ in eps]

    ready = [t for t in base("mock") if supports_solo(t)][:1]
    assert rollout(ready, stops, ask, max_steps=5)[0].stop == "max_steps"
    assert rollout(ready, stops, solo=True)[0].stop == "agent_stop"
    two = [ToolCall("get_users"), ToolCall("done")]
    (t,) = rollout(ready, lambda eps: [Message("assistant", calls=two) for _ in eps], solo=True)
    assert t.stop == "agent_stop" and [(m.role, m.content, m.calls) for m in t.messages] == [
        ("assistant", STOP, [])
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "domain, k, solo",
    [
        ("mock", 9, False),
        ("airline", 2, False),
        ("retail", 3, False),
        ("telecom", 6, False),
        ("mock", 9, True),
        ("telecom", 4, True),
    ],
)
def test_the_benchmark_accepts_and_grades_our_files_alike(peer, tmp_path, domain, k, solo):
    """Rollouts, written as a results file, read by the benchmark's own model, graded by its own
    evaluator
    """
    from tau2.data_model.simulation import Results

    ts = [t for t in sample(domain, k) if not solo or supports_solo(t)]
    raises = "create_task_1_with_env_assertions"  # its assertion does, when nothing was done
    idle = [t for t in ts if t.id != raises]
    trajs = rollout(ts, OracleAgent(), ScriptedUser(), solo=solo) + rollout(
        idle, NullAgent(), ScriptedUser(), solo=solo
    )
    for t in trajs[len(ts) :]:
        t.info["trial"] = 1
    theirs = Results.load(write_graded_results(trajs, tmp_path / "results.json"))
    assert [s.trial for s in theirs.simulations] == [0] * len(ts) + [1] * len(idle)
    by_id = {t.id: t for t in theirs.tasks}
    for sim, ours in zip(theirs.simulations, trajs):
        got = peer.evaluate_simulation(
            sim, by_id[sim.task_id], peer.EvaluationType.ALL, solo, domain
        )
        assert json.loads(got.model_dump_json()) == json.loads(sim.reward_info.model_dump_json()), (
            sim.task_id
        )
        assert got.reward == reward_info(ours)["reward"]
    back = load_results(tmp_path / "results.json").trajectories
    assert [plain(t.messages) for t in back] == [plain(t.messages) for t in trajs]
    assert {t.solo for t in back} == {solo}


@pytest.mark.slow
def test_the_benchmarks_viewer_shows_our_file(tmp_path):
    trajs = rollout(base("telecom")[::40], OracleAgent(), ScriptedUser())
    write_graded_results(trajs, tmp_path / "results.json")
    tau2 = os.path.join(os.path.dirname(sys.executable), "tau2")
    env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "COLUMNS": "200"}
    out = subprocess.run(
        [tau2, "view", "--file", tmp_path / "results.json"],
        input="1\n1\n2\n3\n1\n\n5\n",
        capture_output=True,
        text=True,
        env=env,
        timeout=120,
    )
    assert f"Loaded {len(trajs)} simulations" in out.stdout and "Thanks for using" in out.stdout, (
        out.stderr[-800:]
    )
    assert "Average Reward: 1.0000" in out.stdout and "grant_app_permission" in out.stdout


@pytest.mark.parametrize("domain", ["airline", "telecom"])
def test_a_trajectory_replays_to_the_world_it_left(domain):
    "Replaying twice gives the same world; one changed word in a result is noticed"
    trajs = [t for t in rollout(sample(domain, 8), OracleAgent(), ScriptedUser()) if t.calls]
    for t in trajs:
        assert env_after(t).same_state(env_after(t)) == (True, True)
        next(m for m in t.messages if m.role == "tool").content += "!"
        with pytest.raises(ValueError, match="the record says"):
            env_after(t)
