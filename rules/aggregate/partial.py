"""Aggregates computed in two levels: partial values over groups of a join's core, and what combines them.

COUNT is the sum of partial counts, SUM of partial sums, MIN of partial minima, MAX of partial maxima, AVG is the sum of
sums divided by that of counts (Yan and Larson, "Eager Aggregation and Lazy Aggregation", VLDB 1995). Every group has a
row at least, and every row of a group meets the same rows of the other relations: so multiplicities come out right.
"""

from __future__ import annotations

from sqlglot import exp

from rules.build import identifier
from rules.core import reads
from rules.facts import Facts
from rules.sites import grouping_sets

_EXACT = {
    exp.DataType.Type.SMALLINT,
    exp.DataType.Type.TINYINT,
    exp.DataType.Type.INT,
    exp.DataType.Type.BIGINT,
    exp.DataType.Type.DECIMAL,
}
_SMALL = {exp.DataType.Type.SMALLINT, exp.DataType.Type.TINYINT, exp.DataType.Type.INT}
_PLACE = "partial"


class Partials:
    """The partial aggregates of one SELECT. ``select`` stands in the original tree (facts are asked about it), ``site``
    is the same SELECT in the copy that is changed."""

    def __init__(self, facts: Facts, select: exp.Select, site: exp.Select, core: frozenset[str]) -> None:
        self.facts = facts
        self.select = select
        self.site = site
        self.core = core
        self._calls: dict[str, exp.Expr] = {}
        self._names: dict[str, str] = {}

    @staticmethod
    def needed(call: exp.AggFunc, select: exp.Select) -> frozenset[str]:
        """The relations that have to be in the core for a call: those of its argument, conditions of CASE left out."""
        argument = _argument(call)
        if argument is None:
            return frozenset()
        return frozenset().union(*(reads(part, select) for part in _values(argument)))

    def combine(self, call: exp.AggFunc, original: exp.AggFunc) -> exp.Expr | None:
        """What stands for ``call`` (of ``site``) over the partial values; ``original`` is the same call in the original
        tree. Partial values are placeholders until they have names. None: it cannot be computed in two levels."""
        condition: exp.Expr | None = None
        within: exp.Expr | None = None
        if isinstance(call.parent, exp.Filter) and call.parent.this is call:
            where = call.parent.expression
            assert isinstance(where, exp.Where)
            if where.this.find(exp.Query, exp.AggFunc, exp.Window) is not None:
                return None
            if reads(where.this, self.site) <= self.core:
                within = where.this
            else:
                condition = where.this
        if isinstance(call.parent, (exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)):
            return None
        if (
            call.args.get("order")
            or call.find(exp.Distinct, exp.Query, exp.Order)
            or list(call.find_all(exp.AggFunc))[1:]
        ):
            return None
        if isinstance(call, exp.Count):
            return self._count(call, condition, within)
        argument = call.this
        if not isinstance(call, (exp.Sum, exp.Min, exp.Max, exp.Avg)) or not isinstance(argument, exp.Expr):
            return None
        if call.expressions:
            return None
        if isinstance(call, (exp.Min, exp.Max)):
            return self._total(type(call), argument, condition, within)
        kind = self.facts.type(original.this)
        if kind.this not in _EXACT:
            return None
        if isinstance(call, exp.Sum):
            total = self._total(exp.Sum, argument, condition, within)
            if total is None:
                return None
            # Sums of sums are of a wider type than sums.
            if self.facts.dialect == "postgres" and kind.this in _SMALL:
                return exp.cast(total, "BIGINT")
            return total
        return self._average(argument, condition, within)

    def _count(self, call: exp.Count, condition: exp.Expr | None, within: exp.Expr | None) -> exp.Expr | None:
        argument = call.this
        if call.expressions:
            return None
        if isinstance(argument, (exp.Star, exp.Literal)):
            counted: exp.Expr | None = _under(
                exp.Sum(this=self._partial(exp.Count(this=exp.Star()), within)), condition
            )
        elif isinstance(argument, exp.Expr) and reads(argument, self.site) <= self.core:
            counted = _under(exp.Sum(this=self._partial(exp.Count(this=argument.copy()), within)), condition)
        else:
            return None
        assert counted is not None
        group = self.site.args.get("group")
        if group is None or grouping_sets(self.site) or condition is not None:
            counted = exp.Coalesce(this=counted, expressions=[exp.Literal.number(0)])
        return exp.cast(counted, "BIGINT")

    def _average(self, argument: exp.Expr, condition: exp.Expr | None, within: exp.Expr | None) -> exp.Expr | None:
        if not reads(argument, self.site) <= self.core:
            return None
        total = self._total(exp.Sum, argument, condition, within)
        count = _under(exp.Sum(this=self._partial(exp.Count(this=argument.copy()), within)), condition)
        if total is None:
            return None
        wide = "DECIMAL" if self.facts.dialect == "postgres" else "DOUBLE"
        some = exp.Nullif(this=count, expression=exp.Literal.number(0))
        return exp.Div(this=exp.cast(total, wide), expression=some)

    def _total(
        self,
        kind: type[exp.Sum] | type[exp.Min] | type[exp.Max],
        argument: exp.Expr,
        condition: exp.Expr | None,
        within: exp.Expr | None,
    ) -> exp.Expr | None:
        """The combination of partial values of ``kind``. Where CASE chooses between values of the core by conditions on
        other relations, the choice is made over the partial values."""
        if reads(argument, self.site) <= self.core:
            return _under(kind(this=self._partial(kind(this=argument.copy()), within)), condition)
        if kind is not exp.Sum and within is None and not reads(argument, self.site) & self.core:
            return _under(kind(this=argument.copy()), condition)  # of how many rows does not matter
        if not isinstance(argument, exp.Case) or argument.this is not None or within is not None:
            return None
        chosen = argument.copy()
        for branch, old in zip(chosen.args["ifs"], argument.args["ifs"], strict=True):
            value = self._branch(kind, old.args["true"])
            if value is None or old.this.find(exp.Query, exp.AggFunc, exp.Window) is not None:
                return None
            branch.set("true", value)
        if argument.args.get("default") is not None:
            value = self._branch(kind, argument.args["default"])
            if value is None:
                return None
            chosen.set("default", value)
        # The conditions keep the nodes of the site, so that their columns are renamed with the rest.
        return _under(kind(this=chosen), condition)

    def _branch(self, kind: type[exp.Expr], value: exp.Expr) -> exp.Expr | None:
        if isinstance(value, exp.Null):
            return value.copy()
        if isinstance(value, exp.Literal) and value.name == "0" and not value.is_string and kind is exp.Sum:
            return value.copy()
        if value.find(exp.Column) is None or not reads(value, self.site) <= self.core:
            return None
        return self._partial(kind(this=value.copy()), None)

    def _partial(self, call: exp.Expr, within: exp.Expr | None) -> exp.Expr:
        if within is not None:
            call = exp.Filter(this=call, expression=exp.Where(this=within.copy()))
        text = call.sql()
        self._calls.setdefault(text, call)
        return exp.Placeholder(this=f"{_PLACE}:{text}")

    def outputs(self, taken: set[str]) -> list[exp.Expr]:
        """The partial values as outputs of the core's query, with names that are not ``taken``."""
        found = []
        for number, (text, call) in enumerate(self._calls.items(), start=1):
            name = f"partial_{number}"
            while name in taken:
                name += "_"
            self._names[text] = name
            found.append(exp.alias_(call, identifier(name)))
        return found

    @staticmethod
    def placeholders(site: exp.Select) -> list[exp.Placeholder]:
        """The places of ``site`` where partial values are to be read."""
        return [node for node in site.find_all(exp.Placeholder) if str(node.this).startswith(f"{_PLACE}:")]

    def name_of(self, node: exp.Placeholder) -> str:
        """The name that the partial value of a place has been given by ``outputs``."""
        return self._names[str(node.this).removeprefix(f"{_PLACE}:")]


def _argument(call: exp.AggFunc) -> exp.Expr | None:
    argument = call.this
    return argument if isinstance(argument, exp.Expr) and not isinstance(argument, exp.Star) else None


def _values(argument: exp.Expr) -> list[exp.Expr]:
    """The values that an aggregate's argument takes: the branches of a CASE, or the argument itself."""
    if isinstance(argument, exp.Case) and argument.this is None:
        branches = [branch.args["true"] for branch in argument.args["ifs"]]
        default = argument.args.get("default")
        values = [*branches, *([default] if default is not None else [])]
        if any(value.find(exp.Column) is not None for value in values):
            return values
    return [argument]


def _under(call: exp.Expr, condition: exp.Expr | None) -> exp.Expr:
    if condition is None:
        return call
    return exp.Filter(this=call, expression=exp.Where(this=condition.copy()))
