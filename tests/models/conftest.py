"Fixtures that several tests of these modules use"

import pytest
from fake_server import CONFIG, FakeServer

from synthlab.models.llm import HTTP


@pytest.fixture(scope="module")
def server():
    with FakeServer() as s:
        HTTP(s.url, "m").ready()
        yield s


@pytest.fixture
def fresh(server):
    "The server with clean counts and the faults a test asks for"

    def of(**config):
        server.set(**{**CONFIG, **config})
        server.reset()
        return server

    return of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls.sqlite"
