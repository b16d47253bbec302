"""A trajectory that breaks each rule of retail, and one that keeps it."""

from tests.verify.common import HOLD, Act, db, pick, play, transfer


def pay(o, method):
    return Act("modify_pending_order_payment", order_id=o["order_id"], payment_method_id=method)


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
