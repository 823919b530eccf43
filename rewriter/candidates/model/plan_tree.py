"""A plan without the names and conditions of the query: what may be kept of it, and what a selector looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewriter.records import Plan

_KEPT = ("join type", "strategy", "parent relationship")  # details that are words of the engine, not of the query
_CONDITIONS = ("filter", "index cond", "hash cond", "merge cond", "join filter", "group key", "sort key")
DEEPEST = 200  # levels of a plan that are kept


def pruned(plan: Plan, level: int = 0) -> Plan:
    """Operators, estimates and structure. Of a condition only that there is one, of a sub-plan's name only its kind."""
    detail = {key: plan.detail[key] for key in _KEPT if key in plan.detail}
    detail.update((key, "") for key in _CONDITIONS if plan.detail.get(key))
    if plan.detail.get("subplan name"):
        detail["subplan name"] = plan.detail["subplan name"].split()[0]
    children = tuple(pruned(child, level + 1) for child in plan.children) if level < DEEPEST else ()
    return Plan(plan.operator, detail, plan.rows, plan.cost, children)


def plan_body(plan: Plan) -> dict[str, Any]:
    """A plan as plain data; ``plan_of`` reads it back."""
    body: dict[str, Any] = {"operator": plan.operator, "rows": plan.rows, "cost": plan.cost}
    if plan.detail:
        body["detail"] = dict(plan.detail)
    if plan.children:
        body["children"] = [plan_body(child) for child in plan.children]
    return body


def plan_of(body: Mapping[str, Any]) -> Plan:
    children = tuple(plan_of(child) for child in body.get("children", ()))
    return Plan(body["operator"], dict(body.get("detail", {})), body.get("rows"), body.get("cost"), children)
