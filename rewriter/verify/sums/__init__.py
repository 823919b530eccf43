"""Two queries as sums of products, which the rungs ``algebra`` and ``bounded`` compare."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.catalog import Catalog
from rewriter.verify.sums.constraints import Constraints, constraints
from rewriter.verify.sums.rows import Translated
from rewriter.verify.sums.sorts import Unsupported
from rewriter.verify.sums.terms import Bag, Literal, all_variables
from rewriter.verify.sums.translate import Translator


@dataclass(frozen=True)
class Pair:
    """The original and the candidate; their outputs end with the sort keys that count. ``promised``: what the catalog
    promises of every database; ``texts``: what was translated."""

    original: Bag
    candidate: Bag
    promised: Constraints
    texts: tuple[exp.Expr, exp.Expr]

    @property
    def choices(self) -> tuple[str, ...]:
        """What the comparison supposes of a LIMIT that leaves a choice among equal sort keys, see ``translate``."""
        return CHOICES if any(map(_limited, (self.original, self.candidate))) else ()


CHOICES = ("where LIMIT cuts among equal sort keys, both queries leave the same choice",)


def pair(original: exp.Query, candidate: exp.Query, catalog: Catalog) -> Pair:
    """Both queries over ``catalog``. Raises Unsupported for what sums of products cannot say, and when the two return
    different numbers of columns or order their rows by different keys."""
    translator = Translator(catalog)
    one = translator.query(original)
    try:
        run = _as_run(candidate, catalog.dialect)
        two = translator.query(run)
    except SqlglotError:
        raise Unsupported("the candidate, whose text cannot be read back") from None
    if len(one.names) != len(two.names):
        raise Unsupported("queries that return different numbers of columns")
    one, two = _ordered(one, two)
    return Pair(one.bag, two.bag, constraints(catalog, translator), (original, run))


def _as_run(candidate: exp.Query, dialect: str) -> exp.Expr:
    """The candidate as its text says it: text is what engines run, and not every tree survives being written down."""
    return sqlglot.parse_one(candidate.sql(dialect=dialect), read=dialect)


def _limited(bag: Bag) -> bool:
    return any(
        variable.source is not None and variable.source.cut is not None
        for term in bag.terms
        for variable in all_variables(term)
    )


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


__all__ = ["Constraints", "Pair", "Unsupported", "pair"]
