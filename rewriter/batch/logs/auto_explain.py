"""Statements inside the plans that the auto_explain module logs, in its formats ``text`` and ``json``.

See "auto_explain" in the PostgreSQL documentation: ``Query Text``, and from version 16 ``Query Parameters``.
"""

from __future__ import annotations

import json
import re

from rewriter.batch.logs.entries import Reason

_TEXT = "Query Text: "
_PARAMETERS = "\nQuery Parameters: "
# The plan's first node. Only nodes have costs, and auto_explain always writes them.
_NODE = re.compile(r"^\S.*  \(cost=\d+\.\d+\.\.\d+\.\d+ rows=\d+ width=\d+\)", re.MULTILINE)


def read_plan(plan: str) -> tuple[str, str | None] | Reason:
    """(statement, logged parameters or None) of what follows ``plan:`` in a message; or why it cannot be told."""
    plan = plan.lstrip()
    if plan.startswith("{"):
        return _from_json(plan)
    if not plan.startswith(_TEXT):
        return Reason.TRUNCATED if _TEXT.startswith(plan) else Reason.PLAN_FORMAT
    if plan.startswith(_TEXT + '"'):  # YAML quotes the statement; no statement begins with a quote
        return Reason.PLAN_FORMAT
    node = _NODE.search(plan)
    if node is None:
        return Reason.TRUNCATED
    head = plan[len(_TEXT) : node.start()].rstrip("\n")
    statement, found, parameters = head.rpartition(_PARAMETERS)
    return (statement, parameters) if found else (head, None)


def _from_json(plan: str) -> tuple[str, str | None] | Reason:
    try:
        document = json.loads(plan)
    except (ValueError, RecursionError):
        return Reason.TRUNCATED
    statement = document.get("Query Text")
    parameters = document.get("Query Parameters")
    if not isinstance(statement, str):
        return Reason.MALFORMED
    return statement, parameters if isinstance(parameters, str) else None
