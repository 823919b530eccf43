"""The child process of ``process``: reads tasks from standard input, writes proofs to standard output."""

from __future__ import annotations

import pickle
import sys
from contextlib import suppress
from typing import IO

from rewriter.verify.algebra import Proof, prove

MEMORY_BYTES = 4 * 1024**3


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _serve(tasks: IO[bytes], answers: IO[bytes]) -> None:
    """Answer tasks until there are no more."""
    with suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        while True:
            original, candidate, catalog, seconds = pickle.load(tasks)  # noqa: S301 (our own parent)
            try:
                answer = prove(original, candidate, catalog, seconds)
            except Exception as error:
                answer = Proof(False, f"the proof failed: {type(error).__name__}: {error}"[:200])
            answers.write(pickle.dumps(answer))
            answers.flush()


if __name__ == "__main__":
    _limit_memory()
    # Nothing but answers may reach the pipe.
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    _serve(sys.stdin.buffer, answers)
