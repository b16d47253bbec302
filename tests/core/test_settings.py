"Settings from the file and the environment"

import pytest

from synthlab.core.settings import settings


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
