"""How fast logs are read: generated logs of each format, read in a process of their own; lines a second and memory.

The logs are what a server of many sessions writes: statements of some dozens of shapes with values that differ, some
over several lines, some prepared with logged parameters, and lines about other things between them.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from rewriter.errors import TargetError, UsageError

SHAPES = 60  # of statements
SESSIONS = 50
OTHER = 0.1  # share of records about other things
_TIME = "2026-11-20 {:02}:{:02}:{:02}.{:03} UTC"

_WORDS = "account branch customer invoice ledger parcel payment product region shipment stock ticket".split()


@dataclass(frozen=True)
class Record:
    """One message of a log. ``statement`` None: it is about something else. ``values``: bound parameters."""

    number: int
    session: int
    milliseconds: float
    statement: str | None
    values: tuple[str, ...] = ()

    @property
    def time(self) -> str:
        seconds, milliseconds = divmod(self.number * 7, 1000)
        return _TIME.format(seconds // 3600 % 24, seconds // 60 % 60, seconds % 60, milliseconds)


@dataclass(frozen=True)
class Figure:
    """What reading one file took. ``processor`` and ``wall`` in seconds; ``memory`` in bytes is the highest of any
    process."""

    format: str
    jobs: int
    lines: int
    size: int
    entries: int
    groups: int
    processor: float
    wall: float
    memory: int


def records(seed: int = 0) -> Iterator[Record]:
    """Records without end; the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - made-up logs
    shapes = [_shape(chance, number) for number in range(SHAPES)]
    number = 0
    while True:
        number += 1
        session, milliseconds = chance.randrange(SESSIONS), chance.lognormvariate(1.0, 2.0)
        if chance.random() < OTHER:
            yield Record(number, session, milliseconds, None)
            continue
        text, places = chance.choice(shapes)
        values = tuple(_value(chance, kind) for kind in places)
        if chance.random() < 0.3:
            bound = text.format(*(f"${index}" for index in range(1, len(places) + 1)))
            yield Record(number, session, milliseconds, bound, values)
        else:
            written = [f"'{value}'" if kind == "t" else value for value, kind in zip(values, places, strict=True)]
            yield Record(number, session, milliseconds, text.format(*written))


def _shape(chance: random.Random, number: int) -> tuple[str, str]:
    """A statement with places for values, and the kinds of these: n(umber) or t(ext)."""
    one, two = chance.sample(_WORDS, 2)
    gap = "\n" if number % 4 == 0 else " "
    places = "".join(chance.choice("nnt") for _ in range(chance.randint(1, 4)))
    columns = ", ".join(f"a.{word}_{chance.randrange(9)}" for word in chance.sample(_WORDS, chance.randint(1, 6)))
    terms = [f"a.{'code' if kind == 't' else 'number'}_{index} = {{}}" for index, kind in enumerate(places)]
    join = f"{gap}JOIN {two} b ON b.{one}_id = a.id" if chance.random() < 0.5 else ""
    return f"SELECT {columns}{gap}FROM {one} a{join}{gap}WHERE {f'{gap}AND '.join(terms)}", places


def _value(chance: random.Random, kind: str) -> str:
    return f"{chance.choice(_WORDS)}-{chance.randrange(10_000)}" if kind == "t" else str(chance.randrange(1_000_000))


def _parameters(record: Record) -> str:
    return "parameters: " + ", ".join(f"${n} = '{value}'" for n, value in enumerate(record.values, start=1))


def _message(record: Record) -> str:
    if record.statement is None:
        return "checkpoint complete: wrote 17 buffers (0.1%)"
    how = f"execute s_{record.number % 9}" if record.values else "statement"
    return f"duration: {record.milliseconds:.3f} ms  {how}: {record.statement}"


def _stderr(record: Record) -> str:
    head = f"{record.time} [{1000 + record.session}] app@shop "
    text = f"{head}LOG:  {_message(record)}\n".replace("\n", "\n\t")[:-1]
    return f"{text}{head}DETAIL:  {_parameters(record)}\n" if record.values else text


def _csvlog(record: Record) -> str:
    message, detail = (part.replace('"', '""') for part in (_message(record), _parameters(record)))
    detail = f'"{detail}"' if record.values else ""
    return (
        f'{record.time},"app","shop",{1000 + record.session},"10.0.0.7:5{record.session:04}",'
        f'6740a1b2.{record.session:x},{record.number},"SELECT",{record.time},9/{record.number},0,LOG,00000,'
        f'"{message}",{detail},,,,,,,,"psql","client backend",,0\n'
    )


def _jsonlog(record: Record) -> str:
    body = {
        "timestamp": record.time, "user": "app", "dbname": "shop", "pid": 1000 + record.session,
        "remote_host": "10.0.0.7", "session_id": f"6740a1b2.{record.session:x}", "line_num": record.number,
        "ps": "SELECT", "error_severity": "LOG", "message": _message(record), "application_name": "psql",
        "backend_type": "client backend", "query_id": 0,
    }  # fmt: skip
    return json.dumps({**body, "detail": _parameters(record)} if record.values else body) + "\n"


def _mysql(record: Record) -> str:
    statement = _plain(record) if record.statement is not None else "# administrator command: Ping"
    return (
        f"# Time: {record.time.replace(' UTC', 'Z').replace(' ', 'T')}\n# User@Host: app[app] @ [10.0.0.7]  Id: "
        f"{record.session}\n# Query_time: {record.milliseconds / 1000:.6f}  Lock_time: 0.000001 Rows_sent: 1"
        f"  Rows_examined: 9\nSET timestamp=1795000000;\n{statement};\n"
    )


def _csv(record: Record) -> str:
    text = (record.statement or "VACUUM").replace('"', '""')
    return f'app,shop,"{text}",{record.number % 900 + 1},{record.milliseconds * 9:.6f},{record.milliseconds:.6f}\n'


def _jsonl(record: Record) -> str:
    row = {"query": _plain(record) or "VACUUM", "duration_ms": round(record.milliseconds, 3), "timestamp": record.time}
    return json.dumps(row) + "\n"


def _sql(record: Record) -> str:
    return f"{_plain(record) or '-- a comment'};\n"


def _plain(record: Record) -> str:
    """The statement with its values in place of parameters."""
    text = record.statement or ""
    for number, value in reversed(list(enumerate(record.values, start=1))):
        text = text.replace(f"${number}", f"'{value}'")
    return text


WRITERS: dict[str, tuple[str, Callable[[Record], str]]] = {
    "stderr": ("", _stderr),
    "csvlog": ("", _csvlog),
    "jsonlog": ("", _jsonlog),
    "mysql-slow": ("", _mysql),
    "csv": ("usename,datname,query,calls,total_exec_time,mean_exec_time\n", _csv),
    "jsonl": ("", _jsonl),
    "sql": ("", _sql),
}
"""By format: what the file begins with, and how a record is written."""


def write(format_: str, lines: int, path: Path, seed: int = 0) -> int:
    """Write a log of at least ``lines`` lines; returns how many there are. Raises UsageError for an unknown format."""
    if format_ not in WRITERS:
        raise UsageError(f"there is no log format {format_!r}", hint=f"use {', '.join(WRITERS)}")
    begin, writer = WRITERS[format_]
    written = begin.count("\n")
    with path.open("w", encoding="utf-8") as file:
        file.write(begin)
        for record in records(seed):
            if written >= lines:
                break
            text = writer(record)
            written += text.count("\n")
            file.write(text)
    return written


def measure(format_: str, path: Path, lines: int, jobs: int) -> Figure:
    """Read the file in a new process with ``jobs`` readers. Raises TargetError when that fails."""
    dialect = "mysql" if format_ == "mysql-slow" else "postgres"
    command = [sys.executable, "-c", _CHILD, str(path), dialect, str(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TargetError(f"reading the generated log failed: {done.stderr.strip()[-300:]}")
    return Figure(format=format_, jobs=jobs, lines=lines, size=path.stat().st_size, **json.loads(done.stdout))


# Memory is in kilobytes on Linux and in bytes on macOS (getrusage(2)).
_CHILD = """
import json, resource, sys, time
from pathlib import Path
from rewriter.batch.logs import gather
if __name__ == "__main__":
    path, dialect, jobs = sys.argv[1:]
    def processor():
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)
    def memory():
        # The peak that getrusage tells of this process is its parent's at least (it outlives exec); VmHWM is its own.
        unit = 1 if sys.platform == "darwin" else 1024
        readers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
        status = Path("/proc/self/status")
        if not status.exists():
            return max(readers, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return max(readers, int(line.split()[1]) * 1024)
    before, begun = processor(), time.monotonic()
    found = gather([Path(path)], dialect, jobs=int(jobs))
    wall = time.monotonic() - begun
    print(json.dumps({"entries": found.tally.entries, "groups": len(found.groups.groups), "wall": wall,
                      "processor": processor() - before, "memory": memory()}))
"""


def bench(formats: list[str], lines: int, jobs: int, told: Callable[[str], object]) -> list[Figure]:
    """For each format: a file of ``lines`` lines by one process, then one of ten times as many by ``jobs``."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="rewriter-logs-") as folder:
        for format_ in formats:
            path = Path(folder) / "log"
            for number, count in ((lines, 1), (10 * lines, 1), (10 * lines, jobs)):
                told(f"{format_}, {number:,} lines, {count} jobs")
                if count == 1:
                    written = write(format_, number, path)
                elif jobs == 1:
                    continue
                figures.append(measure(format_, path, written, count))
    return figures


def as_table(figures: list[Figure]) -> Table:
    table = Table("format", title="Reading and grouping generated logs")
    for name in ("lines", "MB", "jobs", "entries", "groups", "lines/s CPU", "lines/s wall", "wall s", "peak MB"):
        table.add_column(name, justify="right")
    for one in figures:
        table.add_row(
            one.format,
            f"{one.lines:,}",
            f"{one.size / 1e6:.0f}",
            str(one.jobs),
            f"{one.entries:,}",
            str(one.groups),
            f"{one.lines / one.processor:,.0f}",
            f"{one.lines / one.wall:,.0f}",
            f"{one.wall:.1f}",
            f"{one.memory / 1e6:.0f}",
        )
    return table


def as_json(figures: list[Figure]) -> list[dict[str, object]]:
    return [asdict(one) for one in figures]
