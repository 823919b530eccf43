"""Requests that no client sends: whatever comes, the answer is a problem of the 400s and the service goes on."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from api.limiting import WINDOW
from api.outer import MAX_BODY
from rewriter.engines import postgres
from rewriter.settings import Settings
from tests.serving import ADMIN, SECRET, House, served

JSON = {"Content-Type": "application/json"}
HUSH = "hush4711"  # a literal that no answer but the caller's own statement may hold


def alive(house: House) -> None:
    assert house.call("GET", "/healthz", key=None).status_code == 200


def refused(answer: Any) -> None:
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:200])
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    body = answer.json()
    assert body["type"].startswith("urn:rewriter:problem:")
    assert body["status"] == answer.status_code
    assert HUSH not in answer.text
    assert len(answer.text) < 2000


BODIES = {
    "nothing": b"",
    "not JSON": b"SELECT 1",
    "an array": b"[]",
    "a number": b"1",
    "null": b"null",
    "cut off": b'{"sql": "SELECT',
    "two": b"{}{}",
    "not UTF-8": b'{"sql": "\xff\xfe"}',
    "deep arrays": b"[" * 200_000,
    "deep objects": b'{"sql":' * 100_000,
    "a number of 6,000 digits": b'{"sql": "SELECT 1", "timeout": ' + b"9" * 6000 + b"}",
    "no number": b'{"sql": "SELECT 1", "timeout": NaN}',
    "infinite": b'{"sql": "SELECT 1", "timeout": Infinity}',
    "infinite values": b'{"sql": "SELECT 1", "parameter_sets": [[NaN, 1e999]]}',
    "lone surrogate": b'{"sql": "SELECT \'\\ud800\'"}',
    "lone surrogate as a value": b'{"sql": "SELECT $1", "parameter_sets": [["\\udfff"]]}',
    "lone surrogate as a name": b'{"\\ud800": 1, "sql": "SELECT 1"}',
    "NUL": b'{"sql": "SELECT \\u0000"}',
    "another member": b'{"sql": "SELECT 1", "= hush4711": 1}',
    "a member of the wrong kind": b'{"sql": ["SELECT \'hush4711\'"]}',
    "many wrong members": b'{"sql": "SELECT 1", "parameter_sets": [' + b"[" + b"{}," * 60_000 + b"1]]}",
}


@pytest.mark.parametrize("path", ["/v1/rewrites", "/v1/lookup"])
@pytest.mark.parametrize("kind", sorted(BODIES))
def test_bodies_that_are_none_are_refused(house: House, kind: str, path: str) -> None:
    started = time.monotonic()
    refused(house.call("POST", path, content=BODIES[kind], headers=JSON))
    assert time.monotonic() - started < 20
    alive(house)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "", "x" * 5000])
def test_bodies_of_other_types_are_refused(house: House, kind: str) -> None:
    refused(house.call("POST", "/v1/lookup", content=b'{"sql": "SELECT 1"}', headers={"Content-Type": kind}))


def test_large_bodies_are_refused_before_they_are_kept(house: House) -> None:
    body = b'{"sql": "' + b"x" * MAX_BODY + b'"}'
    for headers in (JSON, {**JSON, "Transfer-Encoding": "chunked"}):
        answer = house.call("POST", "/v1/lookup", content=body, headers=headers, key=None)
        refused(answer)
        assert answer.status_code == 413
    alive(house)


def test_large_uploads_are_refused_and_leave_nothing(house: House) -> None:
    def chunks() -> Any:
        for _ in range(80):
            yield b"x" * 65_536

    before = uploads(house)
    refused(house.call("POST", "/v1/batches/upload?name=a.log", content=chunks()))
    refused(house.call("POST", "/v1/batches/upload?name=a.log", content=b""))
    refused(house.call("POST", "/v1/batches/upload?name=a.log&target=none", content=b"SELECT 1;"))
    assert uploads(house) == before


def uploads(house: House) -> set[str]:
    folder = house.settings.state_directory / "uploads"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


NAMES = [
    "../../../../tmp/x.log",
    "..",
    "/etc/passwd",
    "a/b.gz",
    "a\0.gz",
    "\x1b[31m.log",
    "a.gz\r\nX-Bad: 1",
    "." * 255,
]


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_an_upload_is_only_a_name(house: House, name: str) -> None:
    before = uploads(house)
    answer = house.call("POST", "/v1/batches/upload", content=b"SELECT 1;", params={"name": name})
    assert answer.status_code in (202, 422)
    assert "X-Bad" not in answer.headers
    new = uploads(house) - before
    for one in new:
        assert set(one) <= set("0123456789abcdefghijklmnopqrstuvwxyz.")
        assert (house.settings.state_directory / "uploads" / one).stat().st_mode & 0o077 == 0
    if answer.status_code == 202:
        assert house.call("DELETE", f"/v1/batches/{answer.json()['id']}").status_code == 200


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "forged",
    [
        "x", "é", "!" * 200, cursor(), cursor(1), cursor(10**40), cursor(-1), cursor("a", 1), cursor(True),
        cursor(float("nan"), "x"), cursor(float("inf"), "x"), cursor(1.0, "\ud800"), cursor(1.0, "a\0"),
        cursor({"a": 1}, []), base64.urlsafe_b64encode(b"[" * 150).decode(), cursor(1.0, "' OR 1=1 --", 3),
    ],
)  # fmt: skip
def test_forged_cursors_are_refused(house: House, forged: str) -> None:
    for path in ("/v1/rewrites", "/v1/batches", "/v1/audit"):
        answer = house.call("GET", path, params={"cursor": forged})
        if not (path == "/v1/audit" and forged == cursor(1)):
            refused(answer)


@pytest.mark.parametrize(
    "identifier", ["%00", "%ff", "..%2f..%2fetc", "'%20OR%201=1", "x" * 5000, "%F0%9F%98%80", "%0d%0aX:1"]
)
def test_identifiers_that_are_none_are_not_found(house: House, identifier: str) -> None:
    for noun in ("rewrites", "batches", "verifications", "targets"):
        answer = house.call("GET", f"/v1/{noun}/{identifier}")
        refused(answer)
        assert answer.status_code == 404


@pytest.mark.parametrize("last", ["9" * 20, "-1", "x", "1e3", "٣".encode().decode("latin-1")])
def test_any_last_event_id_is_answered(house: House, last: str) -> None:
    order = {"original": "SELECT 1 AS a", "candidate": "SELECT 1 AS a"}
    assert house.call("POST", "/v1/verifications", {**order, "target": "default", "seconds": 1}).status_code in (
        200,
        202,
    )
    made = house.call("POST", "/v1/rewrites", {"sql": "SELECT 1 AS a", "effort": "quick"}).json()
    house.call("DELETE", f"/v1/rewrites/{made['id']}")
    header = {"Last-Event-ID": last.encode("latin-1")}
    answer = house.call("GET", f"/v1/rewrites/{made['id']}/events", headers=header)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")


def test_other_methods_are_refused_and_do_not_grow_the_metrics(house: House) -> None:
    for method in ("TRACE", "PROPFIND", f"{HUSH}", "HEAD", "OPTIONS"):
        answer = house.client.request(method, "/v1/rewrites")
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "GET, POST"
    assert HUSH not in house.call("GET", "/metrics").text


def test_nobody_is_sent_to_another_host(house: House) -> None:
    for path in ("/v1/rewrites/", "//evil.example/v1/rewrites", "/v1//rewrites", "/docs/"):
        answer = raw(house, f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
        assert b" 404 " in answer[:20]
        assert b"location" not in answer.lower()
    made = house.call("POST", "/v1/rewrites", {"sql": "SELECT 2 AS a"}, headers={"Host": "evil.example"})
    assert made.headers["Location"].startswith("/v1/rewrites/")
    house.call("DELETE", made.headers["Location"])


def raw(house: House, data: bytes, wait: float = 5.0) -> bytes:
    host, port = house.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=wait) as connection:
        connection.sendall(data)
        try:
            return connection.recv(65_536)
        except TimeoutError:
            return b""


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nX\x00: y\r\n\r\n",
        b"POST /v1/lookup HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /",
        b"POST /v1/lookup HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer rk_x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\r\n",
    ],
    ids=["header", "smuggling", "length", "long header", "TLS", "long path", "blank"],
)
def test_what_is_no_http_hurts_nobody(house: House, data: bytes) -> None:
    answer = raw(house, data, 1.0)
    assert b" 200 " not in answer[:20]
    assert b" 500 " not in answer[:20]
    alive(house)


def test_slow_bodies_hold_up_nobody_else(house: House) -> None:
    head = f"POST /v1/lookup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\nContent-Length: 1000\r\n\r\n{{"
    host, port = house.base.removeprefix("http://").split(":")
    connections = [socket.create_connection((host, int(port)), timeout=5) for _ in range(100)]
    try:
        for connection in connections:
            connection.sendall(head.encode())
        started = time.monotonic()
        assert house.call("GET", "/v1/me").status_code == 200
        assert time.monotonic() - started < 5
    finally:
        for connection in connections:
            connection.close()


def test_parser_bombs_are_refused_quickly_while_others_are_answered(house: House) -> None:
    bombs = [
        "SELECT " + "(" * 50_000 + "1" + ")" * 50_000,
        "SELECT a FROM t WHERE a IN (" + ",".join(["1"] * 40_000) + ")",
        "SELECT " + "CASE WHEN a THEN " * 10_000 + "1" + " END" * 10_000,
        "SELECT " + "NOT " * 60_000 + "a",
        'SELECT "' + "x" * 250_000 + '" FROM shop',
        "SELECT " + "ARRAY[" * 200 + "]" * 200,
        "SELECT * FROM shop" + " NATURAL JOIN shop" * 1000,
    ]
    statuses: list[int] = []

    def ask(sql: str) -> None:
        statuses.append(house.call("POST", "/v1/lookup", {"sql": sql}).status_code)

    threads = [threading.Thread(target=ask, args=(sql,)) for sql in bombs]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    alive(house)
    assert time.monotonic() - started < 10
    for thread in threads:
        thread.join(60)
    assert statuses == [422] * len(bombs)


XSS = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def test_answers_are_data_and_never_a_page(house: House) -> None:
    answer = house.call("POST", "/v1/rewrites", {"sql": f"SELECT '{XSS}' AS a", "effort": "quick"})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    house.call("DELETE", f"/v1/rewrites/{answer.json()['id']}")
    missing = house.call("GET", f"/v1/rewrites/{XSS}")
    refused(missing)
    assert "<script>" not in missing.text


def test_a_key_that_asks_too_often_waits(shop_url: str, tmp_path: Path) -> None:
    settings = Settings(
        store=f"sqlite:///{tmp_path}/s.sqlite", target=shop_url, admin_key=ADMIN, secret=SECRET, workers=0, rate=5
    )
    with served(settings, worker=False) as house:
        own = house.make_key("own rate", "viewer", "default", rate=2)
        left = []
        for _ in range(5):
            answer = house.call("GET", "/v1/me", key="viewer")
            assert answer.status_code == 200
            assert answer.headers["RateLimit-Policy"] == f'"key";q=5;w={WINDOW}'
            left.append(int(answer.headers["RateLimit"].split("r=")[1].split(";")[0]))
        assert left == [4, 3, 2, 1, 0]
        for path in ("/v1/me", "/v1/snapshots/default", "/v1/rewrites/none"):
            answer = house.call("GET", path, key="viewer")
            assert answer.status_code == 429
            assert 1 <= int(answer.headers["Retry-After"]) <= WINDOW
            assert answer.headers["RateLimit"].startswith('"key";r=0;t=')
            assert answer.json()["type"].endswith("too-many-requests")
        # Others have their own; whoever may not do a thing pays for asking too.
        assert house.call("GET", "/v1/snapshots/default", key="operator").headers["RateLimit"].startswith('"key";r=4')
        assert [house.call("GET", "/v1/audit", key=own).status_code for _ in range(3)] == [403, 403, 429]
        assert house.call("GET", "/healthz", key=None).status_code == 200


def test_a_target_that_does_not_answer_holds_up_nobody_else(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that takes connections and says nothing, under a new name, while others ask for their own."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:
        url = f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/x"
        monkeypatch.setattr(postgres, "CONNECT_SECONDS", 2)
        assert house.call("POST", "/v1/targets", {"name": "silent", "url": url}).status_code == 201
        statuses: list[int] = []

        def ask() -> None:
            answer = house.call("POST", "/v1/lookup", {"sql": "SELECT 1", "target": "silent"})
            statuses.append(answer.status_code)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        house.app.state.service.lookups.forget("default", "default")
        assert house.call("POST", "/v1/lookup", {"sql": "SELECT 1"}).status_code == 200
        assert len(statuses) < 8
        for thread in threads:
            thread.join(60)
        assert statuses == [503] * 8
        assert time.monotonic() - started < 14  # one of them waited, and not one after the other
        house.call("DELETE", "/v1/targets/silent")


def test_a_store_on_postgres_takes_the_same(postgres_url: str, shop_url: str, tmp_path: Path) -> None:
    """Postgres keeps no NULs, and columns have lengths: neither is a fault of the store."""
    name = f"store_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    settings = Settings(
        store=postgres_url.replace("/postgres?", f"/{name}?"),
        target=shop_url,
        admin_key=ADMIN,
        secret=SECRET,
        workers=0,
        files=tmp_path,
    )
    with served(settings, worker=False) as house:
        for method, path, body in (
            ("POST", "/v1/api-keys", {"name": "a\0b"}),
            ("POST", "/v1/feedback", {"target": "default", "events": [{"entry": "\0", "kind": "mismatch"}]}),
            ("GET", "/v1/rewrites/%00", None),
            ("GET", "/v1/targets/%00", None),
            ("GET", "/v1/rewrites?target=%00", None),
            ("GET", "/v1/rules?target=%00", None),
            ("DELETE", "/v1/api-keys/%00", None),
            ("GET", f"/v1/rewrites/{'x' * 3000}", None),
            ("GET", f"/v1/audit?cursor={cursor(2**63 - 1, 1)}", None),
            ("GET", f"/v1/rewrites?cursor={cursor(1.5, 'x')}&limit=201", None),
        ):
            refused(house.call(method, path, body))
        huge = {"sql": "SELECT $1", "parameter_sets": [["a\0", 10**400, -0.0, 1e308]]}
        assert house.call("POST", "/v1/rewrites", huge).status_code == 202
        assert house.call("GET", f"/v1/audit?cursor={cursor(2**31 - 1)}").status_code == 200
        assert house.call("GET", "/v1/me", key=f"rk_{'x' * 300}_y").status_code == 401
