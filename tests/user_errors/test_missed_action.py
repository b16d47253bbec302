"""Facts that the user never tells."""

from synthlab.tau2.agents import OracleAgent, ScriptedUser
from synthlab.tau2.env import tasks
from synthlab.tau2.rollout import rollout
from synthlab.user_errors.detect import detect_user_errors
from tests.user_errors.common import said


def test_a_dropped_order_is_missed():
    t = rollout([next(t for t in tasks("retail") if t.id == "0")], OracleAgent(), ScriptedUser())[0]
    less = said(t, 1, t.messages[1].content.replace("#W2378156", ""))
    hits = detect_user_errors(less)
    assert [f.type for f in hits] == ["missed_required_action"] and "#W2378156" in hits[0].evidence
