"""SELECTs as bags: joins become products, outer joins sums with a NOT EXISTS, groups values that some row has.

Names are resolved here from the catalog alone, by SQL's scoping rules, so that a fault in the qualification of a
query cannot hide from its proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.verify.sums.known import check
from rewriter.verify.sums.rows import (
    Columns,
    Cte,
    Row,
    Scope,
    Translated,
    distinct_rows,
    equal_rows,
    of_sorts,
    shown,
)
from rewriter.verify.sums.scalar import node_value
from rewriter.verify.sums.selects import Selecting
from rewriter.verify.sums.sorts import Unsupported, common, require_identity, sort_of_expr, unified
from rewriter.verify.sums.substitution import refreshed
from rewriter.verify.sums.terms import FALSE, Bag, Cell, Cut, Expr, Source, Term, fresh, negated


class Translator:
    """Translates queries over one catalog. Raises Unsupported for what sums of products cannot say."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.dialect = catalog.dialect

    def query(self, query: exp.Expr) -> Translated:
        """The rows of a whole query."""
        check(query)
        return self.bag_of(query, None, {})

    def fold(self, identifier: exp.Expr) -> str:
        name = identifier.name
        quoted = isinstance(identifier, exp.Identifier) and identifier.args.get("quoted")
        return name if quoted and self.dialect != "duckdb" else name.lower()

    def bag_of(self, query: exp.Expr, outer: Scope | None, ctes: dict[str, Cte]) -> Translated:
        clause = query.args.get("with_")
        if clause is not None:
            ctes = dict(ctes)
            if clause.args.get("recursive") and any(_recursive(cte) for cte in clause.expressions):
                raise Unsupported("WITH RECURSIVE")
            for cte in clause.expressions:
                if not isinstance(cte.this, exp.Query):
                    raise Unsupported("a CTE that is no query")
                renamed = tuple(self.fold(column) for column in cte.args["alias"].columns)
                ctes[self.fold(cte.args["alias"].this)] = Cte(cte.this, renamed, dict(ctes))
        match query:
            case exp.Subquery():
                found = self.bag_of(query.this, outer, ctes)
                return self.limited(query, found, lambda node, term: self._of_outputs(node, found, term))
            case exp.Select():
                return Selecting(self, query, outer, ctes).translated()
            case exp.SetOperation():
                found = self._set_operation(query, outer, ctes)
                return self.limited(query, found, lambda node, term: self._of_outputs(node, found, term))
            case exp.Values():
                rows = [Row(relations=(("", columns),)) for columns in self.rows_of(query, outer)]
                names = tuple(rows[0].relations[0][1])
                return Translated(Bag(tuple(row.term(list(row.relations[0][1].values())) for row in rows)), names)
        raise Unsupported(f"a query of the form {query.key}")

    def _set_operation(self, query: exp.SetOperation, outer: Scope | None, ctes: dict[str, Cte]) -> Translated:
        if query.args.get("by_name"):
            raise Unsupported("BY NAME")
        left, right = (self.bag_of(side, outer, ctes) for side in (query.left, query.right))
        one, two = (shown(side) for side in (left, right))
        width = len(left.names)
        if width != len(right.names):
            raise Unsupported("a set operation of queries of different width")
        sorts = [common([sort_of_expr(term.outputs[at]) for term in (*one.terms, *two.terms)]) for at in range(width)]
        one, two = (of_sorts(bag, sorts) for bag in (one, two))
        distinct = bool(query.args.get("distinct"))
        if distinct or not isinstance(query, exp.Union):
            require_identity(sorts)
        if isinstance(query, exp.Union):
            together = Bag((*one.terms, *two.terms))
            return Translated(distinct_rows(together) if distinct else together, left.names)
        if not distinct:
            kind = f"{query.key} all"
            return Translated(_opaque(kind, (one, two), sorts), left.names)
        kept = distinct_rows(one)
        terms = []
        for term in kept.terms:
            equal = equal_rows(refreshed(two), term.outputs)
            condition = equal if isinstance(query, exp.Intersect) else negated(equal)
            terms.append(replace(term, conditions=(*term.conditions, condition)))
        return Translated(Bag(tuple(terms)), left.names)

    def rows_of(self, values: exp.Values, outer: Scope | None) -> list[Columns]:
        scope = Scope(self, (), outer, {})
        rows = [[node_value(item, scope) for item in _tuple(row)] for row in values.expressions]
        if len({len(row) for row in rows}) != 1:
            raise Unsupported("VALUES of different width")
        columns = [unified(list(column)) for column in zip(*rows, strict=True)]
        alias = values.args.get("alias")
        names = [self.fold(column) for column in alias.columns] if alias is not None else []
        default = "col{0}" if self.dialect == "duckdb" else "column{1}"
        all_names = [names[at] if at < len(names) else default.format(at, at + 1) for at in range(len(columns))]
        return [dict(zip(all_names, row, strict=True)) for row in zip(*columns, strict=True)]

    def _of_outputs(self, node: exp.Expr, found: Translated, term: Term) -> Expr:
        """A sort key above a set operation: an output by its name or number."""
        if isinstance(node, exp.Literal) and not node.is_string:
            return term.outputs[int(node.this) - 1]
        if isinstance(node, exp.Column):
            at = [at for at, name in enumerate(found.names) if name == self.fold(node.this)]
            if len(at) == 1:
                return term.outputs[at[0]]
        raise Unsupported("a sort key of a set operation that is no output")

    def limited(self, query: exp.Expr, found: Translated, key: Callable[[exp.Expr, Term], Expr]) -> Translated:
        """ORDER BY, LIMIT and OFFSET applied. ``key`` gives a sort key's value in a term of ``found``."""
        order, limit, offset = (query.args.get(clause) for clause in ("order", "limit", "offset"))
        if order is None and limit is None and offset is None:
            return found
        width = len(found.names)
        directions = found.order
        bag = found.bag
        if order is not None:
            keys = [part for part in order.expressions if isinstance(part, exp.Ordered)]
            if len(keys) != len(order.expressions) or any(part.args.get("with_fill") for part in keys):
                raise Unsupported("this ORDER BY")
            directions = tuple((bool(part.args.get("desc")), bool(part.args.get("nulls_first"))) for part in keys)
            terms = tuple(
                replace(term, outputs=(*term.outputs[:width], *(key(part.this, term) for part in keys)))
                for term in bag.terms
            )
            bag = Bag(terms)
        if limit is None and offset is None:
            return Translated(bag, found.names, directions)
        most, skipped = _count(limit), _count(offset)
        if most == 0:
            nothing = tuple(replace(term, conditions=(FALSE,)) for term in bag.terms)
            return Translated(Bag(nothing), found.names)
        if (skipped or 0) == 0 and len(bag.terms) <= 1 and not any(term.variables for term in bag.terms):
            return Translated(bag, found.names, directions)
        if bag.free:
            raise Unsupported("a LIMIT for each row of an outer query")
        cut = Cut(most, skipped or 0, directions)
        sorts = [common([sort_of_expr(t.outputs[at]) for t in bag.terms]) for at in range(len(bag.terms[0].outputs))]
        return Translated(_opaque("limit", (of_sorts(bag, sorts),), sorts, cut), found.names, directions)


def one_choice(query: exp.Expr) -> None:
    """Raises Unsupported where a query decides more than once what a LIMIT leaves open. Where one cuts among equal sort
    keys, each reading of it may choose anew. One reading in either query leaves both the same choice; several need not
    choose alike."""
    limited = {node.parent for node in query.find_all(exp.Limit, exp.Offset)}
    if len(limited) > 1:
        raise Unsupported("several LIMITs, each of which may choose")
    read = Counter(table.name.lower() for table in query.find_all(exp.Table))
    names = [cte.alias.lower() for cte in query.find_all(exp.CTE)]
    for node in limited:
        inside = node is not None and (isinstance(node, exp.CTE) or node.find_ancestor(exp.CTE) is not None)
        if inside and any(read[name] > 1 for name in names):
            raise Unsupported("a CTE with LIMIT, each reading of which may choose")


def _recursive(cte: exp.CTE) -> bool:
    name = cte.alias.lower()
    return any(table.name.lower() == name for table in cte.this.find_all(exp.Table))


def _count(clause: exp.Expr | None) -> int | None:
    if clause is None:
        return None
    value = clause.expression
    if not isinstance(value, exp.Literal) or value.is_string or not value.this.isdigit():
        raise Unsupported("LIMIT or OFFSET that is no whole number")
    return int(value.this)


def _tuple(row: exp.Expr) -> list[exp.Expr]:
    return list(row.expressions) if isinstance(row, exp.Tuple) else [row.unnest() if row.key == "paren" else row]


def _opaque(kind: str, bags: tuple[Bag, ...], sorts: Sequence[str], cut: Cut | None = None) -> Bag:
    name = kind if cut is None else f"{kind} {cut.most} offset {cut.skipped} by {cut.order}"
    variable = fresh(f"<{name}>", source=Source(kind, bags, cut))
    return Bag((Term((variable,), (), tuple(Cell(variable.id, str(at), sort) for at, sort in enumerate(sorts))),))
