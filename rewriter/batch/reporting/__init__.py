"""Reports of a batch: every format is made from the one record of the run (``record.BatchModel``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rewriter.batch.reporting.build import Run, record_of
from rewriter.batch.reporting.csv_table import to_csv
from rewriter.batch.reporting.github import to_github
from rewriter.batch.reporting.html import to_html
from rewriter.batch.reporting.markdown import to_markdown
from rewriter.batch.reporting.patch import to_patch
from rewriter.batch.reporting.record import BatchModel
from rewriter.batch.reporting.sarif import to_sarif
from rewriter.batch.reporting.terminal import print_talk, print_terminal

__all__ = [
    "DEFAULT",
    "FORMATS",
    "BatchModel",
    "Format",
    "Run",
    "json_schema",
    "print_talk",
    "print_terminal",
    "record_of",
    "to_csv",
    "to_github",
    "to_html",
    "to_json",
    "to_markdown",
    "to_patch",
    "to_sarif",
]


@dataclass(frozen=True)
class Format:
    """The ``file`` that a format is written to, and how its text is made."""

    file: str
    text: Callable[[BatchModel], str]


def to_json(batch: BatchModel) -> dict[str, Any]:
    """The record as JSON data, as ``schema.json`` describes it."""
    return batch.model_dump(mode="json")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``to_json``; the file ``schema.json`` beside this module holds it."""
    return BatchModel.model_json_schema()


def _dumped(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


FORMATS = {
    "json": Format("batch.json", lambda batch: _dumped(to_json(batch))),
    "markdown": Format("batch.md", to_markdown),
    "html": Format("batch.html", to_html),
    "csv": Format("batch.csv", to_csv),
    "sarif": Format("batch.sarif", lambda batch: _dumped(to_sarif(batch))),
    "github": Format("annotations.txt", to_github),
    "sql": Format("rewrites.sql", to_patch),
}
"""All formats by name."""

DEFAULT = ("json", "markdown", "html", "sql")
"""The formats that are written when none is named."""
