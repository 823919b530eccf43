"""All formats of a run's report: one record, in step with its schema, harmless whatever the log holds."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

import rewriter.batch.reporting as reporting
from rewriter.batch.logs import Gathered, LogReader, group
from rewriter.batch.logs.distribution import Distribution
from rewriter.batch.reporting import FORMATS, BatchModel, Run, json_schema, record_of, to_json, to_patch
from rewriter.batch.reporting.conditions import met
from rewriter.batch.reporting.patch import without_comments
from rewriter.batch.reporting.sarif import uri
from rewriter.batch.reporting.savings import DAY, LEAST_SPAN, Times, saving, total
from rewriter.batch.work import Done, Item
from rewriter.records import Report
from rewriter.report import to_json as report_to_json
from rewriter.report.model import SpeedupModel
from tests.examples import HOSTILE

BEGIN = "2026-11-20 {}.000 UTC [7] LOG:  duration: {:.3f} ms  statement: {}\n"
EVIL = f'SELECT 1 AS "a,b:c%d|`" /* */ -- {HOSTILE}\x1b[31m \u202e'


def gathered(text: str, name: str = "logs/a,b:c.log", ignore: tuple[str, ...] = ()) -> Gathered:
    reader = LogReader()
    groups = group(
        reader.read_stream(io.BytesIO(text.encode("utf-8", "surrogateescape")), name), "postgres", ignore=ignore
    )
    return Gathered(groups, reader.tally, reader.positions)


@pytest.fixture
def batch(report: Report) -> BatchModel:
    """Groups that were rewritten, refused, and not worked on; lines of every fate."""
    slow = f"SELECT id FROM sale WHERE shop = '{HOSTILE.replace(chr(39), chr(39) * 2)}' ORDER BY id"
    lines = [BEGIN.format(f"1{hour}:00:00", 900.0 + 70 * hour, slow) for hour in range(8)]
    lines += [BEGIN.format("10:30:00", 5.0, EVIL), BEGIN.format("10:31:00", 7.0, "DELETE FROM sale")]
    lines += [BEGIN.format("10:32:00", 1.0, "SELECT 'cut"), f"strange {HOSTILE}\n"]
    lines.append("2026-11-20 10:00:00.000 UTC [7] LOG:  checkpoint\n")
    found = gathered("".join(lines))
    first, second = found.groups.ranked()
    document = {**report_to_json(report), "original": slow}
    gain = report.decision.speedup
    assert gain is not None
    assert report.decision.chosen is not None
    done = [
        Done(item_of(first), "faster", "faster", gain.ratio, "tested", report.decision.chosen.sql, "abc123"),
        Done(item_of(second), "refused", f"no {HOSTILE}"),
    ]
    run = Run(target="postgresql://db/shop", ignored=("nothing",), spent=0.25, documents={"abc123": document})
    return record_of(found, done, 10, run)


def item_of(one: Any) -> Item:
    return Item(one.key, one.example.statement, one.total.calls, one.total.seconds)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_record_accounts_for_every_line_and_every_second(batch: BatchModel) -> None:
    assert batch.lines == 13
    assert batch.entries == 10
    assert {part.kind: part.lines for part in batch.skipped} == {"no statement": 1, "set aside": 1, "malformed": 1}
    assert sum(one.seconds for one in batch.groups) + 0.007 == pytest.approx(batch.total.seconds)
    assert sum(one.share for one in batch.groups) < 1.0
    assert batch.span == 7 * 3600
    assert sum(one.count for one in batch.groups[0].histogram) == batch.groups[0].calls == 8
    assert batch.unmatched_ignores == ["nothing"]
    result = batch.groups[0].result
    assert result is not None
    assert result.saving is not None
    assert result.saving.day is not None
    assert result.saving.day.expected == pytest.approx(batch.groups[0].seconds * (1 - 1 / 41) * 24 / 7)
    assert "1,204 generated databases" in result.evidence
    assert [entry.label for entry in result.measurements] == ["original", "r1"]


def test_json_is_data_and_follows_its_schema(batch: BatchModel) -> None:
    document = json.loads(FORMATS["json"].text(batch))
    assert document == to_json(batch)
    assert BatchModel.model_validate(document) == batch


def test_the_schema_file_is_in_step() -> None:
    """Regenerate it with ``json.dumps(rewriter.batch.reporting.json_schema(), indent=1)``."""
    path = Path(reporting.__file__).parent / "schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == json_schema()


def test_no_format_drives_a_terminal_or_hides_what_it_is(batch: BatchModel) -> None:
    """JSON and SARIF are data and escape by their own rules; everything else is read by people."""
    console = Console(file=io.StringIO(), width=200)
    reporting.print_terminal(batch, console)
    reporting.print_talk(batch, console)
    texts = [FORMATS[name].text(batch) for name in ("markdown", "html", "csv", "github", "sql")]
    for text in (*texts, console.file.getvalue()):  # type: ignore[attr-defined]
        assert not set(text) & set("\x00\x07\x1b\x9b\u202e\u2066")
    for name, format_ in FORMATS.items():
        assert format_.text(batch), name


def test_html_is_self_contained_and_escapes_everything(batch: BatchModel) -> None:
    text = FORMATS["html"].text(batch)
    page = _Page()
    page.feed(text)
    assert not {"script", "iframe", "object", "link", "img", "form"} & set(page.tags)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert HOSTILE in page.text
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text
    assert page.tags.count("svg") >= 2 + 2 + 2  # a bar a group, two bars of the race, a histogram a group
    for words in ("41x faster", "tested", "Seq Scan", "DELETE", "logs/a,b:c.log:12", "nothing"):
        assert words in page.text
    assert "strange" not in page.text  # places are named, what stands there is not repeated


def test_markdown_makes_no_links_images_or_tags(batch: BatchModel) -> None:
    outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", FORMATS["markdown"].text(batch), flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"(?<!\\)\]\(|(?<!\\)<[a-z]", outside)
    rows = [line for line in outside.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {9}


def test_csv_has_a_row_for_each_group_and_no_formula(batch: BatchModel) -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"].text(batch))))
    assert [row["group"] for row in rows] == [one.key for one in batch.groups]
    assert float(rows[0]["ratio"]) == 41.0
    assert rows[0]["faster"] == "yes"
    formula = batch.groups[0].model_copy(update={"statement": '=HYPERLINK("http://x")'})
    text = FORMATS["csv"].text(batch.model_copy(update={"groups": [formula]}))
    assert next(csv.DictReader(io.StringIO(text)))["statement"] == '\'=HYPERLINK("http://x")'


# SARIF: the objects and properties that a run uses, as sections 3.13 to 3.58 of the standard define them --------------


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Message(_Strict):
    text: str = Field(min_length=1)


class _Artifact(_Strict):
    uri: str = Field(pattern=r"^(?:[A-Za-z0-9_.~/-]|%[0-9A-F]{2})+$|^file:///(?:[A-Za-z0-9_.~/-]|%[0-9A-F]{2})*$")


class _Region(_Strict):
    startLine: int = Field(ge=1)  # noqa: N815


class _Physical(_Strict):
    artifactLocation: _Artifact  # noqa: N815
    region: _Region | None = None


class _Location(_Strict):
    physicalLocation: _Physical  # noqa: N815


Level = Literal["none", "note", "warning", "error"]


class _Result(_Strict):
    ruleId: str  # noqa: N815
    ruleIndex: int = Field(ge=0)  # noqa: N815
    level: Level
    message: _Message
    locations: list[_Location] = []
    partialFingerprints: dict[str, str]  # noqa: N815
    properties: dict[str, Any]


class _Configuration(_Strict):
    level: Level


class _Rule(_Strict):
    id: str
    shortDescription: _Message  # noqa: N815
    fullDescription: _Message  # noqa: N815
    defaultConfiguration: _Configuration  # noqa: N815


class _Driver(_Strict):
    name: str
    semanticVersion: str = Field(pattern=r"^\d+\.\d+\.\d+$")  # noqa: N815
    rules: list[_Rule]


class _Tool(_Strict):
    driver: _Driver


class _Notification(_Strict):
    level: Level
    message: _Message
    locations: list[_Location]


class _Invocation(_Strict):
    executionSuccessful: bool  # noqa: N815
    toolExecutionNotifications: list[_Notification]  # noqa: N815


class _SarifRun(_Strict):
    tool: _Tool
    invocations: list[_Invocation]
    columnKind: Literal["utf16CodeUnits", "unicodeCodePoints"]  # noqa: N815
    results: list[_Result]


class _Log(_Strict):
    schema_: str = Field(alias="$schema", pattern=r"^https://.*sarif-2\.1\.0.*\.json$")
    version: Literal["2.1.0"]
    runs: list[_SarifRun] = Field(min_length=1)


def test_sarif_has_the_structure_of_the_standard(batch: BatchModel) -> None:
    (run,) = _Log.model_validate(json.loads(FORMATS["sarif"].text(batch))).runs
    (result,) = run.results
    assert run.tool.driver.rules[result.ruleIndex].id == result.ruleId
    assert result.level == "warning"
    place = result.locations[0].physicalLocation
    assert place.artifactLocation.uri == "logs/a%2Cb%3Ac.log"
    assert place.region is not None
    assert place.region.startLine == 8
    assert HOSTILE not in result.message.text
    assert run.invocations[0].toolExecutionNotifications[0].locations[0].physicalLocation.region == _Region(
        startLine=12
    )


@given(st.text(min_size=1, max_size=30).filter(lambda name: "\0" not in name))
def test_any_name_of_a_file_is_a_uri(name: str) -> None:
    for file in (name, f"/var/{name}"):
        _Artifact(uri=uri(file.encode("utf-8", "replace").decode()))


def test_github_annotations_are_one_line_each_and_escaped(batch: BatchModel) -> None:
    lines = FORMATS["github"].text(batch).splitlines()
    assert [line.split(" ", 1)[0] for line in lines] == ["::warning", "::warning"]
    for line in lines:
        found = re.fullmatch(r"::warning file=([^,:]*),line=(\d+),title=([^,:]*)::(.*)", line)
        assert found, line
        assert found[1] == "logs/a%2Cb%3Ac.log"
    hostile = batch.model_copy(update={"damaged": {"x\n::error::y": "100 %\r\n::stop-commands::z"}})
    text = FORMATS["github"].text(hostile)
    assert len(text.splitlines()) == 3
    assert "\n::error::y" not in text
    assert "100 %25" in text


# The file of SQL ----------------------------------------------------------------------------------------------------

COMMENTS = re.compile(r"^--.*$", re.MULTILINE)


def test_the_patch_is_pairs_of_statements_without_comments(batch: BatchModel) -> None:
    text = to_patch(batch)
    assert "<script>" in text
    statements = [part.strip() for part in COMMENTS.sub("", text).split(";\n") if part.strip()]
    assert len(statements) == 2
    assert all(statement.startswith("SELECT") and "--" not in statement for statement in statements)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 /* a\n; DROP TABLE t; -- */ AS x",
        "SELECT 1 -- \n AS x -- */ ; DELETE FROM t",
        'SELECT \'a -- b\', $$ -- c $$, "d /* e" FROM (VALUES (1)) AS f ("d /* e");',
        "SELECT 1 /* /* nested */ ; DROP TABLE t */ AS x",
        "SELECT E'it\\'s -- ; ' AS x",
        "SELECT '\n\\! ls\n' AS x",
        "SELECT 1 - -1 AS x",
    ],
)
def test_statements_lose_their_comments_and_stay_what_they_are(sql: str, postgres_url: str) -> None:
    plain = without_comments(sql, "postgres")
    assert plain is not None
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute(plain).fetchall() == connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1; DROP TABLE t", "SELECT 1 \\! ls", "SELECT 1 \\g", "SELECT 'x\x1b'", "-- nothing", "", "SELECT 'cut"],
)
def test_what_may_be_more_than_one_statement_is_left_out(sql: str) -> None:
    assert without_comments(sql, "postgres") is None


HOSTILE_PIECES = st.sampled_from(
    [
        "SELECT 1",
        "--",
        "/*",
        "*/",
        "\n",
        ";",
        "'",
        '"',
        "$$",
        "$a$",
        "\\!",
        "E'",
        "\\",
        " ",
        "DROP TABLE t",
        "\r",
        "\u2028",
        "\v",
    ]
)


@given(st.lists(HOSTILE_PIECES, max_size=12).map("".join))
def test_no_text_gets_out_of_its_comment(text: str) -> None:
    """What evidence, rules and statements say: every line of the file is a comment or part of a plain statement."""
    document = json.loads(_DOCUMENT)
    document["original"] = text
    document["chosen"]["sql"] = text
    document["chosen"]["steps"] = [{"rule": text, "summary": text}]
    document["verdict"]["reason"] = text
    document["verdict"]["assumptions"] = [text]
    found = gathered(BEGIN.format("10:00:00", 1.0, "SELECT 1"))
    (one,) = found.groups.ranked()
    done = [Done(item_of(one), "faster", text, 2.0, "tested", text, "id")]
    patch = to_patch(record_of(found, done, 1, Run(documents={"id": document})))
    plain = without_comments(text, "postgres")
    assert "\r" not in patch
    parts = patch.split("-- original:")
    assert len(parts) == 2
    assert all(line.startswith("--") for line in parts[0].splitlines())
    tail = "left out, not certain to be one statement; see the report\n"
    if plain is None:
        assert parts[1] == f" {tail}-- rewrite: {tail}"
    else:
        assert parts[1] == f"\n{plain};\n-- rewrite:\n{plain};\n"


_DOCUMENT = json.dumps(
    {
        "version": 1, "target": "t", "engine": "e", "dialect": "postgres", "original": "", "group_key": "g",
        "rewrite_key": "r", "nondeterminism": [], "reason": "", "original_plan": None, "chosen_plan": None,
        "chosen": {"id": "r1", "sql": "", "source": "rules", "steps": []},
        "speedup": {"ratio": 2.0, "low": 1.9, "high": 2.1, "at_least": False},
        "verdict": {
            "kind": "proved", "method": "algebra", "reason": "", "adequacy": None, "counterexample": None,
            "assumptions": [], "confirmed_on": [], "seconds": 1.0, "seed": 0,
        },
        "measurements": [], "losers": [], "candidates": 1, "timings": {}, "notes": [],
    }
)  # fmt: skip


# Savings ------------------------------------------------------------------------------------------------------------

RATIOS = st.lists(st.floats(0.01, 1e6), min_size=3, max_size=3).map(sorted)
SECONDS = st.floats(0, 1e7)


def gain_of(ratios: list[float], *, at_least: bool = False) -> SpeedupModel:
    return SpeedupModel(ratio=ratios[1], low=ratios[0], high=ratios[2], at_least=at_least)


@given(SECONDS, RATIOS, st.booleans(), st.one_of(st.none(), st.floats(0, 1e8)), st.floats(0, 100), st.integers(1, 1000))
def test_a_saving_is_an_interval_within_the_time_that_there_is(
    seconds: float, ratios: list[float], at_least: bool, span: float | None, took: float, calls: int
) -> None:
    told = saving(Times(seconds, calls), gain_of(ratios, at_least=at_least), took, span)
    for part, whole in ((told.log, seconds), (told.day, seconds * DAY / span if span else None)):
        if part is not None and whole is not None:
            assert part.low <= part.expected <= part.high <= whole * (1 + 1e-12)
    assert (told.day is None) == (span is None or span < LEAST_SPAN)
    if told.day is not None and span is not None:
        assert told.day.expected * span == pytest.approx(told.log.expected * DAY)
    # What is left after the saving is the time divided by the ratio.
    assert seconds - told.log.expected == pytest.approx(seconds / ratios[1], abs=1e-6 * max(seconds, 1.0))
    if at_least:
        assert told.log.high == seconds


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=40), RATIOS, st.floats(1e-6, 10))
def test_the_low_end_supposes_that_no_call_is_quicker_than_the_race(
    durations: list[float], ratios: list[float], took: float
) -> None:
    spread = Distribution()
    for seconds in durations:
        spread.add(seconds)
    told = saving(Times(sum(durations), len(durations), spread.bins(2048)), gain_of(ratios), took, None)
    left = sum(max(seconds / ratios[0], took) for seconds in durations)
    assert told.log.low <= sum(durations) * (1 - 1 / ratios[0]) + 1e-9
    assert told.log.low == pytest.approx(sum(durations) - left, abs=0.03 * (sum(durations) + left))


@given(st.lists(st.tuples(SECONDS, RATIOS), min_size=1, max_size=5), st.floats(LEAST_SPAN, 1e8))
def test_savings_add_up(parts: list[tuple[float, list[float]]], span: float) -> None:
    each = [saving(Times(seconds, 1), gain_of(ratios), None, span) for seconds, ratios in parts]
    together = total(each)
    assert together is not None
    assert together.log.expected == pytest.approx(sum(one.log.expected for one in each))
    assert together.day is not None
    assert together.day.low <= together.day.expected <= together.day.high
    assert total([]) is None


@given(st.lists(st.floats(0, 1e6), max_size=50), st.integers(1, 30))
def test_bins_hold_every_duration(durations: list[float], most: int) -> None:
    spread = Distribution()
    for seconds in durations:
        spread.add(seconds)
    bins = spread.bins(most)
    assert len(bins) <= most
    assert sum(count for _, _, count in bins) == len(durations)
    assert all(one[1] == other[0] for one, other in pairwise(bins))
    if durations:
        assert bins[0][0] <= min(durations) * 1.0001
        assert max(durations) <= bins[-1][1] * 1.0001 or max(durations) <= 1e-9


# Conditions ---------------------------------------------------------------------------------------------------------


def test_conditions_hold_for_what_they_name(batch: BatchModel) -> None:
    assert len(met(batch, ["faster"], 41.0)) == 1
    assert met(batch, ["faster"], 41.1) == []
    assert met(batch, ["failed"], 1.0) == []
    assert len(met(batch, ["malformed"], 1.0)) == 1
    worse = batch.model_copy(update={"outcomes": {"failed": 2}, "damaged": {"a": "b"}})
    assert len(met(worse, ["failed", "malformed"], 1.0)) == 3
    assert met(worse, [], 1.0) == []


def test_one_log_in_several_formats_is_noticed() -> None:
    found = gathered(BEGIN.format("10:00:00", 1.0, "SELECT 1"))
    found.positions = {name: next(iter(found.positions.values())) for name in ("a/x.log", "a/x.csv", "a/y.log")}
    notes = record_of(found, [], 1, Run()).notes
    assert len(notes) == 1
    assert "x.csv, x.log" in notes[0]


def test_ignored_groups_are_in_every_account(report: Report) -> None:
    text = BEGIN.format("10:00:00", 1000.0, "SELECT 1") + BEGIN.format("10:10:00", 500.0, "SELECT 2 AS b")
    key = gathered(text).groups.ranked()[0].key
    batch = record_of(gathered(text, ignore=(key,)), [], 5, Run(ignored=(key, "other")))
    assert list(batch.ignored) == [key]
    assert batch.unmatched_ignores == ["other"]
    assert batch.total.seconds == 1.5
    assert batch.span == 600
    assert key in html.unescape(FORMATS["html"].text(batch))


def test_a_stored_report_of_another_version_is_not_guessed_at(report: Report) -> None:
    found = gathered(BEGIN.format("10:00:00", 1.0, "SELECT 1"))
    (one,) = found.groups.ranked()
    done = [Done(item_of(one), "known", "x", 2.0, "tested", "SELECT 1", "id")]
    batch = record_of(found, done, 1, Run(documents={"id": {**report_to_json(replace(report)), "version": 99}}))
    assert batch.groups[0].result is not None
    assert batch.groups[0].result.speedup is None
    for format_ in FORMATS.values():
        assert format_.text(batch)
