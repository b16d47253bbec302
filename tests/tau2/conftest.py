"Fixtures that several tests of these modules use"

import json
import re

import pytest

from synthlab.tau2.env import to_tau2


@pytest.fixture(scope="module")
def evaluator():
    "The benchmark's own verdict on one of our trajectories, by way of the file format"
    from loguru import logger

    logger.disable("tau2")
    import pydantic
    from tau2.data_model.simulation import SimulationRun
    from tau2.data_model.tasks import Task as TheirTask
    from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation

    from synthlab.tau2.results import simulation_json

    here = f"errors.pydantic.dev/{'.'.join(pydantic.VERSION.split('.')[:2])}/"

    def judge(traj):
        raw = re.sub(
            r"errors\.pydantic\.dev/[\d.]+/",
            here,
            json.dumps(simulation_json(0, traj, 0) | dict(reward_info=None)),
        )
        task = TheirTask.model_validate(to_tau2(traj.task))
        r = evaluate_simulation(
            SimulationRun.model_validate_json(raw),
            task,
            EvaluationType.ALL,
            traj.solo,
            traj.task.domain,
        )
        return r.model_dump(mode="json")

    return judge
