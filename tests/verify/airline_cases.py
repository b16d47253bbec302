"""A trajectory that breaks each rule of airline, and one that keeps it."""

from tests.verify.common import HOLD, Act, db, pick, play, transfer


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


def cancel(r):
    return Act("cancel_reservation", reservation_id=r["reservation_id"])


def bags(r, total, paid, pay=None):
    return Act(
        "update_reservation_baggages",
        reservation_id=r["reservation_id"],
        total_baggages=total,
        nonfree_baggages=paid,
        payment_id=pay or card(r["user_id"]),
    )


def legs(r):
    return [dict(flight_number=f["flight_number"], date=f["date"]) for f in r["flights"]]


def people(r):
    return [dict(p) for p in r["passengers"]]


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


def fly(r, flights=None, cabin=None, pay=None):
    return Act(
        "update_reservation_flights",
        reservation_id=r["reservation_id"],
        cabin=cabin or r["cabin"],
        flights=flights or legs(r),
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
