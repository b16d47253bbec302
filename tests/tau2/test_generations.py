"The release of a file's tasks is told by their text, and releases are not pooled"

import json
from dataclasses import replace

import pytest
from conftest import DATA, ROOT, RUNS, needs_data

from synthlab.tau2.env import from_tau2, tasks
from synthlab.tau2.generations import changed_parts, generation_of, pooling_note, task_digest
from synthlab.tau2.grade import audit_task_list
from synthlab.tau2.results import load_results

SITES = sorted((ROOT / ".venv/mcp").glob("lib/python3*/site-packages"))


def tasks_of_1x(domain):
    "The tasks of 1.x that other people's package of a domain carries"
    found = [p for s in SITES for p in s.glob(f"tau2_{domain}_mcp/data/**/tasks.json")]
    if not found:
        pytest.skip(f"tau2-{domain}-mcp-eval is not installed: make setup puts it into .venv/mcp")
    return [from_tau2(t, domain) for t in json.loads(found[0].read_text())]


@needs_data
@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.name.split(".json")[0])
def test_real_files_are_of_one_release(path):
    "Published before 1.0, but for the mock run, whose tasks are those of 1.0"
    if "no-info" in path.name:
        pytest.skip("it has no tasks, so nothing tells its release")
    found = load_results(path).generation
    assert found.differs == found.own == []
    first = "1.0.0" if "mock" in path.name else "0.1 to 0.2"
    assert found.names[0] == first


@pytest.mark.parametrize("domain", ["mock", "airline", "retail"])
def test_packages_of_other_hands_are_told(domain):
    assert generation_of(tasks_of_1x(domain), domain).names == ["1.0.0", "1.0.1"]


@pytest.mark.parametrize(
    "domain,ok,open_,idle",
    [("mock", 8, 0, 1), ("airline", 50, 0, 23), ("retail", 74, 40, 6)],
)
def test_audit_of_1x(domain, ok, open_, idle):
    "Gold earns the reward wherever no judge is needed; counts agree with upstream's own evaluator"
    found = audit_task_list(tasks_of_1x(domain))
    assert (found["gold_ok"], len(found["gold_undecided"])) == (ok, open_)
    assert len(found["gold_failed"]) == found["n"] - ok - open_
    assert len(found["null_agent_passes"]) == idle
    if domain == "retail":
        assert len(found["null_agent_undecided"]) == 5  # its DB part is met in 11 in all


def test_what_is_no_change_leaves_the_digest():
    for t in tasks("airline")[:10]:
        checks = dict(t.checks or {}, reward_basis=["COMMUNICATE", "DB"], env_assertions=[])
        gold = [dict(a, info="why", compare_args=None, requestor="assistant") for a in t.gold]
        same = replace(t, checks=checks, gold=gold, about=dict(purpose="another"), ticket=None)
        assert task_digest(same) == task_digest(t)


@pytest.mark.parametrize("part", ["scenario", "start", "criteria"])
def test_a_change_is_named_by_its_part(part):
    t = tasks("telecom")[0]
    changed = dict(
        scenario=dict(persona="another"),
        start=dict(init=dict(t.init, initialization_actions=[])),
        criteria=dict(gold=t.gold[1:]),
    )
    found = generation_of([replace(t, **changed[part])], "telecom")
    assert not found.names and found.differs == [dict(task=t.id, parts=[part])]


def test_fields_of_later_releases_are_seen():
    t = tasks("retail")[0]
    judged = dict(communicate_checks=[dict(justification="[llm_judge] said so")])
    for raw in (
        dict(info=dict(communicate_judge_mode="llm")),
        dict(info_history=[]),
        dict(simulations=[dict(reward_info=judged)]),
    ):
        assert generation_of([t], "retail", raw).label == "2.0 or later"
    plain = dict(simulations=[dict(reward_info=dict(communicate_checks=[dict(info="x")]))])
    assert generation_of([t], "retail", plain).label == "0.1 to 0.2"


def test_releases_are_not_pooled_and_domains_do_not_matter():
    old = generation_of(tasks("airline"), "airline")
    new = generation_of(tasks_of_1x("airline"), "airline")
    retail = generation_of(tasks_of_1x("retail"), "retail")
    assert pooling_note(dict(a=old, b=retail)) == ""
    with pytest.raises(ValueError, match="27 of 50 shared tasks differ"):
        pooling_note(dict(a=old, b=new))
    assert "27 of 50" in pooling_note(dict(a=old, b=new), pool=True)


@needs_data
@pytest.mark.parametrize("domain", ["airline", "retail"])
def test_changes_are_those_that_others_listed(domain):
    "Instructions (I), reference actions (A), words to be said (C), compared by other hands"
    listed = json.loads((DATA / f"labels/task_fix_labels_{domain}.json").read_text())
    listed = listed["upstream_head"]
    old = {t.id: task_digest(t) for t in tasks(domain)}
    new = {t.id: task_digest(t) for t in tasks_of_1x(domain)}
    changed = {i: changed_parts(old[i], new[i]) for i in old}
    assert {i for i, parts in changed.items() if "scenario" in parts} == {
        i for i, kinds in listed.items() if "I" in kinds
    }
    graded = {i for i, kinds in listed.items() if set(kinds) & set("AC")}
    assert graded <= {i for i, parts in changed.items() if "criteria" in parts}
    assert not any("start" in parts for parts in changed.values())
