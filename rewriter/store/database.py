"""Opening the store's database and bringing its tables to the newest revision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from rewriter.errors import StoreError

T = TypeVar("T")
Sessions = Callable[[], AbstractContextManager[Session]]
ATTEMPTS = 3
LOCK_WAIT = 10  # seconds to wait for another process that writes, or for a server to answer
MIGRATION_LOCK = 0x72657772  # any number, as long as every version takes the same


def open_database(url: str) -> Engine:
    """The database at ``url`` with its tables up to date. Raises StoreError, with nothing left open."""
    database = _engine(_parse(url))
    try:
        _migrate(database)
    except (SQLAlchemyError, CommandError, OSError) as error:
        database.dispose()
        raise StoreError(f"the store cannot be opened: {plain(error)}", hint=hint(error)) from None
    except StoreError:
        database.dispose()
        raise
    return database


def plain(error: Exception) -> str:
    """The driver's own words, without SQL text, parameters or URLs."""
    original = getattr(error, "orig", None) or error
    return (str(original).strip().splitlines() or [type(error).__name__])[0][:160]


def hint(error: Exception) -> str:
    words = plain(error)
    if "locked" in words:
        return "another process is writing to it; try again"
    if "readonly" in words or "read-only" in words:
        return "the file or server does not let you write; set REWRITER_STORE to another place"
    return "check REWRITER_STORE, the store's URL"


def _parse(url: str) -> URL:
    # Python's own ValueError for a bad port would quote a piece of the URL, which may be a piece of the password.
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError(
            "the store's URL cannot be read",
            hint="use sqlite:///FILE or postgresql://...; special characters in a password are written as %XX",
        ) from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise StoreError(
            f"the store cannot be a {parsed.get_backend_name()} database", hint="use sqlite:///FILE or postgresql://..."
        )
    if parsed.drivername == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StoreError("the store must outlive the process", hint="use sqlite:///FILE")
    return parsed


def _engine(url: URL) -> Engine:
    if url.drivername != "sqlite":
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": LOCK_WAIT})
    if url.database is not None and not url.database.startswith("file:"):
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the store's directory cannot be made: {error.strerror}", hint="set REWRITER_STORE to another place"
            ) from None
    database = create_engine(url, connect_args={"timeout": LOCK_WAIT})

    @event.listens_for(database, "connect")
    def _configure(connection: Any, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")

    return database


def _migrate(database: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    with database.connect() as connection:
        if _revision(connection, scripts) == scripts.get_current_head():
            return
        if database.dialect.name == "sqlite":
            # WAL lets readers work while one writes; it is a property of the file, so once is enough.
            connection.rollback()
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    with database.begin() as connection:
        # Two processes may open a new store at once: one migrates, whole or not at all, and the other waits and then
        # finds it done. (SQLite's driver would by itself begin no transaction before a CREATE TABLE.)
        if database.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        if _revision(connection, scripts) != scripts.get_current_head():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _revision(connection: Connection, scripts: ScriptDirectory) -> str | None:
    """The revision of the tables; None for an empty database. Raises StoreError for one this program does not know."""
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise StoreError("the store was written by a newer version", hint="upgrade rewriter, or use another store")
    return current


def again(sessions: Sessions, change: Callable[[Session], T]) -> T:
    """The result of a change in a transaction of its own. Two processes may add the same row at the same moment: the
    second then tries again, and finds it there. Raises StoreError."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with sessions() as session:
                return change(session)
        except IntegrityError as error:
            if attempt == ATTEMPTS:
                raise StoreError(f"the store failed: {plain(error)}", hint="try again") from None
    raise AssertionError("unreachable")
