"The benchmark's databases, shared between episodes"

from synthlab.tau2.database import env_template, read_domain_json, shared_rows
from synthlab.tau2.env import (
    tasks,
)
from synthlab.tau2.grade import oracle_trajectory


def test_the_shared_records_are_never_written_to():
    "After everything this file did, the parsed records still are what a fresh parse gives"
    for domain in ("mock", "airline", "retail"):
        for t in tasks(domain):
            oracle_trajectory(t)
        for name in read_domain_json(domain, "db.json"):
            rows = shared_rows(domain, name)
            assert all(r == rows.cls.model_validate(rows.raw[k]) for k, r in rows.records.items())


def test_template_is_parsed_once():
    assert env_template("airline") is env_template("airline")
