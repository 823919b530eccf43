"""URLs of targets, read as the driver reads them: what differs from its reading could point somewhere else."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from rewriter.errors import UsageError

POSTGRES = ("postgresql://", "postgres://")
_OURS = ("duckdb:", "embedded:")
_FILES = (".duckdb", ".db")


def postgres_parameters(url: str) -> dict[str, str]:
    """The connection parameters that libpq finds in a Postgres URI. Raises UsageError, which does not quote it."""
    try:
        if not url.isprintable():  # libpq would stop at a NUL
            raise ValueError
        found = {name: str(value) for name, value in conninfo_to_dict(url).items()}
        int(found.get("port") or 5432)
    except (psycopg.Error, ValueError):
        raise UsageError(
            "the target's URL cannot be read", hint="special characters in a password are written as %XX"
        ) from None
    return found


def postgres_url(parameters: Mapping[str, str]) -> str:
    """A URI that libpq reads as exactly these parameters."""
    return f"postgresql:///?{urlencode(parameters, quote_via=quote)}"


def without_credentials(url: str) -> str:
    """A target's URL without user, password and parameters, for people and records. Of a text that is no URL of a
    target nothing is shown: it may be a secret of another kind."""
    if url.startswith(POSTGRES):
        try:
            found = postgres_parameters(url)
        except UsageError:
            return "postgresql://(unreadable)"
        host = found.get("host", found.get("hostaddr", "local"))
        host = "local" if host.startswith("/") else host
        if "@" in host:  # a password with an @ that is not written as %40
            return "postgresql://(unreadable)"
        host = f"[{host}]" if ":" in host else host
        return f"postgresql://{host}{':' + found['port'] if 'port' in found else ''}/{found.get('dbname', '')}"
    return url if url.startswith(_OURS) or url.endswith(_FILES) else "(unknown)"
