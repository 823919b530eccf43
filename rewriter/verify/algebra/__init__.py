"""The rung ``algebra``: proofs that two queries return the same on every database that keeps the constraints."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.verify.algebra.prover import OutOfTime, Prover
from rewriter.verify.sums import Unsupported, pair
from rewriter.verify.sums.terms import Bag, all_variables, bag_text, cells, every_term
from rewriter.verify.sums.translate import one_choice

SHOWN = 600  # characters of a query's canonical form in a proof


@dataclass(frozen=True)
class Proof:
    """``proved`` or the ``reason`` why not; ``assumptions``: constraints that the proof may rest on; ``steps``: what it
    did, for a reader."""

    proved: bool
    reason: str
    assumptions: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


def prove(original: exp.Query, candidate: exp.Query, catalog: Catalog, seconds: float = 5.0) -> Proof:
    """Try to prove that both return the same rows, and in the same order where the original orders them."""
    started = time.monotonic()
    try:
        both = pair(original, candidate, catalog)
        for text in both.texts:
            one_choice(text)
        prover = Prover(both.promised, started + seconds)
        if not prover.equal(both.original, both.candidate):
            return Proof(False, "no proof was found")
    except Unsupported as error:
        return Proof(False, f"not expressible: {error}")
    except OutOfTime:
        return Proof(False, "the time for the proof was up")
    bags = both.original, both.candidate
    steps = (_shown("the original as a sum of products", bags[0]), _shown("the candidate", bags[1]), *prover.told)
    assumptions = (*prover.used, *_required(bags), *both.choices)
    return Proof(True, "both queries have the same canonical form", assumptions, steps)


def _shown(what: str, bag: Bag) -> str:
    text = bag_text(bag)
    return f"{what}: {text if len(text) <= SHOWN else text[:SHOWN] + ' ...'}"


def _required(bags: Iterable[Bag]) -> tuple[str, ...]:
    """The NOT NULL columns that the queries compute with."""
    names: dict[str, None] = {}
    for bag in bags:
        for term in every_term(bag):
            tables = {variable.id: variable.table for variable in all_variables(term)}
            for expr in (*term.conditions, *term.outputs):
                for cell in cells(expr):
                    if not cell.nullable and tables.get(cell.variable) is not None:
                        names[f"{tables[cell.variable]}.{cell.column}"] = None
    return (f"not NULL: {', '.join(names)}",) if names else ()
