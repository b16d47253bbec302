"""Trajectories for property tests: any that the types allow, and those that keep a chat's rules"""

from hypothesis import strategies as st

from synthlab.core.types import Message, Score, Task, ToolCall, Trajectory, Usage

words = st.text(max_size=12)
ids = st.sampled_from(["", "a", "b", "call_0_0", "call_1_0"])
sides = st.sampled_from(["assistant", "user", ""])
scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | words
values = st.recursive(
    scalars, lambda x: st.lists(x, max_size=2) | st.dictionaries(words, x, max_size=2), max_leaves=4
)
objects = st.dictionaries(words, values, max_size=3)
torn = words.map(lambda s: "{" + s)  # text that is no JSON object

calls = st.builds(ToolCall, words, objects | torn, ids, sides)
messages = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    words,
    st.lists(calls, max_size=3),
    ids,
    st.booleans(),
    sides,
)
scores = st.builds(Score, st.floats(0, 1) | st.just(float("nan")), words, words)
tasks = st.builds(
    Task, words, words, words | objects, st.none() | words, st.none() | objects, st.none()
)
usages = st.builds(Usage, *[st.integers(0, 99)] * 3, st.floats(0, 9))


def _trajectories(messages):
    return st.builds(
        Trajectory,
        tasks,
        messages,
        st.lists(objects, max_size=2),
        st.dictionaries(words, scores, max_size=2),
        usages,
        words,
        words,
        st.none() | st.integers(0, 9),
        words,
        st.booleans(),
        objects,
    )


anything = _trajectories(st.lists(messages, min_size=1, max_size=6))


@st.composite
def _turns(draw):
    "What an agent sees: calls with ids of their own, each answered"
    out = [Message("user", draw(words))]
    for i in range(draw(st.integers(1, 3))):
        made = draw(st.lists(st.tuples(words, objects), max_size=3))
        calls = [ToolCall(n, a, f"call_{i}_{k}") for k, (n, a) in enumerate(made)]
        out.append(Message("assistant", draw(words), calls))
        answers = [Message("tool", draw(words), call_id=c.id, by="assistant") for c in calls]
        out += draw(st.permutations(answers))
    return out


schemas = st.builds(lambda n, p: dict(type="function", function=dict(name=n) | p), words, objects)
chats = st.builds(
    lambda id, domain, ms, tools: Trajectory(Task(id, domain), ms, tools),
    words,
    words,
    _turns(),
    st.lists(schemas, max_size=2),
)
