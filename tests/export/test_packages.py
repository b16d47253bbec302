"""Leaderboard entries: what would be refused is said, numbers are the benchmark's. Environment
packages: what is written compiles and names what exists, and an episode turned inside out is the
episode.

SYNTHLAB_VERIFIERS and SYNTHLAB_OPENENV are interpreters with verifiers or openenv-core, and
synthlab: with them the written packages play episodes over their own servers.
"""

import ast
import copy
import importlib
import json
import os
import random
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import DATA, ROOT, needs_data

from synthlab.core.types import ToolCall
from synthlab.export.packages import (
    AgentEpisode,
    SharedWorld,
    domain_task,
    guideline_faults,
    leaderboard_submission,
    log_trajectory,
    opening_log,
    run_faults,
    submission_faults,
    submission_folder,
    tool_function,
    user_policy,
    write_openenv,
    write_verifiers_environment,
)
from synthlab.tau2.agents import NullAgent, OracleAgent, ScriptedUser
from synthlab.tau2.database import DOMAINS
from synthlab.tau2.env import Env, tasks, tools
from synthlab.tau2.grade import write_graded_results
from synthlab.tau2.rollout import rollout

VERIFIERS, OPENENV = (os.environ.get(f"SYNTHLAB_{n}") for n in ("VERIFIERS", "OPENENV"))
META = dict(
    model_organization="Org",
    submitting_organization="Org",
    contact_info=dict(email="a@b.c"),
    submission_date="2026-01-31",
)
INFO = dict(
    agent_info=dict(implementation="llm_agent", llm="m/1.0", llm_args=dict(api_key="hidden-key")),
    user_info=dict(implementation="user_simulator", llm="u"),
)
OLD = "0.1 to 0.2"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "Two runs of each airline task by an agent that does nothing"
    runs = rollout(tasks("airline"), NullAgent(), ScriptedUser(), trials=2)
    for i, t in enumerate(runs):
        t.info["agent_cost"] = 0.01 * (i % 3)
    return write_graded_results(runs, tmp_path_factory.mktemp("runs") / "airline.json", INFO)


@pytest.fixture(scope="module")
def entry(whole):
    return leaderboard_submission([whole], META, release=OLD)


def changed(path, to, change):
    "A results file with something else in it"
    d = json.loads(Path(path).read_text())
    change(d)
    to.write_text(json.dumps(d))
    return to


def test_an_entry_has_what_the_files_say(entry):
    scores = entry["results"]["airline"]
    assert scores["pass_1"] == scores["pass_2"] == 38.0 and "pass_3" not in scores
    assert scores["cost"] == pytest.approx(sum(0.01 * (i % 3) for i in range(100)) / 100)
    assert entry["model_name"] == "m/1.0" and entry["methodology"]["user_simulator"] == "u"
    assert entry["trajectory_files"] == dict(airline="airline.json")
    assert submission_faults(entry) == guideline_faults(entry) == []
    assert submission_folder(entry) == "m-1-0_org_2026-01-31"
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry


SPOILED = {
    "pass_1 is 101": lambda d: d["results"]["airline"].update(pass_1=101),
    "pass_1 is True": lambda d: d["results"]["airline"].update(pass_1=True),
    "cost is -1": lambda d: d["results"]["airline"].update(cost=-1),
    "pass_5: no such field": lambda d: d["results"]["airline"].update(pass_5=1.0),
    "results.mock: no such field": lambda d: d["results"].update(mock={}),
    "submission_date is '31.1.2026'": lambda d: d.update(submission_date="31.1.2026"),
    "submission_date is '2026-02-30'": lambda d: d.update(submission_date="2026-02-30"),
    "model_name is missing": lambda d: d.pop("model_name"),
    "submission_type is 'other'": lambda d: d.update(submission_type="other"),
    "modality is 'song'": lambda d: d.update(modality="song"),
    "contact_info is 'me'": lambda d: d.update(contact_info="me"),
    "contact_info.phone: no such": lambda d: d["contact_info"].update(phone="1"),
    "retrieval_config is missing": lambda d: d["results"].update(banking_knowledge={}),
    "release_date is missing": lambda d: d.update(model_release=dict(announcement_url="u")),
    "references[0].url is missing": lambda d: d.update(references=[dict(title="t")]),
    "references is {}": lambda d: d.update(references={}),
    "methodology.x: no such": lambda d: d["methodology"].update(x=1),
}


@pytest.mark.parametrize("said", SPOILED)
def test_what_the_schema_refuses_is_said_with_its_field(entry, said):
    d = copy.deepcopy(entry)
    SPOILED[said](d)
    (fault,) = submission_faults(d)
    assert said in fault


def test_the_guide_asks_for_more_than_the_schema(entry):
    d = copy.deepcopy(entry) | dict(submission_type="custom", scores=1, model_name=" ")
    d["methodology"]["verification"] = dict(omitted_questions=True)
    assert submission_faults(d) == []
    said = "\n".join(guideline_faults(d))
    for word in ("scores: no such", "model_name is empty", "explains itself", "all tasks must"):
        assert word in said
    prompts = dict(methodology=dict(verification=dict(modified_prompts=True)))
    assert "'custom'" in guideline_faults(entry | prompts)[0]


def _other_user(d):
    d["info"]["user_info"]["llm"] = "another"


def _other_arguments(d):
    d["info"]["agent_info"]["llm_args"] = dict(api_key="other-key")


RUNS = {
    "are missing: 0": lambda d: d.update(
        tasks=d["tasks"][1:], simulations=[s for s in d["simulations"] if s["task_id"] != "0"]
    ),
    "not in the base split: 500": lambda d: d["tasks"].append(dict(d["tasks"][0], id="500")),
    "have [1] runs where num_trials is 2: 0": lambda d: d["simulations"].pop(0),
    "1 runs have no reward": lambda d: d["simulations"][0].update(reward_info=None),
    "not those of release": lambda d: d["tasks"][0]["user_scenario"].update(persona="A pirate"),
    "entry is custom": lambda d: d["info"]["agent_info"].update(implementation="my_agent"),
}


@pytest.mark.parametrize("said", RUNS)
def test_runs_that_cannot_be_submitted(whole, tmp_path, said):
    assert run_faults([whole], OLD) == []
    bad = changed(whole, tmp_path / "bad.json", RUNS[said])
    assert any(said in f and f.startswith("bad.json: ") for f in run_faults([bad], OLD))
    with pytest.raises(ValueError, match="cannot be submitted"):
        leaderboard_submission([bad], META, release=OLD)


def test_all_domains_have_one_agent_and_one_user(whole, tmp_path):
    for change, said in ((_other_user, "another, not u"), (_other_arguments, "other arguments")):
        second = changed(whole, tmp_path / "second.json", change)
        faults = run_faults([whole, second], OLD)
        assert "airline again, after airline.json" in faults[0]
        assert said in faults[-1] and "key" not in faults[-1]


def test_other_domains_and_fields_of_the_files_are_refused(whole, tmp_path):
    runs = rollout(tasks("mock")[:2], OracleAgent(), ScriptedUser())
    mock = write_graded_results(runs, tmp_path / "mock.json", INFO)
    with pytest.raises(ValueError, match="no domain mock"):
        leaderboard_submission([mock], META)
    with pytest.raises(ValueError, match="results: the files say this"):
        leaderboard_submission([whole], META | dict(results={}))
    with pytest.raises(ValueError, match="give one for each domain"):
        leaderboard_submission([], META)


@needs_data
def test_a_published_run_gives_its_published_number():
    path = DATA / "tau2_runs/gpt-4o_airline_user-gpt-4o_1trial.json.gz"
    d = leaderboard_submission([path], META, release=OLD)
    assert d["results"]["airline"] == dict(pass_1=46.0, cost=pytest.approx(0.08406622))
    assert d["trajectory_files"]["airline"] == path.name.removesuffix(".gz")
    with pytest.raises(ValueError, match="not those of release 1.0.1"):
        leaderboard_submission([path], META)


def played(task, **kw):
    "An episode whose agent is the oracle, asked from outside"
    (known,) = rollout([task], OracleAgent(), ScriptedUser(), **kw)
    ep = AgentEpisode(task, ScriptedUser(), **kw)
    for m in known.messages[1:]:
        if m.role == "assistant":
            assert not ep.done
            ep.act(m.content, m.calls)
    return ep, known


@pytest.mark.parametrize("domain", ["mock", "airline", "retail", "telecom"])
def test_an_episode_from_outside_is_the_rollout(domain):
    for task in tasks(domain)[:3]:
        if (task.init or {}).get("message_history"):
            continue
        ep, known = played(task, seed=3)
        assert ep.done and ep.trajectory.messages == known.messages
        assert ep.trajectory.stop == known.stop and ep.reward == 1.0


def test_an_agent_hears_its_tools_and_the_user_only():
    ep, known = played(domain_task("telecom", tasks("telecom")[0].id))
    assert any(m.calls for m in known.messages if m.role == "user")
    again = AgentEpisode(known.task, ScriptedUser())
    heard = list(again.news)
    for m in known.messages[1:]:
        if m.role == "assistant":
            heard += again.act(m.content, m.calls)
    mine = [
        m for m in known.messages[1:] if m.role == "user" and not m.calls or m.by == "assistant"
    ]
    assert heard == [known.messages[0], *mine]


def test_limits_faults_and_two_at_once():
    task = tasks("retail")[0]
    short = AgentEpisode(task, ScriptedUser(), max_steps=1)
    assert short.done and short.trajectory.stop == "max_steps"
    one, two = (AgentEpisode(task, ScriptedUser()) for _ in range(2))
    one.act("", [ToolCall("no_such_tool", {})])
    assert one.news[0].error and not two.done
    one.act()
    assert one.done and one.trajectory.stop == "agent_error" and one.reward == 0
    two.close()
    assert two.done
    with pytest.raises(ValueError, match="has ended"):
        two.act("Hello?")


def test_users_by_name():
    assert user_policy("scripted:user").name == "scripted:user"
    with pytest.raises(ValueError, match="no scripted policy"):
        user_policy("scripted:nobody")


@pytest.mark.parametrize("seed", range(3))
def test_worlds_that_follow_one_log_are_one_world(seed):
    "Whoever makes the calls, the answers are those of a single environment"
    draw = random.Random(seed)
    task = draw.choice([t for t in tasks("telecom") if t.gold and len(t.gold) > 3])
    worlds, single, log = [SharedWorld(task) for _ in range(3)], Env(task), opening_log(task)
    looks = [("check_status_bar", {}, "user"), ("toggle_airplane_mode", {}, "user")]
    for name, args, by in [
        *((a["name"], a["arguments"], a["requestor"]) for a in task.gold),
        *draw.choices(looks, k=8),
    ]:
        got = draw.choice(worlds).step(ToolCall(name, args, by=by), log)
        assert got.content == single.step(ToolCall(name, args, by=by)).content
    ids = [d["call_id"] for d in log if d["role"] == "tool"]
    assert len(set(ids)) == len(task.gold) + 8
    log.append(dict(role="user", content="###STOP###"))
    assert log_trajectory(task, log, "user_stop").scores["reward"].given


def test_a_task_that_begins_in_the_middle_has_no_opening():
    middle = next(t for t in tasks("mock") if (t.init or {}).get("message_history"))
    with pytest.raises(ValueError, match="begins in the middle"):
        opening_log(middle)
    with pytest.raises(ValueError, match="no task 'x'"):
        domain_task("mock", "x")


@pytest.mark.parametrize("domain", DOMAINS)
def test_functions_have_the_schemas_of_the_tools(domain):
    from pydantic import create_model

    for schema in tools(domain) + tools(domain, "user"):
        f = tool_function(schema, lambda name, args: json.dumps([name, args]))
        told, given = schema["function"]["parameters"], f.__signature__.parameters
        assert list(given) == list(told["properties"])
        required = [k for k, p in given.items() if p.default is p.empty]
        assert required == [k for k in told["properties"] if k in told.get("required", [])]
        fields = {k: (p.annotation, ... if k in required else None) for k, p in given.items()}
        made = create_model("Arguments", **fields).model_json_schema()
        assert "$ref" not in json.dumps(made)
        for k, s in told["properties"].items():
            assert made["properties"][k].get("type") == s.get("type")
        assert json.loads(f(**dict.fromkeys(required, 1)))[1] == dict.fromkeys(required, 1)


WRITERS = (write_verifiers_environment, write_openenv)


@pytest.mark.parametrize("write", WRITERS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("domain", DOMAINS)
def test_a_written_package_compiles_and_names_what_exists(write, domain, tmp_path):
    folder = write(domain, tmp_path / "made")
    name = "tau2_" + domain.replace("-", "_")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert name.replace("_", "-") in project["name"] and "synthlab" in project["dependencies"]
    for path in folder.rglob("*"):
        words = path.read_text() if path.is_file() else ""
        assert not any(
            w in words for w in ("__package__", "__domain__", "__Class__", "__project__")
        )
    for path in folder.rglob("*.py"):
        assert path.relative_to(folder).parts[0] == name
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("synthlab"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, a.name) for a in node.names), ast.unparse(node)
    if write is write_openenv:
        stated = yaml.safe_load((folder / "openenv.yaml").read_text())
        assert stated["spec_version"] == 1 and stated["app"] == f"{name}.server.app:app"


def test_folders_and_domains_that_cannot_be_written(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    for write in WRITERS:
        with pytest.raises(ValueError, match="holds something already"):
            write("mock", tmp_path)
        with pytest.raises(ValueError, match="no τ² domain 'space'"):
            write("space", tmp_path / "x")
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]


def run_with(python, script, folder, *args):
    "The last line that a script of this folder prints, run where a written package is"
    path = os.pathsep.join([str(folder), str(ROOT)])
    tools_path = os.pathsep.join([str(Path(python).parent), os.environ["PATH"]])
    r = subprocess.run(
        [python, str(Path(__file__).with_name(script)), *args],
        env=os.environ | dict(PYTHONPATH=path, PATH=tools_path),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert r.returncode == 0, r.stderr[-2000:]
    return json.loads(r.stdout.splitlines()[-1])


def by_both(t):
    return {a["requestor"] for a in t.gold} == {"assistant", "user"}


@pytest.mark.slow
@pytest.mark.skipif(not VERIFIERS, reason="SYNTHLAB_VERIFIERS names no Python with verifiers")
@pytest.mark.parametrize("domain", ["airline", "telecom"])
def test_verifiers_plays_an_episode(domain, tmp_path):
    "Nested arguments in one, in the other a user with tools: two servers, one world, the reward"
    folder = write_verifiers_environment(domain, tmp_path / "made")
    fits = dict(
        airline=lambda t: any(a["name"] == "book_reservation" for a in t.gold), telecom=by_both
    )
    task = next(filter(fits[domain], tasks(domain, "train")))
    told = run_with(VERIFIERS, "verifiers_episode.py", folder, domain, task.id)
    assert told == dict(rewards=dict(tau2=1.0), errors=[])


@pytest.mark.slow
@pytest.mark.skipif(not OPENENV, reason="SYNTHLAB_OPENENV names no Python with openenv-core")
def test_openenv_plays_episodes(tmp_path):
    folder = write_openenv("airline", tmp_path / "made")
    told = run_with(OPENENV, "openenv_episode.py", folder, "0", "1", "2")
    assert told == [[1.0, "user_stop"]] * 3
