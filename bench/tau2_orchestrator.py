"""The benchmark's own orchestrator, environment and evaluator, driven by this lab's policies
through thin adapters.

Each side gets an `Episode` that holds only what the benchmark passes to it, so a policy that needs
more fails here.
"""

# ruff: noqa: E402  (the environment and the log are set before the benchmark is imported)
import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from loguru import logger

logger.remove()  # before the benchmark's own imports, which log

from tau2.agent.base import LocalAgent
from tau2.agent.llm_agent import LLMSoloAgent
from tau2.data_model.message import AssistantMessage, MultiToolMessage, UserMessage
from tau2.data_model.tasks import Task
from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation
from tau2.orchestrator.orchestrator import Orchestrator
from tau2.registry import registry
from tau2.user.user_simulator import DummyUser, UserSimulator

from synthlab.tau2.env import message_from_tau2, to_tau2
from synthlab.tau2.rollout import Episode, normalize_turn


def theirs(m):
    "Our message as the benchmark's"
    calls = [dict(id=c.id, name=c.name, arguments=c.args, requestor=c.by) for c in m.calls] or None
    cls = UserMessage if m.role == "user" else AssistantMessage
    return cls(role=m.role, content=m.content or None, tool_calls=calls)


def ours(m):
    return message_from_tau2(m.model_dump())


class Side:
    "One side of the conversation: the policy and what it has seen"

    def connect(self, task, policy, turn, solo=False, seed=0):
        self.our_task, self.policy, self.side, self.solo, self.our_seed = (
            task,
            policy,
            turn,
            solo,
            seed,
        )
        return self

    def get_init_state(self, message_history=None):
        seen = [ours(m) for m in message_history or []]
        return Episode(
            self.our_task, self.solo, self.our_seed, messages=seen, start=len(seen), turn=self.side
        )

    def generate_next_message(self, message, ep):
        new = (
            message.tool_messages
            if isinstance(message, MultiToolMessage)
            else [message]
            if message
            else []
        )
        ep.messages += [ours(m) for m in new]
        ep.messages.append(normalize_turn(ep, self.policy([ep])[0]))
        return theirs(ep.messages[-1]), ep

    def set_seed(self, seed):
        pass


class Agent(Side, LocalAgent):
    pass


class User(Side, UserSimulator):
    pass


class SoloAgent(Side, LLMSoloAgent):
    pass


def orchestrator(task, agent, user=None, solo=False, max_steps=200, max_errors=10, seed=0):
    "The benchmark's orchestrator for one of our tasks, as its `run_task` sets it up"
    make, t = registry.get_env_constructor(task.domain), Task.model_validate(to_tau2(task))
    env = make(solo_mode=True) if solo else make()
    if solo:
        tools = env.get_tools() + (env.get_user_tools() if env.user_tools else [])
        sides = (
            SoloAgent(tools, env.get_policy(), t).connect(task, agent, "assistant", True, seed),
            DummyUser(),
        )
    else:
        user_tools = env.get_user_tools() if env.user_tools else None
        sides = (
            Agent(env.get_tools(), env.get_policy()).connect(task, agent, "assistant", seed=seed),
            User(user_tools, str(t.user_scenario)).connect(task, user, "user", seed=seed),
        )
    return Orchestrator(task.domain, *sides, env, t, max_steps, max_errors, seed, solo)


def graded(task, agent, user=None, solo=False, **kw):
    "One episode, run and graded by the benchmark: the simulation, its reward, the orchestrator"
    o = orchestrator(task, agent, user, solo, **kw)
    sim = o.run()
    return sim, evaluate_simulation(sim, o.task, EvaluationType.ALL, solo, task.domain), o
