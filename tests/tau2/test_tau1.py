"Files of τ-bench v1 are read by the order of their calls and graded on τ²'s tools"

import json

import pytest
from conftest import DATA, needs_data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthlab.tau2.env import tasks
from synthlab.tau2.tau1 import read_tau1, regrade_file, regrade_tau1, replay_tau1, tau1_domain


@needs_data
def test_every_stored_reward_of_a_published_file():
    "200 conversations of gpt-4o: same rewards, and no call is answered otherwise"
    (path,) = (DATA / "tau1_runs").glob("*.json.gz")
    found = regrade_tau1(path)
    assert (found["n"], found["same"], found["different"]) == (200, 200, 0)
    assert found["answered_differently"] == {} and round(found["mean_reward"], 3) == 0.42
    assert regrade_file(path)["generation"] == "τ-bench v1"


def record(**changes):
    "A retail order, cancelled as the task wants"
    task = next(
        t for t in tasks("retail") if [a["name"] for a in t.gold].count("cancel_pending_order") == 1
    )
    gold = next(a for a in task.gold if a["name"] == "cancel_pending_order")
    function = dict(name=gold["name"], arguments=json.dumps(gold["arguments"]))
    call = dict(role="assistant", tool_calls=[dict(id="x", type="function", function=function)])
    told = dict(
        instruction="Cancel it",
        actions=[dict(name=gold["name"], kwargs=gold["arguments"])],
        outputs=["1,200"],
    )
    said = [
        dict(role="system", content="policy"),
        dict(role="user", content="Cancel it"),
        call,
        dict(role="tool", tool_call_id="x", content="{}"),
        dict(role="assistant", content="You get 1200 back"),
        dict(role="user", content="###STOP###"),
    ]
    return dict(task_id=0, trial=0, reward=1.0, info=dict(task=told), traj=said) | changes


def put(tmp_path, x):
    path = tmp_path / "v1.json"
    path.write_text(json.dumps(x))
    return path


def test_a_single_record_and_a_list(tmp_path):
    "A wanted output with a comma is never met: v1 drops commas from what was said, not from it"
    one = regrade_file(put(tmp_path, record()))
    many = regrade_file(put(tmp_path, [record(), record(trial=1)]))
    assert (one["n"], many["n"], one["domains"]) == (1, 2, dict(retail=1))
    assert one["mean_reward"] == many["mean_reward"] == 0 and many["different"] == 2


@pytest.mark.parametrize("turn", ["call", "words", "stop"])
def test_what_is_missing_costs_the_reward(turn, tmp_path):
    x = record()
    x["info"]["task"]["outputs"] = ["1200"]
    assert regrade_file(put(tmp_path, x))["same"] == 1
    drop = dict(call=slice(2, 4), words=slice(4, 5), stop=slice(5, 6))[turn]
    del x["traj"][drop]
    found = regrade_file(put(tmp_path, x))
    assert found["different"] == 1 and found["mean_reward"] == 0


def test_a_call_that_v1_refused_is_named(tmp_path):
    x = record()
    x["traj"][3]["content"] = "Error: non-pending order cannot be cancelled"
    (differs,) = replay_tau1(read_tau1(put(tmp_path, x))[0])[1]
    assert differs["who"] == "v1 refuses" and differs["call"].startswith("cancel_pending_order")


def test_tools_of_neither_domain_are_refused(tmp_path):
    assert tau1_domain(["get_order_details"]) == "retail"
    assert tau1_domain(["get_reservation_details"]) == "airline"
    with pytest.raises(ValueError, match="neither airline's nor retail's"):
        tau1_domain(["fly_to_the_moon"])


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_record_is_an_error_that_says_where(data, tmp_path):
    x = record()
    parts = [x, x["info"], x["info"]["task"], *x["traj"], x["traj"][2]["tool_calls"][0]]
    target = data.draw(st.sampled_from(parts))
    key = data.draw(st.sampled_from(sorted(target)))
    if data.draw(st.booleans()):
        del target[key]
    else:
        target[key] = data.draw(st.sampled_from([None, 1, True, "x", [], {}, [1], [{}]]))
    path = put(tmp_path, [x])
    try:
        regrade_file(path)
    except ValueError as e:
        assert str(e).startswith(f"{path}: ") and "\n" not in str(e)
