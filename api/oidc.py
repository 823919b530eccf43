"""Bearer tokens of an OpenID Connect issuer (OpenID Connect Discovery 1.0; RFC 7519, RFC 7517)."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import jwt

from rewriter.errors import Unauthenticated, UsageError
from rewriter.settings import Settings

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")  # never HS*: the issuer's key is public
LEEWAY = 30  # seconds that clocks may differ
PATIENCE = 5  # seconds for the issuer to answer
LARGEST = 262_144  # bytes of its description, and of its keys
FRESH = 3600.0  # seconds for which its keys are good; a key that it takes back is of use no longer than that
PAUSE = 30.0  # seconds between two requests for its keys, whatever tokens name


class Tokens:
    """Checks the tokens of one issuer with its keys, which are asked for again when they are old, or when a token names
    one that is not known; not more often than every PAUSE, because anybody can make up names of keys."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.oidc_issuer
        self._audience = settings.oidc_audience
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read = self._asked = float("-inf")  # moments of the monotonic clock

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a valid token. Raises Unauthenticated."""
        if self._issuer is None or self._audience is None:
            raise Unauthenticated("no issuer of tokens is configured")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(jwt.get_unverified_header(token).get("kid")),
                algorithms=list(ALGORITHMS),
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise Unauthenticated(
                "the token is not valid", hint="it may have expired, or be for another service"
            ) from None
        return claims

    def _key(self, kid: object) -> jwt.PyJWK:
        """Raises ValueError."""
        if not isinstance(kid, str):
            raise ValueError
        known = self._keys.get(kid)
        if known is not None and time.monotonic() - self._read <= FRESH:
            return known
        with self._lock:
            if time.monotonic() - self._asked > PAUSE:
                self._asked = time.monotonic()
                try:
                    self._keys = self._told()
                    self._read = time.monotonic()
                except (OSError, ValueError, LookupError, TypeError, UsageError, jwt.PyJWTError):
                    raise ValueError from None
            if time.monotonic() - self._read > FRESH or kid not in self._keys:
                raise ValueError
            return self._keys[kid]

    def _told(self) -> dict[str, jwt.PyJWK]:
        found = _fetched(f"{str(self._issuer).rstrip('/')}/.well-known/openid-configuration")
        if found["issuer"] != self._issuer:
            raise ValueError("the issuer calls itself something else")
        keys = jwt.PyJWKSet.from_dict(_fetched(str(found["jwks_uri"])))
        return {key.key_id: key for key in keys.keys if key.key_id and key.public_key_use in (None, "sig")}


def check_issuer(settings: Settings) -> None:
    """Raises UsageError for settings that no token could ever satisfy safely."""
    if settings.oidc_issuer is None:
        return
    if settings.oidc_audience is None:
        raise UsageError("REWRITER_OIDC_ISSUER needs REWRITER_OIDC_AUDIENCE", hint="else tokens for others would do")
    _check_address(settings.oidc_issuer)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to another host, or to one without TLS."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def _fetched(address: str) -> dict[str, Any]:
    """Raises OSError, ValueError, UsageError."""
    _check_address(address)
    with _opener.open(address, timeout=PATIENCE) as answer:
        found = json.loads(answer.read(LARGEST))
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise UsageError("the issuer of tokens is not reached over https")
