"""Samples of two kinds of queries, told apart by their plans alone: what the statements look like misleads."""

from __future__ import annotations

from collections import Counter

from rewriter.learning.samples import Sample
from rewriter.records import Plan

CORRELATED, STAR = ("toy/decorrelate",), ("toy/reduce", "toy/materialize")


def plan_of_kind(kind: int, size: int) -> Plan:
    """A correlated sub-plan under a scan (0), or a star of hash joins (1), of a number of rows."""
    rows = 1000.0 * (size + 1)
    scan = Plan("Seq Scan", {"filter": ""}, rows, rows / 10)
    if kind == 0:
        inner = Plan("Aggregate", {"strategy": "Plain", "subplan name": "SubPlan"}, 1, rows, (scan,))
        return Plan("Seq Scan", {"filter": ""}, rows / 3, rows * rows, (inner,))
    tree = scan
    for level in range(3):
        small = Plan("Hash", {}, 10, 5, (Plan("Seq Scan", {}, 10, 5),))
        tree = Plan("Hash Join", {"join type": "Inner", "hash cond": ""}, rows / (level + 2), rows, (tree, small))
    return Plan("Aggregate", {"strategy": "Hashed", "group key": ""}, 10, rows * 1.1, (tree,))


def samples(count: int = 16) -> list[Sample]:
    """Two queries look alike in pairs, one of each kind, so that the likeness of statements always picks wrongly."""
    made = []
    for number in range(count):
        kind, pair = number % 2, number // 2
        good, bad = (CORRELATED, STAR) if kind == 0 else (STAR, CORRELATED)
        shape = Counter({"Select/From": 1, "And/EQ": 1 + pair, f"Select/Kind{pair}": 3})
        ratios = {good: 4.0 + pair, bad: 0.5}
        name, plan = f"toy/{number}", plan_of_kind(kind, pair)
        made.append(Sample(name, name, "toy", "postgres", 1.0, shape, plan, (), ratios))
    return made
