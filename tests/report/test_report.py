"""The four forms of the report: complete, escaped, in step with their schema."""

from __future__ import annotations

import html
import io
import json
import os
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

import rewriter.report
from rewriter.records import Decision, Measurement, Report, Step, VerdictKind
from rewriter.report import json_schema, print_terminal, to_html, to_html_index, to_json, to_markdown
from rewriter.report.model import ReportModel
from rewriter.report.text import MEANING, line_diff, why
from rewriter.report.units import count, duration, ratio
from rules.discovery import discover
from tests.examples import HOSTILE

GOLDEN = Path(__file__).parents[1] / "golden"


def kept(report: Report) -> Report:
    decision = Decision(None, "the original is kept: no rule applies", losers=report.decision.losers)
    return replace(report, decision=decision, verdict=None, chosen_plan=None)


def test_json_is_data_and_follows_its_schema(report: Report) -> None:
    for one in (report, kept(report)):
        document = json.loads(json.dumps(to_json(one)))
        assert document["version"] == 1
        assert ReportModel.model_validate(document).model_dump(mode="json") == document
    document["version"] = 2
    with pytest.raises(ValidationError):
        ReportModel.model_validate(document)


def test_the_schema_file_is_in_step() -> None:
    """Regenerate with: python -c "import json, rewriter.report as r; print(json.dumps(r.json_schema(), indent=1))"."""
    path = Path(rewriter.report.__file__).parent / "schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == json_schema()


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_is_self_contained_and_escapes_everything(report: Report) -> None:
    for page_text in (to_html(report), to_html(kept(report)), to_html_index([(HOSTILE, report), ("b", kept(report))])):
        page = _Page()
        page.feed(page_text)
        assert not {"script", "iframe", "object", "link", "img", "form"} & set(page.tags)
        assert all(link.startswith("#") for link in page.links)
        assert HOSTILE in page.text
        assert "url(" not in page_text
        assert "@import" not in page_text


def test_html_says_what_matters(report: Report) -> None:
    page = _Page()
    page.feed(to_html(report))
    for words in (
        "41x faster",
        "1,204 generated databases",
        "family/rule_name",
        "Seq Scan",
        "they differ on 2 rows",
        "NULL",
    ):
        assert words in page.text


def terminal(report: Report, *, colour: bool = False) -> str:
    out = io.StringIO()
    print_terminal(
        report, Console(file=out, width=120, force_terminal=colour, no_color=not colour, legacy_windows=False)
    )
    return out.getvalue()


def test_terminal_prints_the_rewrite_and_needs_no_colour(report: Report) -> None:
    for one in (report, kept(report)):
        text = terminal(one)
        assert "\x1b" not in text
        assert one.decision.reason[:20].lower() in text.lower() or "41x faster" in text
        assert "they differ on 2 rows" in text


@pytest.mark.parametrize("form", ["markdown", "terminal"])
def test_what_people_read_matches_the_golden_file(report: Report, form: str) -> None:
    """Read the files as a person would. After a change on purpose: REWRITER_GOLDEN=1 pytest tests/report."""
    path = GOLDEN / {"markdown": "report.md", "terminal": "report.txt"}[form]
    text = to_markdown(report) if form == "markdown" else terminal(report)
    if os.environ.get("REWRITER_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


NASTY = "\x1b[2J\x07\x9b31m \u202eevil\u2066 \x00 \udc80 [red]x[/red] [a](http://b) ![i](http://c) <b>"


def nasty(report: Report) -> Report:
    """The report with hostile text wherever text of others goes."""
    chosen, verdict, plan = report.decision.chosen, report.verdict, report.original_plan
    assert chosen is not None
    assert verdict is not None
    assert plan is not None
    decision = replace(
        report.decision,
        reason=NASTY,
        chosen=replace(chosen, sql=NASTY, steps=(Step(NASTY, NASTY),)),
        losers=tuple(replace(loser, reason=NASTY) for loser in report.decision.losers),
    )
    return replace(
        report,
        query=replace(report.query, text=NASTY),
        target=NASTY,
        engine=NASTY,
        decision=decision,
        verdict=replace(verdict, reason=NASTY, assumptions=(NASTY,), confirmed_on=(NASTY,)),
        original_plan=replace(plan, operator=NASTY, detail={NASTY: NASTY}),
        measurements=(*report.measurements, Measurement("r9", error=NASTY)),
        notes=(NASTY,),
    )


def test_no_text_drives_a_terminal_or_hides_what_it_is(report: Report) -> None:
    hostile = nasty(report)
    pages = [to_markdown(hostile), to_html(hostile), to_html_index([(NASTY, hostile)]), terminal(hostile)]
    for page in pages:
        page.encode("utf-8")
        assert not set(page) & set("\x00\x07\x1b\x9b\u202e\u2066")
        assert "<U+202E>" in html.unescape(page)
    assert "[red]x[/red]" in terminal(hostile)
    colours = re.compile(r"\x1b\[[0-9;]*m")
    assert "\x1b" not in colours.sub("", terminal(hostile, colour=True))


def test_markdown_text_makes_no_links_images_or_tags(report: Report) -> None:
    outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", to_markdown(nasty(report)), flags=re.MULTILINE | re.DOTALL)
    assert "http://b" in outside
    assert not re.search(r"(?<!\\)\]\(|(?<!\\)<b", outside)


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=8), st.lists(st.sampled_from(["a", "b", "d"]), max_size=8))
def test_a_diff_holds_both_texts(before: list[str], after: list[str]) -> None:
    lines = line_diff(before, after)
    assert [line for mark, line in lines if mark in " -"] == before
    assert [line for mark, line in lines if mark in " +"] == after


def test_a_diff_of_long_texts_is_quick() -> None:
    """Lines that are all alike and never equal are the worst case of many diffs."""
    before = [f"  SUM(CASE WHEN day_{n} = {n} THEN price ELSE NULL END) AS total_{n}" for n in range(400)]
    after = [line.replace("price", "net_price") for line in before]
    start = time.perf_counter()
    assert len(line_diff(before, after)) == 800
    assert time.perf_counter() - start < 2.0


def test_every_verdict_has_a_meaning() -> None:
    assert set(MEANING) == set(VerdictKind)


def test_the_reason_why_a_rule_helps_comes_from_its_document(report: Report) -> None:
    document = discover()[0]
    assert report.decision.chosen is not None
    chosen = replace(report.decision.chosen, steps=(Step(document.name, document.summary),))
    known = replace(report, decision=replace(report.decision, chosen=chosen))
    page = _Page()
    page.feed(to_html(known))
    assert " ".join(document.why.split()) in page.text
    assert why("family/rule_name") == ""


def test_a_fence_inside_the_sql_cannot_end_the_block(report: Report) -> None:
    assert report.decision.chosen is not None
    chosen = replace(report.decision.chosen, sql="SELECT '```' AS a")
    text = to_markdown(replace(report, decision=replace(report.decision, chosen=chosen)))
    assert re.search(r"^````sql\nSELECT '```' AS a\n````$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.000012, "12 µs"),
        (0.00042, "0.4 ms"),
        (0.0384, "38 ms"),
        (0.9, "900 ms"),
        (1.2345, "1.23 s"),
        (60.0, "60 s"),
        (125, "2 min 5 s"),
        (5400, "1 h 30 min"),
    ],
)
def test_durations_are_in_human_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_are_in_human_units() -> None:
    assert ratio(1.304) == "1.30x"
    assert ratio(9.996) == "10x"
    assert ratio(733.2) == "733x"
    assert ratio(1500.0, at_least=True) == ">= 1,500x"
    assert count(1, "database") == "1 database"
    assert count(1204, "query", "queries") == "1,204 queries"
