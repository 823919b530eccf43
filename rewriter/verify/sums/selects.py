"""One SELECT: its select list, its order, and how its clauses follow each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlglot import exp

from rewriter.verify.sums.groups import Groups
from rewriter.verify.sums.joins import Joining
from rewriter.verify.sums.rows import Cte, Queries, Row, Scope, Translated, distinct_rows, ordered, possible
from rewriter.verify.sums.scalar import node_value, truth
from rewriter.verify.sums.sorts import Unsupported, common, converted, sort_of_expr
from rewriter.verify.sums.terms import Bag, Expr, Term
from rewriter.verify.sums.windows import window_value


class Selecting:
    """The translation of one SELECT."""

    def __init__(self, translator: Queries, select: exp.Select, outer: Scope | None, ctes: dict[str, Cte]) -> None:
        self.translator, self.select = translator, select
        self.joining = Joining(translator, outer, ctes)
        for clause in ("laterals", "connect", "match", "pivots", "sample", "cluster", "sort", "distribute"):
            if select.args.get(clause):
                raise Unsupported(f"{clause} in a SELECT")

    def translated(self) -> Translated:
        select = self.select
        rows = self.joining.rows(select)
        where = select.args.get("where")
        if where is not None:
            rows = [row.with_condition(truth(where.this, self.joining.scope(row))) for row in rows]
        rows = possible(rows)
        outputs = self._outputs(rows)
        aliases = {self.translator.fold(o.args["alias"]): o.this for o in outputs if isinstance(o, exp.Alias)}
        grouped = select.args.get("group") is not None or any(
            has_aggregates(part) for part in (*outputs, select.args.get("having"), *ordered(select)) if part is not None
        )
        if grouped:
            placed = Groups(select, [(row, self.joining.scope(row)) for row in rows], aliases, outputs).placed()
        else:
            placed = [(row, replace(self.joining.scope(row), aliases=aliases)) for row in rows]
            having = select.args.get("having")
            if having is not None:
                raise Unsupported("HAVING without groups")
        placed = self._with_windows(placed)
        qualify = select.args.get("qualify")
        if qualify is not None:
            placed = [(row.with_condition(truth(qualify.this, scope)), scope) for row, scope in placed]
        names = tuple(self._name(output) for output in outputs)
        values = [[node_value(output, scope) for output in outputs] for _, scope in placed]
        sorts = [common([sort_of_expr(row[at]) for row in values]) for at in range(len(outputs))] if values else []
        terms = [
            row.term([converted(value, sort) for value, sort in zip(row_values, sorts, strict=True)])
            for (row, _), row_values in zip(placed, values, strict=True)
        ]
        scopes = {id(term): scope for term, (_, scope) in zip(terms, placed, strict=True)}
        found = Translated(Bag(tuple(terms)), names)
        distinct = select.args.get("distinct")

        def key(node: exp.Expr, term: Term) -> Expr:
            at = self._output_meant(node, outputs, names)
            if at is not None:
                return term.outputs[at]
            if distinct is not None:
                raise Unsupported("a sort key of SELECT DISTINCT that is no output")
            return node_value(node, scopes[id(term)])

        if distinct is not None:
            if distinct.args.get("on") is not None:
                raise Unsupported("DISTINCT ON")
            found = Translated(distinct_rows(found.bag), names)
        return self.translator.limited(select, found, key)

    def _output_meant(self, node: exp.Expr, outputs: Sequence[exp.Expr], names: Sequence[str | None]) -> int | None:
        """The output that a sort key is: by number, by name, or by being the same expression."""
        if isinstance(node, exp.Literal) and not node.is_string:
            at = int(node.this) - 1
            if not 0 <= at < len(outputs):
                raise Unsupported("ORDER BY the number of no output")
            return at
        if isinstance(node, exp.Column) and not node.table:
            named = [at for at, name in enumerate(names) if name == self.translator.fold(node.this)]
            if named:
                return named[0]
        texts = [output.unalias().sql() for output in outputs]
        return texts.index(node.sql()) if node.sql() in texts else None

    def _name(self, output: exp.Expr) -> str | None:
        if isinstance(output, exp.Alias):
            return self.translator.fold(output.args["alias"])
        if isinstance(output, exp.Column):
            return self.translator.fold(output.this)
        return output.key if self.translator.dialect == "postgres" and isinstance(output, exp.Func) else None

    def _outputs(self, rows: Sequence[Row]) -> list[exp.Expr]:
        """The select list with stars expanded."""
        found: list[exp.Expr] = []
        for output in self.select.expressions:
            star = output if isinstance(output, exp.Star) else output.this if isinstance(output, exp.Column) else None
            if not isinstance(star, exp.Star):
                found.append(output)
                continue
            if any(star.args.values()):
                raise Unsupported("a star with EXCEPT or REPLACE")
            wanted = self.translator.fold(output.args["table"]) if isinstance(output, exp.Column) else None
            shown = [(alias, columns) for alias, columns in rows[0].relations if wanted in (None, alias)]
            merged = next((columns for alias, columns in shown if alias == ""), {})
            for alias, columns in shown:
                for name in columns:
                    if alias and name in merged and wanted is None:
                        continue
                    quoted = [exp.to_identifier(part, quoted=True) for part in (name, alias)]
                    found.append(exp.column(quoted[0], quoted[1] if alias else None))
        return found

    def _with_windows(self, placed: list[tuple[Row, Scope]]) -> list[tuple[Row, Scope]]:
        def windows(here: Scope) -> Callable[[exp.Window], Expr]:
            return lambda node: window_value(node, here, placed)

        return [(row, replace(scope, windows=windows(scope))) for row, scope in placed]


def has_aggregates(node: exp.Expr) -> bool:
    """Whether an aggregate of this SELECT occurs in the expression."""
    return any(
        isinstance(found, exp.AggFunc) and not isinstance(found.parent, exp.Window) and not _inside_window(found)
        for found in node.walk(prune=lambda part: isinstance(part, exp.Query))
    )


def _inside_window(node: exp.Expr) -> bool:
    parent = node.parent
    while isinstance(parent, (exp.Filter, exp.IgnoreNulls, exp.RespectNulls)):
        parent = parent.parent
    return isinstance(parent, exp.Window)
