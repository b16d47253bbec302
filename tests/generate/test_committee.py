"Authors and judges: checked stage by stage"

import json

from synthlab.generate.apigen_mt import (
    generate,
    roll_out_blueprints,
)
from synthlab.generate.blueprints import (
    Blueprint,
    propose,
)
from synthlab.generate.committee import BlueprintAuthor, blueprint_from_proposal, lost_facts
from synthlab.models.llm import ScriptedLLM
from synthlab.tau2.database import find_record, owner_ids


# ------------------------------------------------------------------------------ models in the roles
def test_an_author_is_checked_stage_by_stage():
    import random

    user = owner_ids("retail")[0]
    order = next(k for k in find_record("retail", user)["orders"])

    def idea(**kw):
        return dict(thought="", instruction="You want it gone.", actions=[], outputs=[]) | kw

    def act(name, **a):
        return dict(name=name, arguments=a)

    home = dict(address1="1 A St", address2="", city="X", state="CA", country="USA", zip="90001")
    move = act("modify_user_address", user_id=user, **home)
    wrong = act("cancel_pending_order", order_id="#W1", reason="no longer needed")
    theirs = act("modify_user_address", user_id=owner_ids("retail")[1], **home)
    said = "You want your address to be 1 A St, X, CA 90001, USA."
    cases = [
        (None, "format"),
        (idea(), "format"),
        (idea(actions=[act("fly", x=1)]), "format"),
        (idea(actions=[move], outputs=[3]), "format"),
        (idea(actions=[wrong]), "execution"),
        (idea(actions=[move], instruction=said, outputs=["1234567"]), "execution"),
        (idea(actions=[theirs], instruction=said), "policy"),
    ]
    for d, stage in cases:
        why = blueprint_from_proposal("retail", user, d, random.Random(0))
        assert why.startswith(stage), (d, stage)
    told = [find_record("retail", user)["email"]]
    fine = idea(actions=[move], instruction=said, outputs=told)
    good = blueprint_from_proposal("retail", user, fine, random.Random(0))
    assert isinstance(good, Blueprint) and roll_out_blueprints([good]).kept and order


def test_rewording_is_proved_again():
    bs = propose("airline", 10, refuse=0, seed=8)
    words = BlueprintAuthor(
        ScriptedLLM(
            lambda chat, **_: json.dumps(
                dict(
                    reason_for_call="You need help. "
                    + chat[-1].content.split("WANTS\n")[1].split("\n\nWHAT")[0]
                )
            ),
            "w",
        )
    )
    new = words.reword(bs)
    assert all(
        n.id == b.id
        and n.actions == b.actions
        and n.goal["reason_for_call"].startswith("You need help.")
        for n, b in zip(new, bs)
    )
    assert len(roll_out_blueprints(new).kept) == len(bs)
    nothing = BlueprintAuthor(ScriptedLLM(lambda chat, **_: "no JSON", "n")).reword(bs)
    assert [n.goal for n in nothing] == [b.goal for b in bs]


def test_words_that_lose_facts_are_set_aside():
    """The clerk knows what to do whatever the user says, so words must say it: numbers, ids,
    quotations, values of arguments
    """

    def vague(chat, **_):
        return json.dumps(dict(reason_for_call="You need some help with your account."))

    f = generate(4, ("mock", "retail"), author=ScriptedLLM(vague, "vague"), refuse=0.0, seed=1)
    assert not f.kept and f.reasons().keys() == {"words"} and f.stages["worded"][1] == 0
    b = propose("retail", 1, (1,), 0.0, seed=2)[0]
    assert lost_facts(b, "Hello.") and not lost_facts(
        b, "Well. " + b.goal["reason_for_call"].upper()
    )
