"""MySQL's slow log, DuckDB's logs and profiles, tables with named columns, files of SQL."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest

from rewriter.batch.logs import Entry, Format, LogReader, Options, Reason, detect, group
from rewriter.errors import InputError, UsageError


def read(text: str | bytes, options: Options | None = None, name: str = "log") -> tuple[list[Entry], LogReader]:
    content = text.encode() if isinstance(text, str) else text
    reader = LogReader(options)
    entries = list(reader.read_stream(io.BytesIO(content), name))
    tally = reader.tally
    assert tally.lines == tally.used + sum(tally.skipped.values())
    return entries, reader


# MySQL -------------------------------------------------------------------------------------------------------------

SLOW = """/usr/sbin/mysqld, Version: 8.0.36 (MySQL Community Server - GPL). started with:
Tcp port: 3306  Unix socket: /var/run/mysqld/mysqld.sock
Time                 Id Command    Argument
# Time: 2024-01-31T12:00:01.000001Z
# User@Host: bob[bob] @ localhost []  Id:     8
# Query_time: 2.000150  Lock_time: 0.000000 Rows_sent: 1  Rows_examined: 0
use shop;
SET timestamp=1706702400;
select sleep(2),
  'a;b';
# User@Host: eve[eve] @ localhost []  Id:     9
# Query_time: 0.5  Lock_time: 0.000000 Rows_sent: 1  Rows_examined: 0
SET timestamp=1706702401;
select 2;
# Time: 2024-01-31T12:00:03.000001Z
# User@Host: bob[bob] @ localhost []  Id:     8
# Query_time: 0.000150  Lock_time: 0.000000 Rows_sent: 1  Rows_examined: 0
# administrator command: Quit;
# Time: 240131  9:05:01
# User@Host: root[root] @ localhost []
# Thread_id: 5  Schema: other  QC_hit: No
# Query_time: 1.000000  Lock_time: 0.0  Rows_sent: 1  Rows_examined: 0
select 'cut
# Time: 2024-01-31T12:00:04.000001Z
# User@Host: root[root] @ localhost []
select 'no query time';
"""


def test_mysql_slow_log() -> None:
    entries, reader = read(SLOW)
    assert [(e.statement, e.duration, e.user, e.database, e.line) for e in entries] == [
        ("select sleep(2),\n  'a;b'", 2.00015, "bob", "shop", 4),
        ("select 2", 0.5, "eve", "shop", 11),
    ]
    assert entries[0].timestamp == datetime.fromtimestamp(1706702400, UTC)
    assert reader.tally.skipped == {Reason.HEADER: 3, Reason.OTHER: 4, Reason.TRUNCATED: 5, Reason.MALFORMED: 3}
    assert reader.tally.lines == SLOW.count("\n")


def test_mariadb_names_the_schema_in_a_comment() -> None:
    text = (
        "# Time: 240131 12:00:01\n# User@Host: bob[bob] @ localhost []\n# Thread_id: 5  Schema: other  QC_hit: No\n"
        '# Query_time: 1.5  Lock_time: 0.0\nselect "it\'s" -- ;\n;\n'
    )
    (entry,) = read(text)[0]
    assert (entry.database, entry.duration, entry.timestamp) == (
        "other",
        1.5,
        datetime(2024, 1, 31, 12, 0, 1, tzinfo=UTC),
    )


# Named columns -----------------------------------------------------------------------------------------------------


def test_pg_stat_statements_as_csv_is_in_milliseconds() -> None:
    text = (
        "userid,dbid,queryid,query,calls,total_exec_time,mean_exec_time,rows\n"
        '10,5,1,"select a, b\nfrom t where x = $1",4,200.5,50.1,4\n'
        "10,5,2,<insufficient privilege>,4,200.5,50.1,4\n"
        '10,5,3,"select ( cut",4,200.5,50.1,4\n'
        "10,5,4,select 1,x,200.5,50.1,4\n"
        "10,5,4,select 1,1,nan,50.1,4\n"
        "10,5\n"
        "\n"
        "10,5,5,select 2,1,3,3,4\n"
    )
    entries, reader = read(text)
    assert [(e.statement, e.calls, e.total_seconds, e.duration) for e in entries] == [
        ("select a, b\nfrom t where x = $1", 4, pytest.approx(0.2005), None),
        ("select 2", 1, 0.003, 0.003),
    ]
    assert reader.tally.skipped == {
        Reason.HEADER: 1,
        Reason.NOT_VISIBLE: 1,
        Reason.TRUNCATED: 1,
        Reason.MALFORMED: 3,
        Reason.BLANK: 1,
    }
    assert reader.tally.lines == text.count("\n")


def test_pg_stat_statements_as_json() -> None:
    rows = [
        {"query": "select 1 where 1 in ($1 /*, ... */)", "calls": 2, "total_time": 10.0, "datname": "shop"},
        {"query": "select '}{\"[', 'x", "calls": 1},
        {"query": "select '}{\"[\\'", "calls": 1, "total_exec_time": None},
    ]
    for text in (
        json.dumps(rows),
        json.dumps(rows, indent=2),
        json.dumps({"rows": rows}),
        json.dumps(rows).replace("}, ", "},\n"),
    ):
        entries, reader = read(text)
        assert [(e.calls, e.total_seconds, e.squashed) for e in entries] == [(2, 0.01, True), (1, None, False)]
        assert entries[0].database == "shop"
        assert reader.tally.skipped == {Reason.TRUNCATED: 1}
        assert reader.tally.lines == 3


def test_units_are_read_from_names() -> None:
    for name, value, unit in [
        ("duration_ms", 1500, "s"),
        ("duration_s", 1.5, "ms"),
        ("total_time_us", 1_500_000, "ms"),
        ("elapsed_seconds", 1.5, "ms"),
        ("exec_time_in_ms", 1500, "s"),
        ("duration", 1.5, "s"),
        ("Duration", 1500, "ms"),
    ]:
        (entry,) = read(f"SQL;{name}\nselect 1;{value}\n", Options(unit=unit))[0]
        assert entry.duration == pytest.approx(1.5), name


def test_a_mean_counts_for_every_call() -> None:
    (entry,) = read("statement\tcalls\tmean_time\nselect 1\t10\t5\n")[0]
    assert (entry.duration, entry.total_seconds) == (None, 0.05)


def test_json_lines() -> None:
    text = (
        '{"sql": "select ?", "duration_ms": 2, "user": "bob", "ts": "2024-01-31T12:00:00Z", "params": [1, null, "x"]}\n'
        '{"sql": "sel\n'
        "\n"
        '{"note": "no statement"}\n'
        '{"query": "select 2", "duration_s": 3}\n'
        '{"query": 5, "duration_s": 3}\n'
    )
    entries, reader = read(text)
    assert [(e.statement, e.duration, e.parameters) for e in entries] == [
        ("select ?", 0.002, ("1", None, "x")),
        ("select 2", 3.0, None),
    ]
    assert entries[0].timestamp == datetime(2024, 1, 31, 12, tzinfo=UTC)
    assert reader.tally.skipped == {Reason.MALFORMED: 2, Reason.BLANK: 1, Reason.OTHER: 1}
    assert reader.tally.lines == 6


def test_json_documents_go_on_after_a_broken_one() -> None:
    text = '[\n{"query": "select 1"},\n{"query": "sel\n{\n "query": "select 2"\n}\nnonsense '
    text += '{"query": "select 3"}, {"query":'
    entries, reader = read(text)
    assert [(e.statement, e.line) for e in entries] == [("select 1", 2), ("select 2", 4), ("select 3", 7)]
    assert reader.tally.skipped == {Reason.MALFORMED: 3}


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(UsageError, match="klingon"):
        Options(dialect="klingon")
    with pytest.raises(UsageError, match="klingon"):
        group([], "klingon")


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(UsageError, match="fortnight"):
        Options(unit="fortnight")


# DuckDB ------------------------------------------------------------------------------------------------------------


def test_duckdb_query_log() -> None:
    text = (
        "context_id,timestamp,type,log_level,message\n"
        '15,2026-11-21 11:30:43.636741+00,QueryLog,INFO,"select 1 as a, \'x,""y\' b"\n'
        '19,2026-11-21 11:30:43.65058+00,QueryLog,INFO,"select\n 2"\n'
        "23,2026-11-21 11:30:43.668992+00,FileSystem,TRACE,opened\n"
    )
    entries, reader = read(text, Options(dialect="duckdb"))
    assert [(e.statement, e.duration) for e in entries] == [("select 1 as a, 'x,\"y' b", None), ("select\n 2", None)]
    assert entries[0].timestamp == datetime(2026, 11, 21, 11, 30, 43, 636741, tzinfo=UTC)
    assert reader.tally.skipped == {Reason.HEADER: 1, Reason.OTHER: 1}


def test_duckdb_profiles_are_in_seconds() -> None:
    profile = {
        "query_name": "select count(*)\n from t",
        "latency": 0.25,
        "extra_info": {},
        "children": [{"operator_name": "FILTER", "children": [], "extra_info": {"Expression": "}"}}],
    }
    (entry,) = read(json.dumps(profile, indent=4), Options(dialect="duckdb"))[0]
    assert (entry.statement, entry.duration) == ("select count(*)\n from t", 0.25)
    assert len(read(json.dumps(profile, indent=4) * 3)[0]) == 3
    (plain,) = read("query,latency\nselect 1,3\n")[0]
    assert plain.duration == 0.003


# SQL ---------------------------------------------------------------------------------------------------------------


def test_sql_is_split_by_a_tokenizer() -> None:
    text = """-- a comment; with a semicolon
\\set x 1
select 'a;b', "c;d" /* ; */; select $$;$$;
select 2
;;
copy t (a) from stdin;
it's data; ' (
\\.
select (3;
select 4"""
    entries, reader = read(text)
    assert [(e.statement, e.line) for e in entries] == [
        ("select 'a;b', \"c;d\"", 3),
        ("select $$;$$", 3),
        ("select 2", 4),
        ("copy t (a) from stdin", 6),
        ("select 4", 10),
    ]
    assert all(e.duration is None and e.total_seconds is None and e.calls == 1 for e in entries)
    assert reader.tally.skipped == {Reason.OTHER: 1, Reason.DATA: 2, Reason.TRUNCATED: 1}


def test_sql_goes_on_after_a_string_that_never_ends() -> None:
    entries, reader = read("select 1;\nselect 'abc;\nselect 2;\nselect 3\n")
    assert [e.statement for e in entries] == ["select 1", "select 2", "select 3"]
    assert reader.tally.skipped == {Reason.TRUNCATED: 1}


def test_sql_in_many_pieces_is_the_same() -> None:
    wanted = [f"select {number}, '{'x;' * (number % 700)}\n'" for number in range(1500)]
    entries, _ = read(";\n".join(wanted))
    assert [e.statement for e in entries] == wanted
    assert entries[1000].line == 2001


def test_sql_too_long_is_counted() -> None:
    long = "select\n" + ",\n".join("1234567890" for _ in range(110_000))
    entries, reader = read(f"select 1;\n{long};\nselect 2;\n")
    assert [e.statement for e in entries] == ["select 1", "select 2"]
    assert reader.tally.skipped == {Reason.TOO_LONG: 1}


# Detection ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "format_"),
    [
        (SLOW, Format.MYSQL_SLOW),
        ("query,calls\n", Format.CSV),
        ('{"query": "select 1"}\n', Format.JSON_LINES),
        ('[{"query": "select 1"}]', Format.JSON),
        ("-- hello\nselect 1", Format.SQL),
        ("(with a as (select 1) select 2)", Format.SQL),
        ("", Format.STDERR),
        ("[12] LOG:  statement: select 1\n", Format.STDERR),
        ("table,query,calls\nt,select 1,1\n", Format.CSV),
        ("select a, query\nfrom t", Format.SQL),
    ],
)
def test_formats_are_told_from_content(content: str, format_: Format) -> None:
    assert detect(content.encode(), "log").format is format_


def test_what_is_no_log_is_refused_with_advice() -> None:
    with pytest.raises(InputError, match="no format") as caught:
        read(b"\x89PNG\r\n\x1a\n\0\0 nothing here\n")
    assert "log_line_prefix" in caught.value.hint


def test_a_table_without_statements_is_refused() -> None:
    with pytest.raises(InputError, match="names no column"):
        read("a,b\n1,2\n", Options(format=Format.CSV))
