"""The least of HTTP that polling needs, from the standard library: no redirects, no proxies, https, limits."""

from __future__ import annotations

import http.client
import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from rewriter.clients.snapshot import MAX_BODY
from rewriter.errors import SnapshotError, UsageError

TIMEOUT = 10.0  # seconds that the service may be silent


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True)
class Service:
    """The service at ``url``; ``key`` is the API key. Raises UsageError for an address that is not safe."""

    url: str
    key: str = field(repr=False)
    timeout: float = TIMEOUT
    allow_http: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError("the service's address is not a URL", hint="such as https://rewriter.example")
        if parts.username or parts.password:
            raise UsageError("the service's address holds a password", hint="pass the API key as key")
        if parts.scheme == "http" and not self.allow_http and not _is_loopback(parts.hostname):
            raise UsageError(
                "the API key would go over the network in plain text", hint="use https, or pass allow_http=True"
            )
        if any(ord(sign) < 32 for sign in self.key):
            raise UsageError("the API key holds a control character", hint="see how it was read")

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """The answer, whatever its status. Raises SnapshotError when there is none within the limits."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, parts.port, timeout=self.timeout, context=context)
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=self.timeout)
        sent = {"Authorization": f"Bearer {self.key}", "Accept": "application/json", **(headers or {})}
        try:
            connection.request(method, parts.path.rstrip("/") + path, body=body, headers=sent)
            response = connection.getresponse()
            content = response.read(MAX_BODY + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SnapshotError(
                f"the service does not answer ({type(error).__name__})", code="snapshot-unreachable"
            ) from None
        finally:
            connection.close()
        if len(content) > MAX_BODY:
            raise SnapshotError(f"the answer is larger than {MAX_BODY:,} bytes", code="malformed-snapshot")
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
