"""Loading a suite into a target, with primary and foreign keys declared.

Foreign keys that the generated data does not satisfy are not declared, and are named: a verdict must not rest on a
promise that does not hold.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from rewriter.engines import connect, embedded
from rewriter.errors import TargetError, TargetLost, UsageError
from tpc.load_duckdb import load_duckdb
from tpc.load_postgres import load_postgres
from tpc.source import Tell, first_line
from tpc.suites import Suite


def target_for(suite: Suite, scale: float, url: str) -> str:
    """The URL to connect to for a suite at a scale.

    The embedded server holds each suite and scale in a database of its own, named ``Suite.label``; any other URL is
    used as it is, and holds one suite at one scale.
    """
    if url.startswith("embedded:"):
        directory, _, database = url.partition("?dbname=")
        return f"{directory}?dbname={database or suite.label(scale)}"
    return url


def load(suite: Suite, scale: float, url: str, tell: Tell) -> list[str]:
    """Load the suite at ``scale`` into ``url`` unless it is there; returns sentences about what was done.

    An interrupted load is done again. Tables that an earlier load did not make are never touched. Raises UsageError,
    TargetError.
    """
    target = target_for(suite, scale, url)
    if target.startswith("duckdb://"):
        return load_duckdb(suite, scale, _file(target), tell)
    if target.startswith("embedded:"):
        target = embedded_database(target)
    elif not target.startswith(("postgresql://", "postgres://")):
        raise UsageError("data is loaded into postgresql://, embedded: or duckdb:///FILE targets")
    try:
        psycopg.conninfo.conninfo_to_dict(target)
    except psycopg.Error:
        # libpq repeats the part that it cannot read, and that part may be the password.
        raise UsageError("the target URL cannot be read", hint="write special characters as %XX") from None
    # The engine's own way in speaks of a server that does not answer without naming the password.
    with contextlib.closing(connect(target)):
        pass
    try:
        with psycopg.connect(target, autocommit=True, connect_timeout=10) as connection:
            return load_postgres(suite, scale, connection, tell)
    except psycopg.OperationalError as error:
        raise TargetLost(f"loading failed: {first_line(error)}", hint="load again: it starts anew") from None
    except psycopg.Error as error:
        raise TargetError(
            f"loading failed: {first_line(error)}", hint="the role must own the database, or be let to create tables"
        ) from None


def embedded_database(target: str) -> str:
    """The libpq URI of ``embedded:DIRECTORY?dbname=NAME``, the database made where it is not there."""
    directory, _, database = target.removeprefix("embedded:").partition("?dbname=")
    return _own_database(embedded.start(Path(directory) if directory else None), database)


def _own_database(server: str, database: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone()
        if known is None:
            with contextlib.suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    return urlunsplit(urlsplit(server)._replace(path=f"/{database}"))


def _file(url: str) -> Path:
    """The file that ``rewriter.engines.connect`` will find under the same URL: absolute where that file or its folder
    exists, relative otherwise."""
    absolute = Path(url.removeprefix("duckdb://"))
    if absolute.name in ("", ":memory:"):
        raise UsageError("data is loaded into a file", hint="use duckdb:///FILE")
    if absolute.exists() or (absolute.parent != Path("/") and absolute.parent.is_dir()):
        return absolute
    relative = Path(str(absolute).lstrip("/"))
    if not relative.parent.is_dir():
        raise UsageError(f"there is no folder {relative.parent}")
    return relative
