"""Files read in parts, by one process or several, and random bytes: the same entries, and no line lost."""

from __future__ import annotations

import io
import json
import random
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.batch.logs import Entry, Format, LogReader, Options, Tally, gather, group, parallel, ranges
from rewriter.batch.logs.detection import IN_RANGES
from rewriter.errors import InputError, RewriterError

T = "2026-11-21 11:31:12.030 UTC"

MESSAGES = st.tuples(
    st.sampled_from(
        [
            ("duration: 1.5 ms  statement: select 1,\n\t'x'\n, 2", None),
            ("duration: 2 ms  execute <unnamed>: select $1", "Parameters: $1 = 'a\nb'"),
            ("statement: select 'waits'", None),
            ("execute S_1: select $1, 'waits'", "parameters: $1 = NULL"),
            ("duration: 7 ms", None),
            (
                "duration: 3 ms  plan:\nQuery Text: select 1,\n\t'x'\n, 2\nResult  (cost=0.00..1.01 rows=1 width=4)",
                None,
            ),
            ("duration: 1 ms  statement: select 'cut", None),
            ("connection received", "some detail"),
        ]
    ),
    st.sampled_from([1, 2, 3]),
)


def write(format_: Format, messages: list[tuple[tuple[str, str | None], int]]) -> bytes:
    lines: list[str] = []
    for (text, detail), pid in messages:
        if format_ is Format.STDERR:
            for severity, part in (("LOG", text), ("DETAIL", detail)):
                if part is not None:
                    lines.append(f"{T} [{pid}] {severity}:  " + part.replace("\n", "\n\t"))
        elif format_ is Format.CSVLOG:
            quoted = [f'"{(part or "").replace(chr(34), chr(34) * 2)}"' for part in (text, detail)]
            lines.append(f'{T},"u","d",{pid},"h",s{pid},1,"",{T},,0,LOG,00000,{quoted[0]},{quoted[1]},,,,,,,,,"","",,0')
        elif format_ is Format.JSONLOG:
            record = {"timestamp": T, "pid": pid, "session_id": f"s{pid}", "error_severity": "LOG", "message": text}
            lines.append(json.dumps(record if detail is None else {**record, "detail": detail}))
        elif format_ is Format.JSON_LINES:
            lines.append(json.dumps({"query": text, "duration": 5}))
        else:
            lines.append(
                f"# Time: 2024-01-31T12:00:0{pid}Z\n# User@Host: u[u] @ h []\n# Query_time: 0.{pid}  x: 1\n{text};"
            )
    return "".join(f"{line}\n" for line in lines).encode()


def balanced(tally: Tally) -> bool:
    return tally.lines == tally.used + sum(tally.skipped.values())


@given(st.sampled_from(sorted(IN_RANGES)), st.lists(MESSAGES, max_size=40), st.integers(1, 6))
def test_parts_give_the_same_as_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    format_: Format,
    messages: list[tuple[tuple[str, str | None], int]],
    count: int,
) -> None:
    path = tmp_path_factory.mktemp("logs") / "log"
    path.write_bytes(write(format_, messages))
    options = Options(format_)
    whole = LogReader(options)
    wanted = list(whole.read_files([path]))
    found: list[Entry] = []
    tally = Tally()
    for part in ranges(path, count, options, least=1):
        reader = LogReader(options)
        found.extend(reader.read_range(part))
        assert balanced(reader.tally)
        tally.merge(reader.tally)
    key = repr
    assert sorted(found, key=key) == sorted(wanted, key=key)
    assert (tally.lines, tally.used, tally.skipped, tally.entries) == (
        whole.tally.lines,
        whole.tally.used,
        whole.tally.skipped,
        whole.tally.entries,
    )
    assert tally.lines == path.read_bytes().count(b"\n")


@given(st.lists(MESSAGES, max_size=40), st.integers(1, 6), st.integers(0, 200))
def test_with_a_short_warm_up_still_no_line_and_no_statement_is_lost(
    tmp_path_factory: pytest.TempPathFactory,
    messages: list[tuple[tuple[str, str | None], int]],
    count: int,
    warm_up: int,
) -> None:
    path = tmp_path_factory.mktemp("logs") / "log"
    path.write_bytes(write(Format.STDERR, messages))
    options = Options(Format.STDERR, "%m [%p] ")
    whole, tally, found = LogReader(options), Tally(), 0
    for part in ranges(path, count, options, least=1, warm_up=warm_up):
        reader = LogReader(options)
        found += len(list(reader.read_range(part)))
        tally.merge(reader.tally)
    assert found >= len(list(whole.read_files([path]))) - sum("plan" in text for (text, _), _ in messages)
    assert tally.lines == path.read_bytes().count(b"\n")
    assert balanced(tally)


PIECES = st.sampled_from(
    [
        *(bytes([sign]) for sign in b"\n\0'\"\\{}[],\t;"),
        *(b"\xff\xfe", b"\r\n", b"--", b"/*", b"$$", b"DETAIL:  ", b"\xef\xbb\xbf", b"9" * 400),
        *(f"{T} [1] LOG:  duration: {end}".encode() for end in ("1 ms  statement: ", "9 ms", "1 ms  plan:\n\t{")),
        *(b"select 1", b"copy t from stdin;", b"query,calls\n", b'{"query": "select 1"}', b'"message":'),
        *(b"# Time: 1\n", b"# User@Host: a[", b"# Query_time: 1 "),
        b'{"error_severity":"LOG","message":"statement: select 1"}',
        f'{T},"u","d",1,"h",'.encode(),
    ]
)
BYTES = st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=30).map(b"".join)


@given(BYTES, st.sampled_from([None, *Format]))
def test_no_bytes_crash_and_no_line_is_lost(content: bytes, format_: Format | None) -> None:
    reader = LogReader(Options(format_))
    try:
        entries = list(reader.read_stream(io.BytesIO(content)))
    except InputError:
        return
    group(entries, "postgres")
    tally = reader.tally
    assert balanced(tally)
    assert tally.entries == len(entries)
    if format_ in (Format.STDERR, Format.CSVLOG, Format.JSONLOG, Format.MYSQL_SLOW, Format.CSV):
        text = content.removeprefix(b"\xef\xbb\xbf")
        assert tally.damaged or tally.lines == text.count(b"\n") + (bool(text) and not text.endswith(b"\n"))


def big(path: Path, lines: int) -> None:
    chance = random.Random(5)
    with path.open("w") as file:
        for number in range(lines):
            pid, table = chance.randrange(20), chance.choice("abcdefghijklmnopqrstuvwxyz")
            file.write(
                f"{T} [{pid}] LOG:  duration: {chance.random() * 9:.3f} ms  statement: select {number} from t_{table}\n"
            )
            file.write(
                f"{T} [{pid}] LOG:  statement: select 'later' from s_{table}\n{T} [{pid}] LOG:  duration: 2 ms\n"
            )


def test_several_processes_give_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "ranges", partial(ranges, least=1 << 20))
    big(tmp_path / "a.log", 15_000)
    (tmp_path / "b.csv").write_text("query,calls\nselect 1,5\n")
    (tmp_path / "strange").write_bytes(b"\x89PNG\0\0")
    alone, together = (gather([tmp_path], "postgres", jobs=jobs) for jobs in (1, 2))
    assert together.tally == alone.tally
    assert together.tally.lines == 45_002
    assert list(together.tally.damaged) == [str(tmp_path / "strange")]
    assert together.positions == alone.positions
    assert [
        (one.key, one.total, one.durations, one.example, one.parameters.sets()) for one in together.groups.ranked()
    ] == [(one.key, one.total, one.durations, one.example, one.parameters.sets()) for one in alone.groups.ranked()]
    assert len(together.groups.groups) == 53
    again = gather([tmp_path / "a.log"], "postgres", jobs=2, positions=list(together.positions.values()))
    assert again.tally.lines == 0


def test_a_single_strange_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "strange").write_bytes(b"\x89PNG\0\0")
    with pytest.raises(RewriterError):
        gather([tmp_path / "strange"], "postgres", jobs=2)
