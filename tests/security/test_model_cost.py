"""What a model may cost holds for a key, whatever runs at once and however often it is asked again."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from rewriter.errors import BudgetExceeded
from rewriter.llm import Account, Limit, Purse
from rewriter.llm.scripted import Line, ScriptedServer
from rewriter.settings import Settings
from rewriter.store import Store
from tests.serving import ADMIN, RATE, SECRET, served
from tests.shop import SLOW


def account(store: Store, limit: Limit) -> Account:
    access = store.access()
    return Account(
        "key",
        limit,
        lambda *what: access.reserve("default", "somebody", *what),
        lambda tokens, cost: access.spend("default", "somebody", tokens, cost),
    )


def test_jobs_at_the_same_time_cannot_overspend_together(tmp_path: Path) -> None:
    """Each worker has a purse and a store of its own, as separate processes have."""
    url = f"sqlite:///{tmp_path}/store.sqlite"
    limit = Limit(1000, 1.0)
    sent: list[int] = []

    def work() -> None:
        with contextlib.closing(Store(url)) as store:
            purse = Purse({"query": Limit(5000)}, [account(store, limit)])
            for _ in range(10):
                with contextlib.suppress(BudgetExceeded):
                    purse.reserve(90, 0.01)
                    sent.append(80)
                    purse.settle(90, 0.01, used_tokens=80, used_cost=0.008)

    with contextlib.closing(Store(url)) as store:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spent, cost = store.access().spent("default", "somebody")
        assert spent == sum(sent)
        assert 900 < spent <= 1000
        assert cost == pytest.approx(len(sent) * 0.008)


def test_what_no_account_can_bear_is_booked_on_none(tmp_path: Path) -> None:
    with contextlib.closing(Store(f"sqlite:///{tmp_path}/store.sqlite")) as store:
        records = store.models()
        day = Account("day", Limit(1000), records.reserve, records.spend)
        purse = Purse({"query": Limit(500)}, [day, account(store, Limit(100))])
        for tokens in (501, 101):
            with pytest.raises(BudgetExceeded):
                purse.reserve(tokens, 0.0)
        assert records.spent() == (0, 0.0)
        purse.reserve(100, 0.0)
        with pytest.raises(BudgetExceeded):
            purse.reserve(1, 0.0)
        purse.settle(100, 0.0, used_tokens=0, used_cost=0.0)
        assert records.spent() == (0, 0.0)
        assert store.access().spent("default", "somebody") == (0, 0.0)


@pytest.mark.slow
def test_a_key_without_a_budget_asks_no_model_and_the_same_order_is_one_job(shop_url: str, tmp_path: Path) -> None:
    server = ScriptedServer((Line("SELECT 1"),))
    settings = Settings(
        store=f"sqlite:///{tmp_path}/store.sqlite",
        target=shop_url,
        admin_key=ADMIN,
        secret=SECRET,
        workers=0,
        rate=RATE,
        model="m",
        model_url=server.url,
    )
    try:
        with served(settings) as house:
            poor = house.make_key("poor", "operator", "default", day_tokens=3)
            order = {"sql": SLOW, "effort": "quick", "strategies": ["plain"], "timeout": 10}
            first = house.call("POST", "/v1/rewrites", order, key=poor, headers={"Prefer": "wait=60"}).json()
            assert first["state"] == "done"
            again = {house.call("POST", "/v1/rewrites", order, key=poor).json()["id"] for _ in range(5)}
            assert again == {first["id"]}
            assert house.call("GET", "/v1/me", key=poor).json()["tokens_today"] == 0
            events = house.call("GET", f"/v1/rewrites/{first['id']}/events").text
            assert "budget" in events
            # Probing what the endpoint can do is the only thing that may have been asked, and is within the budget too.
            assert not server.requests
    finally:
        server.close()
