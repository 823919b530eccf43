"""Engines: the only code that runs SQL. See ``base`` for the contract, ``connect`` for the way in."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from rewriter.engines import embedded
from rewriter.engines.base import Engine
from rewriter.engines.duckdb import DuckDB
from rewriter.engines.locators import without_credentials
from rewriter.engines.postgres import Postgres
from rewriter.engines.schema_only import SchemaOnly
from rewriter.errors import UsageError

__all__ = ["DuckDB", "Postgres", "SchemaOnly", "connect", "scratch", "without_credentials"]

FORMS = "postgresql://USER@HOST/DATABASE, duckdb:///FILE, embedded: or embedded:DIRECTORY"


def connect(url: str, *, threads: int | None = None, memory: int | None = None) -> Engine:
    """The engine behind a target URL; the caller closes it.

    Forms: any libpq URI (``postgresql://``, ``postgres://``); ``duckdb:///FILE`` or the path of an existing ``.duckdb``
    or ``.db`` file; ``embedded:`` or ``embedded:DIRECTORY``, with ``?dbname=NAME``, for a Postgres of our own.
    ``threads`` and ``memory`` (bytes) limit a DuckDB child. Raises UsageError for other forms, TargetUnreachable.
    """
    if url.startswith(("postgresql://", "postgres://")):
        return Postgres(url)
    if url.startswith("embedded:"):
        directory, _, database = url.removeprefix("embedded:").partition("?dbname=")
        uri = embedded.start(Path(directory) if directory else None)
        return Postgres(_with_database(uri, database) if database else uri)
    path = url.removeprefix("duckdb://") if url.startswith("duckdb://") else url
    if url.startswith("duckdb://") and path in (":memory:", "/:memory:", ""):
        return scratch()
    if url.startswith("duckdb://") or (path.endswith((".duckdb", ".db")) and Path(path).is_file()):
        file = Path(path[1:]) if url.startswith("duckdb:///") and not Path(path).exists() else Path(path)
        return DuckDB(file, threads=threads or 2, memory=memory)
    scheme = urlsplit(url).scheme
    raise UsageError(f"unknown kind of target{f' {scheme!r}' if scheme else ''}", hint=f"use one of: {FORMS}")


def scratch(*, optimizer: bool = True) -> DuckDB:
    """An empty in-memory DuckDB for generated databases; the caller closes it."""
    return DuckDB(optimizer=optimizer)


def _with_database(uri: str, database: str) -> str:
    return urlunsplit(urlsplit(uri)._replace(path=f"/{database}"))
