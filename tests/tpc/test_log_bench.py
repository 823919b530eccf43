"""Generated logs: every format says the same of the same records, and reading is measured in a process of its own."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from rewriter.batch.logs import gather
from rewriter.batch.logs.detection import Format
from rewriter.errors import UsageError
from tpc import logs


@pytest.mark.parametrize("format_", logs.WRITERS)
def test_every_line_of_a_generated_log_is_understood(format_: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = logs.write(format_, 2000, path)
    assert lines == path.read_bytes().count(b"\n") >= 2000
    found = gather([path], "mysql" if format_ == "mysql-slow" else "postgres", jobs=1)
    assert Format(format_)
    assert not found.tally.damaged
    assert set(found.tally.skipped) <= {"other message", "header", "blank line or comment"}
    assert 2 <= len(found.groups.groups) <= logs.SHAPES
    assert all(one.parsed for one in found.groups.groups.values())


def test_the_three_formats_of_postgres_tell_the_same(tmp_path: Path) -> None:
    """As many records of each: the number of lines differs."""
    told = []
    for format_ in ("stderr", "csvlog", "jsonlog"):
        path = tmp_path / format_
        _, writer = logs.WRITERS[format_]
        path.write_text("".join(map(writer, islice(logs.records(3), 3000))))
        groups = gather([path], "postgres", jobs=1).groups
        told.append({key: (one.total, one.parameters.sets()) for key, one in groups.groups.items()})
    assert told[0] == told[1] == told[2]


def test_the_same_seed_gives_the_same_log(tmp_path: Path) -> None:
    logs.write("stderr", 1000, tmp_path / "a", seed=5)
    logs.write("stderr", 1000, tmp_path / "b", seed=5)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(UsageError):
        logs.write("pdf", 1000, tmp_path / "c")


def test_figures_are_of_the_file_that_was_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = logs.write("jsonlog", 1000, path)
    figure = logs.measure("jsonlog", path, lines, 1)
    assert (figure.lines, figure.size) == (lines, path.stat().st_size)
    assert 0 < figure.entries <= lines
    assert figure.processor > 0
    assert 10e6 < figure.memory < 500e6
    assert len(logs.as_json([figure])) == logs.as_table([figure]).row_count == 1
