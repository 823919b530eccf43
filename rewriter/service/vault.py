"""One secret of the installation, from which the keys for sealing credentials and for signing snapshots are derived."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rewriter.errors import UsageError
from rewriter.settings import Settings

SHORTEST = 16  # characters of a secret that people choose
NONCE = 12  # bytes, NIST SP 800-38D


class Vault:
    """Seals and opens texts (AES-256-GCM), and holds the signing key (Ed25519). Keys are derived by HKDF, RFC 5869."""

    def __init__(self, secret: str) -> None:
        if len(secret) < SHORTEST:
            raise UsageError(
                "REWRITER_SECRET is too short", hint=f"use {SHORTEST} characters or more, such as: openssl rand -hex 32"
            )
        self._secret = secret.encode()
        self._sealing = AESGCM(self._derived(b"sealing"))
        self.signing_key = Ed25519PrivateKey.from_private_bytes(self._derived(b"signing"))

    @property
    def public_key(self) -> str:
        """The key that clients check snapshots with: 32 bytes, base64."""
        return base64.b64encode(self.signing_key.public_key().public_bytes_raw()).decode()

    def seal(self, text: str, context: str) -> str:
        """``text`` encrypted, to be opened only with the same ``context`` (whose it is)."""
        nonce = os.urandom(NONCE)
        return base64.b64encode(nonce + self._sealing.encrypt(nonce, text.encode(), context.encode())).decode()

    def open(self, sealed: str, context: str) -> str:
        """Raises UsageError when it was sealed with another secret."""
        raw = base64.b64decode(sealed)
        try:
            return self._sealing.decrypt(raw[:NONCE], raw[NONCE:], context.encode()).decode()
        except InvalidTag:
            raise UsageError(
                "the target's credentials were sealed with another secret",
                hint="set REWRITER_SECRET to what it was, or register the target anew",
            ) from None

    def _derived(self, purpose: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=32, salt=b"rewriter", info=purpose).derive(self._secret)


def vault_of(settings: Settings) -> Vault:
    """The vault of the settings' secret; without one, of a secret that is made once and kept in a file that only its
    owner can read. Raises UsageError."""
    if settings.secret is not None:
        return Vault(settings.secret.get_secret_value())
    path = settings.state_directory / "secret"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            _write_new(path, secrets.token_hex(32))
        return Vault(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise UsageError(f"the service's secret cannot be kept: {error.strerror}", hint="set REWRITER_SECRET") from None


def _write_new(path: Path, text: str) -> None:
    # Written whole and then linked into place: whoever reads it meanwhile finds all of it or nothing.
    if path.exists():
        return
    part = path.with_name(f"secret.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, text.encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(part, path)
    finally:
        part.unlink()


def digest(text: str) -> str:
    """SHA-256 as 64 hex digits, for keys of 256 random bits: nothing slower is needed for those."""
    return hashlib.sha256(text.encode()).hexdigest()
