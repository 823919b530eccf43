"""What the hot path decides, and what switches a rewrite off."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rewriter.clients.decide import Decision, Policy, lookup, make_table, session
from rewriter.clients.guard import Circuit, Event
from rewriter.clients.probe import catalog_probe
from rewriter.clients.snapshot import CatalogProbe, Entry, Snapshot
from tests.clients.conftest import entry_for

STATEMENT = "SELECT a FROM t WHERE b = %s"
ENTRY = entry_for(STATEMENT, "SELECT a FROM t WHERE b = $1 AND true", ("%s",))


def table(*entries: Entry, **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "target": "t",
        "dialect": "postgres",
        "issued": datetime.now(UTC),
        "expires": datetime.now(UTC) + timedelta(minutes=1),
        "enabled": True,
        "catalog_hash": "",
        "entries": entries,
    }
    return make_table(Snapshot(**(fields | changes)), lambda entry: Circuit(entry.id, 1.0, lambda _: None))


def decide(made: Any, policy: Policy | None = None, values: Any = (1,), text: str = STATEMENT) -> Decision | None:
    return lookup(made, policy or Policy(shadow=0.0), text, values, percent=values is not None, connection=made)


def rewritten(made: Any, policy: Policy | None = None, values: Any = (1,)) -> bool:
    decision = decide(made, policy, values)
    return decision is not None and decision.rewrite


def test_the_exact_text_is_rewritten_and_no_other() -> None:
    made = table(ENTRY)
    decision = decide(made)
    assert decision is not None
    assert decision.rewrite
    assert decision.text == "SELECT a FROM t WHERE b = %(p1)s AND true"
    assert decision.parameters == {"p1": 1}
    assert decide(made, text=f"\n{STATEMENT} ") is not None
    assert decide(made, text=STATEMENT.replace(" ", "  ")) is None
    assert decide(made, text=STATEMENT.lower()) is None


@pytest.mark.parametrize("allowed", ["off", "shadow", "canary", "on"])
@pytest.mark.parametrize("environment", ["off", "shadow", "canary", "on", "", "garbage", " ON "])
@pytest.mark.parametrize("reviewed", ["shadow", "canary", "on"])
def test_the_lowest_of_three_modes_holds(
    allowed: str, environment: str, reviewed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWRITER_CLIENT", environment)
    made = table(ENTRY.model_copy(update={"mode": reviewed}))
    order = ["off", "shadow", "canary", "on"]
    switch = {"": "on", "garbage": "off", " ON ": "on"}.get(environment, environment)
    lowest = min(allowed, reviewed, switch, key=order.index)
    decision = decide(made, Policy(mode=allowed, canary=1.0, shadow=0.0))
    assert (decision is None) == (lowest == "off")
    assert rewritten(made, Policy(mode=allowed, canary=1.0, shadow=0.0)) == (lowest in ("canary", "on"))
    assert rewritten(made, Policy(mode=allowed, canary=0.0, shadow=0.0)) == (lowest == "on")


def test_a_canary_treats_a_session_alike_and_hits_its_share() -> None:
    made = table(ENTRY)
    policy = Policy(mode="canary", canary=0.2, shadow=0.0)
    hits = 0
    for number in range(2000):
        token = session.set(f"user {number}")
        first = rewritten(made, policy)
        assert all(rewritten(made, policy) == first for _ in range(3))
        hits += first
        session.reset(token)
    assert 0.15 < hits / 2000 < 0.25


def test_the_shadow_share_is_a_sample() -> None:
    made = table(ENTRY)
    assert not any(getattr(decide(made, Policy(shadow=0.0)), "shadow", None) for _ in range(100))
    assert all(getattr(decide(made, Policy(shadow=1.0)), "shadow", None) for _ in range(100))
    sampled = sum(bool(getattr(decide(made, Policy(shadow=0.3)), "shadow", None)) for _ in range(2000))
    assert 450 < sampled < 750


def test_only_the_values_that_were_verified() -> None:
    made = table(ENTRY.model_copy(update={"holds_for": ((1,), (None,))}))
    assert rewritten(made, values=(1,))
    assert rewritten(made, values=(None,))
    assert not rewritten(made, values=(2,))
    assert not rewritten(made, values=(True,))
    assert not rewritten(made, values=("1",))
    assert not rewritten(made, values=([1],))


def test_every_switch_takes_the_rewrite_out() -> None:
    assert not rewritten(table(ENTRY, enabled=False))
    assert not rewritten(table(ENTRY), Policy(disabled_rules=frozenset({"subquery/some_rule"})))
    assert not rewritten(table(ENTRY), Policy(disabled_entries=frozenset({"e1"})))
    assert rewritten(table(ENTRY), Policy(disabled_rules=frozenset({"other"}), disabled_entries=frozenset({"e2"})))
    made = table(ENTRY)
    made.entries[STATEMENT].circuit.trip("error", "42601")
    assert decide(made) is None


def test_an_expired_snapshot_counts_no_longer() -> None:
    made = table(ENTRY, expires=datetime.now(UTC) + timedelta(seconds=0.1))
    assert rewritten(made)
    time.sleep(0.15)
    assert decide(made) is None


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM t WHERE b = $1 RETURNING a",
        "SELECT a FROM t WHERE b = $1 FOR UPDATE",
        "SELECT a FROM t WHERE b = $1 FOR  NO KEY UPDATE",
        "SELECT a FROM t WHERE b = $1 FOR KEY SHARE",
        "WITH d AS (DELETE FROM t WHERE b = $1 RETURNING a) SELECT a FROM d",
        "SELECT a INTO u FROM t WHERE b = $1",
        "SELECT a FROM t WHERE b = $1; SELECT 1",
        "COMMIT",
        "EXPLAIN ANALYZE SELECT $1",
    ],
)
def test_what_does_not_only_read_is_never_used(text: str) -> None:
    made = table(entry_for(STATEMENT, text, ("%s",)), entry_for(text, "SELECT $1", ("$1",), id="e2"))
    assert set(made.left_out) == {"e1", "e2"}
    assert not made.entries


def test_a_probe_that_does_more_than_read_makes_everything_unusable() -> None:
    probe = CatalogProbe(sql="SELECT 'x'; DROP TABLE t", value="x")
    assert set(table(ENTRY, catalog_probe=probe).left_out) == {"e1"}
    assert not table(ENTRY, catalog_probe=CatalogProbe(sql=catalog_probe([(None, "t")]), value="x")).left_out


def test_words_in_strings_and_names_are_no_commands() -> None:
    sql = "SELECT 'delete into', \"update\" FROM t WHERE b = $1 -- for share; drop\n;"
    assert not table(entry_for(STATEMENT, sql, ("%s",))).left_out


def test_another_dialect_and_a_second_entry_for_a_text_are_left_out() -> None:
    assert set(table(ENTRY, dialect="duckdb").left_out) == {"e1"}
    twice = table(ENTRY, ENTRY.model_copy(update={"id": "e2", "sql": "SELECT 2"}))
    assert set(twice.left_out) == {"e2"}


@pytest.fixture
def told() -> list[Event]:
    return []


def circuit(told: list[Event], baseline: float = 0.1, runs: int = 10) -> Circuit:
    return Circuit("e1", baseline, told.append, runs)


def test_a_rewrite_that_is_slower_than_the_measured_original_goes_off(told: list[Event]) -> None:
    one = circuit(told)
    for _ in range(9):
        one.ran_rewrite(0.2)
    assert one.off is None
    one.ran_rewrite(0.2)
    assert one.off is not None
    assert [(event.kind, event.rewrite_seconds) for event in told] == [("regression", 0.2)]


def test_originals_seen_here_count_more_than_the_baseline(told: list[Event]) -> None:
    slow_machine, fast_machine = circuit(told), circuit(told)
    for _ in range(10):
        slow_machine.ran_original(1.0)
        fast_machine.ran_original(0.02)
    for _ in range(10):
        slow_machine.ran_rewrite(0.2)
        fast_machine.ran_rewrite(0.05)
    assert slow_machine.off is None
    assert fast_machine.off is not None


def test_a_few_outliers_and_microseconds_are_no_regression(told: list[Event]) -> None:
    one, quick = circuit(told), circuit(told, baseline=0.0001)
    for number in range(100):
        one.ran_rewrite(5.0 if number % 10 == 0 else 0.01)
        quick.ran_rewrite(0.0004)
    assert one.off is None
    assert quick.off is None
    assert {event.kind for event in told} == {"timing"}
    assert sum(event.count for event in told) == 200


def test_the_first_reason_stays_and_is_told_once(told: list[Event]) -> None:
    one = circuit(told)
    one.trip("mismatch", "rows")
    one.trip("error", "42601")
    assert one.off is not None
    assert one.off.kind == "mismatch"
    assert [event.kind for event in told] == ["mismatch"]


def test_a_pause_ends_as_it_was_found(told: list[Event]) -> None:
    one = circuit(told)
    pause = one.pause("22012")
    assert one.off is not None
    assert one.pause("22012") is None
    one.blame(pause, guilty=False)
    assert one.off is None
    assert not told
    one.blame(one.pause("22012"), guilty=True)
    assert one.off is not None
    assert [event.detail for event in told] == ["22012"]
