"What several tests of these modules share"

import json

from synthlab.core.types import Message, ToolCall
from synthlab.models.journal import Journal


def ask(*qs):
    return [[Message("user", q)] for q in qs]


TOOLS = [
    dict(
        type="function",
        function=dict(
            name="cancel",
            description='Cancel "a" reservation: é',
            parameters=dict(
                type="object",
                properties=dict(id=dict(type="string"), refund=dict(type="boolean")),
                required=["id"],
            ),
        ),
    ),
    dict(
        type="function",
        function=dict(name="look_up", parameters=dict(type="object", properties={})),
    ),
]


TALK = [
    Message("system", "You are an agent."),
    Message("user", "Cancel EHGLP3, then look up KC18. Ünïcode, please."),
    Message(
        "assistant",
        calls=[ToolCall("cancel", {"id": "EHGLP3", "refund": True, "why": 'é "x"'}, "c1")],
    ),
    Message("tool", '{"status": "cancelled"}', call_id="c1"),
    Message("assistant", "Done. Anything else?"),
    Message("user", "No."),
    Message("assistant", calls=[ToolCall("look_up", {}, "c2")]),
    Message("tool", "nothing", call_id="c2"),
    Message("assistant", "Bye."),
]


PARALLEL = [
    *TALK[:2],
    Message(
        "assistant", calls=[ToolCall("cancel", {"id": "A"}, "c1"), ToolCall("look_up", {}, "c2")]
    ),
    Message("tool", "second", call_id="c2"),
    Message("tool", "first", call_id="c1"),
    Message("user", "Thanks."),
]


def theirs(tok, messages, tools=None, **o):
    return tok.apply_chat_template(
        messages, tools=tools, add_generation_prompt=True, return_dict=False, **o
    )


def said(message, finish="stop", usage=None):
    raw = dict(
        id="x",
        object="chat.completion",
        created=0,
        model="m",
        choices=[dict(index=0, finish_reason=finish, message=dict(role="assistant", **message))],
        usage=usage or dict(prompt_tokens=7, completion_tokens=3, total_tokens=10),
    )
    return "application/json", 200, {}, json.dumps(raw).encode()


def expected(n, start=0):
    return [f"reply to q{i}#0" for i in range(start, start + n)]


def texts(replies):
    return [r.text or r.error for (r,) in replies]


def states(path):
    return [s for (s,) in Journal(path).db.execute("SELECT state FROM calls")]


PERSON = dict(
    type="object",
    required=["name", "age", "tags"],
    additionalProperties=False,
    properties=dict(
        name=dict(type="string", minLength=1, maxLength=12),
        age=dict(type="integer", minimum=0, maximum=120),
        tags=dict(type="array", items=dict(enum=["red", "green", "blue"]), minItems=1, maxItems=3),
    ),
)
