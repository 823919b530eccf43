"""GROUP BY: the groups of a SELECT are the values that some row has; grouping sets are a sum of such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from rewriter.catalog import Table
from rewriter.verify.sums.aggregates import aggregate
from rewriter.verify.sums.rows import MOST_TERMS, Row, Scope, base_table, ordered
from rewriter.verify.sums.scalar import node_value, truth
from rewriter.verify.sums.sorts import Unsupported, common, converted, require_identity, sort_of_expr
from rewriter.verify.sums.substitution import refreshed
from rewriter.verify.sums.terms import Bag, Exists, Expr, Literal, conjuncts, every, fresh, null, same, value_of


class Groups:
    """The groups of a SELECT: values that some row has, or one row when there are no keys."""

    def __init__(
        self,
        select: exp.Select,
        rows: Sequence[tuple[Row, Scope]],
        aliases: dict[str, exp.Expr],
        outputs: Sequence[exp.Expr],
    ) -> None:
        self.select, self.aliases, self.outputs = select, aliases, outputs
        self.rows = [row for row, _ in rows]
        self.scopes = [scope for _, scope in rows]
        self.translator = self.scopes[0].translator

    def placed(self) -> list[tuple[Row, Scope]]:
        """The rows after grouping and HAVING, one sum for each grouping set."""
        sets = self._sets()
        keys = list(dict.fromkeys(key for one in sets for key in one))
        found = [self._grouped(one, keys) for one in sets]
        having = self.select.args.get("having")
        if having is not None:
            found = [(row.with_condition(truth(having.this, scope)), scope) for row, scope in found]
        return found

    def _sets(self) -> list[tuple[exp.Expr, ...]]:
        group = self.select.args.get("group")
        if group is None:
            return [()]
        if group.args.get("all") or group.args.get("totals"):
            raise Unsupported("GROUP BY ALL")
        plain: list[exp.Expr] = []
        sets: list[tuple[exp.Expr, ...]] = [()]
        parts = [*group.expressions]
        for clause in ("rollup", "cube", "grouping_sets"):
            parts += group.args.get(clause) or []
        for part in parts:
            match part:
                case exp.Rollup():
                    found = [self._flat(part.expressions[:n]) for n in range(len(part.expressions), -1, -1)]
                case exp.Cube():
                    count = len(part.expressions)
                    found = [
                        self._flat([e for at, e in enumerate(part.expressions) if mask >> at & 1])
                        for mask in range(2**count)
                    ]
                case exp.GroupingSets():
                    found = [self._flat([one]) for one in part.expressions]
                case _:
                    plain += self._flat([part])
                    continue
            sets = [(*one, *more) for one in sets for more in found]
            if len(sets) > MOST_TERMS:
                raise Unsupported("too many grouping sets")
        return [(*plain, *one) for one in sets]

    def _flat(self, parts: Sequence[exp.Expr]) -> tuple[exp.Expr, ...]:
        found: list[exp.Expr] = []
        for part in parts:
            if isinstance(part, (exp.Rollup, exp.Cube)):
                raise Unsupported("nested grouping sets")
            inner = part.expressions if isinstance(part, exp.Tuple) else [part]
            found.extend(self._meant(one.unnest() if isinstance(one, exp.Paren) else one) for one in inner)
        return tuple(found)

    def _meant(self, key: exp.Expr) -> exp.Expr:
        """A grouping key given by the number or the name of an output is that output's expression."""
        if isinstance(key, exp.Literal) and not key.is_string and key.this.isdigit():
            if not 1 <= int(key.this) <= len(self.outputs):
                raise Unsupported("GROUP BY the number of no output")
            return self.outputs[int(key.this) - 1].unalias()
        if isinstance(key, exp.Column) and not key.table and self.scopes and self.scopes[0].named(key) is None:
            alias = self.aliases.get(self.translator.fold(key.this))
            if alias is not None:
                return alias
        return key

    def _grouped(self, chosen: tuple[exp.Expr, ...], all_keys: Sequence[exp.Expr]) -> tuple[Row, Scope]:
        chosen = self._with_dependent(chosen)
        texts = [self.scopes[0].text(key) for key in chosen]
        values = [[node_value(key, scope) for key in chosen] for scope in self.scopes]
        sorts = [common([sort_of_expr(row[at]) for row in values]) for at in range(len(chosen))]
        require_identity(sorts)
        values = [[converted(v, s) for v, s in zip(row, sorts, strict=True)] for row in values]
        variables = tuple(fresh(None, sort) for sort in sorts)
        group = tuple(map(value_of, variables))
        own = [
            replace(row, conditions=(*row.conditions, *conjuncts(every([same(a, b) for a, b in pairs]))))
            for row, pairs in zip(self.rows, (zip(row, group, strict=True) for row in values), strict=True)
        ]
        made = Row(variables, (), self.rows[0].relations)
        if chosen:  # without keys there is one group even of no rows
            made = made.with_condition(Exists(refreshed(Bag(tuple(row.term() for row in own)))))
        replacements: dict[str, Expr] = dict(zip(texts, group, strict=True))
        for key in all_keys:
            name = self.scopes[0].text(key)
            if name not in replacements:
                replacements[name] = null(sort_of_expr(node_value(key, self.scopes[0])))
        present_keys = set(texts)
        scope = replace(
            self.scopes[0],
            replacements=replacements,
            hidden=True,
            aliases=self.aliases,
            aggregates=lambda node: self._aggregate(node, own, present_keys),
        )
        return made, scope

    def _with_dependent(self, chosen: tuple[exp.Expr, ...]) -> tuple[exp.Expr, ...]:
        """Postgres lets columns stand ungrouped that depend on a grouped primary key: group by them as well."""
        select, scope = self.select, self.scopes[0]
        known = {scope.text(key) for key in chosen}
        tables = self._tables()
        extra: dict[str, exp.Expr] = {}
        parts = [*self.outputs, select.args.get("having"), *ordered(select)]
        for part in parts:
            for node in part.find_all(exp.Column) if part is not None else ():
                if isinstance(node.this, exp.Star) or node.find_ancestor(exp.AggFunc, exp.Query) is not select:
                    continue
                named = scope.named(node)
                if named is None or ".".join(named) in known:
                    continue
                table = tables.get(named[0])
                if table is not None and table.primary_key and known >= {f"{named[0]}.{k}" for k in table.primary_key}:
                    extra[".".join(named)] = node
        return (*chosen, *extra.values())

    def _tables(self) -> dict[str, Table]:
        found = {}
        select = self.select
        for item in [select.args.get("from_"), *(select.args.get("joins") or [])]:
            table = item.this if item is not None else None
            if isinstance(table, exp.Table) and isinstance(table.this, exp.Identifier):
                known = base_table(table, self.translator, self.scopes[0].ctes)
                if known is not None:
                    alias = table.args.get("alias")
                    found[self.translator.fold(alias.this if alias is not None else table.this)] = known
        return found

    def _aggregate(self, node: exp.Expr, rows: Sequence[Row], keys: set[str]) -> Expr:
        if isinstance(node, exp.Grouping):
            return _grouping([self.scopes[0].text(part) in keys for part in node.expressions])
        terms = [(row, scope) for row, scope in zip(rows, self.scopes, strict=True)]
        return aggregate(node, terms)


def _grouping(present_keys: Sequence[bool]) -> Expr:
    return Literal(sum(2**at for at, one in enumerate(reversed(present_keys)) if not one), "int")
