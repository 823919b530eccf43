"""What an engine knows of the data that a query reads, in words for a model: sizes, keys, distinct values, and the
share of rows that the query's own predicates let through, as its plan estimates it.

All numbers are the catalog's and the plan's, rounded to two digits; conditions are told without their constants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlglot import exp

from rewriter.catalog import Column, Table
from rewriter.llm import Redaction
from rewriter.llm.redaction import rounded, tables_of
from rewriter.records import Plan, Query
from rules.facts import Facts

MOST_LINES = 80
_RELATION, _CONDITIONS = ("relation name", "table"), ("filter", "filters", "index cond", "recheck cond")
_LOOKUPS = ("index cond", "recheck cond")
_OTHER = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]")  # a column of another relation: the estimate is then of one lookup
_MATCHING = ("semi", "anti", "right semi", "right anti", "mark")  # joins that only look whether a row has a match


def estimates(query: Query, plan: Plan | None, redaction: Redaction) -> str:
    """One line for each table, each scan and existence test of the plan, and each column that is compared; empty where
    neither catalog nor plan tells anything."""
    tables = tables_of(query.tree, query.catalog)
    sizes = {table.name: table.rows for table in tables}
    indexes = _indexes(plan) if plan is not None else {}
    lines = [line for table in tables for line in _table(table, indexes.get(table.name, []), redaction)]
    if plan is not None:
        lines += dict.fromkeys(line for node in _nodes(plan) for line in _node(node, sizes, redaction))
    lines += _columns(query, redaction)
    return "\n".join(lines[:MOST_LINES])


def _table(table: Table, indexes: list[str], redaction: Redaction) -> Iterator[str]:
    if table.rows is None:
        return
    keys = [table.primary_key] if table.primary_key else []
    told = ", ".join(f"({', '.join(map(redaction.name, key))})" for key in [*keys, *table.unique])
    used = ", ".join(sorted(set(map(redaction.condition, indexes))))
    yield (
        f"{redaction.name(table.name)}: about {rounded(table.rows)} rows; keys, which have an index: {told or 'none'}"
        + (f"; indexes that the plan uses: {used}" if used else "")
    )


def _columns(query: Query, redaction: Redaction) -> Iterator[str]:
    """Columns that the query compares, joins or groups by."""
    facts = Facts(query.catalog)
    seen: dict[tuple[str, str], tuple[Table, Column]] = {}
    for column in query.tree.find_all(exp.Column):
        used = column.find_ancestor(exp.Binary, exp.Between, exp.In, exp.Group, exp.Select)
        source = facts.source(column) if used is not None and not isinstance(used, exp.Select) else None
        table = facts.table(source[0]) if source is not None else None
        known = table.column(column.name) if table is not None else None
        if table is not None and known is not None:
            seen[table.name, known.name] = table, known
    for table, known in seen.values():
        found = known.statistics
        if found is None or found.distinct is None:
            continue
        name = f"{redaction.name(table.name)}.{redaction.name(known.name)}"
        each = (table.rows or 0) / max(1.0, found.distinct)
        share = f", {rounded(each)} rows each" if each >= 2 else ""
        nulls = f", NULL in {_share(found.null_fraction)} of the rows" if found.null_fraction else ""
        yield f"{name}: about {rounded(found.distinct)} distinct values{share}{nulls}"


def _nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.children:
        yield from _nodes(child)


def _node(node: Plan, sizes: dict[str, int | None], redaction: Redaction) -> Iterator[str]:
    """The selectivity of the predicates of a scan, and of a test for matching rows."""
    if node.rows is None:
        return
    relation = next((node.detail[key] for key in _RELATION if node.detail.get(key)), "").rpartition(".")[2]
    conditions = [redaction.condition(node.detail[key]) for key in _CONDITIONS if node.detail.get(key)]
    size = sizes.get(relation)
    if size and conditions and not any(_OTHER.search(node.detail.get(key, "")) for key in _LOOKUPS):
        where = " and ".join(dict.fromkeys(conditions))
        part = f"about {rounded(node.rows)} of {rounded(size)} rows ({_share(node.rows / size)})"
        yield f"{redaction.name(relation)} where {where}: {part}"
    kind = node.detail.get("join type", "").lower()
    outer = node.children[0 if not kind.startswith("right") else -1].rows if node.children else None
    if kind in _MATCHING and outer:
        word = "no match" if "anti" in kind else "a match"
        part = f"about {rounded(node.rows)} of {rounded(outer)} outer rows ({_share(node.rows / outer)})"
        yield f"rows that find {word} in the subquery: {part}"


def _indexes(plan: Plan) -> dict[str, list[str]]:
    """By table, the indexes that the plan reads it with; of a bitmap scan the index stands one node below."""
    found: dict[str, list[str]] = {}
    for node in _nodes(plan):
        relation = node.detail.get("relation name")
        names = [part.detail["index name"] for part in (node, *node.children) if part.detail.get("index name")]
        if relation and names:
            found.setdefault(relation, []).extend(names)
    return found


def _share(share: float | None) -> str:
    return f"{min(1.0, share or 0.0):.2g}"
