"""From a place where two queries differ to a pair of templates: what stays the same becomes a metavariable.

Tables, the names they go by, their columns, and outputs of derived tables become names. An expression that both sides
have, and that does not look into what the template itself names, becomes one metavariable as a whole. Constants become
metavariables unless told otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sqlglot import exp

from rewriter.distill.localise import reduced
from rewriter.distill.records import Hypothesis, Reason, Refused, Site, Variable
from rules.facts import Facts
from rules.pattern_names import LIST, ONE

NEUTRAL = frozenset({"0", "1", "-1", "2", "100", ""})  # constants that say nothing about anybody's data
_KEEP = (exp.DataType, exp.Var, exp.Boolean, exp.Null, exp.Star)
_VALUES = (exp.Condition,)
_CLAUSES = ("expressions", "from_", "joins", "where", "group", "having", "distinct", "order", "limit", "offset")


_Relations = dict[tuple[object, str], str]  # by the number of the SELECT and the name


@dataclass(frozen=True)
class Manner:
    """How far to go. ``whole``: expressions that both sides have become one metavariable; ``kept``: constants (as
    text) that stay as they are; ``rest``: the conditions that both sides have become a list."""

    whole: bool = True
    rest: bool = True
    kept: frozenset[str] = frozenset()


@dataclass
class _Names:
    """Metavariables given out so far, by what they stand for."""

    known: dict[tuple[str, ...], str] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)

    def of(self, key: tuple[str, ...], stem: str, variable: Variable) -> str:
        if key not in self.known:
            name = f"{stem}{1 + sum(known.rstrip('0123456789') == stem for known in self.variables)}"
            self.known[key] = name
            self.variables[name] = replace(variable, name=name)
        return self.known[key]


def abstracted(site: Site, manner: Manner) -> Hypothesis:
    """The templates of a site. Raises Refused for what patterns cannot say."""
    return _Abstraction(site, manner).run()


def constants(site: Site) -> list[str]:
    """The constants of a site's find, as text."""
    return sorted({node.sql() for node in site.find.find_all(exp.Literal, exp.Interval) if not _inside_interval(node)})


class _Abstraction:
    def __init__(self, site: Site, manner: Manner) -> None:
        self.site = site
        self.manner = manner
        self.names = _Names()
        self.made = 0  # relations that the replacement adds
        self.outer: list[str] = []
        self.own: dict[str, str] = {}  # outputs that the replacement names

    def run(self) -> Hypothesis:
        place = place_of(self.site.find)
        find, put = self._shown()
        for node in (find, put):
            if node.find(exp.Anonymous, exp.Lateral, exp.Placeholder, exp.Parameter, exp.UDTF):
                raise Refused(Reason.BEYOND_PATTERNS, "it calls a function of the user, or reads a parameter")
            if node.find(exp.Div, exp.IntDiv, exp.Mod):
                # The search of small databases leaves division open, and generated values seldom lie on its edges.
                raise Refused(Reason.UNTESTED, "it divides, and what that does at the edges is not seen by the tests")
            if node.find(exp.With):
                raise Refused(Reason.BEYOND_PATTERNS, "it adds or removes a common table expression")
        self.homes = {select.meta.get("home") for select in find.find_all(exp.Select) if select.args.get("from_")}
        self.theirs = {select.meta.get("home") for select in put.find_all(exp.Select) if select.args.get("from_")}
        if self.manner.rest:
            find, put = self._with_rest(find, put)
        shared = self._shared(find, put) if self.manner.whole else set()
        self.tables = {(item.name, item.db) for item in find.find_all(exp.Table)}
        find = self._opaque(find, shared, self.homes, alone=False)
        put = self._opaque(put, shared, self.theirs, alone=True)
        # Relations of the find are named first, then those that the replacement has under the same names.
        self.relations = self._relations(find, None)
        theirs = self._relations(put, self.relations)
        self._rename(find, self.relations, self.homes)
        self._rename(put, theirs, self.theirs)
        find = self._constants(find, None)
        put = self._constants(put, find)
        unknown = _unbound(find, put)
        if unknown:
            raise Refused(Reason.BEYOND_PATTERNS, "the rewritten part reads or says what the original part does not")
        if not self.names.variables:
            raise Refused(Reason.CANNOT_LOCALISE, "nothing in it can stand for something else")
        dialect = self.site.before.dialect
        return Hypothesis(
            template_text(find), template_text(put), dict(self.names.variables), place, dialect, outer=tuple(self.outer)
        )

    def _shown(self) -> tuple[exp.Expr, exp.Expr]:
        """The parts to abstract; of a SELECT only the clauses that change, and those that name what they read."""
        find, replace = self.site.find, self.site.replace
        if isinstance(find, exp.Select) and isinstance(replace, exp.Select):
            return self._clauses(find, replace)
        if isinstance(find, exp.Query) is not isinstance(replace, exp.Query) and isinstance(find, exp.Select):
            raise Refused(Reason.BEYOND_PATTERNS, "a SELECT becomes something else")
        first, second = reduced(find, replace)
        pair = []
        for node in (first, second):
            copy = exp.Paren(this=node.copy()).this
            for query in copy.find_all(exp.Subquery):
                if not isinstance(query.parent, (exp.From, exp.Join)):
                    query.set("alias", None)
            for exists in copy.find_all(exp.Exists):
                _plain_outputs(exists)
            for nested in copy.find_all(exp.Select):
                if not isinstance(nested.find_ancestor(exp.From, exp.Join), (exp.From, exp.Join)):
                    nested.set("expressions", [output.unalias() for output in nested.expressions])
            pair.append(copy)
        find, replace = pair
        inner, other = find.find(exp.Select), replace.find(exp.Select)
        if isinstance(find, exp.Subquery) and isinstance(replace, exp.Subquery) and inner and other:
            # What both have of the clauses need not be shown: it stays.
            for key in ("from_", "joins", "where"):
                rest = ("from_", "joins", "where")[: ("from_", "joins", "where").index(key)]
                if inner.args.get(key) == other.args.get(key) and all(not inner.args.get(done) for done in rest):
                    inner.set(key, None)
                    other.set(key, None)
        return find, replace

    def _clauses(self, find: exp.Select, replace: exp.Select) -> tuple[exp.Expr, exp.Expr]:
        first, second = exp.Select(), exp.Select()
        for key in {**find.args, **replace.args}:
            mine, theirs = find.args.get(key) or None, replace.args.get(key) or None
            if mine is None and theirs is None:
                continue
            if key not in _CLAUSES:
                if mine != theirs:
                    raise Refused(Reason.BEYOND_PATTERNS, f"the clause {key.strip('_').upper()} of a SELECT changes")
                continue
            moved = find.args.get("from_") != replace.args.get("from_") or find.args.get("joins") != replace.args.get(
                "joins"
            )
            if mine == theirs and key != "expressions" and not (moved and key in ("from_", "joins")):
                continue
            for select, value in ((first, mine), (second, theirs)):
                if value is not None:
                    select.set(key, [item.copy() for item in value] if isinstance(value, list) else value.copy())
        for select, source in ((first, find), (second, replace)):
            select.meta.update(source.meta)
        if find.expressions == replace.expressions:
            name = self.names.of(("list", "outputs"), "outputs", Variable("", "list"))
            for select in (first, second):
                select.set("expressions", [exp.column(exp.to_identifier(f"{LIST}{name}", quoted=True))])
        return exp.Paren(this=first).this, exp.Paren(this=second).this

    def _with_rest(self, find: exp.Expr, replace: exp.Expr) -> tuple[exp.Expr, exp.Expr]:
        """The conditions that a WHERE of both sides has in common, as one list."""
        for mine in _filters(find):
            for theirs in _filters(replace):
                left, right = _operands(mine.this), _operands(theirs.this)
                common = [part for part in left if part in right and part.find(exp.Query) is None]
                if len(common) == len(left) and len(common) == len(right):
                    continue
                name = self.names.of(("list", str(len(self.names.variables))), "rest", Variable("", "list"))
                for where, parts in ((mine, left), (theirs, right)):
                    variable = exp.column(exp.to_identifier(f"{LIST}{name}", quoted=True))
                    kept: exp.Expr = variable
                    for part in reversed([part for part in parts if part not in common]):
                        kept = exp.And(this=_wrapped(part.copy()), expression=kept)
                    where.set("this", kept)
                return find, replace
        return find, replace

    def _shared(self, find: exp.Expr, replace: exp.Expr) -> set[exp.Expr]:
        """Expressions with operators that stand on both sides."""
        theirs = {node for node in replace.walk() if _compound(node)}
        return {node for node in find.walk() if _compound(node) and node in theirs}

    def _opaque(self, tree: exp.Expr, shared: set[exp.Expr], homes: set[object], *, alone: bool) -> exp.Expr:
        """The largest of the shared expressions as metavariables; so are columns from outside, and what is constant.
        ``alone``: one of them may be all that there is."""
        holder = exp.Paren(this=tree)
        for node in list(holder.walk(prune=lambda it: isinstance(it, _KEEP))):
            if node is holder or _removed(node, holder):
                continue
            if node in shared and (alone or node is not tree):
                kind = "constant" if node.find(exp.Column) is None else "expression"
                if kind == "constant" and node.sql() in self.manner.kept:
                    continue
                name = self.names.of(("x", node.sql()), "x", Variable("", kind, node.copy(), self._type(node)))
                node.replace(_variable(name))
            elif isinstance(node, exp.Column) and node.table and node.meta.get("home") not in homes:
                if node.meta.get("table") is not None and self._is_named(node.meta["table"]):
                    continue  # a row of a table that the template reads as well
                sample = Variable("", "expression", node.copy(), node.meta.get("type", ""))
                node.replace(_variable(self.names.of(("x", node.sql()), "x", sample)))
        result: exp.Expr = holder.this
        return result

    def _is_named(self, table: tuple[str, str]) -> bool:
        return table in self.tables

    def _relations(self, tree: exp.Expr, theirs: _Relations | None) -> _Relations:
        """The metavariables of relations, or the names that a replacement gives to those of its own."""
        found: _Relations = {}
        used: set[str] = set()
        for item in list(tree.find_all(exp.Table, exp.Subquery)):
            alias, reader = item.args.get("alias"), item.find_ancestor(exp.Select)
            if not isinstance(alias, exp.TableAlias) or reader is None:
                continue
            if alias.columns or any(item.args.get(key) for key in ("joins", "sample", "hints", "when", "pivots")):
                raise Refused(Reason.BEYOND_PATTERNS, "a relation is read in a way that templates cannot show")
            old, home, table = alias.name, reader.meta.get("home"), ""
            if isinstance(item, exp.Table):
                key = ("table", item.name, item.db)
                if theirs is not None and key not in self.names.known:
                    raise Refused(Reason.BEYOND_PATTERNS, "the rewritten part reads a table that the part does not")
                table = self.names.of(key, "t", Variable("", "table"))
                item.set("this", exp.to_identifier(f"{ONE}{table}", quoted=True))
                item.set("db", None)
            if theirs is None:
                name = ONE + self.names.of(("relation", str(home), old), "r", Variable("", "relation", table=table))
            else:
                same = [name for (_, other), name in theirs.items() if other == old and name not in used]
                self.made += not same
                name = same[0] if same else f"d{self.made}"
                used.add(name)
            found[home, old] = name
            alias.set("this", exp.to_identifier(name, quoted=name.startswith("?")))
        return found

    def _rename(self, tree: exp.Expr, relations: _Relations, homes: set[object]) -> None:
        """Columns by the new names of their relations; outputs of derived tables as well. Other outputs lose theirs."""
        theirs = relations is not self.relations
        for select in tree.find_all(exp.Select):
            derived = isinstance(select.parent, exp.Subquery) and isinstance(select.parent.parent, (exp.From, exp.Join))
            for output in list(select.expressions):
                if isinstance(output, exp.Alias) and derived:
                    name = self._output(output.alias, theirs=theirs)
                    output.set("alias", exp.to_identifier(name, quoted=name.startswith("?")))
                elif isinstance(output, exp.Alias):
                    output.replace(output.this)
        for column in tree.find_all(exp.Column):
            if not column.table:
                continue
            old, table, type_ = column.table, column.meta.get("table"), column.meta.get("type", "")
            home = column.meta.get("home")
            if home in homes:
                relation = relations.get((home, old))
            else:
                variable = self.names.of(("outer", old), "r", Variable("", "relation"))
                if variable not in self.outer:
                    self.outer.append(variable)
                relation = ONE + variable
            if relation is None:
                raise Refused(Reason.BEYOND_PATTERNS, "a column belongs to nothing that the template names")
            if table is None:
                name = self._output(column.name, theirs=theirs)
            else:
                sample = Variable("", "column", column.copy(), type_)
                name = ONE + self.names.of(("column", *table, column.name), "c", sample)
                if not theirs:
                    self._seen(name.removeprefix(ONE), relation)
            column.set("table", exp.to_identifier(relation, quoted=relation.startswith("?")))
            column.set("this", exp.to_identifier(name, quoted=name.startswith("?")))

    def _seen(self, name: str, relation: str) -> None:
        """Take down that a relation of the template has a column."""
        known, short = self.names.variables[name], relation.removeprefix(ONE)
        if relation.startswith(ONE) and short not in known.relations:
            self.names.variables[name] = replace(known, relations=(*known.relations, short))

    def _output(self, name: str, *, theirs: bool) -> str:
        """An output of a derived table: a metavariable, or a name of the replacement's own."""
        key = ("output", name)
        if theirs and key not in self.names.known:
            self.own.setdefault(name, f"o{len(self.own) + 1}")
            return self.own[name]
        return ONE + self.names.of(key, "o", Variable("", "output"))

    def _constants(self, tree: exp.Expr, find: exp.Expr | None) -> exp.Expr:
        """Constants as metavariables, but for those that are kept. ``find`` is given for a replacement."""
        holder = exp.Paren(this=tree)
        for node in list(holder.find_all(exp.Literal, exp.Interval)):
            text = node.sql()
            if _inside_interval(node) or isinstance(node.parent, exp.DataType) or _removed(node, holder):
                continue
            if isinstance(node.parent, exp.Select) and isinstance(node.parent.parent, exp.Exists):
                continue
            if isinstance(node.parent, (exp.Limit, exp.Offset, exp.Fetch)):
                if not _neutral(node):
                    raise Refused(Reason.BEYOND_PATTERNS, "it counts rows up to a number of its own")
                continue
            key = ("x", text)
            if text in self.manner.kept or (find is not None and key not in self.names.known and _neutral(node)):
                if not _neutral(node):
                    raise Refused(Reason.REFUTED, "it holds for its own constants only")
                continue
            if find is not None and key not in self.names.known:
                raise Refused(Reason.BEYOND_PATTERNS, "the rewritten part has a constant that must be worked out")
            name = self.names.of(key, "x", Variable("", "constant", node.copy(), self._type(node)))
            node.replace(_variable(name))
        result: exp.Expr = holder.this
        return result

    def _type(self, node: exp.Expr) -> str:
        return type_of(node, None)


def type_of(node: exp.Expr, facts: Facts | None) -> str:
    """The type of an expression as SQL text, a date written as text included; empty when it cannot be told. Without
    ``facts`` columns know their types."""
    if isinstance(node, exp.Literal):
        if node.is_string:
            return "DATE" if re.fullmatch(r"\d{4}-\d\d-\d\d", node.name) else "TEXT"
        return "INT" if node.name.isdigit() else "DECIMAL(10, 2)"
    if isinstance(node, exp.Interval):
        return "INTERVAL"
    if isinstance(node, exp.Cast):
        return node.to.sql()
    if isinstance(node, (exp.Predicate, exp.Connector, exp.Not)):
        return "BOOLEAN"
    if facts is not None:
        type_ = facts.type(node)
        return "" if type_.is_type("unknown") else type_.sql()
    types = {column.meta.get("type", "") for column in node.find_all(exp.Column)}
    return types.pop() if len(types) == 1 else ""


def place_of(node: exp.Expr) -> str:
    """What stands where a template is found: a condition, an aggregate, another value, or a SELECT."""
    if isinstance(node, exp.Select):
        return "select"
    if isinstance(node, (exp.Predicate, exp.Connector, exp.Not, exp.Exists)):
        return "condition"
    inner = node.copy()
    for query in list(inner.find_all(exp.Query)):
        if query is inner:
            return "value"
        query.replace(exp.Null())
    return "aggregate" if inner.find(exp.AggFunc) else "value"


def _compound(node: exp.Expr) -> bool:
    """Whether a node is an expression with something in it, and may be read as one value."""
    if not isinstance(node, exp.Condition) or isinstance(node, (exp.Column, exp.Literal, exp.Query, *_KEEP)):
        return False
    if isinstance(node, (exp.Alias, exp.Ordered, exp.Tuple, exp.AggFunc, exp.Paren)) or node.find(
        exp.Query, exp.AggFunc, exp.Window
    ):
        return False
    return not isinstance(node.parent, (exp.Interval, exp.DataType))


def _inside_interval(node: exp.Expr) -> bool:
    return isinstance(node.parent, exp.Interval)


def _removed(node: exp.Expr, holder: exp.Expr) -> bool:
    """Whether a node has gone from the tree with one of its parents."""
    above: exp.Expr | None = node
    while above is not None and above is not holder:
        above = above.parent
    return above is None


def _neutral(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and node.name in NEUTRAL


def _variable(name: str) -> exp.Column:
    return exp.column(exp.to_identifier(f"{ONE}{name}", quoted=True))


def _plain_outputs(exists: exp.Exists) -> None:
    """EXISTS asks for rows; what its SELECT puts out for each of them does not matter."""
    select = exists.this
    if isinstance(select, exp.Select) and not select.find(exp.AggFunc) and not select.args.get("distinct"):
        select.set("expressions", [exp.Literal.number(1)])


def _filters(tree: exp.Expr) -> list[exp.Where]:
    """The WHERE clauses of SELECTs."""
    return [where for where in tree.find_all(exp.Where) if isinstance(where.parent, exp.Select)]


def _operands(node: exp.Expr) -> list[exp.Expr]:
    while isinstance(node, exp.Paren):
        node = node.this
    return [*_operands(node.this), *_operands(node.expression)] if isinstance(node, exp.And) else [node]


def _wrapped(node: exp.Expr) -> exp.Expr:
    return exp.Paren(this=node) if isinstance(node, exp.Or) else node


def _unbound(find: exp.Expr, replace: exp.Expr) -> set[str]:
    def variables(tree: exp.Expr) -> Iterator[str]:
        return (node.name for node in tree.find_all(exp.Identifier) if node.name.startswith("?"))

    return set(variables(replace)) - set(variables(find))


def template_text(tree: exp.Expr) -> str:
    """A template as it stands in a document."""
    while isinstance(tree, exp.Paren):
        tree = tree.this
    text = tree.sql(dialect="postgres", comments=False)
    text = re.sub(r'"\?one:([a-z0-9_]+)"', r"@\1", text)
    return re.sub(r'"\?list:([a-z0-9_]+)"', r"@\1...", text)
