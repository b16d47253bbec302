"""A trajectory that breaks each rule of telecom, and one that keeps it."""

from tests.verify.common import HOLD, Act, play, transfer


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
