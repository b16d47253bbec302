"Patterns as data: each has the two sentences that say what it means, and each is used."

import ast
import re

import pytest
from conftest import ROOT

from synthlab.user_errors.lexicon import lexicon, lexicon_tables, parse_lexicon

MODULES = sorted((ROOT / "synthlab" / "user_errors").glob("*.py"))
ENTRIES = [(t, e) for t in lexicon_tables() for e in lexicon(t).values()]


@pytest.mark.parametrize("table, entry", ENTRIES, ids=lambda x: getattr(x, "name", x))
def test_a_pattern_matches_its_example_and_not_its_counterexample(table, entry):
    pattern = entry.compile(**dict(entry.given))
    assert all(map(pattern.search, entry.match)), f"{table}: {entry.name} misses {entry.match}"
    assert not any(map(pattern.search, entry.reject)), f"{table}: {entry.name} takes {entry.reject}"


def test_every_pattern_is_used():
    code = "\n".join(m.read_text() for m in MODULES)
    whole = set(re.findall(r'\b(?:lexicon|_thing_states)\w*\(\s*"(\w+)"\)', code))
    stated = [e.name for t, e in ENTRIES if t in whole or f'"{e.name}"' in code]
    unused = [e.name for t, e in ENTRIES if e.name not in stated and e.name[:6] != "field_"]
    assert not unused


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.stem)
def test_long_patterns_are_in_a_table(module):
    "What reads words stands where its two sentences stand"
    if module.stem in ("faults", "omissions", "validation", "resimulate"):
        return  # these write words, and read only what they wrote
    texts = [
        n.value for n in ast.walk(ast.parse(module.read_text())) if isinstance(n, ast.Constant)
    ]
    regular = [s for s in texts if isinstance(s, str) and re.search(r"\\[bswdW]|\(\?", s)]
    assert not [s for s in regular if len(s) > 60]


def test_a_word_that_yaml_takes_for_something_else_is_named():
    table = """
patterns:
  negates:
    reads: a denial
    side: user
    pattern: [no, not]
    match: No, thank you.
    reject: Yes, please.
"""
    with pytest.raises(ValueError, match="negates: False is not a text"):
        parse_lexicon(table)
