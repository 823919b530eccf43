"""Finds an application's slow statements: writes exact texts with calls and times as JSON Lines for ``rewriter batch``.

The exact text is what a rewrite is found by, so it is taken from the place where it will be looked up. Values that are
parameters are not written; literals in the text are, so the file is for its owner's eyes (mode 0600).
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST = 10_000  # different statements between two flushes; more are not recorded


class Capture:
    """Adds up calls and times by statement; ``flush`` appends them to ``path`` and begins anew."""

    def __init__(self, path: Path) -> None:
        self.dropped = 0
        self._path = path
        self._sums: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def record(self, statement: str, seconds: float) -> None:
        with self._lock:
            calls, total = self._sums.get(statement, (0, 0.0))
            if not calls and len(self._sums) >= MOST:
                self.dropped += 1
                return
            self._sums[statement] = (calls + 1, total + seconds)

    def flush(self) -> None:
        """Raises OSError when the file cannot be written."""
        with self._lock:
            sums, self._sums = self._sums, {}
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            for statement, (calls, total) in sums.items():
                file.write(json.dumps({"query": statement, "calls": calls, "total_time_ms": total * 1000}) + "\n")

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def watch(self, engine: Any) -> Callable[[], None]:
        """Record what goes through a SQLAlchemy engine (Engine or AsyncEngine); the function returned ends it."""
        from sqlalchemy import event

        def before(_c: Any, _cursor: Any, statement: str, _p: Any, context: Any, many: bool) -> None:
            if context is not None and not many:
                context._rewriter_started = (statement, time.perf_counter())

        def after(_c: Any, _cursor: Any, _statement: str, _p: Any, context: Any, many: bool) -> None:
            started = getattr(context, "_rewriter_started", None)
            if started is not None and not many:
                self.record(started[0], time.perf_counter() - started[1])

        sync = getattr(engine, "sync_engine", engine)
        event.listen(sync, "before_cursor_execute", before)
        event.listen(sync, "after_cursor_execute", after)

        def end() -> None:
            event.remove(sync, "before_cursor_execute", before)
            event.remove(sync, "after_cursor_execute", after)

        return end

    def cursor_factory(self, base: Any = None) -> Any:
        """A psycopg cursor class that records what its ``execute`` runs."""
        import psycopg

        capture = self

        class CapturingCursor(base or psycopg.Cursor):  # type: ignore[misc]
            def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
                start = time.perf_counter()
                result = super().execute(query, params, **options)
                if isinstance(query, str):
                    capture.record(query, time.perf_counter() - start)
                return result

        return CapturingCursor
