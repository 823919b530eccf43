"""Tokens of a real issuer on loopback: what is taken, what is not, and how often the issuer is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from api import oidc
from api.access import identify
from api.oidc import Tokens, check_issuer
from rewriter.errors import Unauthenticated, UsageError
from rewriter.settings import Settings
from tests.issuer import AUDIENCE, Issuer, issuing
from tests.serving import House


@pytest.fixture
def own() -> Iterator[Issuer]:
    """An issuer that a test may spoil."""
    with issuing() as one:
        yield one


def settings(issuer: Issuer) -> Settings:
    return Settings(oidc_issuer=issuer.url, oidc_audience=AUDIENCE)


@pytest.fixture
def tokens(own: Issuer) -> Tokens:
    return Tokens(settings(own))


@pytest.mark.parametrize("kind", ["RS256", "EdDSA"])
def test_a_good_token_is_taken(own: Issuer, kind: str) -> None:
    own.rotate("k", kind=kind)
    assert Tokens(settings(own)).claims(own.token())["sub"] == "somebody"


def wrong_tokens(issuer: Issuer) -> dict[str, str]:
    now = int(time.time())
    return {
        "issuer": issuer.token(iss="https://elsewhere.example"),
        "audience": issuer.token(aud="another"),
        "no audience": issuer.token(aud=None),
        "expired": issuer.token(exp=now - 60),
        "never expires": issuer.token(exp=None),
        "not yet": issuer.token(nbf=now + 600),
        "issued in the future": issuer.token(iat=now + 600),
        "nobody": issuer.token(sub=None),
        "unknown key": issuer.token(kid="made up"),
        "HMAC": issuer.confused(),
        "unsigned": issuer.unsigned(),
        "empty": "",
        "dots": "..",
        "deep": "W" * 100_000 + "." + "W" * 100_000 + ".",
        "not ASCII": "é.é.é",
    }


def test_wrong_tokens_are_refused(own: Issuer, tokens: Tokens) -> None:
    tokens.claims(own.token())
    for kind, token in wrong_tokens(own).items():
        with pytest.raises(Unauthenticated) as caught:
            tokens.claims(token)
        assert len(str(caught.value)) < 200, kind


def test_a_token_signed_by_another_issuer_under_the_same_name_is_refused(own: Issuer, tokens: Tokens) -> None:
    with issuing() as evil:
        evil.rotate(own.kid)
        with pytest.raises(Unauthenticated):
            tokens.claims(evil.token(iss=own.url))


def test_a_flood_of_made_up_keys_asks_the_issuer_once(own: Issuer, tokens: Tokens) -> None:
    for number in range(300):
        with pytest.raises(Unauthenticated):
            tokens.claims(own.token(kid=f"made up {number}"))
    assert own.asked.count("/keys") == 1
    assert tokens.claims(own.token())


def test_a_new_key_of_the_issuer_is_found_and_the_old_one_dropped(
    own: Issuer, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = own.token()
    tokens.claims(old)
    own.rotate("second")
    with pytest.raises(Unauthenticated):  # it was asked a moment ago
        tokens.claims(own.token())
    monkeypatch.setattr(oidc, "PAUSE", 0.0)
    assert tokens.claims(own.token())
    with pytest.raises(Unauthenticated):
        tokens.claims(old)


def test_keys_that_were_taken_back_are_forgotten_in_time(
    own: Issuer, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = own.token()
    tokens.claims(old)
    own.rotate("second")
    monkeypatch.setattr(oidc, "FRESH", 0.0)
    monkeypatch.setattr(oidc, "PAUSE", 0.0)
    with pytest.raises(Unauthenticated):
        tokens.claims(old)


def test_an_issuer_that_is_down_is_not_asked_for_each_token(own: Issuer, tokens: Tokens) -> None:
    own.broken = True
    for _ in range(20):
        with pytest.raises(Unauthenticated):
            tokens.claims(own.token())
    assert len(own.asked) == 1


@pytest.mark.parametrize(
    "discovery",
    [{}, [], "x", {"issuer": "https://elsewhere.example", "jwks_uri": "x"}, {"issuer": None, "jwks_uri": None}],
)
def test_a_description_that_is_none_lets_nobody_in(own: Issuer, tokens: Tokens, discovery: object) -> None:
    own.discovery = discovery
    with pytest.raises(Unauthenticated):
        tokens.claims(own.token())


def test_keys_are_read_over_tls_and_from_where_they_are_said_to_be(own: Issuer) -> None:
    with issuing() as evil:
        evil.rotate(own.kid)
        token = evil.token(iss=own.url)
        own.redirect = f"{evil.url}/keys"
        with pytest.raises(Unauthenticated):
            Tokens(settings(own)).claims(token)
        assert evil.asked == []
    own.discovery = {"issuer": own.url, "jwks_uri": "http://keys.example/keys"}
    with pytest.raises(Unauthenticated):
        Tokens(settings(own)).claims(own.token())
    own.discovery = {"issuer": own.url, "jwks_uri": "file:///etc/passwd"}
    with pytest.raises(Unauthenticated):
        Tokens(settings(own)).claims(own.token())


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": "https://issuer.example"},
        {"oidc_issuer": "http://issuer.example", "oidc_audience": "a"},
        {"oidc_issuer": "file:///tmp", "oidc_audience": "a"},
    ],
)
def test_settings_that_are_not_safe_are_refused_at_the_start(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        check_issuer(Settings(**wrong))


@pytest.mark.parametrize("role", [None, "", "root", ["admin"], {"admin": True}, 3, "Admin"])
def test_roles_that_are_none_are_refused(house: House, issuer: Issuer, role: object) -> None:
    assert house.call("GET", "/v1/me", key=issuer.token(rewriter_role=role)).status_code == 401


@pytest.mark.parametrize("tenant", ["", "x" * 65, "a b", "a\0b", "é", ["default"], {"a": 1}, 0, False, "a\nb"])
def test_tenants_that_are_none_are_refused(house: House, issuer: Issuer, tenant: object) -> None:
    assert house.call("GET", "/v1/me", key=issuer.token(rewriter_tenant=tenant)).status_code == 401


def test_role_tenant_and_subject_come_from_the_claims(house: House, issuer: Issuer) -> None:
    me = house.call("GET", "/v1/me", key=issuer.token(rewriter_role="viewer", rewriter_tenant="shop-7")).json()
    assert (me["tenant"], me["actor"], me["role"]) == ("shop-7", "oidc:somebody", "viewer")
    assert house.call("GET", "/v1/me", key=issuer.token()).json()["tenant"] == "default"


def test_long_subjects_stay_different(house: House, issuer: Issuer) -> None:
    service = house.app.state.service
    long = "s" * 200
    actors = {identify(issuer.token(sub=long + end), service).actor for end in ("1", "2")}
    assert len(actors) == 2
    assert all(len(actor) <= 128 and actor.isprintable() for actor in actors)
    assert identify(issuer.token(sub="a\nb\0"), service).actor.isprintable()
