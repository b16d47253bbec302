"""Each policy rule has a trajectory that breaks it and one that keeps it, made of real records in
the real environment.
"""

import pytest

from synthlab.core.types import Message, Task, ToolCall, Trajectory
from synthlab.tau2.database import DOMAINS
from synthlab.tau2.env import Env, domain_policy
from synthlab.verify.gates import (
    RULES,
    broken_rules,
    domain_rules,
    replay_with_rules,
)
from tests.verify.airline_cases import (
    AIRLINE,
)
from tests.verify.common import (
    Act,
    play,
)
from tests.verify.retail_cases import RETAIL
from tests.verify.telecom_cases import TELECOM, who


def todo(title, user="user_1"):
    return play("mock", Act("create_task", user_id=user, title=title))


MOCK = {"mock/title": (todo(" "), todo("Tea")), "mock/user": (todo("Tea", "nobody"), todo("Tea"))}
CASES = AIRLINE | RETAIL | TELECOM | MOCK
found = {id(t): [h["rule"] for h in broken_rules(t)] for pair in CASES.values() for t in pair}


def test_every_rule_has_its_two_trajectories():
    assert CASES.keys() == RULES.keys()


@pytest.mark.parametrize("rule", CASES)
def test_rule_fires_and_rests(rule):
    bad, good = CASES[rule]
    assert rule in found[id(bad)] and rule not in found[id(good)]
    if RULES[rule].on:
        assert any(c.name in RULES[rule].on for c in good.calls), (
            "the compliant one never meets the rule"
        )


# what the tools accept although the policy forbids it: these are the rules that are worth the most
ACCEPTED = [
    "airline/five-passengers",
    "airline/payments",
    "airline/free-bags-booked",
    "airline/free-bags-changed",
    "airline/bags-stay",
    "airline/cancel-flown",
    "airline/cancel-terms",
    "airline/compensate-why",
    "airline/compensate-who",
    "airline/compensate-amount",
    "airline/compensate-delay",
    "retail/one-user",
    "retail/after-items",
    "retail/different",
    "telecom/overdue",
    "telecom/resume-paid",
    "telecom/resume-contract",
    "telecom/suspend-reason",
    "telecom/refuel-limit",
    "telecom/roaming-abroad",
    "telecom/tried-all",
]
REFUSED = [
    "airline/in-profile",
    "airline/bookable",
    "airline/change-payment",
    "airline/passenger-number",
    "retail/cancel-pending",
    "retail/cancel-reason",
    "retail/same-product",
    "retail/available",
    "retail/other-payment",
    "retail/balance-total",
    "retail/balance-difference",
    "retail/refund-to",
    "telecom/one-request",
    "mock/user",
]


@pytest.mark.parametrize("rule", ACCEPTED)
def test_the_environment_would_have_let_it_pass(rule):
    assert not next(h for h in broken_rules(CASES[rule][0]) if h["rule"] == rule)["refused"]


@pytest.mark.parametrize("rule", REFUSED)
def test_the_environment_refuses_and_the_hit_says_so(rule):
    assert next(h for h in broken_rules(CASES[rule][0]) if h["rule"] == rule)["refused"]


@pytest.mark.parametrize(
    "good",
    [
        k
        for k in CASES
        if RULES[k].kind == "state"
        and k not in ("airline/cancel-flown", "airline/compensate-delay")
    ],
)
def test_the_compliant_one_breaks_no_fact(good):
    assert not [h for h in broken_rules(CASES[good][1]) if h["kind"] == "state"]
    assert all(not m.error for m in CASES[good][1].messages)


@pytest.mark.parametrize("rule", RULES)
def test_rule_cites_the_policy(rule):
    x = RULES[rule]
    modes = [
        s
        for s in (False, True)
        if x.solo in (None, s) and (not s or x.domain in ("telecom", "mock"))
    ]
    assert modes and all(x.sentence in domain_policy(x.domain, solo=s) for s in modes)
    assert 3 <= len(x.sentence.split()) <= 30 or x.sentence == "Confirm the price"


def test_workflow_policy_has_the_same_sentences():
    assert domain_rules("telecom-workflow") == domain_rules("telecom")
    assert all(
        x.sentence in domain_policy("telecom-workflow", solo=bool(x.solo))
        for x in domain_rules("telecom")
        if x.id != "telecom/reboot-apn"
    )


def test_rules_judge_agents_not_users():
    t = play(
        "telecom",
        Act("make_payment", by="user"),
        Act("toggle_airplane_mode", by="user"),
        init=[who],
    )
    assert not [h for h in broken_rules(t) if h["kind"] != "words"]


@pytest.mark.parametrize(
    "args", ['{"order', dict(order_id=7), dict(), dict(order_id=["#W1"], reason=None)]
)
def test_a_malformed_call_is_not_a_matter_of_policy(args):
    t = Trajectory(
        Task("1", "retail"),
        [
            Message("assistant", calls=[ToolCall("cancel_pending_order", args, "1")]),
            Message("tool", "x", call_id="1"),
        ],
    )
    assert not [h for h in broken_rules(t) if h["kind"] == "state"]


@pytest.mark.parametrize("domain", DOMAINS)
def test_unknown_records_break_nothing(domain):
    """A call about a record that does not exist is refused by the environment; no rule stumbles
    over it
    """
    from synthlab.tau2.env import tools

    def junk(p):
        return dict(string="zzz", integer=1, number=1.0, boolean=True).get(
            p.get("type"), ["zzz"] if "items" in p else "zzz"
        )

    calls = [
        ToolCall(
            f["name"],
            {
                k: (p["enum"][0] if "enum" in p else [] if p.get("type") == "array" else junk(p))
                for k, p in f["parameters"].get("properties", {}).items()
            },
            str(i),
        )
        for i, f in enumerate(t["function"] for t in tools(domain))
    ]
    env = Env(Task("1", domain))
    t = Trajectory(
        Task("1", domain),
        [m for c in calls for m in (Message("assistant", calls=[c]), env.step(c))],
    )
    assert replay_with_rules(t).env is not None
