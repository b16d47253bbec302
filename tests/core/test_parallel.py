"""Ray for real: a cluster of two nodes on this machine gives what local processes give, and a node
may go away.
"""

import json
import os
import threading
import time

import pytest
from conftest import ROOT, installed

from synthlab.core.parallel import pmap
from synthlab.core.types import to_dict, to_md
from synthlab.generate.apigen_mt import generate
from synthlab.select.dedup import drop_exact
from synthlab.verify.gates import verify

pytestmark = pytest.mark.skipif(not installed("ray"), reason="the extra `ray` is not installed")


@pytest.fixture(scope="module")
def cluster():
    "Two nodes of one core each, and this process connected to them: one for the whole module"
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "90")  # read when ray is imported
    import ray
    from ray.cluster_utils import Cluster

    quiet = dict(num_cpus=1, include_dashboard=False, object_store_memory=10**8)
    os.environ["PYTHONPATH"] = f"{ROOT / 'tests'}:{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    try:
        c = Cluster(initialize_head=True, head_node_args=quiet)
        c.second = c.add_node(**quiet)
    except Exception as e:
        pytest.skip(f"Ray did not start within 90 s, this machine is too busy: {e}")
    ray.init(address=c.address, log_to_driver=False, logging_level="ERROR")
    yield c
    ray.shutdown()
    c.shutdown()


def made(jobs):
    "Conversations sampled and verified, again verified, and squeezed: what is kept, as bytes"
    kept = verify(generate(24, ("mock", "retail"), seed=3, chunk=8, jobs=jobs).kept, jobs=jobs)
    return json.dumps(
        [to_dict(kept[i]) for i in drop_exact([to_md(t, 10**6) for t in kept]).kept], sort_keys=True
    ).encode()


def test_two_nodes_give_the_same_bytes(cluster, monkeypatch):
    local = made(1)
    monkeypatch.setenv("SYNTHLAB_ENGINE", "ray")
    nodes = set(pmap(where, range(160), desc="where"))
    assert len(nodes) == 2, "both nodes work"
    assert made(2) == local and len(local) > 10_000


def where(i):
    import time

    import ray

    time.sleep(0.05)
    return ray.get_runtime_context().get_node_id()


def test_order_and_the_item_that_failed(cluster):
    assert (
        pmap(lambda x: 6 // x, [3, 2, 1], engine="ray") == [2, 3, 6]
        and pmap(abs, [], engine="ray") == []
    )
    with pytest.raises(ZeroDivisionError) as e:
        pmap(lambda x: 6 // x, [3, 0, 1], engine="ray", desc="six")
    assert "six: item 1, 0" in e.value.__notes__


def test_a_node_removed_in_the_middle_loses_nothing(cluster, tmp_path):
    def slow(i):
        (tmp_path / f"{i}@{where(i)}").touch()
        time.sleep(0.25)
        return (
            i,
            "x" * 200_000,
        )  # too large to travel with the answer: it lies on the node until it is fetched

    gone = cluster.second.node_id

    def begun():
        return [p.name for p in tmp_path.iterdir() if p.name.endswith(gone)]

    def leave():
        while len(begun()) < 4:
            time.sleep(0.05)
        cluster.remove_node(cluster.second, allow_graceful=False)

    t = threading.Thread(target=leave)
    t.start()
    out = pmap(slow, range(32), engine="ray")
    t.join()
    assert out == [(i, "x" * 200_000) for i in range(32)]
    tries = {}
    for p in tmp_path.iterdir():
        tries.setdefault(p.name.split("@")[0], set()).add(p.name.split("@")[1])
    assert len(tries) == 32 and any(len(v) == 2 for v in tries.values()), (
        "something had to be done again elsewhere"
    )
