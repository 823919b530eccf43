"""PostgreSQL's stderr, csvlog and jsonlog, as the manual describes them and version 18 writes them."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rewriter.batch.logs import Entry, Format, LogReader, Options, Reason, detect
from rewriter.batch.logs.postgres_messages import read_parameters
from rewriter.batch.logs.postgres_prefix import compile_prefix, guess_prefix
from rewriter.errors import UsageError

T = "2026-11-21 11:31:12.030 UTC"


def read(text: str | bytes, options: Options | None = None) -> tuple[list[Entry], LogReader]:
    content = text.encode() if isinstance(text, str) else text
    reader = LogReader(options)
    entries = list(reader.read_stream(io.BytesIO(content)))
    tally = reader.tally
    assert tally.lines == tally.used + sum(tally.skipped.values())
    assert tally.lines == content.count(b"\n") + (not content.endswith(b"\n") and bool(content))
    return entries, reader


def one(text: str | bytes, options: Options | None = None) -> Entry:
    (entry,) = read(text, options)[0]
    return entry


def log(*messages: str, pid: int = 7) -> str:
    return "".join(f"{T} [{pid}] {message}\n" for message in messages)


def test_a_statement_with_its_duration() -> None:
    entry = one(log("LOG:  duration: 1.500 ms  statement: select 1"))
    assert entry.statement == "select 1"
    assert (entry.duration, entry.total_seconds, entry.calls) == (0.0015, 0.0015, 1)
    assert entry.timestamp == datetime(2026, 11, 21, 11, 31, 12, 30_000, tzinfo=UTC)
    assert (entry.line, entry.parameters) == (1, None)


def test_continuation_lines_begin_with_a_tab_of_the_servers_own() -> None:
    entry = one(log("LOG:  duration: 1 ms  statement: select 1,\n\t\t'tab'\n\t\n\t, 2"))
    assert entry.statement == "select 1,\n\t'tab'\n\n, 2"


def test_only_execute_counts_as_a_call() -> None:
    entries, reader = read(
        log(
            "LOG:  duration: 0.2 ms  parse <unnamed>: select $1",
            "LOG:  duration: 0.1 ms  bind <unnamed>: select $1",
            "DETAIL:  Parameters: $1 = 'it''s'",
            "LOG:  duration: 3 ms  execute S_1/C_2: select $1",
            "DETAIL:  parameters: $1 = 'a\n\tb'",
        )
    )
    assert [(e.statement, e.duration, e.parameters) for e in entries] == [("select $1", 0.003, ("a\nb",))]
    assert reader.tally.skipped == {Reason.STEP: 3}


def test_a_further_fetch_adds_time_and_no_call() -> None:
    entry = one(log("LOG:  duration: 3 ms  execute fetch from S_1/C_2: select 1"))
    assert (entry.calls, entry.duration, entry.total_seconds) == (0, None, 0.003)


def test_statement_and_duration_logged_apart_are_joined_by_process() -> None:
    text = (
        log("LOG:  statement: select 1", pid=1)
        + log("LOG:  execute <unnamed>: select $1", "DETAIL:  Parameters: $1 = NULL", pid=2)
        + log("LOG:  duration: 5 ms", pid=1)
        + log("LOG:  duration: 6 ms", pid=2)
        + log("LOG:  duration: 7 ms", pid=3)
    )
    entries, reader = read(text)
    assert [(e.statement, e.duration, e.parameters, e.line) for e in entries] == [
        ("select 1", 0.005, None, 1),
        ("select $1", 0.006, (None,), 2),
    ]
    assert reader.tally.skipped == {Reason.LONE_DURATION: 1}


def test_a_statement_whose_duration_never_comes_is_kept_without_it() -> None:
    entries, _ = read(log("LOG:  statement: select 1", "LOG:  statement: select 2"))
    assert [(e.statement, e.duration, e.total_seconds) for e in entries] == [
        ("select 1", None, None),
        ("select 2", None, None),
    ]


def test_a_statement_that_failed_does_not_take_the_next_duration() -> None:
    entries, reader = read(
        log("LOG:  statement: select nope", "ERROR:  no such column", "STATEMENT:  select nope", "LOG:  duration: 9 ms")
    )
    assert [(e.statement, e.duration) for e in entries] == [("select nope", None)]
    assert reader.tally.skipped == {Reason.OTHER: 2, Reason.LONE_DURATION: 1}
    entries, _ = read(
        csv_line("statement: select nope") + csv_line("no such column", severity="ERROR") + csv_line("duration: 9 ms")
    )
    assert [e.duration for e in entries] == [None]
    text = json_line(message="statement: select nope") + json_line(message="no", error_severity="ERROR")
    assert [e.duration for e in read(text + json_line(message="duration: 9 ms"))[0]] == [None]


def test_without_a_process_in_the_prefix_nothing_is_joined() -> None:
    text = f"{T} LOG:  statement: select 1\n{T} LOG:  duration: 5 ms\n"
    entries, reader = read(text)
    assert [e.duration for e in entries] == [None]
    assert reader.tally.skipped == {Reason.LONE_DURATION: 1}


def test_other_messages_are_counted_with_samples() -> None:
    entries, reader = read(
        log("LOG:  connection received: host=[local]", "ERROR:  no such column", "STATEMENT:  select nope\n\tfrom t")
        + "a line of some other program\n\n"
    )
    assert entries == []
    assert reader.tally.skipped == {Reason.OTHER: 4, Reason.NO_PREFIX: 1, Reason.BLANK: 1}
    (sample,) = reader.tally.samples[Reason.NO_PREFIX]
    assert (sample.line, sample.text) == (5, "a line of some other program")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("select 'abc", Reason.TRUNCATED),
        ("select (1 + ", Reason.TRUNCATED),
        ("select 1 /* and", Reason.TRUNCATED),
        ('select "na', Reason.TRUNCATED),
        ("select $a$ x", Reason.TRUNCATED),
        ("select '(', 'it''s', ')'", None),
        ("select '(', 1", None),
        ("select $$'$$", None),
        ("", Reason.EMPTY),
        ("select '\0'", Reason.NUL),
        ("select '" + "x" * 600_000 + "'", Reason.TOO_LONG),
    ],
)
def test_statements_that_cannot_be_used_are_set_aside(statement: str, reason: Reason | None) -> None:
    entries, reader = read(
        log("LOG:  duration: 1 ms  statement: select 0", f"LOG:  duration: 1 ms  statement: {statement}")
    )
    assert len(entries) == (2 if reason is None else 1)
    assert reader.tally.skipped == ({} if reason is None else {reason: 1})


def test_text_that_is_not_utf8_is_set_aside() -> None:
    _, reader = read(log("LOG:  duration: 1 ms  statement: select 'X'").encode().replace(b"X", b"\xff"))
    assert reader.tally.skipped == {Reason.NOT_UTF8: 1}


def test_squashed_lists_are_marked() -> None:
    assert one(log("LOG:  duration: 1 ms  statement: select 1 where 1 in ($1 /*, ... */)")).squashed


def test_verbose_logs_have_an_sqlstate() -> None:
    text = log("LOG:  00000: duration: 1 ms  statement: select 1", "LOCATION:  exec_simple_query, postgres.c:1")
    assert one(text).statement == "select 1"


# auto_explain ------------------------------------------------------------------------------------------------------

PLAN = """LOG:  duration: 3.651 ms  plan:
\tQuery Text: SELECT count(*)
\t  FROM t
\t  WHERE a = $1
\tQuery Parameters: $1 = '5'
\tAggregate  (cost=16.79..16.80 rows=1 width=0) (actual time=3.626..3.627 rows=1 loops=1)
\t  ->  Seq Scan on t  (cost=0.00..16.77 rows=10 width=0)"""


def test_a_plan_as_text() -> None:
    entry = one(log(PLAN))
    assert entry.statement == "SELECT count(*)\n  FROM t\n  WHERE a = $1"
    assert (entry.duration, entry.parameters) == (pytest.approx(0.003651), ("5",))


def test_a_plan_as_json() -> None:
    document = {"Query Text": "select 1,\n2", "Query Parameters": "$1 = NULL", "Plan": {"Node Type": "Result"}}
    text = json.dumps(document, indent=2).replace("\n", "\n\t")
    entry = one(log(f"LOG:  duration: 2 ms  plan:\n\t{text}"))
    assert (entry.statement, entry.duration, entry.parameters) == ("select 1,\n2", 0.002, (None,))


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ("<explain>", Reason.PLAN_FORMAT),
        ('Query Text: "select 1"\n\tPlan: ', Reason.PLAN_FORMAT),
        ("Query Text: select 1", Reason.TRUNCATED),
        ('{"Query Text": "sel', Reason.TRUNCATED),
        ('{"Plan": 1}', Reason.MALFORMED),
    ],
)
def test_plans_that_cannot_be_read(plan: str, reason: Reason) -> None:
    _, reader = read(log(f"LOG:  duration: 2 ms  plan:\n\t{plan}"))
    assert set(reader.tally.skipped) == {reason}


def test_an_execution_logged_as_plan_and_as_statement_counts_once() -> None:
    statement = "SELECT count(*)\n\t  FROM t\n\t  WHERE a = $1"
    entry = one(log(PLAN, f"LOG:  duration: 4 ms  execute <unnamed>: {statement}"))
    assert (entry.duration, entry.parameters) == (0.004, ("5",))
    entries, _ = read(log(PLAN, "LOG:  duration: 4 ms  statement: select 2"))
    assert [e.duration for e in entries] == [pytest.approx(0.003651), 0.004]


# Parameters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detail", "values"),
    [
        ("parameters: $1 = '1', $2 = NULL", ("1", None)),
        ("Parameters: $1 = 'it''s', $2 = ''", ("it's", "")),
        ("Parameters: $1 = ', $2 = NULL'", (", $2 = NULL",)),
        ("Parameters: $1 = 'cut...'", None),
        ("Parameters: $1 = 'cut", None),
        ("prepare: prepare foo as select 1", None),
        ("parameters: ", None),
    ],
)
def test_logged_parameters(detail: str, values: tuple[str | None, ...] | None) -> None:
    assert read_parameters(detail) == values


# Prefixes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "line"),
    [
        ("%m [%p] ", "2026-11-21 11:31:12.030 UTC [7] "),
        ("%m [%p] %q%u@%d/%a ", "2026-11-21 11:31:12.030 +0530 [7] bob@shop/my app "),
        ("%m [%p] %q%u@%d/%a ", "2026-11-21 11:31:12.030 CET [7] "),
        ("%t:%r:%u@%d:[%p]:", "2026-11-21 11:31:12 UTC:10.0.0.1(5432):bob@shop:[7]:"),
        (
            "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
            "2026-11-21 11:31:12 UTC [7]: [3-1] user=bob,db=shop,app=,client=::1 ",
        ),
        ("<%5p|%-8u|%d> ", "<    7|bob     |shop> "),
        (
            "%n %c %e %x %v %s %i %b %Q %L %P%% %p ",
            "1700000000.123 65.1f 00000 0 3/4 2026-11-21 11:31:12 UTC idle in transaction worker -5 127.0.0.1 % 7 ",
        ),
    ],
)
def test_prefixes_in_postgres_own_notation(prefix: str, line: str) -> None:
    match = compile_prefix(prefix).match(f"{line}LOG:  x".encode())
    assert match is not None
    assert match["pid"] == b"7"
    named = match.groupdict()
    if b"bob" in line.encode():
        assert (named["user"], named["database"]) in ((b"bob", b"shop"), (b"bob     ", b"shop"))


@pytest.mark.parametrize(
    "prefix",
    ["%m [%p] ", "%m [%p] %q%u@%d ", "%t:%r:%u@%d:[%p]:", "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h "],
)
def test_prefixes_are_guessed(prefix: str) -> None:
    values = {
        "m": T,
        "t": T[:19] + " UTC",
        "p": "7",
        "u": "bob",
        "d": "shop",
        "r": "[local]",
        "l": "3",
        "a": "psql",
        "h": "h",
        "q": "",
    }
    head = prefix
    for escape, value in values.items():
        head = head.replace(f"%{escape}", value)
    text = f"{head}LOG:  duration: 1 ms  statement: select 1\n" * 3
    assert guess_prefix(text.encode().splitlines()) == (prefix, 1.0)
    entry = read(text)[0][0]
    assert (entry.statement, entry.user) == ("select 1", "bob" if "%u" in prefix else None)


def test_a_prefix_that_nobody_knows_still_gives_time_and_process() -> None:
    text = f"~~{T}~~ zone=eu [77] job 5: LOG:  duration: 1 ms  statement: select 1\n"
    entry = one(text)
    assert entry.statement == "select 1"
    assert entry.timestamp is not None


def test_a_prefix_with_an_unknown_escape_is_refused() -> None:
    with pytest.raises(UsageError, match="%z"):
        Options(prefix="%z ")


def test_a_given_prefix_is_used() -> None:
    entry = one("@7@bob@ LOG:  duration: 1 ms  statement: select 1\n", Options(prefix="@%p@%u@ "))
    assert (entry.user, entry.statement) == ("bob", "select 1")


# csvlog and jsonlog ------------------------------------------------------------------------------------------------


def csv_line(message: str, detail: str = "", severity: str = "LOG", columns: int = 26) -> str:
    row = [T, "bob", "shop", "7", "[local]", "6b.7", "1", "SELECT", T, "3/4", "0", severity, "00000", message, detail]
    row += [""] * (columns - len(row))
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(row)
    return text.getvalue().replace(f'"{T}","bob","shop","7"', f'{T},"bob","shop",7', 1)


@pytest.mark.parametrize("columns", [23, 24, 26])
def test_csvlog_of_all_versions(columns: int) -> None:
    text = csv_line('duration: 1 ms  execute a: select ","",\n\t"', "parameters: $1 = 'x\ny'", columns=columns)
    entry = one(text + csv_line("checkpoint starting", columns=columns))
    assert entry.statement == 'select ","",\n\t"'
    assert (entry.user, entry.database, entry.parameters, entry.duration) == ("bob", "shop", ("x\ny",), 0.001)


def test_csvlog_joins_by_session() -> None:
    assert one(csv_line("statement: select 1") + csv_line("duration: 2 ms")).duration == 0.002


def test_a_csvlog_record_that_a_crash_has_cut_does_not_swallow_the_rest() -> None:
    whole = csv_line("duration: 1 ms  statement: select 1")
    cut = csv_line("duration: 1 ms  statement: select 'a\nb'").rsplit("b", 1)[0]
    entries, reader = read(whole + cut + "\n" + whole + "not csv\n")
    assert [e.statement for e in entries] == ["select 1", "select 1"]
    assert reader.tally.skipped == {Reason.MALFORMED: 3}


def json_line(**fields: object) -> str:
    head = {"timestamp": T, "user": "bob", "dbname": "shop", "pid": 7, "session_id": "6b.7", "error_severity": "LOG"}
    return json.dumps({**head, **fields}) + "\n"


def test_jsonlog() -> None:
    entries, reader = read(
        json_line(message="duration: 1 ms  execute a: select $1,\n2", detail="Parameters: $1 = 'x'")
        + json_line(message="statement: select 3")
        + json_line(message="duration: 2 ms")
        + json_line(message="oops", error_severity="ERROR")
        + '{"timestamp": "2026\n[]\n\n'
    )
    assert [(e.statement, e.duration, e.parameters, e.user) for e in entries] == [
        ("select $1,\n2", 0.001, ("x",), "bob"),
        ("select 3", 0.002, None, "bob"),
    ]
    assert reader.tally.skipped == {Reason.OTHER: 1, Reason.MALFORMED: 2, Reason.BLANK: 1}


def test_formats_are_told_from_content() -> None:
    assert detect(json_line(message="x").encode(), "log").format is Format.JSONLOG
    assert detect(csv_line("x").encode(), "log").format is Format.CSVLOG
    assert detect(log("LOG:  x").encode(), "log").format is Format.STDERR


def test_the_three_formats_tell_the_same(tmp_path: Path) -> None:
    messages = [
        ("duration: 1 ms  statement: select 1\n\n, 2", ""),
        ("statement: select 'é'", ""),
        ("duration: 4 ms", ""),
    ]
    stderr = log(*("LOG:  " + text.replace("\n", "\n\t") for text, _ in messages))
    as_csv = "".join(csv_line(text) for text, _ in messages)
    as_json = "".join(json_line(message=text) for text, _ in messages)
    told = [[(e.statement, e.duration, e.timestamp) for e in read(text)[0]] for text in (stderr, as_csv, as_json)]
    assert told[0] == told[1] == told[2]
    assert len(told[0]) == 2
