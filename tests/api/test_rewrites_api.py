"""Rewrites over HTTP: submitted, followed, listed, cancelled, reviewed, looked up."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from tests.api.conftest import Client
from tests.shop import SLOW


@pytest.fixture(scope="module")
def done(service: Client) -> dict[str, Any]:
    return service.rewritten(SLOW, runs_per_day=1000)


def test_a_rewrite_comes_back_with_its_evidence(done: dict[str, Any]) -> None:
    assert done["state"] == "done"
    assert done["report"]["chosen"]["sql"]
    assert done["report"]["verdict"]["kind"] in ("proved", "bounded", "tested")
    assert done["result"]["ratio"] > 1.1
    assert done["review"]["state"] == "waiting"
    assert done["review"]["saved_per_day"] > 0


def test_the_same_order_is_answered_from_the_store(service: Client, done: dict[str, Any]) -> None:
    order = {"sql": SLOW, "effort": "quick", "timeout": 20, "runs_per_day": 1000}
    again = service("POST", "/v1/rewrites", order)
    assert again.status == 200
    assert again.json["id"] == done["id"]
    other = service("POST", "/v1/rewrites", {**order, "margin": 1.2})
    assert other.status == 202
    assert other.json["id"] != done["id"]
    assert service("DELETE", other.headers["location"]).status == 200


def test_an_idempotency_key_stands_for_one_request(service: Client) -> None:
    order = {"sql": "SELECT count(*) FROM sale", "effort": "quick"}
    first = service("POST", "/v1/rewrites", order, headers={"Idempotency-Key": "one"})
    again = service("POST", "/v1/rewrites", order, headers={"Idempotency-Key": "one"})
    assert first.json["id"] == again.json["id"]
    other = service("POST", "/v1/rewrites", {**order, "margin": 2}, headers={"Idempotency-Key": "one"})
    assert other.status == 409
    assert other.json["type"].endswith("idempotency-conflict")
    somebody = service.key_of("operator")
    theirs = somebody("POST", "/v1/rewrites", {**order, "margin": 3}, headers={"Idempotency-Key": "one"})
    assert theirs.status == 202
    for made in (first, theirs):
        service("DELETE", made.headers["location"])


def events(client: Client, path: str, after: str | None = None) -> list[tuple[int, str, dict[str, Any]]]:
    """All events until the stream ends."""
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    headers = {"Authorization": f"Bearer {client.key}"} | ({"Last-Event-ID": after} if after is not None else {})
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    found, fields = [], {}
    for line in answer.read().decode().splitlines():
        if not line and fields:
            if "id" in fields:
                found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
            fields = {}
        elif ": " in line:
            name, _, value = line.partition(": ")
            fields[name] = value
    connection.close()
    return found


def test_events_tell_what_happened_and_go_on_where_a_client_was(service: Client, done: dict[str, Any]) -> None:
    path = f"/v1/rewrites/{done['id']}/events"
    told = events(service, path)
    kinds = [kind for _, kind, _ in told]
    assert kinds[0] == "queued"
    assert kinds[-1] == "done"
    stages = [body["stage"] for _, kind, body in told if kind == "progress"]
    assert {"parse", "candidates", "measure", "verify"} <= set(stages)
    fared = [body for _, kind, body in told if kind == "candidate"]
    assert any(body["seconds"] for body in fared)
    assert all("SELECT" not in json.dumps(body) for body in fared)
    middle = told[len(told) // 2][0]
    assert [number for number, _, _ in events(service, path, str(middle))] == [n for n, _, _ in told if n > middle]


def test_lists_go_on_by_cursor(service: Client, done: dict[str, Any]) -> None:
    seen, path = [], "/v1/rewrites?limit=2&target=default"
    while path:
        page = service("GET", path)
        assert page.status == 200
        seen += [item["id"] for item in page.json["items"]]
        link = page.headers.get("link")
        path = link.partition("<")[2].partition(">")[0] if link else ""
        assert (page.json["next"] is not None) == bool(link)
    assert len(seen) == len(set(seen))
    assert done["id"] in seen
    assert service("GET", "/v1/rewrites?cursor=abc").status == 422


def test_a_cancelled_rewrite_never_has_a_result(service: Client) -> None:
    order = {"sql": f"{SLOW} ORDER BY 1", "effort": "thorough"}
    made = service("POST", "/v1/rewrites", order)
    path = made.headers["location"]
    service("DELETE", path)
    kinds = [kind for _, kind, _ in events(service, f"{path}/events")]
    assert kinds[-1] == "cancelled"
    stopped = service("GET", path).json
    assert stopped["state"] == "cancelled"
    assert stopped["report"] is None
    assert service("POST", f"{path}/retry").json["state"] == "queued"
    service("DELETE", path)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"sql": "DROP TABLE sale"}, "unsupported-statement"),
        ({"sql": "SELECT 1; SELECT 2"}, "multiple-statements"),
        ({"sql": "SELECT 1", "timeout": -1}, "bad-request"),
        ({"sql": ["SELECT 'hush'"]}, "bad-request"),
        ({"sql": "SELECT 1", "hush": 1}, "bad-request"),
        ({}, "bad-request"),
    ],
)
def test_refusals_are_problem_details_that_never_echo_sql(service: Client, body: dict[str, Any], code: str) -> None:
    answer = service("POST", "/v1/rewrites", body)
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["type"].endswith(code)
    for secret in ("'hush'", "DROP TABLE sale", "SELECT 2"):
        assert secret not in answer.body.decode()


def test_what_only_the_catalog_can_tell_fails_the_job(service: Client) -> None:
    failed = service.rewritten("SELECT secret_column FROM sale")
    assert failed["state"] == "failed"
    assert failed["problem"]["code"] == "unknown-name"
    assert failed["report"] is None


def test_only_what_is_approved_is_found(service: Client) -> None:
    sql = f"{SLOW} AND s.id > 17"
    found = service.rewritten(sql)
    look = {"sql": sql}
    assert service("POST", "/v1/lookup", look).json["why"] == "unknown"
    path = f"/v1/rewrites/{found['id']}/review"
    assert service("PUT", path, {"decision": "approved", "mode": "on"}).status == 200
    there = service("POST", "/v1/lookup", look).json
    assert there["sql"] == found["report"]["chosen"]["sql"]
    spaced = service("POST", "/v1/lookup", {"sql": sql.replace(" ", "\n  ")}).json
    assert spaced["rewrite"] == found["id"]
    other = service("POST", "/v1/lookup", {"sql": sql.replace("17", "18")}).json
    assert (other["found"], other["why"]) == (False, "literals")
    service("PUT", path, {"decision": "disabled", "reason": "enough"})
    assert service("POST", "/v1/lookup", look).json["found"] is False
    lines = service("GET", "/v1/audit").json["items"]
    assert [
        line["detail"]["state"] for line in lines if line["object"] == found["id"] and "state" in line["detail"]
    ] == [
        "disabled",
        "approved",
    ]


def test_a_target_is_switched_off_for_all_clients_at_once(service: Client) -> None:
    assert service("PATCH", "/v1/targets/default", {"enabled": False}).json["enabled"] is False
    try:
        assert service("POST", "/v1/lookup", {"sql": "SELECT 1"}).json["why"] == "disabled"
        assert service("GET", "/v1/snapshots/default").json["enabled"] is False
    finally:
        service("PATCH", "/v1/targets/default", {"enabled": True})
