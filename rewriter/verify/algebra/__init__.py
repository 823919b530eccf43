"""The rung ``algebra``: proofs that two queries return the same on every database that keeps the constraints."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.catalog import Catalog
from rewriter.verify.algebra.constraints import constraints
from rewriter.verify.algebra.prover import OutOfTime, Prover
from rewriter.verify.algebra.rows import Translated
from rewriter.verify.algebra.sorts import Unsupported
from rewriter.verify.algebra.terms import Bag, Literal, all_variables, bag_text, cells, every_term
from rewriter.verify.algebra.translate import Translator

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
    translator = Translator(catalog)
    try:
        one, two = translator.query(original), translator.query(_as_run(candidate, catalog.dialect))
        if len(one.names) != len(two.names):
            return Proof(False, "the queries return different numbers of columns")
        one, two = _ordered(one, two)
        prover = Prover(constraints(catalog, translator), started + seconds)
        if prover.equal(one.bag, two.bag):
            steps = (_shown("the original as a sum of products", one.bag), _shown("the candidate", two.bag))
            assumptions = (*prover.used, *_required((one.bag, two.bag)), *_left_open((one.bag, two.bag)))
            return Proof(True, "both queries have the same canonical form", assumptions, (*steps, *prover.told))
        return Proof(False, "no proof was found")
    except Unsupported as error:
        return Proof(False, f"not expressible: {error}")
    except SqlglotError:
        return Proof(False, "the candidate's text cannot be read back")
    except OutOfTime:
        return Proof(False, "the time for the proof was up")


def _as_run(candidate: exp.Query, dialect: str) -> exp.Expr:
    """The candidate as its text says it: text is what engines run, and not every tree survives being written down."""
    return sqlglot.parse_one(candidate.sql(dialect=dialect), read=dialect)


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


def _left_open(bags: Iterable[Bag]) -> tuple[str, ...]:
    """Where a LIMIT leaves a choice among equal sort keys, equivalent means: both leave the same choice, see
    ``translate``."""
    limited = any(
        variable.source is not None and variable.source.keys is not None
        for bag in bags
        for term in bag.terms
        for variable in all_variables(term)
    )
    return ("where LIMIT cuts among equal sort keys, both queries leave the same choice",) if limited else ()


def _ordered(one: Translated, two: Translated) -> tuple[Translated, Translated]:
    """Both with the sort keys that count: those of the original, which the candidate must have as well."""
    if len(one.bag.terms) <= 1 and not any(term.variables for term in one.bag.terms):
        return _shortened(one, 0), _shortened(two, 0)
    one, two = _lean(one), _lean(two)
    # Keys of the candidate beyond those of the original only decide what the original leaves open.
    two = _shortened(two, len(one.order))
    if one.order != two.order:
        raise Unsupported("the sort keys differ")
    return one, two


def _shortened(found: Translated, keys: int) -> Translated:
    width = len(found.names) + keys
    terms = tuple(replace(term, outputs=term.outputs[:width]) for term in found.bag.terms)
    return replace(found, bag=Bag(terms), order=found.order[:keys])


def _lean(found: Translated) -> Translated:
    """Without sort keys that are constant."""
    width = len(found.names)
    terms = found.bag.terms
    kept = [
        at
        for at in range(len(found.order))
        if not all(isinstance(term.outputs[width + at], Literal) for term in terms)
        or len({term.outputs[width + at] for term in terms}) > 1
    ]
    chosen = [*range(width), *(width + at for at in kept)]
    bag = Bag(tuple(replace(term, outputs=tuple(term.outputs[at] for at in chosen)) for term in terms))
    return replace(found, bag=bag, order=tuple(found.order[at] for at in kept))


__all__ = ["Proof", "Unsupported", "prove"]
