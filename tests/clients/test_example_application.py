"""The example application answers as it always did: in every mode, under every fault, only faster."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi.testclient import TestClient
from sqlalchemy import Engine, event

from examples.orders import __main__ as demo
from examples.orders import app, database
from examples.orders.service import Service, snapshot_of
from rewriter.clients import Client
from rewriter.clients.snapshot import CatalogProbe, Entry, sign
from rewriter.errors import SnapshotError
from tests.clients.conftest import MakeClient, entry_for

PATHS = ("/purchases/large?status=open", "/customers/quiet?since=2026-08-01")
LARGE_FAST = """WITH usual AS (SELECT customer_id, $2 * avg(total) AS least FROM purchase GROUP BY customer_id)
SELECT p.id, p.customer_id, p.total FROM purchase p JOIN usual u ON u.customer_id = p.customer_id
WHERE p.status = $1::varchar AND p.total > u.least ORDER BY p.id"""
QUIET_FAST = """SELECT c.id, c.name FROM customer c
WHERE NOT EXISTS (SELECT 1 FROM purchase p WHERE p.city = c.city AND p.day >= $1 AND p.customer_id = c.id)
ORDER BY c.id"""

Answers = list[Any]


@pytest.fixture
def engine(orders_url: str) -> Iterator[Engine]:
    made = app.connect_engine(orders_url)
    yield made
    made.dispose()


@pytest.fixture
def entries(orders_url: str) -> list[Entry]:
    """Rewrites of both endpoints; the text that SQLAlchemy submits is taken where it will be looked up."""
    seen: list[str] = []
    engine = app.connect_engine(orders_url)
    event.listen(engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    TestClient(app.create_app(engine, orders_url)).get(PATHS[0])
    engine.dispose()
    large = entry_for(seen[-1], LARGE_FAST, ("%(status_1)s", "%(avg_1)s"), id="large", ordered=True)
    quiet = entry_for(app.QUIET, QUIET_FAST, ("%s",), id="quiet", ordered=True, rules=("not_in",))
    return [large, quiet]


def answers(application: Any) -> Answers:
    client = TestClient(application)
    found = [client.get(path) for path in PATHS]
    assert all(answer.status_code == 200 for answer in found)
    assert all(answer.json() for answer in found)  # nothing is shown by empty answers
    return [answer.json() for answer in found]


@pytest.fixture
def originals(orders_url: str) -> Callable[[], Answers]:
    """What the application without any rewrites answers now."""

    def ask() -> Answers:
        engine = app.connect_engine(orders_url)
        found = answers(app.create_app(engine, orders_url))
        engine.dispose()
        return found

    return ask


@pytest.fixture
def application(engine: Engine, orders_url: str) -> Callable[[Client], Any]:
    return lambda client: app.create_app(engine, orders_url, client)


@pytest.fixture
def comparing(orders_url: str) -> dict[str, Any]:
    """Options for a client that compares every execution."""
    return {"shadow": 1.0, "shadow_connect": lambda: psycopg.connect(orders_url)}


@pytest.mark.parametrize("mode", ["off", "shadow", "canary", "on"])
def test_every_mode_gives_the_original_answers(
    mode: str, orders_url: str, entries: Any, application: Any, originals: Any, make_client: MakeClient, comparing: Any
) -> None:
    client = make_client(orders_url, entries, mode=mode, canary=0.5, **comparing)
    served = application(client)
    for _ in range(4):
        assert answers(served) == originals()
    client.drain()
    status = client.status()
    assert status["off"] == {}
    assert status["compared"] == (0 if mode == "off" else 8)
    # Of two connections in turn a canary may choose none, one or both.
    assert status["counts"].get("rewritten", 0) in {"off": [0], "shadow": [0], "on": [8]}.get(mode, range(9))


def test_the_slow_endpoints_become_fast(
    postgres_url: str, worker: str, entries: list[Entry], make_client: MakeClient
) -> None:
    url = database.create(postgres_url, f"orders_larger_{worker}", customers=300, purchases=3000)
    client = make_client(url, entries)
    engines = [app.connect_engine(url), app.connect_engine(url)]
    plain, rewritten = (TestClient(app.create_app(engines[n], url, [None, client][n])) for n in range(2))
    for path in PATHS:
        times: dict[Any, list[float]] = {plain: [], rewritten: []}
        for _ in range(3):
            for caller, taken in times.items():
                start = time.perf_counter()
                assert caller.get(path).status_code == 200
                taken.append(time.perf_counter() - start)
        ratio = statistics.median(times[plain]) / statistics.median(times[rewritten])
        assert ratio > 1.2
    assert client.status()["counts"] == {"rewritten": 6}
    for engine in engines:
        engine.dispose()


def test_without_the_service_and_with_a_bad_service(
    orders_url: str, entries: Any, application: Any, originals: Any, make_client: MakeClient, service: Service
) -> None:
    expected = originals()
    good = snapshot_of(orders_url, entries)
    now = datetime.now(UTC)
    faults: dict[str, Callable[[], None]] = {
        "snapshot-unreachable": lambda: setattr(service, "status", 503),
        "bad-signature": lambda: setattr(service, "spoil", lambda *_: sign(good, Ed25519PrivateKey.generate())),
        "snapshot-expired": lambda: service.publish(good.model_copy(update={"expires": now})),
        "wrong-target": lambda: service.publish(good.model_copy(update={"target": "other"})),
    }
    for code, inject in faults.items():
        service.status, service.spoil = 200, None
        inject()
        client = make_client(None, [], start=True)
        served = application(client)
        while client.status()["poll_error"] is None:
            time.sleep(0.01)
        assert client.status()["poll_error"] == code
        assert answers(served) == expected
        assert client.status()["counts"] == {}


def test_a_service_that_goes_away_leaves_what_was_approved(
    orders_url: str, entries: Any, application: Any, originals: Any, make_client: MakeClient, service: Service
) -> None:
    client = make_client(orders_url, entries)
    served = application(client)
    service.status = 503
    with pytest.raises(SnapshotError):
        client.poll()
    assert answers(served) == originals()
    assert client.status()["counts"] == {"rewritten": 2}


@pytest.mark.long
def test_until_it_expires(
    orders_url: str, entries: Any, application: Any, originals: Any, make_client: MakeClient, service: Service
) -> None:
    client = make_client(None, [])
    served = application(client)
    service.publish(snapshot_of(orders_url, entries, lives=timedelta(seconds=3)))
    client.poll()
    assert answers(served) == originals()
    assert client.status()["counts"] == {"rewritten": 2}
    time.sleep(3)
    assert answers(served) == originals()
    assert client.status()["counts"] == {"rewritten": 2}


def test_a_dropped_constraint_counts_at_once(
    orders_url: str, entries: Any, application: Any, originals: Any, make_client: MakeClient
) -> None:
    """NOT IN and NOT EXISTS differ where NULL is possible, so the answer of the rewrite would be wrong."""
    client = make_client(orders_url, entries)
    served = application(client)
    before = originals()
    assert answers(served) == before
    assert client.status()["counts"] == {"rewritten": 2}
    with psycopg.connect(orders_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE purchase ALTER customer_id DROP NOT NULL")
        connection.execute("INSERT INTO purchase VALUES (0, NULL, 'city 1', 'open', '2026-09-09', 1)")
    after = originals()
    assert after[1] != before[1]
    assert answers(served) == after
    assert client.status()["counts"] == {"rewritten": 2, "catalog": 2}
    assert client.status()["off"] == {}


def test_a_snapshot_for_another_catalog_is_not_used(
    orders_url: str, entries: Any, application: Any, originals: Any, make_client: MakeClient
) -> None:
    stale = CatalogProbe(sql="SELECT 'now'::text", value="then")
    client = make_client(orders_url, entries, catalog_probe=stale)
    assert answers(application(client)) == originals()
    assert client.status()["counts"] == {"catalog": 2}


@pytest.mark.parametrize(
    "sql",
    ["SELECT no_such_column FROM purchase", "SELECT 1 / 0", "SELECT id FROM", "SELECT id FROM purchase WHERE id = 'x'"],
)
def test_a_rewrite_with_an_error_is_off_after_one_execution(
    sql: str, orders_url: str, entries: Any, application: Any, originals: Any, make_client: MakeClient, service: Service
) -> None:
    client = make_client(orders_url, [entry.model_copy(update={"sql": sql}) for entry in entries], start=True)
    served = application(client)
    for _ in range(3):
        assert answers(served) == originals()
    status = client.status()
    assert status["counts"] == {"error": 2}
    assert set(status["off"]) == {"large", "quiet"}
    end = time.monotonic() + 10
    while len(service.events) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert {(told["entry"], told["kind"]) for told in service.events} == {("large", "error"), ("quiet", "error")}


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        (LARGE_FAST.replace("p.total > u", "p.total >= 0 OR p.total > u"), "row-count"),
        (LARGE_FAST.replace("p.id, p.customer_id", "p.id, p.customer_id + 1"), "columns"),
        (LARGE_FAST.replace("p.customer_id, p.total", "p.customer_id + 1 AS customer_id, p.total"), "rows"),
        (LARGE_FAST + " DESC", "order"),
        (LARGE_FAST.replace("p.total FROM", "p.total::float8 AS total FROM"), "columns"),
    ],
)
def test_a_wrong_rewrite_is_found_in_shadow_and_never_seen(
    wrong: str, detail: str, orders_url: str, entries: Any, application: Any, originals: Any, make_client: MakeClient,
    comparing: Any,
) -> None:  # fmt: skip
    spoilt = [entries[0].model_copy(update={"sql": wrong}), entries[1]]
    client = make_client(orders_url, spoilt, mode="shadow", **comparing)
    served = application(client)
    for _ in range(2):
        assert answers(served) == originals()
        client.drain()
    assert client.status()["off"] == {"large": f"mismatch {detail}"}


def test_a_slow_rewrite_goes_off(
    orders_url: str, entries: Any, application: Any, originals: Any, make_client: MakeClient
) -> None:
    slow = entries[1].model_copy(
        update={"sql": QUIET_FAST.replace("customer c", "customer c, pg_sleep(0.1)", 1), "baseline_seconds": 0.02}
    )
    client = make_client(orders_url, [slow], runs=5)
    served = application(client)
    for _ in range(7):
        assert answers(served) == originals()
    assert client.status()["counts"] == {"rewritten": 5}
    assert client.status()["off"] == {"quiet": "regression slower"}


@pytest.mark.parametrize("switch", ["environment", "service", "rule", "entry", "reviewer"])
def test_every_kill_switch_works_at_once(
    switch: str, orders_url: str, entries: Any, application: Any, originals: Any, make_client: MakeClient,
    service: Service, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    options: dict[str, Any] = {}
    if switch == "rule":
        options["disabled_rules"] = ["subquery/some_rule", "not_in"]
    if switch == "entry":
        options["disabled_entries"] = ["large", "quiet"]
    client = make_client(orders_url, entries, **options)
    served = application(client)
    expected = originals()
    assert answers(served) == expected
    rewritten = client.status()["counts"].get("rewritten", 0)
    assert rewritten == (0 if options else 2)
    if switch == "environment":
        monkeypatch.setenv("REWRITER_CLIENT", "off")
    if switch == "service":
        service.publish(snapshot_of(orders_url, entries, enabled=False))
        client.poll()
    if switch == "reviewer":
        service.publish(snapshot_of(orders_url, []))
        client.poll()
    assert answers(served) == expected
    assert client.status()["counts"].get("rewritten", 0) == rewritten


def test_a_fault_of_the_client_itself_runs_the_original(
    orders_url: str, entries: Any, application: Any, originals: Any, make_client: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    client = make_client(orders_url, entries)

    def fault(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("rewriter.clients.client.lookup", fault)
    assert answers(application(client)) == originals()
    assert client.status()["counts"] == {"fault RuntimeError": 2}


@pytest.mark.long
def test_answers_stay_right_while_everything_changes(
    orders_url: str, entries: Any, originals: Any, make_client: MakeClient, service: Service, comparing: Any
) -> None:
    """Threads ask while snapshots come and go that are good, fail, are wrong for the catalog, or switched off."""
    engine = app.connect_engine(orders_url)
    client = make_client(orders_url, entries, **comparing)
    served = app.create_app(engine, orders_url, client)
    expected = originals()
    ending = threading.Event()
    found: list[Answers] = []

    def ask() -> None:
        while not ending.is_set():
            found.append(answers(served))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    now = datetime.now(UTC)
    for number in range(40):
        approved = {"approved": now + timedelta(seconds=number)}
        failing = [entry.model_copy(update={"sql": "SELECT 1 / 0", **approved}) for entry in entries]
        good = [entry.model_copy(update=approved) for entry in entries]
        stale = CatalogProbe(sql="SELECT 'now'::text", value="then")
        variants: list[tuple[list[Entry], dict[str, Any]]] = [
            (good, {}), (failing, {}), (good, {"catalog_probe": stale}), (good, {"enabled": False})
        ]  # fmt: skip
        published, changes = variants[number % len(variants)]
        service.publish(snapshot_of(orders_url, published, **changes))
        client.poll()
        time.sleep(0.05)
    ending.set()
    for thread in threads:
        thread.join()
    engine.dispose()
    client.drain()
    assert len(found) > 10
    assert all(answer == expected for answer in found)
    counts = client.status()["counts"]
    assert min(counts["rewritten"], counts["error"], counts["catalog"]) > 0, counts


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_demonstration_from_capture_to_speed_up(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    demo.main(postgres_url, customers=200, purchases=2500)
    table = capsys.readouterr().out.split("endpoint")[1].splitlines()[1:]
    assert len(table) == 2
    for line in table:
        *_, ratio, _the, same = line.split()
        assert same == "same"
        assert float(ratio) > 1.5
