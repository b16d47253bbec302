"""Shared by the tests of verify."""

import json
from dataclasses import replace
from functools import lru_cache

from synthlab.core.types import (
    Message,
    Task,
    ToolCall,
    Trajectory,
    Usage,
)
from synthlab.models.chat import Reply
from synthlab.tau2.database import read_domain_json
from synthlab.tau2.env import Env
from synthlab.tau2.replay import (
    run_actions,
)


def act(name, by="assistant", **arguments):
    return dict(name=name, arguments=arguments, requestor=by)


def swap_message(t, at, m):
    return replace(
        t, messages=[*t.messages[:at], m, *t.messages[at + 1 :]], info=dict(t.info), scores={}
    )


def cancels(*words, read=False):
    first = [act("get_user_details", user_id="daiki_muller_1116")] if read else []
    t = run_actions(
        Task("1", "airline"), [*first, act("cancel_reservation", reservation_id="XEHM4B")]
    )
    return replace(t, messages=[*words, *t.messages])


Q = dict(a="Is it?", b="Was it?")


class Judge:
    "Says the same thing to everybody, and remembers what it was asked"

    def __init__(self, *texts, name="judge"):
        self.texts, self.name, self.asked = texts, name, []

    def __call__(self, chats, n=1, temp=0.0, maxtok=1024, seed=0, schema=None, tools=None):
        self.asked += [(c, schema) for c in chats]
        return [
            [t if isinstance(t, Reply) else Reply(t, usage=Usage(10, 2))]
            for t in (self.texts * len(chats))[: len(chats)]
        ]


def say(**kw):
    return json.dumps(kw)


class Act(dict):
    "A call, with words beside it when there are any"

    def __init__(self, name, by="assistant", beside="", **args):
        super().__init__(name=name, args=args)
        self.by, self.beside = by, beside


def play(domain, *turns, init=None, ticket=None, solo=False):
    """A trajectory from turns: `U: words`, `A: words`, a call, or a list of calls in one turn;
    answered by the environment
    """
    task = Task(
        "t", domain, init=dict(initialization_actions=init) if init else None, ticket=ticket
    )
    env, out, n = Env(task, solo), [], 0
    for t in turns:
        if isinstance(t, str):
            out.append(Message(dict(U="user", A="assistant")[t[0]], t[3:]))
            continue
        acts = t if isinstance(t, list) else [t]
        calls = [ToolCall(a["name"], a["args"], f"c{n + i}", a.by) for i, a in enumerate(acts)]
        out += [Message(acts[0].by, acts[0].beside, calls), *map(env.step, calls)]
        n += len(calls)
    return Trajectory(task, out, stop="user_stop", solo=solo)


@lru_cache(maxsize=None)
def db(site):
    return read_domain_json(site, "db.json")


def pick(site, table, fits):
    return next(x for x in db(site)[table].values() if fits(x))


HOLD = "YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON."


transfer = Act("transfer_to_human_agents", summary="s")
