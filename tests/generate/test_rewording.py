"Words by a model: facts survive, faults are named, an author gets a second chance"

import json
import re

import pytest

from synthlab.generate.apigen_mt import generate, roll_out_blueprints
from synthlab.generate.blueprints import propose
from synthlab.generate.committee import BlueprintAuthor
from synthlab.generate.rewording import (
    facts_told,
    opening_note,
    reword_blueprints,
    reword_examples,
    wording_faults,
)
from synthlab.models.llm import ScriptedLLM
from synthlab.tau2.agents import OPENING_WORDS


def note(chat):
    "What an author is asked to put into words"
    return chat[-1].content.split("Note: ")[1].split("\n")[0]


def opening(b):
    return b.goal["task_instructions"].partition(OPENING_WORDS)[2]


@pytest.mark.slow
def test_rewording_is_proved_again():
    bs = propose("airline", 10, refuse=0, seed=8)
    words = BlueprintAuthor(
        ScriptedLLM(
            lambda chat, **_: json.dumps(dict(message=f"I need help. {note(chat)}")),
            "w",
        )
    )
    new = reword_blueprints(words, bs)
    assert all(
        n.id == b.id
        and n.actions == b.actions
        and n.goal["reason_for_call"] == b.goal["reason_for_call"]
        and opening(n) == f"I need help. {opening_note(b)}"
        for n, b in zip(new, bs)
    )
    kept = roll_out_blueprints(new).kept
    assert len(kept) == len(bs)
    assert all(t.messages[1].content.startswith("I need help.") for t in kept)
    nothing = reword_blueprints(BlueprintAuthor(ScriptedLLM(lambda chat, **_: "no JSON", "n")), bs)
    assert [n.goal for n in nothing] == [b.goal for b in bs]


def test_words_that_lose_facts_are_set_aside():
    """The clerk knows what to do whatever the user says, so words must say it: numbers, ids,
    quotations, values of arguments
    """

    def vague(chat, **_):
        return json.dumps(dict(message="I need some help with my account."))

    f = generate(4, ("mock", "retail"), author=ScriptedLLM(vague, "vague"), refuse=0.0, seed=1)
    assert not f.kept and f.reasons().keys() == {"words"} and f.stages["worded"][1] == 0
    b = propose("retail", 1, (1,), 0.0, seed=2)[0]
    kinds = dict(wording_faults(b, "I want help."))
    assert "lost" in kinds and "lost" not in dict(
        wording_faults(b, b.goal["reason_for_call"].upper())
    )


# meaning -> words that break it, and words that do not
VOICES = {
    "third person": ("The customer wants task_1 completed.", "I want the customer list in task_1."),
    "agent's part": (
        "Sorry to hear that. task_1 is completed.",
        "Sorry: is task_1 completed?",
    ),
    "reported": ("I have requested task_1 to be completed.", "I want what task_1 asked for."),
    "form": ("user_1; task_1; completed", "It is task_1; it is completed."),
    "rambling": ("Well, task_1 is completed. " * 30, "Well, task_1 is completed."),
    "off the subject": ("Let us talk of birds.", "The task list has task_1, completed."),
}


def one_task():
    bs = propose("mock", 12, (1, 2), 0.0, seed=4)
    return next(b for b in bs if "update_task_status" in b.proof["asks"])


@pytest.mark.parametrize("kind", VOICES)
def test_words_that_no_customer_opens_with_are_set_aside(kind):
    b = one_task()
    b.goal["reason_for_call"] = "You want task_1 set to completed on the list."
    bad, good = VOICES[kind]
    assert kind in dict(wording_faults(b, bad))
    assert kind not in dict(wording_faults(b, good))


def test_what_is_mine_is_not_yours():
    b = propose("retail", 8, (1,), 0.0, seed=4)[1]
    b.goal["reason_for_call"] = "You want to cancel your order #W123."
    assert "agent's part" in dict(wording_faults(b, "So your order #W123 is to be cancelled."))
    assert not wording_faults(b, "Can you please cancel my order #W123? Ask your boss.")


def test_what_the_note_says_itself_is_no_fault():
    b = one_task()
    b.goal["reason_for_call"] = "You asked the agent for task_1 and want it completed."
    assert not wording_faults(b, "It is time: I want task_1 completed, as I asked the agent.")


def test_options_of_an_item_are_facts():
    "A colour is no number and no argument, and the agent cannot know it otherwise"
    bs = propose("retail", 40, (1,), 0.0, seed=4)
    b = next(b for b in bs if "exchange_delivered_order_items" in b.proof["asks"])
    item = facts_told(b)
    options = [o for o in item if o.islower()]
    assert options
    for o in options:
        words = "Well. " + re.sub(rf"\b{re.escape(o)}\b", "nice", opening_note(b))
        assert "lost" in dict(wording_faults(b, words)), o


@pytest.mark.slow
def test_an_author_is_told_what_is_missing_and_tries_again():
    bs = propose("airline", 8, refuse=0, seed=8)
    asked = []

    def forgetful(chat, **_):
        asked.append(chat[-1].content)
        again = "Missing" in asked[-1]
        return json.dumps(dict(message=f"Well. {note(chat)}" if again else "I call."))

    author = BlueprintAuthor(ScriptedLLM(forgetful, "f"))
    new = reword_blueprints(author, bs, choices=1)
    assert {b.info["tries"] for b in new} == {2} and len(asked) == 2 * len(bs)
    assert not any(b.info.get("words") for b in new)
    for b, again in zip(bs, asked[len(bs) :]):
        assert all(v in again.split("Missing")[1] for v in facts_told(b))
    once = reword_blueprints(author, bs, choices=1, repairs=0)
    assert all(b.info["words"].startswith("lost") for b in once)


def test_the_best_of_several_is_taken():
    "The one without faults that has the most words of its own"
    b = propose("retail", 8, (1,), 0.0, seed=4)[1]
    facts = ", ".join(facts_told(b))
    own = f"My things to exchange, with what was paid, if you can tell me: {facts}."
    said = ["I want help.", f"Hello. {opening_note(b)}", own]
    turns = iter(said)
    author = BlueprintAuthor(ScriptedLLM(lambda chat, **_: json.dumps(dict(message=next(turns)))))
    (new,) = reword_blueprints(author, [b], choices=3)
    assert opening(new) == own and new.info["tries"] == 1


def test_examples_are_turns_and_are_words_of_use():
    "What an author is shown keeps its own rules"
    shown = reword_examples()
    assert [m.role for m in shown] == ["user", "assistant"] * 3
    for asked, said in zip(shown[::2], shown[1::2]):
        facts = asked.content.split("exactly as it stands: ")[1].split("\n")[0].split("; ")
        message = json.loads(said.content)["message"]
        assert all(f.strip('"') in message for f in facts)
        assert "your" not in message and note([asked]) not in message
