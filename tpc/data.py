"""Benchmark data: made once per suite and scale by DuckDB's generators, kept as a DuckDB file in the cache directory.

The generators come from extension wheels, so nothing is fetched at run time. They need the matching duckdb version
(extra ``tpc``). Generation runs in a child process, because dsdgen keeps much memory.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from rewriter.errors import TargetError, UsageError
from rewriter.settings import Settings
from tpc.suites import Suite


def extension_file(suite: Suite) -> Path:
    """The extension binary inside its wheel. Raises UsageError when the extra is not installed."""
    spec = find_spec(f"duckdb_extension_{suite.extension}")
    found = sorted(Path(spec.origin).parent.rglob("*.duckdb_extension")) if spec and spec.origin else []
    if not found:
        raise UsageError(f"the {suite.extension} generator is not installed", hint="pip install 'rewriter[tpc]'")
    return found[0]


def quoted(text: object) -> str:
    """A SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"


_GENERATE = """
import duckdb, sys
load, call, path = sys.argv[1:]
connection = duckdb.connect(path)
connection.execute(load)
connection.execute(call)
connection.close()
"""


def data_file(suite: Suite, scale: float) -> Path:
    """The DuckDB file with the suite's tables at ``scale`` (1 is about 1 GB of text), made now if it is not there.

    Whoever asks while another process makes it waits for that one. Raises UsageError, TargetError.
    """
    directory = Settings.load().cache_directory / "tpc"
    path = directory / f"{suite.label(scale)}.duckdb"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _alone(path.with_suffix(".lock")):
            if not path.is_file():
                _generate(suite, scale, path)
    except OSError as error:
        raise UsageError(
            f"cannot keep data in {directory}: {error.strerror}", hint="set REWRITER_CACHE to a writable directory"
        ) from None
    return path


def _generate(suite: Suite, scale: float, path: Path) -> None:
    partial = path.with_suffix(".partial")
    for stale in (partial, partial.with_name(f"{partial.name}.wal")):
        stale.unlink(missing_ok=True)
    load = f"LOAD {quoted(extension_file(suite))}"
    call = f"CALL {suite.generator}(sf = {scale:g})"
    arguments = [sys.executable, "-c", _GENERATE, load, call, str(partial)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"the generator ended with {done.returncode}"])[-1]
        raise TargetError(f"generating {suite.label(scale)} failed: {last}", hint="is there enough disk and memory?")
    partial.rename(path)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go with the file, also when the process dies
        yield


def query_texts(suite: Suite) -> dict[str, str]:
    """The suite's queries by number, ``1`` to ``22`` or ``99``."""
    import duckdb

    with duckdb.connect(":memory:") as connection:
        connection.execute(f"LOAD {quoted(extension_file(suite))}")
        rows = connection.execute(f"SELECT query_nr, query FROM {suite.queries}() ORDER BY query_nr").fetchall()
    return {str(number): str(text) for number, text in rows}


def workload_texts(directory: Path) -> dict[str, str]:
    """Every ``.sql`` file of a folder by its name, naturally sorted. Raises UsageError."""
    if not directory.is_dir():
        raise UsageError(f"there is no folder {directory}")
    files = sorted(directory.glob("*.sql"), key=lambda path: (len(path.stem), path.stem))
    if not files:
        raise UsageError(f"there is no .sql file in {directory}")
    try:
        return {path.stem: path.read_text(encoding="utf-8") for path in files}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"a file in {directory} cannot be read: {error}") from None
