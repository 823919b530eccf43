"""From a query to a witness: walk the query and collect what rows must satisfy to reach its result.

Where the query leaves a choice (a branch of OR or UNION, the optional side of an outer join, a negated EXISTS) one is
taken at random, so that several witnesses cover several ways through the query. Compare "plan-node behaviours" in
ParSEval (PVLDB 18(11), 2025) and the datasets of XData (VLDB Journal 2015).
"""

from __future__ import annotations

import random
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import pairwise

from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.records import Value
from rewriter.verify.generate.constants import Unknown, constant
from rewriter.verify.generate.relations import Relation, RelationKey, table_of
from rewriter.verify.generate.terms import NULL, OPAQUE, Term, Variable, term
from rewriter.verify.generate.witness import MIRRORED, NEGATED, Constraint, Relating, Witness

MAX_OCCURRENCES = 60

_OPERATORS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NullSafeEQ: "=",
    exp.NEQ: "<>",
    exp.NullSafeNEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}

Columns = Mapping[str, "Term | Callable[[], Term]"]
Scope = ChainMap[str, Columns]
Definitions = dict[str, tuple[exp.Query, "Definitions", tuple[str, ...]]]


def witness(query: exp.Query, catalog: Catalog, known: Mapping[RelationKey, Relation], rng: random.Random) -> Witness:
    """One witness of ``query``; different random states take different ways through it."""
    walk = _Walk(catalog, known, rng)
    walk.query(query, ChainMap(), {}, {})
    return walk.made


class _Walk:
    def __init__(self, catalog: Catalog, known: Mapping[RelationKey, Relation], rng: random.Random) -> None:
        self.catalog = catalog
        self.known = known
        self.rng = rng
        self.made = Witness()
        self.depth = 0

    def query(
        self, node: exp.Expr, outer: Scope, definitions: Definitions, demands: Mapping[str, Value]
    ) -> dict[str, Term | Callable[[], Term]]:
        """Walk one query; returns its output columns by lower-case name. ``demands``: constants that the reader of
        this query wants in its output, used to choose a branch of a UNION."""
        if self.depth > 30 or len(self.made.occurrences) > MAX_OCCURRENCES:
            return {}
        self.depth += 1
        try:
            for cte in node.ctes if isinstance(node, exp.Query) else ():
                columns = tuple(c.name.lower() for c in cte.args["alias"].columns)
                definitions = {**definitions, cte.alias.lower(): (cte.this, definitions, columns)}
            if isinstance(node, exp.Subquery):
                return self.query(node.this, outer, definitions, demands)
            if isinstance(node, exp.SetOperation):
                return self._set_operation(node, outer, definitions, demands)
            if isinstance(node, exp.Select):
                return self._select(node, outer, definitions)
            return {}
        finally:
            self.depth -= 1

    def _set_operation(
        self, node: exp.SetOperation, outer: Scope, definitions: Definitions, demands: Mapping[str, Value]
    ) -> dict[str, Term | Callable[[], Term]]:
        names = [name.lower() for name in node.named_selects]
        if isinstance(node, exp.Union):
            branches = list(_branches(node))
            fitting = [b for b in branches if _fits(b, names, demands)] or branches
            chosen = self.rng.choice(fitting)
            found = self.query(chosen, outer, definitions, demands)
            return dict(zip(names, found.values(), strict=False))
        left = self.query(node.this, outer, definitions, demands)
        together = isinstance(node, exp.Intersect) if self.rng.random() < 0.8 else not isinstance(node, exp.Intersect)
        if together:
            right = self.query(node.expression, outer, definitions, demands)
            for one, other in zip(left.values(), right.values(), strict=False):
                self._compare("=", _force(one), _force(other))
        return dict(zip(names, left.values(), strict=False))

    def _select(self, node: exp.Select, outer: Scope, definitions: Definitions) -> dict[str, Term | Callable[[], Term]]:
        scope: Scope = outer.new_child()
        conditions: list[exp.Expr] = []
        where = node.args.get("where")
        if where is not None:
            conditions.append(where.this)
        joins = node.args.get("joins") or []
        conditions += [join.args["on"] for join in joins if join.args.get("on") is not None]
        demands = _demands(conditions)
        sources: list[tuple[exp.Expr, exp.Join | None]] = []
        if node.args.get("from_") is not None:
            sources.append((node.args["from_"].this, None))
        sources += [(join.this, join) for join in joins]
        side_of_first = next((j.side for j in joins if j.side in ("RIGHT", "FULL")), "")
        skipped: set[int] = set()
        for position, (source, join) in enumerate(sources):
            side = join.side if join is not None else ""
            optional = side in ("LEFT", "FULL") or (join is None and side_of_first in ("RIGHT", "FULL"))
            if optional and self.rng.random() < 0.2:
                scope[source.alias_or_name.lower()] = _Missing()
                skipped.add(position)
                continue
            scope[source.alias_or_name.lower()] = self._source(source, scope, definitions, demands)
        for position, (_, join) in enumerate(sources):
            if join is None or position in skipped:
                continue
            if join.args.get("on") is not None:
                self.condition(join.args["on"], True, scope, definitions)
            for name in join.args.get("using") or ():
                self._using(name.name.lower(), scope)
        if where is not None:
            self.condition(where.this, True, scope, definitions)
        having = node.args.get("having")
        if having is not None:
            self.condition(having.this, True, scope, definitions)
        self._group(node, scope)
        outputs: dict[str, Term | Callable[[], Term]] = {}
        for projection in node.expressions:
            self._hints(projection, scope)
            if isinstance(projection, exp.Star) or (
                isinstance(projection, exp.Column) and isinstance(projection.this, exp.Star)
            ):
                for alias in list(scope.maps[0]):
                    outputs.update(scope[alias])
                continue
            body = projection.unalias()
            outputs[projection.alias_or_name.lower() or f"_{len(outputs)}"] = _later(
                lambda body=body: self._term(body, scope, definitions)  # type: ignore[misc]
            )
        for clause in ("group", "order", "qualify"):
            if node.args.get(clause) is not None:
                self._hints(node.args[clause], scope)
        return outputs

    def _group(self, node: exp.Select, scope: Scope) -> None:
        group = node.args.get("group")
        for key in group.expressions if group is not None else ():
            if isinstance(key, exp.Column):
                found = self._resolve(key, scope)
                if found.variable is not None:
                    self.made.grouped.add(id(found.variable))

    def _source(
        self, source: exp.Expr, scope: Scope, definitions: Definitions, demands: Mapping[tuple[str, str], Value]
    ) -> Columns:
        alias = source.alias_or_name.lower()
        wanted = {column: value for (owner, column), value in demands.items() if owner == alias}
        if isinstance(source, exp.Table):
            name = source.name.lower()
            if not source.args.get("db") and name in definitions:
                body, inner, columns = definitions[name]
                found = self.query(body, ChainMap(), inner, wanted)
                return _renamed(_renamed(found, columns), _alias_columns(source))
            table = table_of(source, self.catalog)
            relation = self.known.get((table.schema, table.name)) if table is not None else None
            if relation is None:
                return {}
            variables = self._occurrence(relation)
            return _renamed({c.lower(): Term("variable", v) for c, v in variables.items()}, _alias_columns(source))
        if isinstance(source, exp.Lateral):
            source = source.this
        if isinstance(source, exp.Subquery):
            found = self.query(source, scope, definitions, wanted)
            if isinstance(source.this, exp.Table):
                return self._source(source.this, scope, definitions, demands)
            return _renamed(found, _alias_columns(source))
        return {}

    def _occurrence(self, relation: Relation) -> dict[str, Variable]:
        number = len(self.made.occurrences)
        variables = {name: Variable(relation, name, number) for name in relation.names}
        self.made.occurrences.append((relation, variables))
        for check in relation.checks:
            scope: Scope = ChainMap({"": {c.lower(): Term("variable", v) for c, v in variables.items()}})
            self.condition(check, True, scope, {})
        return variables

    def _using(self, name: str, scope: Scope) -> None:
        holders = [_force(columns[name]) for columns in scope.maps[0].values() if name in columns]
        for one, other in pairwise(holders):
            self._compare("=", one, other)

    def _resolve(self, column: exp.Column, scope: Scope) -> Term:
        name, owner = column.name.lower(), column.table.lower()
        if owner:
            columns = scope.get(owner)
            return _force(columns[name]) if columns is not None and name in columns else OPAQUE
        for level in scope.maps:
            for columns in level.values():
                if name in columns and not isinstance(columns, _Missing):
                    return _force(columns[name])
        return OPAQUE

    def _term(self, node: exp.Expr, scope: Scope, definitions: Definitions) -> Term:
        def subquery(inner: exp.Query) -> Term:
            found = self.query(inner, scope, definitions, {})
            return _force(next(iter(found.values()), OPAQUE))

        return term(node, lambda column: self._resolve(column, scope), subquery)

    def condition(self, node: exp.Expr, truth: bool, scope: Scope, definitions: Definitions) -> None:
        """Record what makes ``node`` true (or false)."""
        match node:
            case exp.Paren():
                self.condition(node.this, truth, scope, definitions)
            case exp.Not():
                self.condition(node.this, not truth, scope, definitions)
            case exp.And() | exp.Or():
                self._connective(node, truth, scope, definitions)
            case exp.Exists():
                if truth != (self.rng.random() < 0.15):
                    self.query(node.this, scope, definitions, {})
            case exp.In():
                self._in(node, truth, scope, definitions)
            case exp.Between():
                if truth:
                    for operator, bound in ((">=", node.args["low"]), ("<=", node.args["high"])):
                        self._compare(operator, *self._both(node.this, bound, scope, definitions))
                else:
                    operator, bound = self.rng.choice([("<", node.args["low"]), (">", node.args["high"])])
                    self._compare(operator, *self._both(node.this, bound, scope, definitions))
            case exp.Is():
                found = self._term(node.this, scope, definitions)
                if isinstance(node.expression, exp.Null):
                    self._constrain(found, "null" if truth else "not-null")
                elif isinstance(node.expression, exp.Boolean):
                    self._constrain(found, "=", bool(node.expression.this) == truth)
            case exp.Like() | exp.ILike():
                found = self._term(node.this, scope, definitions)
                with suppress(Unknown):
                    matching = truth != bool(node.args.get("negate"))
                    self._constrain(found, "like" if matching else "unlike", constant(node.expression))
            case exp.Escape():
                self.condition(node.this, truth, scope, definitions)
            case exp.Column():
                self._constrain(self._resolve(node, scope), "=", truth)
            case _ if type(node) in _OPERATORS:
                self._comparison(node, truth, scope, definitions)
            case _:
                self._hints(node, scope)

    def _connective(self, node: exp.Expr, truth: bool, scope: Scope, definitions: Definitions) -> None:
        sides = list(node.flatten())
        if isinstance(node, exp.And) == truth:
            for side in sides:
                self.condition(side, truth, scope, definitions)
            return
        chosen = self.rng.choice(sides)
        self.condition(chosen, truth, scope, definitions)
        for side in sides:
            if side is not chosen:
                self._hints(side, scope)

    def _comparison(self, node: exp.Expr, truth: bool, scope: Scope, definitions: Definitions) -> None:
        operator = _OPERATORS[type(node)]
        if not truth:
            operator = NEGATED[operator]
        left, right = node.this, node.expression
        for side in (left, right):
            if isinstance(side, exp.Case) and side.this is None:  # CASE WHEN c THEN x END > y is NULL unless c holds
                self.condition(side.args["ifs"][0].this, True, scope, definitions)
        if isinstance(right, (exp.Any, exp.All)):
            inner = right.this
            right = inner if isinstance(inner, (exp.Subquery, exp.Paren)) else exp.Paren(this=inner.copy())
        if isinstance(left, exp.Tuple) and isinstance(right, exp.Tuple):
            for one, other in zip(left.expressions, right.expressions, strict=False):
                self._compare(operator, *self._both(one, other, scope, definitions))
            return
        self._compare(operator, *self._both(left, right, scope, definitions))

    def _both(self, left: exp.Expr, right: exp.Expr, scope: Scope, definitions: Definitions) -> tuple[Term, Term]:
        return self._term(left, scope, definitions), self._term(right, scope, definitions)

    def _in(self, node: exp.In, truth: bool, scope: Scope, definitions: Definitions) -> None:
        if node.args.get("query") is not None:
            if truth == (self.rng.random() < 0.15):
                return
            found = self.query(node.args["query"], scope, definitions, {})
            lefts = node.this.expressions if isinstance(node.this, exp.Tuple) else [node.this]
            matching = truth or self.rng.random() < 0.5
            for left, right in zip(lefts, found.values(), strict=False):
                self._compare("=" if matching else "<>", self._term(left, scope, definitions), _force(right))
            return
        values = []
        for item in node.expressions:
            try:
                values.append(constant(item))
            except Unknown:
                continue
        found_term = self._term(node.this, scope, definitions)
        if values:
            self._constrain(found_term, "in" if truth else "not-in", *values)

    def _compare(self, operator: str, left: Term, right: Term) -> None:
        if left.kind == "constant" and right.kind != "constant":
            left, right, operator = right, left, MIRRORED[operator]
        if left.kind == "constant" and right.kind == "constant":
            if operator == "=" and left.value != right.value:
                self.made.contradictions += 1
            return
        if left.kind == "count":
            if right.kind == "constant" and isinstance(right.value, int):
                self.made.counts.add(right.value)
            return
        if right.kind == "constant":
            self._constrain(left, operator, right.value)
        elif left.variable is not None and right.variable is not None:
            if operator == "=" and not left.inverse and not right.inverse:
                self.made.equal.append((left.variable, right.variable))
            elif right.inverse and not left.inverse:
                self.made.relating.append(Relating(left.variable, operator, right))
            else:
                self.made.relating.append(Relating(right.variable, MIRRORED[operator], left))

    def _constrain(self, found: Term, operator: str, *values: Value) -> None:
        if found.kind == "count":
            self.made.counts.update(v for v in values if isinstance(v, int))
        if found.variable is None:
            return
        if found.flips:
            operator = MIRRORED.get(operator, operator)
        wanted = tuple(found.wanted(value) for value in values)
        self.made.constraints.append(
            Constraint(found.variable, operator, tuple(value for value in wanted if value is not None))
        )

    def _hints(self, node: exp.Expr, scope: Scope) -> None:
        """Record the constants that columns are compared with anywhere in ``node``, without asking for them."""
        for part in node.walk(prune=lambda n: isinstance(n, exp.Query)):
            if isinstance(part, exp.Query):
                continue
            pairs: list[tuple[exp.Expr, list[exp.Expr]]] = []
            if type(part) in _OPERATORS or isinstance(part, (exp.Like, exp.ILike)):
                pairs = [(part.this, [part.expression]), (part.expression, [part.this])]
            elif isinstance(part, exp.Between):
                pairs = [(part.this, [part.args["low"], part.args["high"]])]
            elif isinstance(part, exp.In) or (isinstance(part, exp.Case) and part.this is not None):
                items = part.expressions if isinstance(part, exp.In) else [i.this for i in part.args["ifs"]]
                pairs = [(part.this, items)]
            elif isinstance(part, exp.Coalesce):
                pairs = [(part.this, part.expressions)]
            for subject, items in pairs:
                self._hint(subject, items, scope)

    def _hint(self, subject: exp.Expr, items: list[exp.Expr], scope: Scope) -> None:
        values = []
        for item in items:
            try:
                values.append(constant(item))
            except Unknown:
                continue
        if not values:
            return
        found = term(subject, lambda column: self._resolve(column, scope), lambda _: OPAQUE)
        if found.kind == "count":
            self.made.counts.update(v for v in values if isinstance(v, int))
        if found.variable is not None:
            wanted = tuple(v for v in (found.wanted(value) for value in values) if v is not None)
            self.made.hints.append(Constraint(found.variable, "in", wanted))


class _Missing(dict[str, "Term | Callable[[], Term]"]):
    """The columns of an outer join's side that finds no row: all NULL."""

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Term:
        return NULL


def _force(found: Term | Callable[[], Term]) -> Term:
    return found if isinstance(found, Term) else found()


def _later(compute: Callable[[], Term]) -> Callable[[], Term]:
    """``compute`` called at most once, when somebody asks."""
    made: list[Term] = []

    def get() -> Term:
        if not made:
            made.append(OPAQUE)
            made[0] = compute()
        return made[0]

    return get


def _branches(node: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(node, exp.Subquery) and not node.ctes and isinstance(node.this, exp.Query):
        yield from _branches(node.this)
    elif isinstance(node, exp.Union) and not node.ctes:
        yield from _branches(node.this)
        yield from _branches(node.expression)
    else:
        yield node


def _fits(branch: exp.Expr, names: list[str], demands: Mapping[str, Value]) -> bool:
    """Whether the constants that a branch selects agree with what its reader demands."""
    if not demands or not isinstance(branch, exp.Select):
        return True
    for name, projection in zip(names, branch.expressions, strict=False):
        if name in demands:
            try:
                if constant(projection.unalias()) != demands[name]:
                    return False
            except Unknown:
                continue
    return True


def _demands(conditions: list[exp.Expr]) -> dict[tuple[str, str], Value]:
    found: dict[tuple[str, str], Value] = {}
    for condition in conditions:
        for part in condition.flatten() if isinstance(condition, exp.And) else [condition]:
            part = part.unnest() if isinstance(part, exp.Paren) else part
            if isinstance(part, exp.EQ):
                for column, other in ((part.this, part.expression), (part.expression, part.this)):
                    if isinstance(column, exp.Column):
                        try:
                            found[column.table.lower(), column.name.lower()] = constant(other)
                        except Unknown:
                            continue
    return found


def _alias_columns(source: exp.Expr) -> tuple[str, ...]:
    alias = source.args.get("alias")
    return tuple(c.name.lower() for c in alias.columns) if isinstance(alias, exp.TableAlias) else ()


def _renamed(columns: Columns, names: tuple[str, ...]) -> Columns:
    if not names:
        return columns
    return {**dict(zip(names, columns.values(), strict=False)), **dict(list(columns.items())[len(names) :])}
