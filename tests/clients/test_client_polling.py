"""Snapshots come over real HTTP, are kept on disk, and feedback goes back; nothing of it can hurt the application."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from examples.orders.service import KEY, TARGET, Service, snapshot_of
from rewriter.clients import Client, http
from rewriter.clients import psycopg as rewriter_psycopg
from rewriter.clients import source as polling
from rewriter.clients import sqlalchemy as rewriter_sqlalchemy
from rewriter.errors import SnapshotError, UsageError
from tests.clients.conftest import MakeClient, entry_for

STATEMENT = "SELECT count(*) FROM customer WHERE name = 'a secret'"
ENTRY = entry_for(STATEMENT, "SELECT count(*) / 0 FROM customer")


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_an_unchanged_snapshot_is_not_sent_again(orders_url: str, service: Service, make_client: MakeClient) -> None:
    client = make_client(orders_url, [ENTRY])
    assert not client.poll()
    assert service.not_modified == 1
    service.publish(snapshot_of(orders_url, []))
    assert client.poll()
    assert client.status()["entries"] == 0


@pytest.mark.parametrize("status", [301, 404, 401, 500, 503])
def test_any_other_status_keeps_what_is_there(
    status: int, orders_url: str, service: Service, make_client: MakeClient
) -> None:
    client = make_client(orders_url, [ENTRY])
    service.status = status
    asked = service.asked
    with pytest.raises(SnapshotError):
        client.poll()
    assert service.asked == asked + 1  # and a redirect is not followed
    assert client.status()["poll_error"] == "snapshot-unreachable"
    assert client.status()["in_force"]


def test_an_answer_without_end_is_cut(
    orders_url: str, service: Service, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(orders_url, [ENTRY])
    monkeypatch.setattr(http, "MAX_BODY", 500)
    service.spoil = lambda body, signature: (body + b" ", signature)
    with pytest.raises(SnapshotError, match="larger"):
        client.poll()


def test_a_snapshot_that_was_withdrawn_does_not_come_back(
    orders_url: str, service: Service, make_client: MakeClient
) -> None:
    old = snapshot_of(orders_url, [ENTRY])
    client = make_client(orders_url, [])
    service.publish(old)
    with pytest.raises(SnapshotError) as caught:
        client.poll()
    assert caught.value.code == "snapshot-rollback"
    assert client.status()["entries"] == 0


def test_an_application_starts_without_the_service(
    orders_url: str, service: Service, make_client: MakeClient, tmp_path: Path
) -> None:
    copy = tmp_path / "state" / "snapshot"
    make_client(orders_url, [ENTRY], copy=copy)
    assert copy.stat().st_mode & 0o077 == 0
    service.status = 503
    second = make_client(None, [], copy=copy, start=True)
    assert second.status()["entries"] == 1
    assert second.status()["in_force"]


@pytest.mark.parametrize("harm", ["changed", "cut", "empty", "directory"])
def test_a_copy_that_was_touched_is_not_used(
    harm: str, orders_url: str, service: Service, make_client: MakeClient, tmp_path: Path
) -> None:
    copy = tmp_path / "snapshot"
    make_client(orders_url, [ENTRY], copy=copy)
    content = copy.read_bytes()
    service.status = 503
    if harm == "directory":
        copy.unlink()
        copy.mkdir()
    else:
        changed = content.replace(b"count(*) / 0", b"count(*) / 1")
        copy.write_bytes({"changed": changed, "cut": content[:-9], "empty": b""}[harm])
    assert make_client(None, [], copy=copy, start=True).status()["entries"] == 0


def test_an_expired_copy_is_not_used(
    orders_url: str, service: Service, make_client: MakeClient, tmp_path: Path
) -> None:
    copy = tmp_path / "snapshot"
    client = make_client(None, [], copy=copy)
    service.publish(snapshot_of(orders_url, [ENTRY], lives=timedelta(seconds=0.3)))
    client.poll()
    time.sleep(0.35)
    assert not client.status()["in_force"]
    service.status = 503
    assert make_client(None, [], copy=copy, start=True).status()["entries"] == 0


def test_the_thread_polls_and_lives_through_outages(
    orders_url: str, service: Service, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "MOST_BACKOFF", 2)
    service.status = 500
    client = make_client(None, [], start=True)
    wait_for(lambda: client.status()["poll_error"] == "snapshot-unreachable")
    service.publish(snapshot_of(orders_url, [ENTRY]))
    service.status = 200
    wait_for(lambda: client.status()["entries"] == 1)
    service.publish(snapshot_of(orders_url, [ENTRY], enabled=False))
    wait_for(lambda: not client.status()["in_force"])


def test_feedback_says_what_happened_and_holds_no_sql(
    orders_url: str, service: Service, make_client: MakeClient
) -> None:
    client = make_client(orders_url, [ENTRY], start=True, interval=5.0)
    with psycopg.connect(orders_url, cursor_factory=rewriter_psycopg.cursor_factory(client)) as connection:
        assert connection.execute(STATEMENT).fetchone() == (0,)
    wait_for(lambda: service.events)  # an error does not wait for the next poll
    (event,) = service.events
    assert (event["entry"], event["kind"], event["detail"], event["count"]) == ("e1", "error", "22012", 1)
    assert set(event) == {"entry", "kind", "detail", "original_seconds", "rewrite_seconds", "count"}
    assert "secret" not in json.dumps(service.events)


def test_feedback_that_cannot_be_sent_is_summed_up_and_sent_later(service: Service) -> None:
    from rewriter.clients.feedback import MOST, Feedback
    from rewriter.clients.guard import Event

    feedback = Feedback(TARGET)
    server = http.Service(service.url, KEY)
    service.status = 503
    for number in range(MOST + 5):
        feedback.add(Event(f"e{number}", "timing", ""))
    assert feedback.dropped == 5
    feedback.send(server)
    service.status = 200
    feedback.add(Event("e0", "timing", "", None, 0.5, 3))
    feedback.send(server)
    assert len(service.events) == MOST
    assert service.events[0] == {
        "entry": "e0", "kind": "timing", "detail": "", "original_seconds": None, "rewrite_seconds": 0.5, "count": 4,
    }  # fmt: skip
    feedback.send(server)
    assert len(service.events) == MOST


def test_what_was_switched_off_stays_off_until_it_is_approved_anew(
    orders_url: str, service: Service, make_client: MakeClient
) -> None:
    client = make_client(orders_url, [ENTRY])
    with psycopg.connect(orders_url, cursor_factory=rewriter_psycopg.cursor_factory(client)) as connection:
        connection.execute(STATEMENT)
    off = {"e1": "error 22012"}
    assert client.status()["off"] == off
    for entries in ([ENTRY], [], [ENTRY]):
        service.publish(snapshot_of(orders_url, entries))
        client.poll()
    assert client.status()["off"] == off
    again = ENTRY.model_copy(update={"approved": ENTRY.approved + timedelta(seconds=1)})
    service.publish(snapshot_of(orders_url, [again]))
    client.poll()
    assert client.status()["off"] == {}


@pytest.mark.parametrize(
    "url", ["http://rewriter.example", "ftp://127.0.0.1", "nonsense", "https://user:hunter2@rewriter.example"]
)
def test_addresses_that_are_not_safe_are_refused(url: str, service: Service) -> None:
    with pytest.raises(UsageError) as caught:
        Client(url, TARGET, key=KEY, public_key=service.public_key)
    assert "hunter2" not in caught.value.message
    assert http.Service("http://rewriter.example", KEY, allow_http=True)


@pytest.mark.parametrize("options", [{"mode": "sometimes"}, {"canary": 1.5}, {"shadow": -1}, {"interval": 0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], service: Service) -> None:
    with pytest.raises(UsageError):
        Client(service.url, TARGET, key=KEY, public_key=service.public_key, **options)


def test_engines_of_other_drivers_are_refused(orders_url: str, make_client: MakeClient) -> None:
    from sqlalchemy import create_engine

    with pytest.raises(UsageError, match="sqlite"):
        rewriter_sqlalchemy.install(create_engine("sqlite://"), make_client(orders_url, []))


def test_keys_do_not_show(service: Service) -> None:
    assert "hunter2" not in repr(http.Service(service.url, "hunter2"))
