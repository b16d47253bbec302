"Authors and judges: checked stage by stage"

from synthlab.generate.apigen_mt import (
    roll_out_blueprints,
)
from synthlab.generate.blueprints import (
    Blueprint,
)
from synthlab.generate.committee import blueprint_from_proposal
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
