"""The child process of ``process``: reads tasks from standard input, writes answers to standard output."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from rewriter.verify.algebra import prove
from rewriter.verify.bounded import search

MEMORY_BYTES = 4 * 1024**3
TASKS: dict[str, Callable[..., object]] = {"prove": prove, "search": search}


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _serve(tasks: IO[bytes], answers: IO[bytes]) -> None:
    """Answer tasks until there are no more."""
    with suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        while True:
            name, *arguments = pickle.load(tasks)  # noqa: S301 (our own parent)
            answer: object
            try:
                answer = TASKS[name](*arguments)
            except Exception as error:
                answer = f"the solver failed: {type(error).__name__}: {error}"[:200]
            answers.write(pickle.dumps(answer))
            answers.flush()


if __name__ == "__main__":
    _limit_memory()
    # Nothing but answers may reach the pipe.
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    _serve(sys.stdin.buffer, answers)
