"""Facts: what a rule may ask about a query. Every answer is conservative: when unsure, the answer that makes a rule
refrain (nullable: True, unique: False)."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from rewriter.catalog import Catalog, Table


class Facts:
    """Derived from the catalog and from the tree that a node stands in. Holds no state of a query: nodes find their
    scope through their parents, so every method takes nodes of a whole, qualified query tree."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    @property
    def dialect(self) -> str:
        return self.catalog.dialect

    @property
    def version(self) -> tuple[int, ...]:
        """The engine's version as numbers, such as (18, 4); empty when there is no live engine."""
        raise NotImplementedError

    def table(self, source: exp.Expr) -> Table | None:
        """The base table that a FROM/JOIN item reads, None for CTE references, subqueries and unknown relations."""
        raise NotImplementedError

    def definition(self, source: exp.Expr) -> exp.Query | None:
        """The query behind a FROM/JOIN item: the body of a CTE reference or of a derived table; None for tables."""
        raise NotImplementedError

    def nullable(self, expression: exp.Expr) -> bool:
        """Whether the expression, evaluated where it stands (after the joins of its SELECT), may be NULL."""
        raise NotImplementedError

    def unique(self, source: exp.Expr, columns: Iterable[str]) -> bool:
        """Whether no two rows of a relation (FROM/JOIN item or query) agree on ``columns``, NULLs counted as equal."""
        raise NotImplementedError

    def keys(self, source: exp.Expr) -> frozenset[frozenset[str]]:
        """Known minimal sets of output columns of a relation that are unique in the sense of ``unique``. The empty set
        among them means: at most one row."""
        raise NotImplementedError

    def references(
        self, child: exp.Expr, columns: Iterable[str], parent: exp.Expr, referenced: Iterable[str]
    ) -> bool:
        """Whether a declared foreign key says that non-NULL ``columns`` of ``child`` always find a ``parent`` row."""
        raise NotImplementedError

    def type(self, expression: exp.Expr) -> exp.DataType:
        """The expression's type; ``UNKNOWN`` when it cannot be told."""
        raise NotImplementedError

    def rows(self, source: exp.Expr) -> int | None:
        """Estimated rows of a base table."""
        raise NotImplementedError

    def deterministic(self, expression: exp.Expr) -> bool:
        """Whether the expression contains no volatile function, unknown functions counted as volatile."""
        raise NotImplementedError
