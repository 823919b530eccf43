"""A real issuer of OpenID Connect tokens on loopback: discovery, keys, and tokens of every kind of wrong."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

AUDIENCE = "rewriter-tests"


class Issuer:
    """``asked``: the paths that were asked for, in order. ``broken``: answers everything with 500."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken = False
        self.discovery: Any = None  # instead of the right one
        self.redirect: str | None = None  # where the keys are said to be now
        self.keys: dict[str, Any] = {}
        self.url = ""
        self.rotate("first")

    def rotate(self, kid: str, *, kind: str = "RS256") -> None:
        """Sign with a new key from now on; the earlier ones are no longer told."""
        made = rsa.generate_private_key(65537, 2048) if kind == "RS256" else ed25519.Ed25519PrivateKey.generate()
        self.keys = {kid: made}
        self.kid, self.kind = kid, kind

    @property
    def public_pem(self) -> bytes:
        public = self.keys[self.kid].public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def claims(self, **more: Any) -> dict[str, Any]:
        now = int(time.time())
        given = {"iss": self.url, "aud": AUDIENCE, "sub": "somebody", "iat": now, "exp": now + 300}
        given |= {"rewriter_role": "operator", **more}
        return {name: value for name, value in given.items() if value is not None}

    def token(self, *, kid: str | None = None, **more: Any) -> str:
        """A token with these claims; None takes one away."""
        return jwt.encode(self.claims(**more), self.keys[self.kid], self.kind, headers={"kid": kid or self.kid})

    def unsigned(self, **more: Any) -> str:
        return jwt.encode(self.claims(**more), None, "none", headers={"kid": self.kid})

    def confused(self, **more: Any) -> str:
        """Signed with HMAC under the public key, which everybody has."""
        import base64
        import hashlib
        import hmac

        def part(value: Any) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

        body = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': self.kid})}.{part(self.claims(**more))}"
        signature = hmac.new(self.public_pem, body.encode(), hashlib.sha256).digest()
        return f"{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    def jwks(self) -> dict[str, Any]:
        found = []
        for kid, key in self.keys.items():
            algorithm = jwt.algorithms.get_default_algorithms()[self.kind]
            found.append({**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "alg": self.kind, "use": "sig"})
        return {"keys": found}


@contextlib.contextmanager
def issuing() -> Iterator[Issuer]:
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            if issuer.broken:
                return self.answer(500, {})
            if self.path == "/.well-known/openid-configuration":
                right = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"}
                return self.answer(200, right if issuer.discovery is None else issuer.discovery)
            if self.path == "/keys" and issuer.redirect is not None:
                return self.answer(302, {}, issuer.redirect)
            return self.answer(200, issuer.jwks())

        def answer(self, status: int, body: Any, location: str | None = None) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if location is not None:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
