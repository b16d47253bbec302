"Settings from the file and the environment"

import os
import subprocess
import sys

import pytest
from conftest import ROOT

from synthlab.core.settings import set_offline, settings


def test_settings_from_file_and_environment(tmp_path, monkeypatch):
    (tmp_path / "settings.ini").write_text("[models]\nagent = hf:a\n")
    assert settings(tmp_path).agent == "hf:a"
    monkeypatch.setenv("SYNTHLAB_AGENT", "hf:b")
    assert settings(tmp_path).agent == "hf:b"
    monkeypatch.setenv("SYNTHLAB_API_KEY", "sk-secret")
    assert "sk-secret" not in repr(settings(tmp_path))
    monkeypatch.setenv("SYNTHLAB_AGNET", "x")
    with pytest.raises(
        ValueError, match="SYNTHLAB_AGNET: no such setting; known: SYNTHLAB_OUTPUTS"
    ):
        settings(tmp_path)
    monkeypatch.delenv("SYNTHLAB_AGNET")
    for text, said in [
        ("[lab]\nx = 1\n", "no key 'x'"),
        ("[odd]\n", r"no section \[odd\]"),
        ("x\n", "settings.ini"),
        ("[prices]\nm = 1\n", "three numbers"),
    ]:
        (tmp_path / "settings.ini").write_text(text)
        with pytest.raises(ValueError, match=said):
            settings(tmp_path)


def test_importing_the_library_changes_nobodys_environment():
    code = (
        "import os, importlib, sys; before = dict(os.environ); "
        "[importlib.import_module(m) for m in sys.argv[1:]]; "
        "print({k for k in os.environ if before.get(k) != os.environ[k]} or 'nothing')"
    )
    modules = [
        f"synthlab.{p.parent.name}.{p.stem}"
        for p in sorted((ROOT / "synthlab").glob("*/[a-z]*.py"))
    ]
    clean = {k: v for k, v in os.environ.items() if k not in set_offline()}
    out = subprocess.run(
        [sys.executable, "-c", code, "synthlab", *modules],
        capture_output=True,
        text=True,
        env=clean,
        cwd=ROOT,
    )
    assert out.stdout.strip() == "nothing", out.stdout + out.stderr
