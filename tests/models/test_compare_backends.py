"""The comparison of backends: one that answers over HTTP, one that is down, one that is not
installed.
"""

import json
import math

import pytest
from conftest import needs_smollm2
from fake_server import FakeServer

from synthlab.models.compare_backends import (
    agreement_rows,
    benchmark_questions,
    matches_schema,
    measure_backend,
    readiness_rows,
    speed_rows,
    token_splitter,
)
from synthlab.models.llm import make_llm

FEW = dict(batches=[1, 3], tokens=4, repeats=2, alike=3, forms=2)


@pytest.mark.slow
def test_a_server_and_what_cannot_be_measured(monkeypatch):
    from synthlab.models import compare_backends

    real = compare_backends.find_spec
    monkeypatch.setattr(
        compare_backends, "find_spec", lambda name: None if name == "vllm" else real(name)
    )
    with FakeServer(latency=0.05) as s:
        found = [
            measure_backend(spec, **FEW)
            for spec in (s.url + "#m", "scripted:fill", "vllm:smollm2", "http://127.0.0.1:9/v1#m")
        ]
        asked = s.stats()["asked"]
    assert ["error" in f for f in found] == [False, False, True, True]
    states = [r["state"] for r in readiness_rows(found)]
    assert (
        states[:2] == ["measured"] * 2
        and "vllm is not installed" in states[2]
        and "APIConnectionError" in states[3]
    )
    rows = {(r["backend"][:4], r["batch"]): r for r in speed_rows(found)}
    assert len(rows) == 4 and all(
        r["n"] == 2 and r["lo"] <= r["value"] <= r["hi"] for r in rows.values()
    )
    assert (
        rows["http", 1]["value"] < 5 / 0.05
        and rows["http", 3]["value"] > 1.2 * rows["http", 1]["value"]
    )
    assert {r["backend"] for r in agreement_rows(found)} == {s.url + "#m", "scripted:fill"}
    timed = [q for q in asked if 1000 <= int(q.split(":")[0].split()[1]) < 2000]
    assert len(timed) == 8 and {asked[q] for q in timed} == {1}, "a timed question was asked twice"


@pytest.mark.slow
def test_an_engine_that_fails_in_its_own_process_says_why():
    f = measure_backend("hf:./no-such-folder", apart=True, **FEW)
    assert "no folder with a config.json" in f["error"] and math.isnan(
        readiness_rows([f])[0]["seconds_to_load"]
    )


def test_a_key_stays_out_of_the_row():
    with FakeServer(key="another") as s:
        f = measure_backend(s.url + "#m", dict(key="sk-never-write-this-down", retries=0), **FEW)
    assert "401" in f["error"] and "never-write" not in json.dumps(f)


@needs_smollm2
def test_tokens_are_the_models_own():
    split = token_splitter(["http://h/v1#m", "hf:smollm2"])
    tok = make_llm("hf:smollm2").tok
    text = benchmark_questions(1)[0][0].content
    assert split(text) == tok(text, add_special_tokens=False)["input_ids"]
    assert token_splitter(["http://h/v1#m"])("It is 4.") == ["It", "is", "4", "."]


@pytest.mark.parametrize(
    "text",
    ["", "null", '{"colour": "red", "pieces": 1, "gift": true} and more', '{"colour": "red"}'],
)
def test_what_does_not_obey(text):
    assert not matches_schema(text)
