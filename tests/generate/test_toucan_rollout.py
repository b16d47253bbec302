"Conversations with servers: answers are kept"

from synthlab.core.types import Message
from synthlab.generate.toucan_rollout import (
    ToolAnswerLog,
)


def test_what_a_tool_said_first_counts(tmp_path):
    a = ToolAnswerLog(tmp_path / "h.jsonl")
    assert a.keep(["k", "l"], [Message("tool", "noon"), Message("tool", "bad", error=True)])[
        1
    ].error
    with open(tmp_path / "h.jsonl", "a") as f:
        f.write('["m", "half a li')
    b = ToolAnswerLog(tmp_path / "h.jsonl").keep(
        ["k", "l", "n"], [Message("tool", "one"), Message("tool", "two"), Message("tool", "three")]
    )
    assert [(m.content, m.error) for m in b] == [("noon", False), ("bad", True), ("three", False)]
