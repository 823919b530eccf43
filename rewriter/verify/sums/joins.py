"""FROM clauses as sums of products: an outer join adds the rows without a partner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from rewriter.verify.sums.rows import (
    MOST_TERMS,
    Columns,
    Cte,
    Queries,
    Row,
    Scope,
    Translated,
    base_table,
    possible,
    refreshed_row,
    renamed_row,
    shown,
    table_columns,
    table_key,
)
from rewriter.verify.sums.scalar import truth
from rewriter.verify.sums.sorts import Unsupported, sort_of_expr, unified
from rewriter.verify.sums.substitution import refreshed
from rewriter.verify.sums.terms import FALSE, Bag, Call, Exists, Term, fresh, negated, null

_KINDS = ("", "INNER", "OUTER", "CROSS", "SEMI", "ANTI")


class Joining:
    """The rows of one FROM clause."""

    def __init__(self, translator: Queries, outer: Scope | None, ctes: dict[str, Cte]) -> None:
        self.translator, self.outer, self.ctes = translator, outer, ctes

    def scope(self, row: Row) -> Scope:
        return Scope(self.translator, row.relations, self.outer, self.ctes)

    def rows(self, select: exp.Select) -> list[Row]:
        """The rows before WHERE."""
        source = select.args.get("from_")
        rows = self._item(source.this, Row()) if source is not None else [Row()]
        inside = source.this.args.get("joins") if source is not None else None
        for join in [*(inside or []), *(select.args.get("joins") or [])]:
            rows = self._join(rows, join)
        return rows

    def _join(self, rows: list[Row], join: exp.Join) -> list[Row]:
        side, kind, method = join.side, join.kind, join.args.get("method")
        if kind not in _KINDS or (method or "").upper() not in ("", "NATURAL"):
            raise Unsupported(f"{kind or method} JOIN")
        found: list[Row] = []
        partners: list[Row] = []
        for number, row in enumerate(rows):
            items = self._item(join.this, row)
            if not number:
                partners = items
            pairs = [self._paired(row, item, join) for item in items]
            if kind in ("SEMI", "ANTI"):
                alone = self._unmatched(row, items, pairs, first=True, wanted=kind == "SEMI")
                found.append(replace(alone, relations=row.relations))
                continue
            found += pairs
            if side in ("LEFT", "FULL"):
                found.append(self._unmatched(row, items, pairs, first=True))
        if side in ("RIGHT", "FULL"):
            for item in partners:
                pairs = [self._paired(row, item, join) for row in rows]
                found.append(self._unmatched(item, rows, pairs, first=False))
        found = possible(found)
        if len(found) > MOST_TERMS:
            raise Unsupported("too many cases of outer joins")
        return found

    def _paired(self, row: Row, item: Row, join: exp.Join) -> Row:
        both = Row(
            (*row.variables, *item.variables),
            (*row.conditions, *item.conditions),
            (*row.relations, *item.relations),
        )
        shared = [self.translator.fold(name) for name in join.args.get("using") or []]
        if (join.args.get("method") or "").upper() == "NATURAL":
            mine = {name for _, columns in row.relations for name in columns}
            shared = [name for _, columns in item.relations for name in columns if name in mine]
        if shared:
            return self._using(both, row, item, shared, join)
        on = join.args.get("on")
        return both if on is None else both.with_condition(truth(on, self.scope(both)))

    def _using(self, both: Row, row: Row, item: Row, shared: list[str], join: exp.Join) -> Row:
        if join.side in ("RIGHT", "FULL"):
            raise Unsupported("USING in a right or full join")
        merged: Columns = {}
        for name in shared:
            one = self.scope(row).column(exp.column(exp.to_identifier(name, quoted=True)))
            two = self.scope(item).column(exp.column(exp.to_identifier(name, quoted=True)))
            both = both.with_condition(Call("is true", (Call("=", tuple(unified([one, two])), "bool"),)))
            merged[name] = one
        before = next((columns for alias, columns in both.relations if alias == ""), {})
        others = tuple(relation for relation in both.relations if relation[0] != "")
        return replace(both, relations=(("", {**before, **merged}), *others))

    def _unmatched(
        self, row: Row, others: Sequence[Row], pairs: Sequence[Row], *, first: bool, wanted: bool = False
    ) -> Row:
        """A row of one side that finds no partner (or, when ``wanted``, some), the other side's columns NULL."""
        bound = {variable.id for variable in row.variables}
        terms = []
        for pair in pairs:
            if pair.impossible:
                continue
            conditions = tuple(part for part in pair.conditions if part not in row.conditions)
            terms.append(Term(tuple(v for v in pair.variables if v.id not in bound), conditions, ()))
        some_partner = Exists(refreshed(Bag(tuple(terms)))) if terms else FALSE
        made = row.with_condition(some_partner if wanted else negated(some_partner))
        padded: tuple[tuple[str, Columns], ...] = tuple(
            (alias, {name: null(sort_of_expr(value)) for name, value in columns.items()})
            for alias, columns in others[0].relations
        )
        if any(alias == "" for alias, _ in (*pairs[0].relations, *row.relations)):
            padded = tuple(relation for relation in padded if relation[0] != "")
        merged = tuple(relation for relation in pairs[0].relations if relation[0] == "") if first and pairs else ()
        own = tuple(relation for relation in row.relations if not merged or relation[0] != "")
        return replace(made, relations=(*merged, *own, *padded) if first else (*padded, *own))

    def _item(self, item: exp.Expr, before: Row) -> list[Row]:
        """The rows of a FROM item; ``before`` are the items that LATERAL may read."""
        alias = item.args.get("alias")
        fold = self.translator.fold
        name = fold(alias.this) if alias is not None and alias.this is not None else ""
        renamed = [fold(column) for column in alias.columns] if alias is not None else []
        match item:
            case exp.Table() if isinstance(item.this, exp.Identifier):
                found = self._table(item, name)
            case exp.Values():
                # The columns that the alias names are applied already.
                return [Row(relations=((name, columns),)) for columns in self.translator.rows_of(item, self.outer)]
            case exp.Subquery() if isinstance(item.this, exp.Query) and not isinstance(item.this, exp.Values):
                found = self._derived(self.translator.bag_of(item.this, self.outer, self.ctes), name)
            case exp.Subquery() if isinstance(item.this, exp.Values):
                found = [Row(relations=((name, c),)) for c in self.translator.rows_of(item.this, self.outer)]
            case exp.Subquery() | exp.Paren():
                return self._bracketed(item, before)
            case exp.Lateral() if isinstance(item.this, exp.Subquery):
                body = self.translator.bag_of(item.this.this, self.scope(before), self.ctes)
                found = [refreshed_row(row) for row in self._derived(body, name)]
            case _:
                raise Unsupported(f"{item.key} in FROM")
        joins = item.args.get("joins") or []
        found = [renamed_row(row, renamed) for row in found] if renamed else found
        if isinstance(item, exp.Table) and not isinstance(item.parent, exp.From):
            for join in joins:
                found = self._join(found, join)
        return found

    def _bracketed(self, item: exp.Expr, before: Row) -> list[Row]:
        rows = self._item(item.this, before)
        inner = item.this
        if not isinstance(inner, exp.Table) or isinstance(inner.parent, exp.From):
            for join in inner.args.get("joins") or []:
                rows = self._join(rows, join)
        for join in (item.args.get("joins") or []) if not isinstance(item.parent, exp.From) else []:
            rows = self._join(rows, join)
        return rows

    def _table(self, item: exp.Table, name: str) -> list[Row]:
        own = self.translator.fold(item.this)
        name = name or own
        cte = self.ctes.get(own) if item.args.get("db") is None else None
        if cte is not None:
            body = self.translator.bag_of(cte.body, None, cte.visible)
            rows = self._derived(body, name)
            return [renamed_row(row, cte.renamed) for row in rows] if cte.renamed else rows
        table = base_table(item, self.translator, self.ctes)
        if table is None:
            raise Unsupported(f"the relation {own}")
        variable = fresh(table_key(table))
        columns: Columns = {**table_columns(table, variable.id, self.translator.dialect)}
        return [Row((variable,), (), ((name, columns),))]

    def _derived(self, found: Translated, name: str) -> list[Row]:
        names = [given if given is not None else f"?{at}" for at, given in enumerate(found.names)]
        if len(set(names)) != len(names):
            # A name given twice cannot be read; give both one that nobody reads.
            names = [given if names.count(given) == 1 else f"?{at}" for at, given in enumerate(names)]
        return [
            Row(term.variables, term.conditions, ((name, dict(zip(names, term.outputs, strict=True))),))
            for term in shown(found).terms
        ]
