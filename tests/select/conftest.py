"Fixtures that several test files of select use"

import random

import pytest

from synthlab.core.types import Message
from synthlab.models.hub import Prompter, toy_model
from synthlab.select.base import Item
from synthlab.select.evaluation import (
    make_labelled_pool,
)
from synthlab.select.reader import (
    Reader,
)
from synthlab.select.registry import SelectorInputs
from synthlab.train.tokenize import Row, encode_row
from tests.select import common


@pytest.fixture(scope="session")
def embedded(hf):
    return Reader(hf._shared["net"], "cpu", batch=300)


@pytest.fixture(scope="session")
def rows(hf):
    "Some short chats as the embedded model reads them"
    tok = Prompter(hf.tok)
    out = []
    for i, (q, a) in enumerate(zip(common.ASKED, common.SAID)):
        chat = [Message("system", "Help."), Message("user", q), Message("assistant", a)]
        e = encode_row(Row(chat), tok)
        out.append(Item(e.input_ids, e.labels, id=str(i)))
    return out


@pytest.fixture(scope="module")
def given():
    rng = random.Random(9)
    queries = [common.tossed(20, rng, 0, 50, source=s) for s in "ab"]
    return SelectorInputs(queries, common.toy(), batch=400, embed="lexical")


@pytest.fixture(scope="module")
def pool():
    return make_labelled_pool(14, 6, 8)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return toy_model(tmp_path_factory.mktemp("toy") / "toy")
