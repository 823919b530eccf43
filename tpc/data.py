"""Benchmark data: made once per suite and scale by DuckDB's generators, kept as a DuckDB file in the cache directory.

The generators come from extension wheels, so nothing is fetched at run time. They need the matching duckdb version
(extra ``tpc``). Generation runs in a child process, because dsdgen keeps much memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from rewriter.errors import TargetError, UsageError
from tpc.suites import Suite


def cache_directory() -> Path:
    """Where data is kept: ``REWRITER_CACHE`` or the user's cache directory."""
    base = os.environ.get("REWRITER_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rewriter"


def extension_file(suite: Suite) -> Path:
    """The extension binary inside its wheel. Raises UsageError when the extra is not installed."""
    spec = find_spec(f"duckdb_extension_{suite.extension}")
    found = sorted(Path(spec.origin).parent.rglob("*.duckdb_extension")) if spec and spec.origin else []
    if not found:
        raise UsageError(f"the {suite.extension} generator is not installed", hint="pip install 'rewriter[tpc]'")
    return found[0]


_GENERATE = """
import duckdb, sys
extension, generator, scale, path = sys.argv[1:]
connection = duckdb.connect(path)
connection.execute(f"LOAD '{extension}'")
connection.execute(f"CALL {generator}(sf={float(scale):g})")
connection.close()
"""


def data_file(suite: Suite, scale: float) -> Path:
    """The DuckDB file with the suite's tables at ``scale`` (1 is about 1 GB of text), made now if it is not there."""
    directory = cache_directory() / "tpc"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{suite.label(scale)}.duckdb"
    if path.is_file():
        return path
    partial = path.with_suffix(".partial")
    for stale in (partial, partial.with_name(f"{partial.name}.wal")):
        stale.unlink(missing_ok=True)
    arguments = [str(extension_file(suite)), suite.generator, str(scale), str(partial)]
    done = subprocess.run([sys.executable, "-c", _GENERATE, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise TargetError(f"generating {suite.label(scale)} failed: {last}", hint="is there enough disk and memory?")
    partial.rename(path)
    return path


def query_texts(suite: Suite) -> dict[str, str]:
    """The suite's queries by number, ``1`` to ``22`` or ``99``."""
    import duckdb

    with duckdb.connect(":memory:") as connection:
        connection.execute(f"LOAD '{extension_file(suite)}'")
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
