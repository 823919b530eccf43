"""Readers under attack: input that makes regular expressions try back and forth, archives that lie, bytes of all kinds.

Processor time is bounded, not wall time, and by far more than reading takes: what is meant to fail here needs hours.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.batch.logs import Format, LogReader, Options, detect, gather, group, opening, sql_files
from rewriter.batch.logs.postgres_prefix import guess_prefix
from rewriter.errors import InputError, RewriterError

T = "2026-11-21 11:31:12.030 UTC"
SIZE = 12_000  # bytes of one line; quadratic work on it would take minutes where linear work takes milliseconds
SECONDS = 20.0  # of processor time, for all pieces of one format

PIECES = [
    *(
        "[",
        "(",
        "'",
        '"',
        "\\",
        "$",
        "$a",
        "$a$",
        "/*",
        "*/",
        "--",
        " ",
        "a ",
        "9",
        "9:",
        ",",
        '""',
        "=",
        "%",
        "\t",
        "#",
    ),
    *("{", '{"', "[[", "\\'", "E'", "''", "a.", "x", "é", "\0", "$1 = '", "$1 = 'a', ", "in (1, ", "LOG:  ", "LOG: "),
    *(
        f"{T} ",
        "# Time: ",
        "# User@Host: ",
        "duration: 1 ms  ",
        "statement: ",
        "execute ",
        "parameters: ",
        "plan:",
        ";",
    ),
    *("select ", "with a as (", "Query Text: ", "Result  (cost=0.00..", "-" * 9 + " ", "\r", "1e", "1.", "_", "::"),
]
_HEADS: dict[Format, str] = {
    Format.STDERR: f"{T} [1] LOG:  duration: 1 ms  statement: select 1",
    Format.CSVLOG: f'{T},"u","d",1,"h",6740.1,1,"",{T},,0,LOG,00000,"duration: 1 ms  statement: ',
    Format.JSONLOG: '{"error_severity":"LOG","message":"duration: 1 ms  statement: select ',
    Format.MYSQL_SLOW: "# Time: 2026-11-21T11:31:12Z\n# User@Host: a[a] @ h []\n# Query_time: 1 x: 1\nselect ",
    Format.CSV: "query,calls\nselect ",
    Format.JSON_LINES: '{"query": "select ',
    Format.JSON: '{"rows": [{"query": "select ',
    Format.SQL: "select ",
}


def used(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def read(content: bytes, options: Options) -> LogReader:
    reader = LogReader(options)
    with contextlib.suppress(InputError):  # no header with a column of statements
        group(reader.read_stream(io.BytesIO(content)), "mysql" if options.format is Format.MYSQL_SLOW else "postgres")
    assert reader.tally.lines == reader.tally.used + sum(reader.tally.skipped.values())
    return reader


@pytest.mark.slow
@pytest.mark.parametrize("format_", Format)
def test_no_piece_repeated_takes_more_than_linear_time(format_: Format) -> None:
    """As a line of its own, and where a statement stands."""

    def work() -> None:
        for piece in PIECES:
            long = piece * (SIZE // len(piece))
            head = _HEADS[format_]
            for text in (long, head + long, f"{head}{long}'\"", f"{head}\n\t{long}\n"):
                read(text.encode(), Options(format_))

    assert used(work) < SECONDS


@pytest.mark.slow
@pytest.mark.parametrize(
    "prefix", ["%m [%p] %q%u@%d/%a ", "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ", "%a%i%b%a ", None]
)
def test_no_line_makes_a_prefix_slow(prefix: str | None) -> None:
    def work() -> None:
        for one, other in itertools.product(PIECES, [" ", "[1] ", ",app=", f"{T} [1] ", "LOG"]):
            line = (one + other) * (SIZE // 4 // len(one + other))
            for text in (line, f"{T} {line}", f"{T} [1]: [1-1] user={line}"):
                read(text.encode(), Options(Format.STDERR, prefix))

    assert used(work) < SECONDS


@pytest.mark.slow
def test_detection_takes_linear_time() -> None:
    def work() -> None:
        for piece in PIECES:
            long = (piece * (SIZE // len(piece))).encode()
            for head in (long, b"\n".join([long[:200]] * 400), b"a,b;c\n" + long):
                guess_prefix(head.split(b"\n"))
                with contextlib.suppress(InputError):
                    detect(head, "x")

    assert used(work) < SECONDS


# Statements of plain SQL files: the short way gives what the tokenizer gives ------------------------------------------

SQL = st.lists(
    st.sampled_from(
        r"""select_1 select_'a' ' ; ;N N _ --_cN /*_ _*/ " $$ \ 'a;Nb' ( ) select_'it''s';N values_(1);N \set_xN
        copy_t_from_stdin;N \.N é # {{ }}""".split()
    ),
    max_size=30,
).map(lambda pieces: "".join(pieces).replace("_", " ").replace("N", "\n"))


@given(SQL)
def test_statements_told_apart_without_the_tokenizer_are_the_same(text: str) -> None:
    def told() -> tuple[object, ...]:
        reader = LogReader(Options(Format.SQL))
        entries = [(one.statement, one.line) for one in reader.read_stream(io.BytesIO(text.encode()))]
        return entries, reader.tally.used, dict(reader.tally.skipped)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql_files, "_HARD", sql_files.re.compile(""))
        wanted = told()
    assert told() == wanted


# Archives -----------------------------------------------------------------------------------------------------------

LINE = f"{T} [7] LOG:  duration: 1 ms  statement: select 1\n"


def test_members_of_one_archive_share_its_allowance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members may lie over each other (a bomb of many small ones), so each on its own proves nothing."""
    monkeypatch.setattr(opening, "_FREE_BYTES", 1 << 20)
    path = tmp_path / "logs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(8):
            archive.writestr(f"{number}.log", LINE + "x" * (900 << 10))
    reader = LogReader()
    entries = list(reader.read_files([path]))
    assert 1 <= len(entries) < 8
    assert any("expands" in why for why in reader.tally.damaged.values())


def test_a_truncated_zip_is_told(tmp_path: Path) -> None:
    path = tmp_path / "logs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.log", LINE * 1000)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="zip"):
        list(LogReader().read_files([path]))


def test_a_gzip_inside_a_gzip_is_not_unpacked_for_ever(tmp_path: Path) -> None:
    content = LINE.encode()
    for _ in range(20):
        content = gzip.compress(content)
    path = tmp_path / "log.gz"
    path.write_bytes(content)
    with pytest.raises(RewriterError):
        gather([path], "postgres", jobs=1)


@given(st.binary(max_size=200), st.sampled_from([b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\0", b"PK\x03\x04", b"(\xb5/\xfd"]))
def test_bytes_behind_the_sign_of_an_archive_do_not_crash(
    tmp_path_factory: pytest.TempPathFactory, rest: bytes, sign: bytes
) -> None:
    path = tmp_path_factory.mktemp("packed") / "log"
    for content in (sign + rest, gzip.compress(LINE.encode() * 9)[:-20] + rest):
        path.write_bytes(content)
        try:
            found = gather([path], "postgres", jobs=1)
        except RewriterError:
            continue
        assert found.tally.lines == found.tally.used + sum(found.tally.skipped.values())
