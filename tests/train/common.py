"What several tests of these modules share"

import random

from synthlab.core.types import Message, ToolCall
from synthlab.train.tokenize import Row

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


TOOLS = [
    dict(
        type="function",
        function=dict(
            name=n,
            description=f"To {n}.",
            parameters=dict(type="object", properties=dict(x=dict(type="string"))),
        ),
    )
    for n in ("find", "book", "cancel")
]


WORDS = [
    "a",
    "seat",
    "by",
    "the",
    "window,",
    "please;",
    "{no}",
    "braces,",
    '"quotes",',
    "\n\nblank",
    "lines,",
    "naïve",
    "café,",
    "<b>tags</b>",
    "and",
    "7.50",
    "€",
]


def conversation(seed):
    "A chat with tools: plain answers, single and parallel calls, answers to them, odd texts"
    r = random.Random(seed)

    def say():
        return " ".join(r.choice(WORDS) for _ in range(r.randint(1, 12))).strip() or "x"

    msgs = [Message("system", say())] if seed % 4 else []
    for t in range(r.randint(1, 4)):
        msgs.append(Message("user", say()))
        for c in range(r.randint(0, 2)):
            calls = [
                ToolCall(r.choice(["find", "book", "cancel"]), {"x": say()}, f"c{t}{c}{k}")
                for k in range(r.randint(1, 2))
            ]
            msgs += [
                Message("assistant", say() if r.random() < 0.4 else "", calls),
                *(Message("tool", say(), call_id=k.id) for k in calls),
            ]
        msgs.append(Message("assistant", say()))
    return Row(msgs, TOOLS if seed % 3 else None, str(seed))
