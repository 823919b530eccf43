"""The signed snapshot of approved rewrites: what the service hands out and an application reads.

The body is canonical JSON; the signature is Ed25519 (RFC 8032) over its exact bytes. The service imports this module
as well, so both sides mean the same.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from rewriter.errors import SnapshotError

VERSION = 1
MAX_BODY = 32 * 1024 * 1024  # bytes; ten thousand entries of 2 kB take 20 MB
CLOCK_SKEW = 300.0  # seconds that the clocks of service and application may differ
SIGNATURE_PREFIX = "ed25519="

Mode = Literal["shadow", "canary", "on"]
_Text = Annotated[str, Field(min_length=1)]


class _Record(BaseModel):
    """Unknown members are passed over, so that a newer service can add some without a new version."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class CatalogProbe(_Record):
    """One cheap SELECT that returns one text, and the text that it returned when the verdicts were reached.

    ``rewriter.clients.probe`` makes such statements.
    """

    sql: _Text
    value: str


class Entry(_Record):
    """One approved rewrite.

    ``statement`` is the original exactly as submitted, with the driver's own markers. ``sql`` is the rewrite with
    ``$1``, ``$2``, ...; ``parameters`` holds the original's markers by position. ``holds_for``: None for all values,
    else the sets of values (by position) for which equivalence is known. ``ordered``: the order of the rows is part of
    the meaning. ``baseline_seconds`` is the original's measured time. ``mode`` is the most that the reviewer allows.
    """

    id: _Text
    statement: _Text
    sql: _Text
    parameters: tuple[str, ...] = ()
    holds_for: tuple[tuple[Any, ...], ...] | None = None
    rules: tuple[str, ...] = ()
    verdict: Literal["proved", "bounded", "tested"]
    speedup: float = Field(gt=0)
    ordered: bool
    baseline_seconds: float = Field(ge=0)
    approved: AwareDatetime
    mode: Mode


class Snapshot(_Record):
    """All approved rewrites of one target at one time.

    ``enabled`` is the service's kill switch. ``catalog_hash`` names the catalog that the verdicts rest on;
    ``catalog_probe`` is how an application sees that it still stands. ``search_path`` is what ``search_path_of`` makes
    of the schemas searched when the rewrites were verified; None: not checked.
    """

    version: Literal[1] = 1
    target: _Text
    dialect: Literal["postgres", "duckdb"]
    issued: AwareDatetime
    expires: AwareDatetime
    enabled: bool
    catalog_hash: str
    catalog_probe: CatalogProbe | None = None
    search_path: str | None = None
    entries: tuple[Entry, ...] = ()


def search_path_of(schemas: Iterable[str]) -> str:
    """The schemas of ``current_schemas(false)`` in the form that ``Snapshot.search_path`` has."""
    return ",".join(schemas)


def sign(snapshot: Snapshot, private_key: Ed25519PrivateKey) -> tuple[bytes, str]:
    """The body to send and the value of the header ``Rewriter-Signature``."""
    document = snapshot.model_dump(mode="json")
    body = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return body, SIGNATURE_PREFIX + base64.b64encode(private_key.sign(body)).decode()


def read(
    body: bytes,
    signature: str,
    public_key: Ed25519PublicKey,
    *,
    target: str | None = None,
    now: datetime | None = None,
    newest: datetime | None = None,
) -> Snapshot:
    """The snapshot in ``body``, when it is genuine and in force.

    ``target``: the one expected (None: any). ``newest``: the latest ``issued`` seen so far; an older one is refused, so
    that nobody can bring back a rewrite that was withdrawn. Raises SnapshotError; nothing of a body without a good
    signature is looked at.
    """
    if len(body) > MAX_BODY:
        raise SnapshotError(f"the snapshot is larger than {MAX_BODY:,} bytes", code="malformed-snapshot")
    try:
        public_key.verify(_signature(signature), body)
    except InvalidSignature:
        raise SnapshotError(
            "the snapshot is not signed by the service's key",
            hint="see that the configured public key is that of the service",
            code="bad-signature",
        ) from None
    try:
        document = json.loads(body)
        version = document.get("version") if isinstance(document, dict) else None
        if version != VERSION:
            raise SnapshotError(
                f"this client reads version {VERSION} of snapshots only", hint="update it", code="unknown-version"
            )
        snapshot = Snapshot.model_validate(document)
    except (ValidationError, ValueError, RecursionError):
        raise SnapshotError("the snapshot is signed, but is not what it should be", code="malformed-snapshot") from None
    if target is not None and snapshot.target != target:
        raise SnapshotError("the snapshot is that of another target", code="wrong-target")
    now = now or datetime.now(UTC)
    if snapshot.expires <= now:
        raise SnapshotError("the snapshot has expired", code="snapshot-expired")
    if (snapshot.issued - now).total_seconds() > CLOCK_SKEW:
        raise SnapshotError(
            "the snapshot was issued in the future", hint="see that the clocks agree", code="malformed-snapshot"
        )
    if newest is not None and snapshot.issued < newest:
        raise SnapshotError("the snapshot is older than one seen before", code="snapshot-rollback")
    return snapshot


def encode_public_key(key: Ed25519PrivateKey | Ed25519PublicKey) -> str:
    """The public key as an application configures it: base64 of its 32 bytes."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return base64.b64encode(public.public_bytes_raw()).decode()


def decode_public_key(text: str) -> Ed25519PublicKey:
    """The key that ``encode_public_key`` wrote. Raises SnapshotError."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error):
        raise SnapshotError(
            "the public key is not 32 bytes in base64", hint="copy what the service prints", code="bad-signature"
        ) from None


def _signature(header: str) -> bytes:
    """The bytes in a header; what cannot be decoded is no signature."""
    try:
        return base64.b64decode(header.strip().removeprefix(SIGNATURE_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        return b""
