"""A client in a process of its own, to be killed: kept apart so that starting it imports no more
than it needs.
"""

from synthlab.core.types import Message
from synthlab.models.durable import DurableLLM
from synthlab.models.llm import make_llm


def chats(n, start=0):
    return [
        [Message("system", "You are terse."), Message("user", f"q{i}")]
        for i in range(start, start + n)
    ]


def client(url, path, n, most):
    DurableLLM(make_llm(url + "#m"), path, most=most)(chats(n))
