"""Bearer tokens of an OpenID Connect issuer (OpenID Connect Discovery 1.0; RFC 7519, RFC 7517)."""

from __future__ import annotations

import json
import urllib.request
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import jwt

from rewriter.errors import Unauthenticated, UsageError
from rewriter.settings import Settings

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")  # never HS*: the issuer's key is public
LEEWAY = 30  # seconds that clocks may differ
PATIENCE = 5  # seconds for the issuer to answer
LARGEST = 65_536  # bytes of its description


def claims_of(token: str, settings: Settings) -> dict[str, Any]:
    """The claims of a valid token. Raises Unauthenticated."""
    if settings.oidc_issuer is None or settings.oidc_audience is None:
        raise Unauthenticated("no issuer of tokens is configured")
    try:
        key = _keys(settings.oidc_issuer).get_signing_key_from_jwt(token)
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(ALGORITHMS),
            audience=settings.oidc_audience,
            issuer=settings.oidc_issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "sub", "aud", "iss"]},
        )
    except (jwt.PyJWTError, OSError, ValueError):
        raise Unauthenticated("the token is not valid", hint="it may have expired, or be for another service") from None
    return claims


def check_issuer(settings: Settings) -> None:
    """Raises UsageError for settings that no token could ever satisfy safely."""
    if settings.oidc_issuer is None:
        return
    if settings.oidc_audience is None:
        raise UsageError("REWRITER_OIDC_ISSUER needs REWRITER_OIDC_AUDIENCE", hint="else tokens for others would do")
    _check_address(settings.oidc_issuer)


@lru_cache(maxsize=4)
def _keys(issuer: str) -> jwt.PyJWKClient:
    """The issuer's keys; PyJWKClient asks for them again when a token names one that is not known."""
    address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:  # noqa: S310 (the scheme was checked)
        found = json.loads(answer.read(LARGEST))
    if found.get("issuer") != issuer:
        raise ValueError("the issuer calls itself something else")
    _check_address(str(found["jwks_uri"]))
    return jwt.PyJWKClient(str(found["jwks_uri"]), timeout=PATIENCE)


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise UsageError("the issuer of tokens is not reached over https")
