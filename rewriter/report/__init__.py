"""Reports: JSON with a versioned schema, Markdown, terminal text, one self-contained HTML file."""

from __future__ import annotations

from typing import Any

from rewriter.records import Plan, Report, Verdict
from rewriter.report.html import stored_to_html, to_html, to_html_index
from rewriter.report.markdown import to_markdown
from rewriter.report.model import ReportModel, model, plan_model, verdict_model
from rewriter.report.terminal import print_terminal

__all__ = [
    "json_schema",
    "plan_to_json",
    "print_terminal",
    "stored_to_html",
    "to_html",
    "to_html_index",
    "to_json",
    "to_markdown",
    "verdict_to_json",
]


def to_json(report: Report) -> dict[str, Any]:
    """The report as JSON data, as ``schema.json`` describes it."""
    return model(report).model_dump(mode="json")


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """One verdict as JSON data; the same shape as inside a report."""
    return verdict_model(verdict).model_dump(mode="json")


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """One plan as JSON data; the same shape as inside a report."""
    return plan_model(plan).model_dump(mode="json")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``to_json``; the file ``schema.json`` beside this module holds it."""
    return ReportModel.model_json_schema()
