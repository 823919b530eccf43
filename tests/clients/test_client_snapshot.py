"""A snapshot is believed when it is signed, in force, for this target and not older than one seen before."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rewriter.clients.snapshot import Snapshot, decode_public_key, encode_public_key, read, sign
from rewriter.errors import SnapshotError
from tests.clients.conftest import entry_for

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key()
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def snapshot(**changes: Any) -> Snapshot:
    fields: dict[str, Any] = {
        "target": "shop",
        "dialect": "postgres",
        "issued": NOW,
        "expires": NOW + timedelta(hours=1),
        "enabled": True,
        "catalog_hash": "c",
        "entries": (entry_for("SELECT 1 -- ü", "SELECT 1", holds_for=((1, None, "x"),)),),
    }
    return Snapshot(**(fields | changes))


def refused(body: bytes, signature: str, **options: Any) -> str:
    with pytest.raises(SnapshotError) as caught:
        read(body, signature, PUBLIC, **({"now": NOW} | options))
    return caught.value.code


def test_what_is_signed_is_read_back_and_signing_is_reproducible() -> None:
    body, signature = sign(snapshot(), KEY)
    assert (body, signature) == sign(snapshot(), KEY)
    assert read(body, signature, decode_public_key(encode_public_key(KEY)), target="shop", now=NOW) == snapshot()


def test_any_changed_byte_is_refused() -> None:
    body, signature = sign(snapshot(), KEY)
    for place in range(0, len(body), 37):
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert refused(changed, signature) == "bad-signature"
    other = sign(snapshot(), Ed25519PrivateKey.generate())[1]
    for wrong in ("", "ed25519=", "ed25519=***", other, "ed25519=" + base64.b64encode(b"short").decode()):
        assert refused(body, wrong) == "bad-signature"


@pytest.mark.parametrize(
    ("changes", "options", "code"),
    [
        ({"expires": NOW}, {}, "snapshot-expired"),
        ({}, {"target": "other"}, "wrong-target"),
        ({}, {"newest": NOW + timedelta(seconds=1)}, "snapshot-rollback"),
        ({"issued": NOW + timedelta(days=1), "expires": NOW + timedelta(days=2)}, {}, "malformed-snapshot"),
    ],
)
def test_what_is_not_in_force_is_refused(changes: dict[str, Any], options: dict[str, Any], code: str) -> None:
    assert refused(*sign(snapshot(**changes), KEY), **options) == code


def signed(document: object) -> tuple[bytes, str]:
    body = json.dumps(document).encode()
    return body, "ed25519=" + base64.b64encode(KEY.sign(body)).decode()


def test_a_signed_body_of_another_shape_is_refused() -> None:
    good = json.loads(sign(snapshot(), KEY)[0])
    assert refused(*signed(good | {"version": 2})) == "unknown-version"
    assert refused(*signed([good])) == "unknown-version"
    assert refused(*signed(good | {"expires": "2026-11-21T13:00:00"})) == "malformed-snapshot"  # without a zone
    assert refused(*signed(good | {"entries": [{"id": "e"}]})) == "malformed-snapshot"
    assert refused(*signed(good | {"entries": [good["entries"][0] | {"mode": "always"}]})) == "malformed-snapshot"
    assert read(*signed(good | {"added_later": 1}), PUBLIC, now=NOW) == snapshot()


def test_the_same_age_is_no_rollback() -> None:
    assert read(*sign(snapshot(), KEY), PUBLIC, now=NOW, newest=NOW) == snapshot()


@pytest.mark.parametrize("text", ["", "nonsense!", base64.b64encode(b"short").decode()])
def test_an_unusable_public_key_is_told(text: str) -> None:
    with pytest.raises(SnapshotError):
        decode_public_key(text)


def test_an_application_loads_nothing_of_the_pipeline() -> None:
    code = (
        "import sys, rewriter.clients, rewriter.clients.snapshot\n"
        "heavy = {'sqlglot', 'z3', 'duckdb', 'openai', 'fastapi', 'sqlalchemy', 'psycopg', 'alembic', 'rules'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))\n"
        "import rewriter.clients.sqlalchemy, rewriter.clients.psycopg, rewriter.clients.capture\n"
        "print(sorted((heavy - {'sqlalchemy', 'psycopg'}) & {name.split('.')[0] for name in sys.modules}))\n"
        "print([name for name in sys.modules if name.startswith('rewriter.') and 'clients' not in name])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second, ours = done.stdout.splitlines()
    assert (first, second) == ("[]", "[]")
    assert set(json.loads(ours.replace("'", '"'))) == {"rewriter.errors", "rewriter.lexical"}
