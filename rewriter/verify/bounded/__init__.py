"""The rung ``bounded``: all databases of up to k rows a table at once, as one formula for z3.

The idea is that of Y. He et al., "VeriEQL: Bounded Equivalence Verification for Complex SQL Queries with Integrity
Constraints" (OOPSLA 2024), here over sums of products: a term stands for one row for each choice of symbolic rows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import z3
from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.records import Database
from rewriter.verify.bounded.decode import decoded
from rewriter.verify.bounded.evaluate import Evaluator, Instance, OutOfBounds
from rewriter.verify.bounded.symbolic import Slots, restrictions, small
from rewriter.verify.generate.relations import relations
from rewriter.verify.sums import Pair, Unsupported, pair

MOST_ROWS = 4  # rows of a table; beyond, the formulas grow faster than what they find
_MOST_COMPARED = 96  # rows of both results that are compared with each other
_SHARE = 0.6  # of the time that is left, what one solver call may take


class _Choice(Exception):
    """What a query returns depends on which of equal rows a LIMIT takes."""


@dataclass(frozen=True)
class Search:
    """Up to ``rows`` rows in each table there is no difference (0: nothing is known); ``stopped``: why not further.
    ``databases``: where the two may differ, to be tried on an engine. ``assumptions`` that the search rests on."""

    rows: int
    stopped: str
    databases: tuple[Database, ...] = ()
    assumptions: tuple[str, ...] = ()


def search(original: exp.Query, candidate: exp.Query, catalog: Catalog, seconds: float = 5.0) -> Search:
    """Look for a difference on databases of 1, 2, ... rows a table."""
    deadline = time.monotonic() + seconds
    databases: list[Database] = []
    done, stopped, assumed = 0, f"{MOST_ROWS} rows a table were enough", tuple[str, ...]()
    differing, silent = False, tuple[str, ...]()
    try:
        both = pair(original, candidate, catalog)
        found = relations(catalog, (original, candidate))
        for rows in range(1, MOST_ROWS + 1):
            slots = Slots(found, both.promised, rows)
            evaluator = Evaluator(slots, deadline)
            answer, database = _decided(both, evaluator)
            if answer == z3.unknown:
                stopped = "the time for the search was up"
                break
            if answer == z3.sat:
                differing = True
                databases += [database] if database is not None else []
            else:
                done, silent, assumed = rows, tuple(evaluator.silent), tuple(evaluator.notes)
    except _Choice:
        done, stopped = 0, "a LIMIT may cut among rows with equal sort keys"
    except Unsupported as error:
        stopped = f"not expressible: {error}"
    except OutOfBounds as error:
        stopped = str(error)
    if differing:
        done, stopped = 0, "a database was found on which the queries may differ"
    elif done and silent:
        done, stopped = 0, "; ".join(silent)
    return Search(done, stopped, tuple(databases), assumed if done else ())


def _decided(both: Pair, evaluator: Evaluator) -> tuple[z3.CheckSatResult, Database | None]:
    """Whether the two may differ on some database with these slots; and one on which it is likely."""
    slots, deadline = evaluator.slots, evaluator.deadline
    original, candidate = (evaluator.bag(bag) for bag in (both.original, both.candidate))
    differ = _different(original, candidate, evaluator)
    solver = z3.Solver()
    solver.add(restrictions(slots, both.promised, evaluator))
    solver.add(evaluator.assumed)
    solver.add(evaluator.constants())
    if evaluator.ties and _checked(solver, deadline, z3.Or(evaluator.ties)) != z3.unsat:
        raise _Choice
    if _checked(solver, deadline, z3.Or([guard for guard, _ in original])) != z3.sat:
        evaluator.silent["the original returns nothing on so few rows"] = None
    solver.add(differ)
    answer = _checked(solver, deadline)
    if answer != z3.sat:
        return answer, None
    # Small numbers, which no engine rounds or refuses; and what is left open above (division, sums of floating-point
    # numbers) decided as engines mostly do.
    solver.add(list(small(slots, evaluator, evaluator.literals)))
    for likely in (evaluator.hints, []):
        if _checked(solver, deadline, *likely) == z3.sat:
            return answer, decoded(solver.model(), slots, evaluator)
    return answer, None


def _checked(solver: z3.Solver, deadline: float, *more: z3.BoolRef) -> z3.CheckSatResult:
    """Whether what the solver holds, and ``more``, can be true."""
    left = deadline - time.monotonic()
    if left <= 0:
        return z3.unknown
    solver.set("timeout", max(1, int(1000 * left * _SHARE)))
    return solver.check(*more)


def _different(original: list[Instance], candidate: list[Instance], evaluator: Evaluator) -> z3.BoolRef:
    """Some row is more often in one result than in the other."""
    sides = original, candidate
    everything = [row for side in sides for row in side]
    if len(everything) > _MOST_COMPARED:
        raise OutOfBounds(f"the results have more than {_MOST_COMPARED} possible rows")
    found = []
    for guard, values in everything:
        counts = [
            z3.Sum(
                [z3.If(z3.And(other, evaluator.alike(values, theirs)), 1, 0) for other, theirs in side]
                or [z3.IntVal(0)]
            )
            for side in sides
        ]
        found.append(z3.And(guard, counts[0] != counts[1]))
    return z3.Or(found)


__all__ = ["Search", "search"]
