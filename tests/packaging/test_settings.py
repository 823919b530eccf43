"""Settings come from the environment; a bad one is one error that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewriter.errors import UsageError
from rewriter.settings import Settings


def test_the_cache_directory_is_the_users_unless_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for unset in (None, ""):
        if unset is None:
            monkeypatch.delenv("REWRITER_CACHE", raising=False)
        else:
            monkeypatch.setenv("REWRITER_CACHE", unset)
        assert Settings.load().cache_directory == tmp_path / "rewriter"
    monkeypatch.setenv("REWRITER_CACHE", str(tmp_path / "mine"))
    assert Settings.load().cache_directory == tmp_path / "mine"


def test_an_empty_target_is_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWRITER_TARGET", "")
    assert Settings.load().target_url is None


def test_passwords_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWRITER_TARGET", "postgresql://u:hunter2@h/d")
    monkeypatch.setenv("REWRITER_STORE", "postgresql://u:hunter2@h/d")
    settings = Settings.load()
    assert "hunter2" not in repr(settings) + str(settings)
    assert settings.target_url == "postgresql://u:hunter2@h/d"


def test_a_bad_setting_is_named_and_its_value_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWRITER_DEBUG", "hunter2")
    with pytest.raises(UsageError) as caught:
        Settings.load()
    assert "REWRITER_DEBUG" in caught.value.message
    assert "hunter2" not in caught.value.message + caught.value.hint
