"""Targets, keys, verifications, batches, rules, snapshots, the numbers: over HTTP, on the real service."""

from __future__ import annotations

import base64
import re
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rewriter.clients.snapshot import read
from tests.api.conftest import Client, running
from tests.shop import DDL, SLOW


def test_it_tells_who_calls_and_what_they_may(service: Client) -> None:
    assert service("GET", "/v1/me").json["role"] == "admin"
    viewer = service.key_of("viewer")
    assert viewer("GET", "/v1/me").json["role"] == "viewer"
    assert viewer("GET", "/v1/rewrites").status == 200
    assert viewer("POST", "/v1/rewrites", {"sql": "SELECT 1"}).status == 403
    for key in (None, "rk_admin_wrong", "rk_nobody_" + "0" * 64, "nonsense", ""):
        refused = service.with_key(key)("GET", "/v1/me")
        assert refused.status == 401
        assert refused.headers["www-authenticate"] == "Bearer"


def test_a_revoked_key_is_of_no_use_at_once(service: Client) -> None:
    operator = service.key_of("operator")
    mine = operator("GET", "/v1/me").json["actor"]
    assert service("DELETE", f"/v1/api-keys/{mine}").json["revoked"]
    assert operator("GET", "/v1/me").status == 401
    keys = service("GET", "/v1/api-keys").json
    assert operator.key is not None
    assert all(operator.key not in str(key) and "key" not in key for key in keys)


def test_a_key_may_only_ask_so_often(service: Client) -> None:
    slow = service.key_of("viewer", rate=3)
    answers = [slow("GET", "/v1/me") for _ in range(5)]
    assert [answer.status for answer in answers][:3] == [200, 200, 200]
    assert answers[-1].status == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=60'


def test_credentials_of_a_target_are_never_shown(service: Client) -> None:
    url = "postgresql://anna:hush-hush@db.invalid.example/orders"
    unknown = service("POST", "/v1/targets", {"name": "far", "url": url})
    assert unknown.status == 422  # its host does not exist
    assert "hush" not in unknown.body.decode()
    made = service("POST", "/v1/targets", {"name": "near", "url": "postgresql://anna:hush-hush@127.0.0.1:1/orders"})
    assert made.status == 201
    assert made.json["shown"] == "postgresql://127.0.0.1:1/orders"
    for path in ("/v1/targets", "/v1/targets/near", "/v1/audit"):
        assert "hush" not in service("GET", path).body.decode()
    failed = service("POST", "/v1/targets/near/check")
    assert failed.status == 503
    assert "hush" not in failed.body.decode()
    assert service("DELETE", "/v1/targets/near").status == 204
    assert service("GET", "/v1/targets/near").status == 404


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://169.254.169.254/orders",
        "postgresql://127.0.0.1/orders?service=x",
        "postgresql://127.0.0.1/orders?sslkey=/etc/passwd",
        "postgresql:///orders?host=/var/run/postgresql",
        "duckdb:////etc/passwd",
        "env:HOME",
        "file:/etc/passwd",
        "https://example.org",
        "embedded:",
    ],
)
def test_a_target_reaches_a_database_and_nothing_else(service: Client, url: str) -> None:
    assert service("POST", "/v1/targets", {"name": "strange", "url": url}).status == 422


def test_a_verification_comes_back_with_its_verdict(service: Client) -> None:
    body = {
        "ddl": "CREATE TABLE t (a int PRIMARY KEY, b int)",
        "original": "SELECT a FROM t WHERE b = 1",
        "candidate": "SELECT a FROM t WHERE b >= 1",
        "seconds": 5,
    }
    different = service("POST", "/v1/verifications", body, headers={"Prefer": "wait=60"}).json
    assert different["result"]["kind"] == "refuted"
    assert different["result"]["counterexample"]["scripts"]["duckdb"]
    same = service(
        "POST", "/v1/verifications", {**body, "candidate": "SELECT a FROM t WHERE 1 = b"}, headers={"Prefer": "wait=60"}
    )
    assert same.json["result"]["kind"] == "proved"
    assert service("GET", same.headers["location"]).json["result"]["kind"] == "proved"
    assert service("POST", "/v1/verifications", {**body, "target": "default"}).status == 422


def test_a_log_becomes_rewrites(service: Client) -> None:
    log = f"{SLOW} AND s.id > 3;\nDELETE FROM sale;\nSELECT nothing FROM sale;\n".encode()
    made = service("POST", "/v1/batches/upload?name=day.sql", log)
    assert made.status == 202
    deadline = time.monotonic() + 90
    while True:
        batch: dict[str, Any] = service("GET", made.headers["location"]).json
        rewrites = batch["items"]
        if batch["state"] == "done" and all(one["state"] not in ("queued", "running") for one in rewrites):
            break
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert batch["name"] == "day.sql"
    assert [one["result"]["chosen"] for one in rewrites] == [True]
    assert any("nothing" in one["why"] for one in batch["result"]["refused"])
    assert service("POST", "/v1/batches", {"path": "../../etc"}).status == 422
    assert service("POST", "/v1/batches/upload", b"").status == 422


def test_a_rule_can_be_switched_off_for_a_target(service: Client) -> None:
    names = [rule["name"] for rule in service("GET", "/v1/rules").json if rule["kind"] != "advice"]
    sql = f"{SLOW} AND s.id > 5"
    used = {step["rule"] for step in service.rewritten(sql)["report"]["chosen"]["steps"]}
    assert used <= set(names)
    for rule in used:
        assert service("GET", f"/v1/rules/{rule}").json["document"].startswith("---")
        assert service("PUT", f"/v1/rules/{rule}/switch", {"target": "default", "enabled": False}).json["off"] is True
    try:
        again = service.rewritten(sql, margin=1.11)["report"]
        assert again["chosen"] is None or used.isdisjoint(step["rule"] for step in again["chosen"]["steps"])
    finally:
        for rule in used:
            service("PUT", f"/v1/rules/{rule}/switch", {"target": "default", "enabled": True})


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_rule_of_ones_own_is_applied_once_its_checks_approve_it(service: Client) -> None:
    known = service("GET", "/v1/rules/predicate/negated_comparison").json
    good = known["document"] if known.get("document") else ""
    assert good, known
    broken = re.sub(
        r"(## Rewrites.*?```sql.*?```.*?```sql\n)(.*?)(\n```)", r"\1SELECT 1 AS one\3", good, count=1, flags=re.S
    )
    made = service("POST", "/v1/rules", {"name": "own/mine", "document": broken})
    assert made.status == 201, made.body
    assert made.json["status"] == "draft"
    first = checked(service, "/v1/rules/own/mine/checks?approve=true")
    assert first["result"]["approved"] is False
    assert [one["check"] for one in first["result"]["findings"] if not one["ok"]]
    assert service("PUT", "/v1/rules/own/mine", {"document": good}).json["status"] == "draft"
    second = checked(service, "/v1/rules/own/mine/checks?approve=true")
    assert second["result"]["passed"], [one for one in second["result"]["findings"] if not one["ok"]]
    assert service("GET", "/v1/rules/own/mine").json["status"] == "stable"
    retired = service("PUT", "/v1/rules/own/mine/status", {"status": "retired", "reason": "enough"})
    assert retired.json["status"] == "retired"
    assert service("PUT", "/v1/rules/predicate/negated_comparison", {"document": good}).status == 422
    assert service("POST", "/v1/rules", {"name": "own/other", "document": "no document"}).status == 422


def checked(service: Client, path: str) -> dict[str, Any]:
    made = service("POST", path)
    assert made.status == 202, made.body
    deadline = time.monotonic() + 270
    while True:
        found: dict[str, Any] = service("GET", made.headers["location"]).json
        if found["state"] not in ("queued", "running"):
            assert found["state"] == "done", found
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.3)


def test_its_numbers_and_its_description_hold_no_statements(service: Client) -> None:
    service.rewritten("SELECT count(*) FROM sale WHERE amount > 4242")
    text = service("GET", "/metrics").body.decode()
    assert 'rewriter_jobs{kind="rewrite",state="done"}' in text
    assert "4242" not in text
    assert "sale" not in text
    document = service("GET", "/openapi.json").json
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert all(one.get("description") for one in operations)


def test_evidence_falls_with_the_constraint_it_rests_on(postgres_url: str, tmp_path: Path) -> None:
    """A snapshot and a lookup see a dropped constraint at once; an unrelated table changes nothing."""
    target = postgres_url.replace("/postgres?", "/falling?")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS falling WITH (FORCE)")
        connection.execute("CREATE DATABASE falling")
    with psycopg.connect(target, autocommit=True) as owner:
        owner.execute(DDL)
        with running(tmp_path, REWRITER_TARGET=target) as service:
            sql = SLOW
            found = service.rewritten(sql)
            service("PUT", f"/v1/rewrites/{found['id']}/review", {"decision": "approved", "mode": "on"})
            first = service("GET", "/v1/snapshots/default")
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(first.headers["rewriter-key"]))
            snapshot = read(first.body, first.headers["rewriter-signature"], key, target="default")
            assert [entry.statement for entry in snapshot.entries] == [sql]
            same = service("GET", "/v1/snapshots/default", headers={"If-None-Match": first.headers["etag"]})
            assert same.status == 304
            owner.execute("CREATE TABLE unrelated (id int)")
            assert service("POST", "/v1/lookup", {"sql": sql}).json["found"] is True
            owner.execute("ALTER TABLE sale ALTER amount DROP NOT NULL")
            assert service("POST", "/v1/lookup", {"sql": sql}).json["found"] is False
            later = service("GET", "/v1/snapshots/default", headers={"If-None-Match": first.headers["etag"]})
            assert later.status == 200
            assert later.json["entries"] == []
            review = service("GET", f"/v1/rewrites/{found['id']}").json["review"]
            assert review["currency"] == "invalid"
            refused = service("PUT", f"/v1/rewrites/{found['id']}/review", {"decision": "approved"})
            assert refused.status == 409
            assert service.rewritten(sql)["id"] != found["id"]


def test_a_client_that_saw_a_mismatch_disables_the_rewrite_for_all(service: Client) -> None:
    sql = f"{SLOW} AND s.id > 9"
    found = service.rewritten(sql)
    service("PUT", f"/v1/rewrites/{found['id']}/review", {"decision": "approved", "mode": "canary"})
    application = service.key_of("viewer")
    event = {"entry": found["id"], "kind": "timing", "original_seconds": 1.0, "rewrite_seconds": 0.1}
    assert application("POST", "/v1/feedback", {"target": "default", "events": [event]}).status == 204
    assert application("POST", "/v1/lookup", {"sql": sql}).json["found"] is True
    told = {"target": "default", "events": [{"entry": found["id"], "kind": "mismatch"}]}
    assert application("POST", "/v1/feedback", told).status == 204
    assert application("POST", "/v1/lookup", {"sql": sql}).json["found"] is False
    assert service("GET", f"/v1/rewrites/{found['id']}").json["review"]["state"] == "disabled"
