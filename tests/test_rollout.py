"Rollouts follow the benchmark's protocol: its own orchestrator, driven by the same policies, is the reference"
import copy, random, sys
from functools import lru_cache

import pytest

from conftest import ROOT
from synthlab.rollout import OUT_OF_SCOPE, STOP, TRANSFER, episode_seed, rollout, solo_ready, stream
from synthlab.scripted import NullAgent, OracleAgent, ScriptedUser
from synthlab.types import Message, Task, ToolCall
from synthlab.world import tasks

base = lru_cache(tasks)


@pytest.fixture(scope='module')
def peer():
    "The benchmark's own orchestrator behind thin adapters"
    sys.path.insert(0, str(ROOT/'bench'))
    import tau2_orchestrator
    yield tau2_orchestrator
    sys.path.remove(str(ROOT/'bench'))


def plain(messages):
    "Messages without what may differ: call ids are numbered by first appearance"
    ids = {}
    def n(i): return ids.setdefault(i, len(ids))
    return [(m.role, m.content, [(n(c.id), c.name, c.args, c.by) for c in m.calls], n(m.call_id) if m.role == 'tool' else None,
             m.error, m.by) for m in messages]


def same(peer, task, agent, user=None, solo=False, **kw):
    "Roll out on both sides; assert that all of it is equal, give the trajectory"
    o = peer.orchestrator(task, agent, user, solo, seed=episode_seed(0, task, 0), **kw)
    theirs, (ours,) = o.run(), rollout([task], agent, user, solo=solo, **kw)
    assert plain(ours.messages) == plain(map(peer.ours, theirs.messages)), task.id
    assert (ours.stop, ours.info['steps'], ours.info['errors']) == (theirs.termination_reason.value, o.step_count, o.num_errors), task.id
    return ours


def sample(domain, k):
    "Every task of mock, else `k` spread over the base split"
    ts = base(domain)
    return ts if domain == 'mock' else ts[::max(1, len(ts)//k)]


@pytest.mark.parametrize('domain, k', [('mock', 9), ('airline', 3), ('retail', 5), ('telecom', 12), ('telecom-workflow', 3)])
@pytest.mark.parametrize('agent', [OracleAgent(), NullAgent()], ids=lambda a: a.name)
def test_transcripts_are_the_benchmarks_own(peer, domain, k, agent):
    for t in sample(domain, k): assert same(peer, t, agent, ScriptedUser()).stop == 'user_stop'


@pytest.mark.parametrize('domain, k', [('mock', 9), ('telecom', 12)])
def test_solo_transcripts_are_the_benchmarks_own(peer, domain, k):
    ready = [t for t in sample(domain, k) if solo_ready(t)]
    for t in ready: assert same(peer, t, OracleAgent(), solo=True).stop == 'agent_stop'
    assert len(ready) >= 6


class Chaos:
    "Says and does at random what a policy may, depending on the seed and the number of its own turns alone"
    def __init__(self, role, tools): self.role, self.tools = role, tools

    def __call__(self, eps): return [self.turn(e) for e in eps]

    def turn(self, ep):
        n = sum(m.role == self.role for m in ep.messages[ep.start:])
        r = random.Random(f'{ep.seed} {n} {self.role}')
        gold = [ToolCall(a['name'], copy.deepcopy(a['arguments'])) for a in ep.task.gold or []]
        pool = gold+[ToolCall(t) for t in self.tools]+[ToolCall('no_such_tool', {'a': 1}), ToolCall('get_users', {'wrong': 1})]
        calls = r.sample(pool, min(len(pool), r.choice([0, 1, 1, 1, 2, 3])))
        if ep.solo and r.random() < .1: calls.append(ToolCall('done'))
        words = r.choice(['Hello.', 'Is it on?', f'Bye {STOP}'] if not ep.solo else ['Hello.', STOP]) if r.random() < .5 else ''
        if self.role == 'user' and r.random() < .2: words = r.choice([TRANSFER, f'No. {OUT_OF_SCOPE}', f'{STOP} thanks'])
        if ep.solo and calls: words = ''
        for i, c in enumerate(calls): c.id = f'{self.role}_{n}_{i}'
        return Message(self.role, words if words or calls else 'Well.', calls)


@pytest.mark.parametrize('solo', [False, True])
@pytest.mark.parametrize('domain', ['mock', 'telecom'])
def test_protocol_is_the_benchmarks_whatever_is_said(peer, domain, solo):
    "Tool calls in one message, by either side, with words, to unknown tools; stops of every kind; limits in between"
    agent = Chaos('assistant', ['get_users', 'get_data_usage', 'toggle_data'])
    user = Chaos('user', ['toggle_data', 'check_status_bar', 'reboot_device'])
    stops = []
    for i, t in enumerate(t for t in sample(domain, 40)*(5 if domain == 'mock' else 1) if not solo or solo_ready(t)):
        kw = dict(max_steps=random.Random(i).choice([1, 2, 3, 5, 9, 200]), max_errors=random.Random(-i).choice([1, 2, 4, 10]))
        o = peer.orchestrator(t, agent, user, solo, seed=i, **kw)
        theirs = o.run()
        ours = one_with_seed(t, agent, user, solo, i, **kw)
        assert plain(ours.messages) == plain(map(peer.ours, theirs.messages)), (t.id, i)
        got = ours.stop, ours.info['steps'], ours.info['errors']
        assert got == (theirs.termination_reason.value, o.step_count, o.num_errors), (t.id, i)
        stops.append(ours.stop)
    ends = {'max_steps', 'too_many_errors', *(['agent_stop', 'agent_error'] if solo else ['user_stop'])}
    assert set(stops) == ends, 'the chaos is meant to reach every end'


def one_with_seed(task, agent, user, solo, seed, **kw):
    "A rollout whose policies see `seed`"
    def seeded(policy):
        def ask(eps):
            for e in eps: e.seed = seed
            return policy(eps)
        return ask
    return rollout([task], seeded(agent), seeded(user), solo=solo, **kw)[0]
