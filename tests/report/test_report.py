"""The four forms of the report: complete, escaped, in step with their schema."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import ValidationError
from rich.console import Console

import rewriter.report
from rewriter.records import Decision, Report
from rewriter.report import json_schema, print_terminal, to_html, to_html_index, to_json, to_markdown
from rewriter.report.model import ReportModel
from rewriter.report.units import count, duration, ratio
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


def test_terminal_prints_the_rewrite_and_needs_no_colour(report: Report) -> None:
    for one in (report, kept(report)):
        out = io.StringIO()
        print_terminal(one, Console(file=out, width=120, no_color=True))
        text = out.getvalue()
        assert "\x1b" not in text
        assert one.decision.reason[:20].lower() in text.lower() or "41x faster" in text
    assert "they differ on 2 rows" in text


def test_markdown_matches_the_golden_file(report: Report) -> None:
    """Read the file as a person would; write it anew by deleting it."""
    path = GOLDEN / "report.md"
    text = to_markdown(report)
    if not path.exists():
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_a_fence_inside_the_sql_cannot_end_the_block(report: Report) -> None:
    assert report.decision.chosen is not None
    chosen = replace(report.decision.chosen, sql="SELECT '```' AS a")
    text = to_markdown(replace(report, decision=replace(report.decision, chosen=chosen)))
    assert re.search(r"^````sql\nSELECT '```' AS a\n````$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.00042, "0.4 ms"),
        (0.0384, "38 ms"),
        (0.9, "900 ms"),
        (1.2345, "1.23 s"),
        (60.0, "60 s"),
        (125, "2 min 5 s"),
    ],
)
def test_durations_are_in_human_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_are_in_human_units() -> None:
    assert ratio(1.304) == "1.30x"
    assert ratio(733.2) == "733x"
    assert ratio(1500.0, at_least=True) == ">= 1,500x"
    assert count(1, "database") == "1 database"
    assert count(1204, "query", "queries") == "1,204 queries"
