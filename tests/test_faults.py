"Injected errors: true worlds, known truth, two halves that share no words"
import random
from collections import Counter
from dataclasses import replace

import pytest
from conftest import needs_data, DATA
from synthlab import heldout, wordings
from synthlab.criticality import criticality
from synthlab.faults import FAULTS, inject, suite, untouched
from synthlab.grade import grade
from synthlab.replay import replay
from synthlab.results import load_results
from synthlab.stage import oracle_runs
from synthlab.types import to_dict


@pytest.fixture(scope='module')
def runs(): return oracle_runs(each=12)


@pytest.fixture(scope='module', params=['dev', 'heldout'])
def injected(runs, request): return suite(runs, request.param, each=5)


def test_every_answer_is_what_the_environment_says(injected):
    for t in injected:
        r = replay(t)
        assert not r.loose and all(s.match for s in r.steps), t.info['fault']


def test_the_truth_says_what_was_done(injected):
    for t in injected:
        f = t.info['fault']
        if f['source'] == 'none': assert t.reward == 1; continue
        assert t.messages[f['turn']].role == ('user' if f['source'] == 'user' else 'assistant'), f
        assert (f['severity'] in ('minor', 'critical_helped')) == (t.reward == 1), f


def test_all_classes_of_the_taxonomy_are_there(injected):
    kinds = {t.info['fault']['type'] for t in injected if t.info['fault']['source'] == 'user'}
    assert kinds == {f.type for f in FAULTS.values() if f.source == 'user'}
    assert {t.info['fault']['type'] for t in injected if t.info['fault']['source'] == 'agent'} == {
        f.type for f in FAULTS.values() if f.source == 'agent'}


def test_the_same_seed_gives_the_same_bytes(runs):
    a, b = (suite(runs[:6], each=3, seed=7) for _ in range(2))
    assert [to_dict(t) for t in a] == [to_dict(t) for t in b]
    assert [to_dict(t) for t in suite(runs[:6], each=3, seed=8)] != [to_dict(t) for t in a]


def test_the_halves_share_no_words_and_no_invented_values():
    def texts(w): return {o for k in ('user', 'agent', 'invented') for v in w[k].values() for o in v}
    assert not texts(wordings.WORDS) & texts(heldout.WORDS)


def test_nothing_that_happened_before_the_error_is_changed(runs):
    for t in runs[:10]:
        same = untouched(t)
        assert [(m.role, m.content) for m in same.messages] == [(m.role, m.content) for m in t.messages]
        try: bad = inject(t, 'user: invented aside', random.Random(3))
        except ValueError: continue
        k = bad.info['fault']['turn']
        assert [m.content for m in bad.messages[:k]] == [m.content for m in t.messages[:k]]
        assert bad.messages[k].content != t.messages[k].content


def test_criticality_agrees_with_the_truth(injected):
    "Most of what is known to be critical is found to be, and little else"
    user = [t for t in injected if t.info['fault']['source'] == 'user']
    both = Counter((t.info['fault']['severity'], criticality(t, t.info['fault']['turn'])) for t in user)
    right = sum(n for (a,b),n in both.items() if a == b)
    assert right/len(user) >= .85, both
    assert all(both['minor', c] <= .1*len(user) for c in ('critical_hindered', 'critical_helped')), both


def test_what_does_not_fit_is_refused(runs):
    empty = replace(runs[0], messages=runs[0].messages[:1])
    with pytest.raises(ValueError, match='no place'): inject(empty, 'user: wish denied', random.Random(1))
    with pytest.raises(ValueError, match='half is one of'): suite(runs[:1], 'both')


@needs_data
def test_recorded_runs_are_changed_the_same_way():
    ts = [grade(t) for t in load_results(DATA/'tau2_runs'/'gpt-4.1_telecom_default_1trial.json.gz').trajectories]
    some = suite([t for t in ts if t.reward == 1], each=6)
    assert all(t.info['fault']['real'] and all(s.match for s in replay(t).steps) for t in some)
    assert len({t.info['fault']['name'] for t in some}) > 20
