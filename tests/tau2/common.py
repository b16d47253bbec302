"What several tests of these modules share"

import json
from functools import lru_cache

from conftest import DATA, RUNS

from synthlab.tau2.env import tasks

USABLE = [p for p in RUNS if "no-info" not in p.name]


named = dict(ids=lambda p: p.name.split(".json")[0])


WRONG, REPAIRED = (
    DATA / "tau2_runs" / f"toolorchestra_airline_{n}.json.gz"
    for n in ("WRONG-TASK-IDS", "task-ids-repaired")
)


SWAPPED = {
    "45": "6",
    "6": "45",
    "15": "16",
    "16": "15",
    "17": "22",
    "22": "17",
}  # ids that the repaired file still has wrong


def canonical(x):
    return json.dumps(x, sort_keys=True)


base = lru_cache(tasks)
