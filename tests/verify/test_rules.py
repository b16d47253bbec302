"""Each policy rule has a trajectory that breaks it and one that keeps it, made of real records in
the real environment.
"""

import json
from functools import lru_cache

import pytest
from conftest import DATA, RUNS, needs_data

from synthlab.core.types import Message, Score, Task, ToolCall, Trajectory
from synthlab.tau2.database import DOMAINS, read_domain_json
from synthlab.tau2.env import Env, domain_policy, tasks
from synthlab.verify.gates import (
    RULES,
    broken_rules,
    domain_rules,
    gold_violations,
    policy_rule_rows,
    replay_with_rules,
    violation_rates,
)

HOLD = "YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON."


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


# airline
# -------------------------------------------------------------------------------------------------


def status(f):
    return db("airline")["flights"][f["flight_number"]]["dates"].get(f["date"], {}).get("status")


def statuses(r):
    return {status(f) for f in r["flights"]}


def member(r):
    return db("airline")["users"][r["user_id"]]["membership"]


def card(user_id, source="credit_card"):
    return next(
        (
            k
            for k, m in db("airline")["users"][user_id]["payment_methods"].items()
            if m["source"] == source
        ),
        None,
    )


def res(fits):
    return pick("airline", "reservations", lambda r: card(r["user_id"]) and fits(r))


def legs(r):
    return [dict(flight_number=f["flight_number"], date=f["date"]) for f in r["flights"]]


def people(r):
    return [dict(p) for p in r["passengers"]]


OLD = "2024-05-13T00:00:00"
free = {"available"}
plain = res(
    lambda r: (
        statuses(r) == free
        and r["cabin"] == "economy"
        and r["insurance"] == "no"
        and r["created_at"] < OLD
        and r["flight_type"] == "one_way"
        and member(r) == "regular"
        and len(r["passengers"]) == 1
        and r["total_baggages"] == 1
    )
)
basic = res(
    lambda r: (
        statuses(r) == free
        and r["cabin"] == "basic_economy"
        and len(r["flights"]) == 1
        and r["flight_type"] == "one_way"
    )
)
recent = res(
    lambda r: (
        statuses(r) == free and r["cabin"] == "economy" and r["created_at"] > "2024-05-14T15:00:00"
    )
)
insured = res(
    lambda r: (
        statuses(r) == free
        and r["cabin"] == "economy"
        and r["insurance"] == "yes"
        and r["created_at"] < OLD
    )
)
gone = res(lambda r: "landed" in statuses(r) and r["cabin"] == "economy")
certified = res(
    lambda r: statuses(r) == free and r["cabin"] == "economy" and card(r["user_id"], "certificate")
)
TROUBLE = {"cancelled", "delayed"}
held = {
    u["user_id"]: [db("airline")["reservations"][i] for i in u["reservations"]]
    for u in db("airline")["users"].values()
}


def hit(u):
    return [r for r in held[u["user_id"]] if statuses(r) & TROUBLE]


def one_hit(u, how):
    return len(hit(u)) == 1 and statuses(hit(u)[0]) & TROUBLE == {how}


silver = pick(
    "airline", "users", lambda u: u["membership"] != "regular" and one_hit(u, "cancelled")
)
late = pick("airline", "users", lambda u: u["membership"] != "regular" and one_hit(u, "delayed"))
poor = pick(
    "airline",
    "users",
    lambda u: (
        u["membership"] == "regular"
        and len(hit(u)) == 1
        and hit(u)[0]["insurance"] == "no"
        and hit(u)[0]["cabin"] != "business"
    ),
)
lucky = pick("airline", "users", lambda u: not hit(u))


def due(u, each):
    return each * len(hit(u)[0]["passengers"])


def cancel(r):
    return Act("cancel_reservation", reservation_id=r["reservation_id"])


def fly(r, flights=None, cabin=None, pay=None):
    return Act(
        "update_reservation_flights",
        reservation_id=r["reservation_id"],
        cabin=cabin or r["cabin"],
        flights=flights or legs(r),
        payment_id=pay or card(r["user_id"]),
    )


def bags(r, total, paid, pay=None):
    return Act(
        "update_reservation_baggages",
        reservation_id=r["reservation_id"],
        total_baggages=total,
        nonfree_baggages=paid,
        payment_id=pay or card(r["user_id"]),
    )


def certificate(u, amount):
    return Act("send_certificate", user_id=u["user_id"], amount=amount)


buyer = pick(
    "airline",
    "users",
    lambda u: (
        u["membership"] == "regular"
        and sum(m["source"] == "credit_card" for m in u["payment_methods"].values()) > 1
    ),
)
route = pick(
    "airline", "flights", lambda f: min(f["dates"]["2024-05-20"]["available_seats"].values()) > 6
)
PRICE = route["dates"]["2024-05-20"]["prices"]["economy"]


def book(n=1, pay=None, date="2024-05-20", bags=0, paid=0, insurance="no"):
    cards = [k for k, m in buyer["payment_methods"].items() if m["source"] == "credit_card"]
    due = n * PRICE + 50 * paid + (30 * n if insurance == "yes" else 0)
    pays = [dict(payment_id=p, amount=due if not i else 0) for i, p in enumerate(pay or cards[:1])]
    return Act(
        "book_reservation",
        user_id=buyer["user_id"],
        origin=route["origin"],
        destination=route["destination"],
        flight_type="one_way",
        cabin="economy",
        flights=[dict(flight_number=route["flight_number"], date=date)],
        passengers=[dict(first_name="A", last_name="B", dob="1990-01-01")] * n,
        payment_methods=pays,
        total_baggages=bags,
        nonfree_baggages=paid,
        insurance=insurance,
    )


CARDS = [k for k, m in buyer["payment_methods"].items() if m["source"] == "credit_card"]
look = Act("get_user_details", user_id=buyer["user_id"])
transfer = Act("transfer_to_human_agents", summary="s")
elsewhere = next(
    f
    for f in db("airline")["flights"].values()
    if f["origin"] not in (plain["origin"], plain["destination"])
)
next_day = [dict(flight_number=basic["flights"][0]["flight_number"], date="2024-05-30")]


def air(*turns):
    return play("airline", *turns)


def sure(r, act):
    return air(
        f"U: I am {r['user_id']}.",
        f"A: I will change {r['reservation_id']}. Is that right?",
        "U: Yes.",
        act,
    )


AIRLINE = {
    "airline/one-call": (air([look, look]), air(look, look)),
    "airline/call-alone": (
        air(Act("get_user_details", beside="One moment.", user_id=buyer["user_id"])),
        air("A: One moment.", look),
    ),
    "airline/transfer-words": (air(transfer, "A: Bye."), air(transfer, f"A: {HOLD}")),
    "airline/transfer-call": (air("U: Help", f"A: {HOLD}"), air(transfer, f"A: {HOLD}")),
    "airline/five-passengers": (air(book(6)), air(book(5))),
    "airline/payments": (air(book(pay=CARDS[:2])), air(book())),
    "airline/in-profile": (air(book(pay=["credit_card_0000000"])), air(book())),
    "airline/bookable": (air(book(date="2024-05-15")), air(book())),
    "airline/free-bags-booked": (air(book(bags=1, paid=1)), air(book(bags=1))),
    "airline/free-bags-changed": (air(bags(plain, 2, 0)), air(bags(plain, 2, 1))),
    "airline/bags-stay": (air(bags(plain, 0, 0)), air(bags(plain, 1, 0))),
    "airline/basic-economy": (air(fly(basic, next_day)), air(fly(basic, cabin="economy"))),
    "airline/same-trip": (
        air(fly(plain, [dict(flight_number=elsewhere["flight_number"], date="2024-05-20")])),
        air(fly(plain)),
    ),
    "airline/cabin-flown": (air(fly(gone, cabin="business")), air(fly(plain, cabin="business"))),
    "airline/change-payment": (
        air(fly(certified, pay=card(certified["user_id"], "certificate"))),
        air(fly(certified)),
    ),
    "airline/passenger-number": tuple(
        air(
            Act(
                "update_reservation_passengers",
                reservation_id=plain["reservation_id"],
                passengers=p,
            )
        )
        for p in (people(plain) * 2, people(plain))
    ),
    "airline/cancel-flown": (air(cancel(gone)), air(cancel(plain))),
    "airline/cancel-terms": (air(cancel(plain)), air(cancel(recent))),
    "airline/cancel-reason": (
        air("U: I changed my plans.", cancel(insured)),
        air("U: I am sick.", cancel(insured)),
    ),
    "airline/compensate-why": (
        air(certificate(lucky, 100)),
        air(certificate(silver, due(silver, 100))),
    ),
    "airline/compensate-who": (
        air(certificate(poor, due(poor, 100))),
        air(certificate(silver, due(silver, 100))),
    ),
    "airline/compensate-amount": (
        air(certificate(silver, due(silver, 100) + 1)),
        air(certificate(silver, due(silver, 100))),
    ),
    "airline/compensate-delay": (
        air(certificate(late, due(late, 50))),
        air(cancel(hit(late)[0]), certificate(late, due(late, 50))),
    ),
    "airline/compensate-asked": (
        air("U: My flight was cancelled.", certificate(silver, due(silver, 100))),
        air("U: I want compensation.", certificate(silver, due(silver, 100))),
    ),
    "airline/confirm": (
        air(f"A: I can cancel {recent['reservation_id']}.", "U: Hm, wait.", cancel(recent)),
        sure(recent, cancel(recent)),
    ),
    "airline/user-id": (air("U: Cancel my flight.", cancel(recent)), sure(recent, cancel(recent))),
    "airline/user-id-booking": (
        air("U: A flight.", book()),
        air(f"U: I am {buyer['user_id'].replace('_', ' ').title()}.", book()),
    ),
    "airline/offer-insurance": (
        air("A: One flight?", "U: Yes.", book()),
        air("A: Any insurance?", "U: No.", book()),
    ),
    "airline/bags-wanted": (
        air("U: Yes.", book(bags=1)),
        air("U: I have one suitcase.", book(bags=1)),
    ),
}


# retail
# -------------------------------------------------------------------------------------------------


def order(fits):
    return pick("retail", "orders", fits)


def rich(o):
    return db("retail")["users"][o["user_id"]]["payment_methods"]


def paid_by(o):
    return o["payment_history"][0]["payment_method_id"]


def variants(i):
    return db("retail")["products"][i["product_id"]]["variants"].values()


def others(i, **kw):
    return [
        v["item_id"]
        for v in variants(i)
        if v["item_id"] != i["item_id"] and all(v[k] == x for k, x in kw.items())
    ]


def swap(o):
    return o["items"][0], others(o["items"][0], available=True)[0]


def has_swap(o):
    return others(o["items"][0], available=True) and others(o["items"][0], available=False)


def no_gift(o):
    return not paid_by(o).startswith("gift")


def spare(o):
    return [k for k in rich(o) if k != paid_by(o) and not k.startswith("gift")]


pending = order(lambda o: o["status"] == "pending" and has_swap(o) and no_gift(o) and spare(o))
delivered = order(lambda o: o["status"] == "delivered" and has_swap(o) and no_gift(o))
foreign = order(
    lambda o: (
        o["status"] == "pending"
        and o["user_id"] != pending["user_id"]
        and has_swap(o)
        and no_gift(o)
    )
)
elders = order(lambda o: o["status"] == "delivered" and spare(o))
not_original = spare(elders)[0]


def gift(o):
    return next((m for m in rich(o).values() if m["source"] == "gift_card"), None)


def dearer(o):
    cap = o["items"][0]["price"] + gift(o)["balance"] if gift(o) else float("inf")
    return next((v for v in variants(o["items"][0]) if v["available"] and v["price"] > cap), None)


empty = order(lambda o: o["status"] == "pending" and dearer(o) and no_gift(o))
full = order(
    lambda o: (
        o["status"] == "pending"
        and gift(o)
        and no_gift(o)
        and gift(o)["balance"] >= o["payment_history"][0]["amount"]
    )
)
short = order(
    lambda o: (
        o["status"] == "pending"
        and gift(o)
        and no_gift(o)
        and gift(o)["balance"] < o["payment_history"][0]["amount"]
    )
)


def find(o):
    return Act("find_user_id_by_email", email=db("retail")["users"][o["user_id"]]["email"])


def details(o):
    return Act("get_order_details", order_id=o["order_id"])


def drop(o, reason="no longer needed"):
    return Act("cancel_pending_order", order_id=o["order_id"], reason=reason)


def items(o, new=None, pay=None, tool="modify_pending_order_items"):
    old, fine = swap(o)
    return Act(
        tool,
        order_id=o["order_id"],
        item_ids=[old["item_id"]],
        new_item_ids=[new or fine],
        payment_method_id=pay or paid_by(o),
    )


def exchange(o, new=None, pay=None):
    return items(o, new, pay, "exchange_delivered_order_items")


def give_back(o, pay=None):
    return Act(
        "return_delivered_order_items",
        order_id=o["order_id"],
        item_ids=[o["items"][0]["item_id"]],
        payment_method_id=pay or paid_by(o),
    )


def pay(o, method):
    return Act("modify_pending_order_payment", order_id=o["order_id"], payment_method_id=method)


def move(o):
    return Act(
        "modify_pending_order_address",
        order_id=o["order_id"],
        **{k: o["address"][k] for k in ("address1", "address2", "city", "state", "country", "zip")},
    )


def shop(*turns):
    return play("retail", *turns)


alien = next(
    i
    for p in db("retail")["products"].values()
    if p["product_id"] != pending["items"][0]["product_id"]
    for i in p["variants"]
)
new_method = spare(pending)[0]
RETAIL = {
    "retail/one-call": (
        shop([find(pending), details(pending)]),
        shop(find(pending), details(pending)),
    ),
    "retail/call-alone": (
        shop(Act("get_order_details", beside="Let me see.", order_id=pending["order_id"])),
        shop(details(pending)),
    ),
    "retail/transfer-words": (shop(transfer, "A: Bye."), shop(transfer, f"A: {HOLD}")),
    "retail/transfer-call": (shop(f"A: {HOLD}"), shop(transfer, f"A: {HOLD}")),
    "retail/authenticate": (shop(details(pending)), shop(find(pending), details(pending))),
    "retail/one-user": (shop(find(pending), drop(foreign)), shop(find(pending), drop(pending))),
    "retail/cancel-pending": (shop(drop(delivered)), shop(drop(pending))),
    "retail/modify-pending": (shop(items(delivered)), shop(items(pending))),
    "retail/after-items": (
        shop(items(pending), move(pending)),
        shop(move(pending), items(pending)),
    ),
    "retail/return-delivered": (shop(give_back(pending)), shop(give_back(delivered))),
    "retail/exchange-delivered": (shop(exchange(pending)), shop(exchange(delivered))),
    "retail/items-once": (
        shop(items(pending), items(pending)),
        shop(items(pending), items(foreign)),
    ),
    "retail/look-first": (
        shop(find(pending), drop(pending)),
        shop(details(pending), drop(pending)),
    ),
    "retail/cancel-reason": (
        shop(drop(pending, "too expensive")),
        shop(drop(pending, "ordered by mistake")),
    ),
    "retail/same-product": (shop(items(pending, alien)), shop(items(pending))),
    "retail/available": (
        shop(items(pending, others(pending["items"][0], available=False)[0])),
        shop(items(pending)),
    ),
    "retail/different": (
        shop(exchange(delivered, delivered["items"][0]["item_id"])),
        shop(exchange(delivered)),
    ),
    "retail/other-payment": (shop(pay(pending, paid_by(pending))), shop(pay(pending, new_method))),
    "retail/balance-total": (
        shop(pay(short, gift(short)["id"])),
        shop(pay(full, gift(full)["id"])),
    ),
    "retail/balance-difference": (
        shop(items(empty, dearer(empty)["item_id"], gift(empty)["id"])),
        shop(items(empty, dearer(empty)["item_id"])),
    ),
    "retail/refund-to": (shop(give_back(elders, not_original)), shop(give_back(elders))),
    "retail/confirm": (
        shop("A: What can I do?", "U: Cancel something, I do not care what.", drop(pending)),
        shop(f"A: Shall I cancel {pending['order_id']}?", "U: Yes, go ahead.", drop(pending)),
    ),
}


# telecom
# -------------------------------------------------------------------------------------------------


def by_agent(func, **kw):
    return dict(env_type="assistant", func_name=func, arguments=kw)


def by_user(func, **kw):
    return dict(env_type="user", func_name=func, arguments=kw)


JOHN, PHONE = dict(customer_id="C1001", line_id="L1002"), "555-123-2002"
who = by_user("set_user_info", name="John Smith", phone_number=PHONE)


def owing(ended):
    return [
        who,
        by_agent(
            "suspend_line_for_overdue_bill", **JOHN, new_bill_id="B9999", contract_ended=ended
        ),
    ]


abroad, home = [
    [who, by_user("set_user_location", abroad=x), by_agent("disable_roaming", **JOHN)]
    for x in (True, False)
]


def call(*turns, init=(who,), **kw):
    return play("telecom", *turns, init=list(init), **kw)


ask, resume, lookup = (
    Act("send_payment_request", customer_id="C1001", bill_id="B9999"),
    Act("resume_line", **JOHN),
    Act("get_customer_by_phone", phone_number=PHONE),
)
bills, pays, restart, roam = (
    Act("get_bills_for_customer", customer_id="C1001"),
    Act("make_payment", by="user"),
    Act("reboot_device", by="user"),
    Act("enable_roaming", **JOHN),
)


def refuel(gb):
    return Act("refuel_data", **JOHN, gb_amount=gb)


def suspend(line="L1002"):
    return Act("suspend_line", customer_id="C1001", line_id=line, reason="r")


airplane, sim = (
    [who, by_user("turn_airplane_mode_on")],
    [who, by_user("turn_airplane_mode_on"), by_user("lock_sim_card", mode="pin")],
)
due_again = [
    by_agent(
        "suspend_line_for_overdue_bill",
        customer_id="C1001",
        line_id="L1001",
        new_bill_id="B9998",
        contract_ended=False,
    )
]
TELECOM = {
    "telecom/one-call": (call([lookup, bills]), call(lookup, bills)),
    "telecom/call-alone": (
        call(Act("get_bills_for_customer", beside="Hm.", customer_id="C1001")),
        call(bills),
    ),
    "telecom/transfer-words": (call(transfer, "A: Bye."), call(transfer, f"A: {HOLD}")),
    "telecom/transfer-call": (call(f"A: {HOLD}"), call(transfer, f"A: {HOLD}")),
    "telecom/identify": (call(bills), call(lookup, bills)),
    "telecom/overdue": (
        call(Act("send_payment_request", customer_id="C1001", bill_id="B1002")),
        call(ask, init=owing(False)),
    ),
    "telecom/overdue-solo": (
        call(Act("send_payment_request", customer_id="C1001", bill_id="B1002"), solo=True),
        call(ask, init=owing(False), solo=True),
    ),
    "telecom/bill-checked": (call(ask, init=owing(False)), call(bills, ask, init=owing(False))),
    "telecom/one-request": (
        call(
            ask,
            Act("send_payment_request", customer_id="C1001", bill_id="B1002"),
            init=owing(False),
        ),
        call(ask, init=owing(False)),
    ),
    "telecom/permission": (
        call(ask, init=owing(False), solo=True, ticket="No money."),
        call(
            ask,
            init=owing(False),
            solo=True,
            ticket="They gave permission to pay all their overdue bills.",
        ),
    ),
    "telecom/resume-paid": (
        call(ask, resume, init=owing(False)),
        call(ask, pays, resume, init=owing(False)),
    ),
    "telecom/resume-contract": (
        call(ask, pays, resume, init=owing(True)),
        call(ask, pays, resume, init=owing(False)),
    ),
    "telecom/suspend-reason": (call(suspend()), call(suspend(), init=[who, *due_again])),
    "telecom/refuel-limit": (call(refuel(1.5), refuel(1.0)), call(refuel(1.0), refuel(1.0))),
    "telecom/refuel-line": (
        call("U: I need more data.", refuel(1.0)),
        call("U: My number is 555 123 2002.", refuel(1.0)),
    ),
    "telecom/roaming-line": (
        call("U: I am in France.", roam, init=abroad),
        call(f"U: I am in France, {PHONE}.", roam, init=abroad),
    ),
    "telecom/refuel-price": (
        call("A: More data?", "U: Yes.", refuel(1.0)),
        call("A: 1 GB costs $2.", "U: Yes.", refuel(1.0)),
    ),
    "telecom/roaming-abroad": (call(roam, init=home), call(roam, init=abroad)),
    "telecom/reboot-resumed": (
        call(ask, pays, resume, "A: All done.", init=owing(False)),
        call(ask, pays, resume, restart, init=owing(False)),
    ),
    "telecom/reboot-apn": (
        call(Act("reset_apn_settings", by="user"), "A: All done."),
        call(Act("reset_apn_settings", by="user"), "A: Now restart it."),
    ),
    "telecom/tried-all": (call(transfer, init=airplane), call(transfer, init=sim)),
    "telecom/tried-all-solo": (
        call(transfer, init=airplane, solo=True),
        call(transfer, init=sim, solo=True),
    ),
}


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
