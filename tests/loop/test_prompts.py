"Training rows are what the agent reads"

from synthlab.generate.mock_tasks import mock_tasks
from synthlab.loop.prompts import reduce_prompt, training_row
from synthlab.tau2.agents import OracleAgent, ScriptedUser
from synthlab.tau2.rollout import rollout
from tests.loop.common import SHORT


def test_a_training_row_is_what_the_agent_reads():
    (t,) = rollout([mock_tasks(1)[0].played()], OracleAgent(), ScriptedUser())
    row = training_row(t, SHORT)
    at = next(i for i, m in enumerate(t.messages) if m.calls)
    assert (
        row["messages"][: at + 1] == reduce_prompt(t.task, t.messages[:at], SHORT)[0]
        and row["tools"] is None
    )
