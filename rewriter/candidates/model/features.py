"""What a selector sees of a query, as numbers: its plan node by node, its statement's constructs, the rules that apply.

The plan's part is after QueryFormer (Y. Zhao et al., PVLDB 15(8), 2022): operator, estimates and place of every node.
No name, no literal and no condition's text is looked at, so that what was learnt on one schema holds on another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rewriter.records import Plan

# Operators of both engines by what they do; the first word that the operator's name holds decides.
_OPERATORS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("index", ("index", "bitmap")),
    ("common", ("cte", "recursive", "worktable")),
    ("scan", ("scan", "get", "values", "empty_result")),
    ("hash join", ("hash join", "hash_join", "delim_join")),
    ("merge join", ("merge join", "piecewise", "iejoin")),
    ("loop join", ("nested loop", "nested_loop", "blockwise", "cross_product", "positional", "asof")),
    ("set", ("append", "union", "setop", "except", "intersect")),
    ("aggregate", ("aggregate", "group", "unique", "distinct")),
    ("window", ("window",)),
    ("sort", ("sort", "order", "top_n")),
    ("limit", ("limit",)),
    ("kept", ("materialize", "memoize", "hash")),
    ("gather", ("gather",)),
    ("filter", ("filter",)),
)
OTHER = "other"
_JOINS = ("left", "right", "full", "semi", "anti")
_PLACES = ("initplan", "subplan", "cte")
_CONDITIONS = ("filter", "index cond", "join filter", "group key")
_STRATEGIES = ("hashed", "sorted", "mixed", "plain")
OPERATORS = (*(name for name, _ in _OPERATORS), OTHER)
WIDTH = len(OPERATORS) + len(_JOINS) + len(_PLACES) + len(_CONDITIONS) + len(_STRATEGIES) + 6
OWN_COST = WIDTH - 4  # where a node's values have its own share of the plan's cost
MOST_NODES = 2_000  # of a plan; the rest is not looked at


@dataclass(frozen=True)
class Node:
    """``inputs`` are the positions of its children, all before its own."""

    values: tuple[float, ...]
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """One query as it is compared. ``shape``: pairs of syntax nodes, counted; ``applies``: rules by name."""

    shape: Counter[str]
    plan: Plan | None = None
    applies: tuple[str, ...] = ()


def nodes_of(plan: Plan | None) -> list[Node]:
    """The plan's nodes, children before their parents, ``WIDTH`` values each; empty without a plan."""
    if plan is None:
        return []
    found: list[Node] = []
    total = max(plan.cost or 0.0, 1.0)
    # By hand and not by recursion: a plan may be deeper than Python's stack.
    stack: list[tuple[Plan, int, list[int]]] = [(plan, 0, [])]
    heights: list[int] = []
    while stack:
        node, depth, inputs = stack[-1]
        if len(inputs) < len(node.children) and len(found) + len(stack) < MOST_NODES:
            child = node.children[len(inputs)]
            stack.append((child, depth + 1, []))
            continue
        stack.pop()
        height = 1 + max((heights[at] for at in inputs), default=-1)
        heights.append(height)
        found.append(Node(_values(node, depth, height, total), tuple(inputs)))
        if stack:
            stack[-1][2].append(len(found) - 1)
    return found


def operator_of(name: str) -> str:
    """The operator's kind, one of ``OPERATORS``."""
    lowered = name.lower()
    return next((kind for kind, words in _OPERATORS if any(word in lowered for word in words)), OTHER)


def _values(node: Plan, depth: int, height: int, total: float) -> tuple[float, ...]:
    detail = {key: value.lower() for key, value in node.detail.items()}
    join = detail.get("join type", detail.get("join_type", ""))
    place = detail.get("subplan name", "")
    rows, cost = node.rows or 0.0, node.cost or 0.0
    below = sum(child.cost or 0.0 for child in node.children)
    into = max((child.rows or 0.0 for child in node.children), default=rows)
    own = max(0.0, cost - below) / total
    kind = operator_of(node.operator)
    return (
        *(float(kind == name) for name in OPERATORS),
        *(float(name in join) for name in _JOINS),
        *(float(place.startswith(name)) for name in _PLACES),
        *(float(key in detail) for key in _CONDITIONS),
        *(float(detail.get("strategy") == name) for name in _STRATEGIES),
        _log(rows) / 8.0,
        _log(cost) / 8.0,
        min(1.0, own),
        max(-1.0, min(1.0, (_log(rows) - _log(into)) / 6.0)),
        min(1.0, depth / 20.0),
        min(1.0, height / 20.0),
    )


def _log(value: float) -> float:
    return math.log10(1.0 + value) if 0.0 <= value < math.inf else 0.0


def words_of(profile: Profile) -> Counter[str]:
    """What of a query is counted: syntax nodes, pairs of them, and ``rule:`` with each rule that applies."""
    words: Counter[str] = Counter()
    for pair, count in profile.shape.items():
        words[pair] += count
        words[pair.partition("/")[2]] += count
    words.update(f"rule:{name}" for name in profile.applies)
    return words


def counted(words: Counter[str], vocabulary: Iterable[str]) -> list[float]:
    """The counts of the vocabulary's words, damped."""
    return [math.log1p(words[word]) / 3.0 if word in words else 0.0 for word in vocabulary]
