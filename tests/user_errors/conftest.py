"""Fixtures of the tests of user_errors."""

import pytest

from synthlab.tau2.agents import OracleAgent, ScriptedUser
from synthlab.tau2.env import tasks
from synthlab.tau2.rollout import rollout
from synthlab.user_errors.resimulate import oracle_runs


@pytest.fixture(scope="module")
def trip():
    return rollout(
        [next(t for t in tasks("airline") if t.id == "35")], OracleAgent(), ScriptedUser()
    )[0]


@pytest.fixture(scope="module")
def runs():
    return oracle_runs(each=12)


@pytest.fixture(scope="module")
def short_trip():
    return rollout(
        [next(t for t in tasks("airline") if t.id == "2")], OracleAgent(), ScriptedUser()
    )[0]
