"""Reading and grouping by several processes at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from rewriter.batch.logs.detection import Options
from rewriter.batch.logs.entries import Tally
from rewriter.batch.logs.grouping import PARAMETER_SETS, Groups, group
from rewriter.batch.logs.opening import find_files
from rewriter.batch.logs.positions import Position
from rewriter.batch.logs.ranges import Range, ranges
from rewriter.batch.logs.reading import LogReader
from rewriter.errors import InputError

_Part = Path | Range
_Result = tuple[Groups, Tally, dict[str, Position]]


@dataclass(slots=True)
class Gathered:
    """What came of some logs. ``positions`` are by path."""

    groups: Groups
    tally: Tally = field(default_factory=Tally)
    positions: dict[str, Position] = field(default_factory=dict)


def gather(
    paths: Sequence[Path],
    dialect: str,
    options: Options | None = None,
    *,
    jobs: int | None = None,
    positions: Sequence[Position] = (),
    grows: bool = False,
    ignore: Collection[str] = (),
    seed: int = 0,
    sample_size: int = PARAMETER_SETS,
) -> Gathered:
    """Groups of all entries of the files and folders, read by ``jobs`` processes (default: one for each processor).

    The result is that of one process. Arguments are those of ``LogReader`` and ``group``. Raises InputError as
    ``LogReader.read_files`` does.
    """
    jobs = jobs or os.cpu_count() or 1
    options = options or Options()
    files = find_files(paths)
    gathered = Gathered(Groups(dialect, frozenset(ignore), seed, sample_size))
    task = _Task(options, tuple(positions), grows, dialect, frozenset(ignore), seed, sample_size)
    parts: list[_Part] = []
    for path in files:
        try:
            parts.extend(ranges(path, jobs, options, tuple(positions)) or [path])
        except InputError as error:
            if len(files) == 1:
                raise
            gathered.tally.damaged[str(path)] = error.message
    for groups, tally, ended in _results(task, parts, jobs, alone=len(files) == 1):
        gathered.groups.merge(groups)
        gathered.tally.merge(tally)
        gathered.positions.update(ended)
    return gathered


@dataclass(frozen=True, slots=True)
class _Task:
    options: Options
    positions: tuple[Position, ...]
    grows: bool
    dialect: str
    ignore: frozenset[str]
    seed: int
    sample_size: int

    def work(self, part: _Part, alone: bool) -> _Result:
        reader = LogReader(self.options, self.positions, grows=self.grows)
        try:
            entries = reader.read_files([part]) if isinstance(part, Path) else reader.read_range(part)
            groups = group(entries, self.dialect, ignore=self.ignore, seed=self.seed, sample_size=self.sample_size)
        except InputError as error:
            if alone:
                raise
            reader.tally.damaged[str(part)] = error.message
            groups = Groups(self.dialect, self.ignore, self.seed, self.sample_size)
        return groups, reader.tally, reader.positions


def _results(task: _Task, parts: list[_Part], jobs: int, *, alone: bool) -> Iterator[_Result]:
    if jobs == 1 or len(parts) < 2:
        for part in parts:
            yield task.work(part, alone)
        return
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    with ProcessPoolExecutor(min(jobs, len(parts)), mp_context=context, initializer=_end_when_interrupted) as pool:
        try:
            for future in as_completed([pool.submit(task.work, part, alone) for part in parts]):
                yield future.result()
        except KeyboardInterrupt:  # where only this process heard of it, nobody waits for the others to end
            for reader in set(multiprocessing.active_children()) - before:
                reader.terminate()
            raise
        except BrokenProcessPool:
            raise InputError(
                "a process that read the logs died", hint="there may be too little memory: pass fewer files or jobs"
            ) from None


def _end_when_interrupted() -> None:
    """Ctrl-C reaches every process of the terminal; a reader then ends at once and without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
