"""A plan as rows of an indented tree, with the nodes marked that account for the difference from the other plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rewriter.report.model import PlanModel

TELLING = 0.1  # share of its plan's cost from which on a node accounts for something
PLACES = ("relation name", "table", "index name", "cte name", "alias", "subplan name")  # where a node reads
MANNERS = ("join type", "strategy")
UNTOLD = frozenset({"parent relationship", *PLACES, *MANNERS})


@dataclass(frozen=True)
class Node:
    """``share``: of the plan's cost, what the node itself takes; ``telling``: the other plan has nothing like it."""

    depth: int
    operator: str
    place: str
    details: tuple[tuple[str, str], ...]
    rows: float | None
    cost: float | None
    share: float | None
    telling: bool


@dataclass(frozen=True)
class Plan:
    title: str
    nodes: tuple[Node, ...]
    cost: float | None


def side_by_side(original: PlanModel | None, chosen: PlanModel | None) -> list[Plan]:
    """The plans there are, each marked against the other."""
    plans = []
    for title, own, other in (("Original", original, chosen), ("Rewrite", chosen, original)):
        if own is not None:
            known = _likenesses(other) if other is not None else None
            plans.append(Plan(title, tuple(_nodes(own, own.cost, known)), own.cost))
    return plans


def _nodes(root: PlanModel, whole: float | None, known: Counter[tuple[str, str, str]] | None) -> Iterator[Node]:
    waiting = [(0, root)]
    while waiting:
        depth, plan = waiting.pop()
        share = _own(plan) / whole if whole and plan.cost is not None else None
        like = _likeness(plan)
        met = known is not None and known[like] > 0
        if met and known is not None:
            known[like] -= 1
        yield Node(
            depth,
            plan.operator,
            _place(plan),
            tuple((name, value) for name, value in plan.detail.items() if name not in UNTOLD),
            plan.rows,
            plan.cost,
            share,
            telling=known is not None and not met and share is not None and share >= TELLING,
        )
        waiting += [(depth + 1, child) for child in reversed(plan.children)]


def _own(plan: PlanModel) -> float:
    """The cost that a node adds to that of those below it."""
    return max(0.0, (plan.cost or 0.0) - sum(child.cost or 0.0 for child in plan.children))


def _likenesses(root: PlanModel) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    waiting = [root]
    while waiting:
        plan = waiting.pop()
        found[_likeness(plan)] += 1
        waiting += plan.children
    return found


def _likeness(plan: PlanModel) -> tuple[str, str, str]:
    """Two nodes with the same one do the same work at about the same cost."""
    own = _own(plan)
    return plan.operator, _place(plan), f"{own:.1g}"


def _place(plan: PlanModel) -> str:
    known = [plan.detail[name] for name in PLACES if name in plan.detail]
    manner = [plan.detail[name] for name in MANNERS if name in plan.detail]
    return " ".join(dict.fromkeys([*(m for m in manner if m not in ("Plain", "Inner")), *known]))
