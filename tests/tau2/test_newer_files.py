"Files of 1.x and what happens to them: each case and its whole kind"

import gzip
import json
import math
import shutil
from dataclasses import replace

import pytest
from conftest import DATA, needs_data

from synthlab.core.types import Message, Task, ToolCall, Trajectory
from synthlab.failures.outcomes import read_results
from synthlab.tau2.env import Env, tasks
from synthlab.tau2.grade import (
    audit_task_list,
    mean_bounds,
    oracle_trajectory,
    pass_k_report,
    regrade,
    reward_info,
    stored_judge,
    write_graded_results,
)
from synthlab.tau2.results import load_results, read_outcomes

CASES = DATA / "cases"


def judged_task(**checks):
    "A retail task whose reward needs the database and a judge's sentences"
    t = next(t for t in tasks("retail") if any("cancel" in a["name"] for a in t.gold))
    basis = dict(reward_basis=["DB", "NL_ASSERTION"], nl_assertions=["It was polite"])
    return replace(t, checks=basis | checks)


def edited(path, change):
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
    return path


# --- the judge's part has three values


def test_nothing_to_judge_is_met():
    t = judged_task(nl_assertions=None)
    assert reward_info(oracle_trajectory(t))["reward_breakdown"] == dict(DB=1, NL_ASSERTION=1)
    assert (
        reward_info(oracle_trajectory(replace(t, checks=t.checks | {"nl_assertions": []})))[
            "reward"
        ]
        == 1
    )


def test_without_a_judge_a_part_that_is_0_decides_and_else_nobody():
    t = judged_task()
    assert math.isnan(reward_info(oracle_trajectory(t))["reward"])
    idle = Trajectory(t, [Message("user", "###STOP###")], stop="user_stop")
    assert reward_info(idle)["reward"] == 0


@pytest.mark.parametrize("met,reward", [(True, 1.0), (False, 0.0)])
def test_a_stored_verdict_counts_and_an_empty_list_is_none(met, reward):
    t = oracle_trajectory(judged_task())
    t.info["stored"] = dict(nl_assertions=[dict(nl_assertion="It was polite", met=met)])
    assert reward_info(t, stored_judge(t))["reward"] == reward
    t.info["stored"] = dict(nl_assertions=[])
    assert stored_judge(t) is None


def test_means_have_bounds_where_rewards_are_open():
    assert mean_bounds([1.0, 0.0, math.nan, None]) == [0.25, 0.75]
    assert mean_bounds([1.0, 0.0]) == [0.5, 0.5]
    assert all(map(math.isnan, mean_bounds([])))


def test_an_audit_keeps_apart_what_a_judge_must_say():
    found = audit_task_list([judged_task(), judged_task(nl_assertions=[])])
    assert found["gold_ok"] == 1 and len(found["gold_undecided"]) == 1
    assert found["gold_failed"] == []


@pytest.mark.parametrize("met", [True, False])
def test_a_models_verdict_on_communication_counts_and_the_exact_one_stands_beside(met, tmp_path):
    t = replace(tasks("airline")[0], checks=dict(communicate_info=["42"]), gold=[])
    run = Trajectory(t, [Message("assistant", "forty-two"), Message("user", "###STOP###")])
    run.stop = "user_stop"
    path = write_graded_results([run], tmp_path / "run.json")

    def by_model(raw):
        stored = raw["simulations"][0]["reward_info"]
        stored["communicate_checks"][0] |= dict(met=met, justification="[llm_judge] read it")
        stored["reward"] = stored["reward_breakdown"]["COMMUNICATE"] = float(met)

    found = regrade(edited(path, by_model))
    assert found["same"] == 1 and found["mean_reward"] == float(met)
    assert found["judged_communication"] == dict(runs=1, exact_agrees=int(not met))
    assert found["generation"] == "2.0 or later"


# --- replay


def with_cut_answer(domain="airline"):
    "A run whose answer to a read was cut, as some harnesses do"
    t = next(t for t in tasks(domain) if any(a["name"].startswith("get_") for a in t.gold))
    traj = oracle_trajectory(t)
    i = next(i for i, m in enumerate(traj.messages) if m.calls and "get_" in m.calls[0].name)
    traj.messages[i + 1].content = traj.messages[i + 1].content[:20]
    return traj


def test_a_cut_answer_of_a_read_is_graded_by_tolerant_replay(tmp_path):
    traj = with_cut_answer()
    with pytest.raises(ValueError, match="the record says"):
        reward_info(traj)
    assert reward_info(traj, tolerant=True)["reward"] == 1
    found = regrade(write_graded_results([traj], tmp_path / "run.json"))
    assert (found["tolerant"], found["raised"], found["mean_reward"]) == (1, 0, 1)


def test_a_tool_that_nobody_has_is_skipped_and_a_changed_write_is_not():
    t = next(t for t in tasks("retail") if any("cancel" in a["name"] for a in t.gold))
    traj = oracle_trajectory(t)
    made_up = ToolCall("fly_to_the_moon", {}, "m1")
    answer = Message("tool", "you are there", call_id="m1", by="assistant")
    odd = replace(traj, messages=[Message("assistant", calls=[made_up]), answer, *traj.messages])
    with pytest.raises(ValueError):
        reward_info(odd)
    assert reward_info(odd, tolerant=True)["reward"] == 1
    i = next(i for i, m in enumerate(traj.messages) if m.calls and "cancel" in m.calls[0].name)
    traj.messages[i + 1].content = "{}"
    with pytest.raises(ValueError, match="the record says '{}'"):
        reward_info(traj, tolerant=True)


def test_what_cannot_be_replayed_stays_in_n_with_bounds(tmp_path):
    t = next(t for t in tasks("retail") if any("cancel" in a["name"] for a in t.gold))
    good, bad = oracle_trajectory(t), oracle_trajectory(t)
    i = next(i for i, m in enumerate(bad.messages) if m.calls and "cancel" in m.calls[0].name)
    bad.messages[i + 1].content = "{}"
    found = regrade(write_graded_results([good, bad], tmp_path / "run.json"))
    assert (found["n"], found["raised"], found["mean_bounds"]) == (2, 1, [0.5, 1.0])


def test_a_tool_of_1x_answers_where_a_file_has_it():
    t = next(t for t in tasks("retail") if t.gold)
    item = next(iter(next(iter(Env(t)._env.tools.db.products.values())).variants))
    call = ToolCall("get_item_details", dict(item_id=item), "i1")
    world = Env(t, later=True)
    answer = world.step(call)
    assert not answer.error and json.loads(answer.content)["item_id"] == item
    traj = oracle_trajectory(t)
    traj.messages[:0] = [Message("assistant", calls=[call]), answer]
    assert reward_info(traj)["reward"] == 1
    assert Env(t).step(call).error  # agents that are rolled out here do not get it
    traj.messages[1] = Env(t).step(call)  # a file of 0.2 in which it was made up
    assert reward_info(traj)["reward"] == 1


def test_mocks_user_has_an_inbox_where_a_task_uses_it():
    note = dict(notification_id="n9", message="Assigned", task_id="task_1")
    begin = dict(env_type="user", func_name="add_notification", arguments=note)
    read = dict(notification_id="n9", expected_status="read")
    want = dict(env_type="user", func_name="assert_notification_status", arguments=read)
    t = Task(
        "inbox",
        "mock",
        init=dict(initialization_actions=[begin]),
        gold=[],
        checks=dict(env_assertions=[want], reward_basis=["ENV_ASSERTION"]),
    )
    stop = Message("user", "###STOP###")
    assert reward_info(Trajectory(t, [stop], stop="user_stop"))["reward"] == 0
    dismiss = ToolCall("dismiss_notification", dict(notification_id="n9"), "d1", "user")
    turns = [Message("user", calls=[dismiss]), Env(t).fork().step(dismiss), stop]
    assert reward_info(Trajectory(t, turns, stop="user_stop"))["reward"] == 1


# --- reading


@pytest.fixture
def folder(tmp_path):
    "A run as 1.x writes it: results.json with an index, and a file a simulation"
    runs = [oracle_trajectory(t) for t in tasks("mock")[:3]]
    raw = json.loads(write_graded_results(runs, tmp_path / "one.json").read_text())
    sims = raw.pop("simulations")
    (tmp_path / "run" / "simulations").mkdir(parents=True)
    index = [dict(id=s["id"], task_id=s["task_id"]) for s in sims]
    whole = raw | dict(simulation_index=index)
    (tmp_path / "run" / "results.json").write_text(json.dumps(whole))
    for s in sims:
        (tmp_path / "run" / "simulations" / f"{s['id']}.json").write_text(json.dumps(s))
    return tmp_path / "run"


def test_a_folder_by_its_own_path_and_by_that_of_its_results(folder):
    for path in (folder, folder / "results.json"):
        assert len(load_results(path).trajectories) == regrade(path)["same"] == 3
        assert pass_k_report(path)["n"] == 3


def test_a_lost_simulation_is_named_and_widens_the_bounds(folder):
    gone = next(iter((folder / "simulations").glob("*.json")))
    gone.unlink()
    found, curve = regrade(folder), pass_k_report(folder)
    assert found["lost"] == curve["lost"] == [gone.stem]
    assert found["mean_bounds"] == pytest.approx([2 / 3, 1.0])
    assert curve["mean_bounds"] == found["mean_bounds"]


def test_a_duplicate_is_named_and_counts_once(folder):
    some = next(iter((folder / "simulations").glob("*.json")))
    shutil.copy(some, folder / "simulations" / "again.json")
    found, curve = regrade(folder), pass_k_report(folder)
    assert found["duplicates"] == curve["duplicates"] == [some.stem]
    assert found["n"] == curve["n"] == 3


def test_a_voice_run_is_named_and_has_a_pass_rate(folder):
    some = next(iter((folder / "simulations").glob("*.json")))
    edited(some, lambda s: s.update(messages=None, ticks=[dict(tick_id=0)]))
    found, curve = regrade(folder), pass_k_report(folder)
    assert found["voice"] == [some.stem] and found["raised"] == 1 and found["same"] == 2
    assert "voice run" in found["problems"][0]["why"]
    assert curve["voice"] == 1 and curve["pass_k"][1]["value"] == 1


def test_messages_that_are_null_do_not_refuse_a_file(folder):
    some = next(iter((folder / "simulations").glob("*.json")))
    edited(some, lambda s: s.update(messages=None))
    found = regrade(folder)
    assert (found["n"], found["same"], found["raised"]) == (3, 2, 1)
    assert "its messages are null" in found["problems"][0]["why"]


def test_a_users_own_domain_has_outcomes(folder):
    def own(raw):
        raw["info"]["environment_info"]["domain_name"] = "museum"

    edited(folder / "results.json", own)
    curve = pass_k_report(folder)
    assert curve["pass_k"][1]["value"] == 1 and "museum" in curve["unchecked"]
    with pytest.raises(ValueError, match="domain 'museum'"):
        regrade(folder)


def test_rewards_between_0_and_1_are_counted_and_the_mean_stands_beside(folder):
    for f, reward in zip((folder / "simulations").glob("*.json"), (0.5, 1.0, 0.25)):
        edited(f, lambda s, r=reward: s["reward_info"].update(reward=r))
    curve = pass_k_report(folder)
    assert curve["fractional"] == 2 and curve["mean_reward"] == pytest.approx(1.75 / 3)
    assert curve["pass_k"][1]["value"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "user,agent,solo",
    [
        ("dummy_user", "llm_agent_solo", True),
        ("user_simulator", "my_solo_agent", False),
        ("dummy_user", "planner", True),
    ],
)
def test_solo_is_told_by_the_user_and_by_no_agents_name(user, agent, solo, folder):
    def named(raw):
        raw["info"]["user_info"]["implementation"] = user
        raw["info"]["agent_info"]["implementation"] = agent

    edited(folder / "results.json", named)
    assert [t.solo for t in load_results(folder).trajectories] == [solo] * 3


def test_files_of_different_generations_are_not_read_together(tmp_path):
    t = tasks("airline")[2]
    new = replace(t, goal=dict(t.goal, reason_for_call="Something else"))
    paths = [
        write_graded_results([oracle_trajectory(x)], tmp_path / f"{i}.json")
        for i, x in enumerate((t, new))
    ]
    with pytest.raises(ValueError, match="different generations: 0.json"):
        read_results(paths)
    rows = read_results(paths, pool=True)[1]
    assert all("pooled in spite of" in r["pooled"] for r in rows)


# --- the cases themselves


@needs_data
@pytest.mark.parametrize(
    "case,reward",
    [
        ("f01_nl_basis_stop.json", 0.0),
        ("f01b_nl_basis_no_verdict_db_fails.json", 0.0),
        ("f02_get_item_details.json", 1.0),
        ("f03_dir", 1.0),
        ("f04_dir_lost_one", 1.0),
        ("f07_corrected_task_in_file.json", 0.0),
        ("f09_mock_user_tools.json", 0.0),
        ("f13_only_reward_stored.json", 1.0),
        ("f15_duplicate.json", 1.0),
    ],
)
def test_cases_are_graded(case, reward):
    found = regrade(CASES / case)
    assert found["mean_reward"] == reward and found["raised"] == 0


@needs_data
def test_a_published_run_with_a_cut_read_is_graded_whole():
    found = regrade(CASES / "f11_read_truncated.json.gz")
    assert (found["same"], found["tolerant"], found["raised"]) == (19, 1, 0)
    assert read_outcomes(CASES / "f11_read_truncated.json.gz").unchecked == ""


@needs_data
def test_a_reward_alone_is_compared_alone():
    assert regrade(CASES / "f13_only_reward_stored.json")["same"] == 1


@needs_data
def test_a_file_without_tasks_has_outcomes_that_say_so():
    path = next((DATA / "tau2_runs").glob("untrusted*"))
    with gzip.open(path) as f:
        assert not json.load(f).get("tasks")
    curve = pass_k_report(path)
    assert curve["unchecked"] == "no info and no tasks in it" and curve["n"] == 50
