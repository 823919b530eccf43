"""Lookups from memory: never older than allowed, and looked at again before anybody has to wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.lookups import Lookups
from rewriter.service.targets import registered
from rewriter.service.vault import vault_of
from rewriter.settings import Settings
from rewriter.store import Store

SECONDS = 3.0
SQL = "SELECT s.id FROM sale s"


@pytest.fixture
def lookups(shop_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lookups]:
    monkeypatch.setenv("REWRITER_TARGET", shop_url)
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    settings = Settings(store=url, secret="a secret of the tests", catalog_seconds=SECONDS)
    store, vault = Store(url), vault_of(settings)
    record = registered("default", "env:REWRITER_TARGET", tenant="default", settings=settings, vault=vault)
    store.targets("default").add(record, "operator")
    made = Lookups(store, settings, vault)
    yield made
    made.close()
    store.close()


def test_an_answer_is_at_hand_once_it_was_looked_for_and_until_it_is_expired(lookups: Lookups) -> None:
    assert lookups.at_hand("default", "default", SQL) is None
    assert lookups.answer("default", "default", SQL).usable is None
    assert lookups.at_hand("default", "default", SQL) is not None
    assert lookups.at_hand("default", "default", f"{SQL} WHERE s.id = 1") is None
    lookups.expire("default", "default")
    assert lookups.at_hand("default", "default", SQL) is None


def test_a_target_that_is_asked_for_is_looked_at_again_in_time(lookups: Lookups) -> None:
    lookups.answer("default", "default", SQL)
    first = lookups._targets["default", "default"].at
    deadline = time.monotonic() + 60
    while lookups._targets["default", "default"].at == first:
        assert time.monotonic() < deadline
        assert lookups.at_hand("default", "default", SQL) is not None or time.monotonic() - first > SECONDS
        time.sleep(0.05)
    assert lookups.at_hand("default", "default", SQL) is not None


def test_what_is_expired_while_it_is_looked_at_is_looked_at_again(lookups: Lookups) -> None:
    lookups.answer("default", "default", SQL)
    target = lookups._targets["default", "default"]
    with target.lock:  # a look is on its way, and has seen what was
        expiring = threading.Thread(target=lookups.expire, args=("default", "default"))
        expiring.start()
        time.sleep(0.1)
        target.at = time.monotonic()
    expiring.join()
    assert lookups.at_hand("default", "default", SQL) is None
