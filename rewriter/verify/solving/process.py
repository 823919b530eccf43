"""The solver's work in processes of its own: it holds no lock of ours, keeps to its memory and is killed when late."""

from __future__ import annotations

import atexit
import pickle
import selectors
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.verify.algebra import Proof
from rewriter.verify.bounded import Search

GRACE_SECONDS = 2.0  # what a task may take beyond its time before its process is killed
START_SECONDS = 20.0  # what a new process may take to be ready, on a busy machine
STOPPED = "the solver was stopped at its time or memory limit"
_idle: list[_Process] = []
_lock = threading.Lock()


def proof(original: exp.Query, candidate: exp.Query, catalog: Catalog, seconds: float) -> Proof:
    """``algebra.prove`` in another process; not proved when that process dies or overstays."""
    found = _asked(("prove", original, candidate, catalog, seconds), seconds)
    return found if isinstance(found, Proof) else Proof(False, str(found))


def search(original: exp.Query, candidate: exp.Query, catalog: Catalog, seconds: float) -> Search:
    """``bounded.search`` in another process; nothing is known when that process dies or overstays."""
    found = _asked(("search", original, candidate, catalog, seconds), seconds)
    return found if isinstance(found, Search) else Search(0, str(found))


def _asked(task: tuple[Any, ...], seconds: float) -> Proof | Search | str:
    """What a child answers: a result, or why there is none."""
    with _lock:
        process = _idle.pop() if _idle else None
    process = process or _Process()
    found = process.ask(task, seconds)
    if found is None:
        process.stop()
        return STOPPED
    with _lock:
        _idle.append(process)
    return found


class _Process:
    """One child. It ends by itself when its standard input is closed, so also when this process dies."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "rewriter.verify.solving"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._ready = False

    def ask(self, task: Any, seconds: float) -> Proof | Search | str | None:
        """The child's answer; None when it gives none in time."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with suppress(OSError, EOFError, pickle.UnpicklingError):
            pickle.dump(task, self._child.stdin)
            self._child.stdin.flush()
            patience = seconds + GRACE_SECONDS + (0.0 if self._ready else START_SECONDS)
            if self._readable(patience):
                answer: Proof | Search | str = pickle.load(self._child.stdout)  # noqa: S301 (our own child)
                self._ready = True
                return answer
        return None

    def _readable(self, seconds: float) -> bool:
        assert self._child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            return bool(selector.select(max(0.0, seconds)))

    def stop(self) -> None:
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _stop_idle() -> None:
    while _idle:
        _idle.pop().stop()


atexit.register(_stop_idle)
