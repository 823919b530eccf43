"""Files, folders, pipes, archives, positions."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from rewriter.batch.logs import Entry, LogReader, Position, Reason, gather, opening
from rewriter.batch.logs.entries import MAX_RECORD
from rewriter.errors import InputError

if sys.version_info >= (3, 14):
    from compression.zstd import compress as zstd_compress
else:
    from backports.zstd import compress as zstd_compress

LINE = "2026-11-21 11:31:12.030 UTC [7] LOG:  duration: 1 ms  statement: select {}\n"
TEXT = "".join(LINE.format(number) for number in range(30))


def statements(entries: list[Entry]) -> list[str]:
    return [entry.statement for entry in entries]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd_compress])
def test_compression_is_told_from_content(pack: object, tmp_path: Path) -> None:
    packed = pack(TEXT.encode())  # type: ignore[operator]
    path = tmp_path / "log"
    path.write_bytes(packed)
    wanted = [f"select {number}" for number in range(30)]
    assert statements(list(LogReader().read_files([path]))) == wanted
    assert statements(list(LogReader().read_stream(io.BytesIO(packed)))) == wanted


def test_zip_archives_hold_several_logs(tmp_path: Path) -> None:
    path = tmp_path / "logs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.log", TEXT)
        archive.writestr("b/query.csv", "query\nselect 1\n")
        archive.writestr("c.png", b"\x89PNG\0")
    (tmp_path / "empty").touch()
    reader = LogReader()
    entries = list(reader.read_files([path, tmp_path, path]))
    assert len(entries) == 31
    assert {Path(entry.file).name for entry in entries} == {"logs.zip:a.log", "query.csv"}
    assert list(reader.tally.damaged) == [f"{path}:c.png"]
    with pytest.raises(InputError, match="cannot be read from a pipe"):
        list(LogReader().read_stream(io.BytesIO(path.read_bytes())))


def test_folders_are_walked_and_strange_files_noted(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.log").write_text(TEXT)
    (tmp_path / "b.log").write_text(TEXT)
    (tmp_path / ".hidden").write_text(TEXT)
    (tmp_path / "picture").write_bytes(b"\x89PNG\0\0\0\n\0\0")
    reader = LogReader()
    assert len(list(reader.read_files([tmp_path]))) == 60
    assert list(reader.tally.damaged) == [str(tmp_path / "picture")]


def test_what_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder"):
        list(LogReader().read_files([tmp_path / "nothing"]))


def test_named_pipes_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(gzip.compress(TEXT.encode())))
    writer.start()
    assert gather([path], "postgres", jobs=2).tally.entries == 30
    writer.join()


def test_positions_that_somebody_has_spoilt_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(TEXT)
    assert len(run(path, [Position(str(path), "x:y", 5, 1), Position(str(path), "", 5, 1)])[0]) == 30


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_broken_archive_gives_what_it_has_and_says_so(pack: object, tmp_path: Path) -> None:
    packed = pack((TEXT * 3000).encode())  # type: ignore[operator]
    path = tmp_path / "log"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    reader = LogReader()
    list(reader.read_files([path]))
    assert "stopped" in reader.tally.damaged[str(path)]
    assert reader.tally.lines == reader.tally.used + sum(reader.tally.skipped.values())


def test_a_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_FREE_BYTES", 1 << 20)
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(TEXT.encode() + b"\0" * (64 << 20)))
    reader = LogReader()
    assert len(list(reader.read_files([path]))) == 30
    assert "expands" in reader.tally.damaged[str(path)]


def test_endless_lines_take_no_memory() -> None:
    reader = LogReader()
    text = TEXT.encode() + b"x" * (3 * MAX_RECORD) + b"\n" + TEXT.encode()
    assert len(list(reader.read_stream(io.BytesIO(text)))) == 60
    assert reader.tally.skipped == {Reason.TOO_LONG: 1}
    assert reader.tally.lines == 61


def test_endless_records_take_no_memory() -> None:
    reader = LogReader()
    text = TEXT + LINE.format("1").rstrip() + "\n\t" + "\n\t".join(["x" * 1000] * 10_000) + "\n" + TEXT
    assert len(list(reader.read_stream(io.BytesIO(text.encode())))) == 60
    assert reader.tally.skipped == {Reason.TOO_LONG: 10_001}


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    assert len(list(LogReader().read_stream(io.BytesIO(b"\xef\xbb\xbf" + TEXT.encode())))) == 30


# Positions ---------------------------------------------------------------------------------------------------------


def run(path: Path, positions: list[Position], *, grows: bool = True) -> tuple[list[Entry], list[Position]]:
    reader = LogReader(positions=positions, grows=grows)
    entries = list(reader.read_files([path]))
    return entries, list(reader.positions.values())


def test_the_next_run_goes_on_where_the_last_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(TEXT + LINE.format(30)[:-5])
    first, positions = run(path, [])
    assert len(first) == 29  # the last whole line may go on in the line that is being written
    assert positions[0].offset == len(TEXT) - len(LINE.format(29))
    with path.open("a") as file:
        file.write(LINE.format(30)[-5:] + LINE.format(31))
    second, positions = run(path, positions)
    assert [(entry.statement, entry.line) for entry in second] == [
        ("select 29", 30),
        ("select 30", 31),
        ("select 31", 32),
    ]
    assert run(path, positions)[0] == []


def test_a_statement_whose_last_line_is_not_written_yet_waits_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(TEXT + "2026-11-21 11:31:12.030 UTC [7] LOG:  duration: 1 ms  statement: select 1,\n\t2")
    first, positions = run(path, [])
    assert len(first) == 30
    with path.open("a") as file:
        file.write(" + 3\n")
    assert statements(run(path, positions)[0]) == ["select 1,\n2 + 3"]


def test_without_grows_the_last_line_needs_no_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(TEXT.rstrip("\n"))
    assert len(run(path, [], grows=False)[0]) == 30


def test_a_file_that_shrank_or_was_replaced_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(TEXT)
    _, positions = run(path, [])
    path.write_text(TEXT[: len(TEXT) // 30 * 15])
    assert len(run(path, positions)[0]) > 10
    path.write_text(TEXT.replace("select", "SELECT") + TEXT)
    assert len(run(path, positions)[0]) == 60


def test_a_rotated_log_goes_on_under_its_new_name_and_compressed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(TEXT)
    _, positions = run(path, [])
    rotated = tmp_path / "log.1.gz"
    rotated.write_bytes(gzip.compress((TEXT + LINE.format(99)).encode()))
    path.write_text(TEXT.replace(":12.", ":13."))
    assert statements(run(rotated, positions)[0]) == ["select 99"]
    assert len(run(path, positions)[0]) == 30


def test_positions_serve_compressed_files(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))
    _, positions = run(path, [])
    with path.open("ab") as file:
        file.write(gzip.compress(LINE.format(30).encode()))
    assert statements(run(path, positions)[0]) == ["select 30"]
