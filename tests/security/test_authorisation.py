"""Every route of the application against every kind of caller. A route without an entry here fails."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.issuer import Issuer
from tests.serving import House

OPEN, VIEWER, OPERATOR, ADMIN = "open", "viewer", "operator", "admin"
RANKS = (VIEWER, OPERATOR, ADMIN)
REWRITE = {"sql": "SELECT count(*) FROM shop"}
PAIR = {"original": "SELECT 1 AS a", "candidate": "SELECT 1 AS a", "ddl": "CREATE TABLE t (a int)"}

# Who may, and a body that is right. The identifiers that stand in the paths are made up unless ``mine`` is told.
ROUTES: dict[tuple[str, str], tuple[str, Any]] = {
    ("post", "/v1/rewrites"): (OPERATOR, REWRITE),
    ("get", "/v1/rewrites"): (VIEWER, None),
    ("get", "/v1/rewrites/{identifier}"): (VIEWER, None),
    ("delete", "/v1/rewrites/{identifier}"): (OPERATOR, None),
    ("post", "/v1/rewrites/{identifier}/retry"): (OPERATOR, None),
    ("get", "/v1/rewrites/{identifier}/events"): (VIEWER, None),
    ("put", "/v1/rewrites/{identifier}/review"): (OPERATOR, {"decision": "rejected"}),
    ("post", "/v1/verifications"): (OPERATOR, PAIR),
    ("get", "/v1/verifications/{identifier}"): (VIEWER, None),
    ("post", "/v1/verifications/{identifier}/retry"): (OPERATOR, None),
    ("post", "/v1/batches"): (OPERATOR, {"path": "none.log"}),
    ("get", "/v1/batches"): (VIEWER, None),
    ("post", "/v1/batches/upload"): (OPERATOR, b"SELECT 1;"),
    ("get", "/v1/batches/{identifier}"): (VIEWER, None),
    ("delete", "/v1/batches/{identifier}"): (OPERATOR, None),
    ("post", "/v1/batches/{identifier}/retry"): (OPERATOR, None),
    ("get", "/v1/verifications"): (VIEWER, None),
    ("get", "/v1/reviews"): (VIEWER, None),
    ("get", "/v1/overview"): (VIEWER, None),
    ("get", "/v1/targets/{name}/catalog"): (VIEWER, None),
    ("get", "/v1/targets"): (VIEWER, None),
    ("post", "/v1/targets"): (ADMIN, {"name": "made", "url": "duckdb:///none.duckdb"}),
    ("get", "/v1/targets/{name}"): (VIEWER, None),
    ("patch", "/v1/targets/{name}"): (ADMIN, {"enabled": True}),
    ("delete", "/v1/targets/{name}"): (ADMIN, None),
    ("post", "/v1/targets/{name}/check"): (OPERATOR, None),
    ("get", "/v1/rules"): (VIEWER, None),
    ("get", "/v1/rules/{family}/{rule}"): (VIEWER, None),
    ("post", "/v1/rules"): (OPERATOR, {"name": "own/made", "document": "no document"}),
    ("put", "/v1/rules/{family}/{rule}"): (OPERATOR, {"document": "no document"}),
    ("post", "/v1/rules/{family}/{rule}/checks"): (OPERATOR, None),
    ("put", "/v1/rules/{family}/{rule}/status"): (OPERATOR, {"status": "retired"}),
    ("get", "/v1/rule-checks/{identifier}"): (VIEWER, None),
    ("put", "/v1/rules/{family}/{rule}/switch"): (OPERATOR, {"target": "none", "enabled": False}),
    ("post", "/v1/lookup"): (VIEWER, {"sql": "SELECT 1", "target": "none"}),
    ("get", "/v1/snapshots/{target}"): (VIEWER, None),
    ("post", "/v1/feedback"): (VIEWER, {"target": "none", "events": []}),
    ("get", "/v1/me"): (VIEWER, None),
    ("get", "/v1/api-keys"): (ADMIN, None),
    ("post", "/v1/api-keys"): (ADMIN, {"name": "made by the matrix"}),
    ("delete", "/v1/api-keys/{identifier}"): (ADMIN, None),
    ("get", "/v1/audit"): (ADMIN, None),
    ("get", "/v1/workers"): (VIEWER, None),
    ("get", "/healthz"): (OPEN, None),
    ("get", "/readyz"): (OPEN, None),
    ("get", "/metrics"): (OPEN, None),
}
UNDESCRIBED = {"/openapi.json", "/", "/console"}  # the console: see tests/console
MADE_UP = {"identifier": "0" * 32, "name": "none", "target": "none", "family": "subquery", "rule": "none"}


def described(house: House) -> set[tuple[str, str]]:
    document = house.call("GET", "/openapi.json", key=None).json()
    return {(method, path) for path, item in document["paths"].items() for method in item}


def credentials(house: House, issuer: Issuer) -> dict[str, str | None]:
    """By kind of caller, those that nobody may be let in with."""
    past = int(time.time()) - 3600
    return {
        "no key": None,
        "invalid key": "rk_admin_" + "0" * 64,
        "revoked key": house.keys["revoked"],
        "expired token": issuer.token(rewriter_role="admin", iat=past - 60, exp=past),
        "token for another audience": issuer.token(rewriter_role="admin", aud="another service"),
        "HS256 with the public key": issuer.confused(rewriter_role="admin"),
        "alg none": issuer.unsigned(rewriter_role="admin"),
    }


def ask(house: House, route: tuple[str, str], key: str | None, values: dict[str, str]) -> Any:
    method, path = route
    body = ROUTES[route][1]
    more = {"content": body} if isinstance(body, bytes) else {"body": body}
    return house.call(method.upper(), path.format(**values), key=key, **more)


def test_every_route_has_an_entry(house: House) -> None:
    assert described(house) == set(ROUTES)
    hidden = {route.path for route in house.app.routes if getattr(route, "path", None) is not None}
    assert hidden == UNDESCRIBED


def test_nobody_is_let_in_without_a_valid_key_or_token(house: House, issuer: Issuer) -> None:
    for route, (least, _) in ROUTES.items():
        for kind, key in credentials(house, issuer).items():
            answer = ask(house, route, key, MADE_UP)
            if least == OPEN:
                assert answer.status_code == 200, (route, kind)
                continue
            assert answer.status_code == 401, (route, kind)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "key", ["rk", "rk_", "rk__", "rk_admin", "rk_admin_", "rk_nobody_" + "0" * 64, "x", "a.b.c", "rk_\xe9_x"]
)
def test_what_is_no_key_is_refused(house: House, key: str) -> None:
    header = {"Authorization": f"Bearer {key}".encode("latin-1")}
    assert house.call("GET", "/v1/me", key=None, headers=header).status_code == 401
    for scheme in ("Basic", "bearer", "Token"):
        header = {"Authorization": f"{scheme} {house.keys['viewer'] if scheme != 'bearer' else key}".encode("latin-1")}
        assert house.call("GET", "/v1/me", key=None, headers=header).status_code == 401


def test_a_changed_token_is_refused(house: House, issuer: Issuer) -> None:
    head, body, signature = issuer.token(rewriter_role="viewer").split(".")
    other = issuer.token(rewriter_role="admin").split(".")[1]
    for token in (f"{head}.{other}.{signature}", f"{head}.{body}.{'A' * len(signature)}", f"{head}.{body}."):
        assert house.call("GET", "/v1/me", key=token).status_code == 401


@pytest.mark.parametrize("by", ["key", "token"])
def test_each_role_may_what_it_may_and_no_more(house: House, issuer: Issuer, by: str) -> None:
    for route, (least, _) in ROUTES.items():
        if least == OPEN:
            continue
        for role in RANKS:
            key = house.keys[role] if by == "key" else issuer.token(rewriter_role=role)
            status = ask(house, route, key, MADE_UP).status_code
            if RANKS.index(role) < RANKS.index(least):
                assert status == 403, (route, role)
            else:
                assert status in (200, 201, 202, 204, 404, 422), (route, role, status)


@pytest.fixture(scope="module")
def ours(house: House) -> dict[str, str]:
    """Things of the default tenant, by what a path calls them; each belongs to a route that must not find it."""
    header = {"Prefer": "wait=50"}
    rewrite = house.call("POST", "/v1/rewrites", {**REWRITE, "effort": "quick"}, headers=header).json()
    verification = house.call("POST", "/v1/verifications", {**PAIR, "seconds": 1}).json()
    batch = house.call("POST", "/v1/batches/upload?name=a.sql", content=b"SELECT 1;").json()
    key = house.call("POST", "/v1/api-keys", {"name": "theirs to find"}).json()
    return {
        "rewrites": rewrite["id"],
        "verifications": verification["id"],
        "batches": batch["id"],
        "api-keys": key["id"],
        "name": "default",
        "target": "default",
    }


def test_another_tenants_admin_finds_nothing_of_ours(house: House, issuer: Issuer, ours: dict[str, str]) -> None:
    foreign = {"key": house.keys["other admin"], "token": issuer.token(rewriter_role="admin", rewriter_tenant="third")}
    for route in ROUTES:
        path = route[1]
        if "{" not in path or path.startswith("/v1/rules"):
            continue
        values = {**ours, "identifier": ours.get(path.split("/")[2], "")}
        for kind, key in foreign.items():
            answer = ask(house, route, key, values)
            assert answer.status_code == 404, (route, kind, answer.status_code)
    for path in ("/v1/rewrites", "/v1/batches", "/v1/audit"):
        for key in foreign.values():
            found = house.call("GET", path, key=key).json()["items"]
            assert not {one["id"] for one in found} & set(ours.values()), path
            assert "operator" not in {one.get("actor") for one in found}
    for key in foreign.values():
        assert house.call("GET", "/v1/targets", key=key).json() == []
        assert ours["api-keys"] not in house.call("GET", "/v1/api-keys", key=key).text
        assert house.call("POST", "/v1/lookup", {"sql": "SELECT 1"}, key=key).status_code == 404
        for order in ({"sql": "SELECT 1"}, {"sql": "SELECT 1", "target": "default"}):
            assert house.call("POST", "/v1/rewrites", order, key=key).status_code == 404
        off = {"target": "default", "enabled": False}
        rule = house.call("GET", "/v1/rules").json()[0]["name"]
        assert house.call("PUT", f"/v1/rules/{rule}/switch", off, key=key).status_code == 404


def test_feedback_of_another_tenant_changes_nothing(house: House, ours: dict[str, str]) -> None:
    before = house.call("GET", f"/v1/rewrites/{ours['rewrites']}").json()["review"]
    event = {"entry": ours["rewrites"], "kind": "mismatch"}
    answer = house.call("POST", "/v1/feedback", {"target": "default", "events": [event]}, key="other viewer")
    assert answer.status_code == 204
    assert house.call("GET", f"/v1/rewrites/{ours['rewrites']}").json()["review"] == before


def test_an_idempotency_key_is_its_callers_own(house: House) -> None:
    header = {"Idempotency-Key": "the same for all"}
    order = {**PAIR, "seconds": 1.5}
    made = {
        who: house.call("POST", "/v1/verifications", order, key=who, headers=header).json()["id"]
        for who in ("operator", "admin", "other operator")
    }
    assert len(set(made.values())) == 3
    again = house.call("POST", "/v1/verifications", order, key="operator", headers=header)
    assert again.json()["id"] == made["operator"]
    other = house.call("POST", "/v1/verifications", {**order, "seconds": 2}, key="operator", headers=header)
    assert other.status_code == 409
    assert other.json()["type"].endswith("idempotency-conflict")
    # The same key with another kind of order.
    crossed = house.call("POST", "/v1/rewrites", REWRITE, key="operator", headers=header)
    assert crossed.status_code == 409


def test_who_works_on_what_is_told_to_its_tenant_only(house: House, ours: dict[str, str]) -> None:
    for worker in house.call("GET", "/v1/workers", key="other viewer").json():
        assert worker["job"] not in ours.values()


def test_references_to_the_operators_settings_are_for_the_operators_tenant(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (house.settings.credentials / "database").write_text("postgresql://u:very-secret@db.example/x")
    for url in ("env:REWRITER_TARGET", f"file:{house.settings.credentials}/database"):
        answer = house.call("POST", "/v1/targets", {"name": "stolen", "url": url}, key="other admin")
        assert answer.status_code == 422
        assert answer.json()["type"].endswith("usage")
    (house.settings.files / "a.log").write_text("SELECT 1;")
    answer = house.call("POST", "/v1/batches", {"path": "a.log"}, key="other operator")
    assert answer.status_code == 422


def test_a_revoked_key_is_of_no_use_at_once(house: House) -> None:
    made = house.call("POST", "/v1/api-keys", {"name": "short-lived"}).json()
    assert house.call("GET", "/v1/me", key=made["key"]).status_code == 200
    assert house.call("DELETE", f"/v1/api-keys/{made['id']}").status_code == 200
    assert house.call("GET", "/v1/me", key=made["key"]).status_code == 401


def test_no_key_raises_itself(house: House) -> None:
    identifier = house.keys["operator"].split("_")[1]
    assert house.call("POST", "/v1/api-keys", {"name": "x", "role": "admin"}, key="operator").status_code == 403
    assert house.call("DELETE", f"/v1/api-keys/{identifier}", key="operator").status_code == 403
    body = {"name": "x", "role": "admin", "tenant": "default"}
    assert house.call("POST", "/v1/api-keys", body, key="other admin").status_code == 422  # no such member
