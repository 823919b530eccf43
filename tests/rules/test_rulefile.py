"""Malformed documents are refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewriter.errors import RuleFileError
from rules.discovery import discover
from rules.rulefile import parse_rule

PATH = Path("family/some_rule.md")
GOOD = """---
status: draft
equivalence: advice
dialects: [postgres]
source: somebody
---

## Rule

Do this. Then that.

## Why it helps

It is faster.

## Precondition

None.
"""


def test_a_good_document_is_read() -> None:
    document = parse_rule(GOOD, PATH)
    assert document.name == "family/some_rule"
    assert document.summary == "Do this."
    assert not document.executable


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (("---\nstatus", "status"), ":1"),
        (("status: draft", "status: maybe"), ":1"),
        (("dialects: [postgres]", "dialects: [oracle]"), ":1"),
        (("source: somebody", "source: ''"), ":1"),
        (("source: somebody", "source: somebody\nversions: {postgres: 'before 18'}"), "before 18"),
        (("source: somebody", "source: somebody\nversions: {duckdb: '<2'}"), ":1"),
        (("source: somebody", "source: somebody\nseen: [1]"), ":1"),
        (("status: draft", "status: [draft"), ":"),
        (("## Precondition", "## Conditions"), ":16"),
        (("## Why it helps", "## Rule"), ":12"),
        (("## Precondition\n\nNone.\n", ""), "Precondition"),
        (("None.", ""), ":17"),
        (("None.", "None.\n\n## Rewrites\n\n```sql\nSELECT 1\n```\n"), ":22"),
        (("None.", "None.\n\n## Rewrites\n\n```python\nprint()\n```\n"), ":22"),
        (("None.", "None.\n\n## Rewrites\n\n```sql\nSELECT 1\n"), "closed"),
    ],
)
def test_a_bad_document_is_refused_with_its_place(change: tuple[str, str], place: str) -> None:
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(RuleFileError) as caught:
        parse_rule(text, PATH)
    assert place in caught.value.message


def test_versions_bound_where_a_rule_is_tried() -> None:
    text = GOOD.replace("source: somebody", "source: somebody\nversions: {postgres: '>=14, <18'}")
    document = parse_rule(text, PATH)
    assert [document.pays_on("postgres", version) for version in ((13, 9), (14, 0), (17, 5), (18, 0), ())] == [
        False,
        True,
        True,
        False,
        True,
    ]
    assert not document.pays_on("duckdb", (1, 5))


def test_a_section_out_of_order_is_refused() -> None:
    text = GOOD.replace("## Why it helps\n\nIt is faster.\n\n", "") + "\n## Why it helps\n\nIt is faster.\n"
    with pytest.raises(RuleFileError, match="out of order"):
        parse_rule(text, PATH)


def test_all_documents_of_the_catalogue_are_readable_and_named_once() -> None:
    names = [document.name for document in discover()]
    assert names == sorted(set(names))
