"""Pairs from recorded reports, and from files of pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rewriter.catalog import Catalog
from rewriter.distill.records import Outcome, Pair, Reason
from rewriter.errors import InputError, UsageError
from rewriter.parse import parse, read_schema


def recorded(reports: Iterable[Mapping[str, Any]], catalog: Catalog) -> Iterator[Pair | Outcome]:
    """The accepted rewrites of stored reports (``Store.accepted``) over the catalog of their target, or why one cannot
    be read any longer."""
    for report in reports:
        chosen, origin = report["chosen"], f"rewrite {report['id']}"
        verdict, speedup = report.get("verdict") or {}, report.get("speedup") or {}
        steps = chosen["steps"] if chosen["source"] != "rules" else []
        try:
            yield Pair(
                parse(report["original"], catalog, dialect=report["dialect"]),
                parse(chosen["sql"], catalog, dialect=report["dialect"]),
                speedup.get("ratio"),
                said=steps[0]["summary"] if len(steps) == 1 else "",
                facts=tuple(verdict.get("assumptions") or ()),
                origin=origin,
            )
        except InputError as error:
            yield Outcome(1, refused=Reason.UNREADABLE, detail=error.message, origins=(origin,))


def listed(text: str) -> Iterator[Pair | Outcome]:
    """The pairs of a file of JSON lines: ``before``, ``after``, ``schema`` (DDL), and where known ``dialect`` (postgres
    if not given), ``ratio`` and ``said``. Raises UsageError naming a line that is none."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        origin = f"line {number}"
        try:
            body = json.loads(line)
            before, after, schema = (str(body[key]) for key in ("before", "after", "schema"))
            ratio = float(body["ratio"]) if body.get("ratio") is not None else None
            dialect, said = str(body.get("dialect", "postgres")), str(body.get("said", ""))
        except (ValueError, KeyError, TypeError):
            hint = 'each line is an object with "before", "after" and "schema"'
            raise UsageError(f"line {number} of the pairs cannot be read", hint=hint) from None
        if dialect not in ("postgres", "duckdb"):
            raise UsageError(f"line {number} of the pairs: unknown dialect", hint="use postgres or duckdb")
        try:
            catalog = read_schema(schema, dialect)
            yield Pair(parse(before, catalog), parse(after, catalog), ratio, said=said, origin=origin)
        except InputError as error:
            yield Outcome(1, refused=Reason.UNREADABLE, detail=error.message, origins=(origin,))
