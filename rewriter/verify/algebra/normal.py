"""The canonical form of a bag: every step keeps the rows and how often each occurs.

Keys decide much here: a variable that some key pins down to one row at most is the same inside and outside an EXISTS.
A joined row that nobody reads goes in, a row that pins down a grouping value comes out, and two rows of one table that
agree on a key are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from rewriter.verify.algebra.scalar import case
from rewriter.verify.algebra.terms import (
    FALSE,
    STRICT,
    TRUE,
    Aggregate,
    Bag,
    Call,
    Cell,
    Exists,
    Expr,
    Literal,
    Term,
    Variable,
    cells,
    conjuncts,
    every,
    negated,
    present,
    refreshed,
    refreshed_term,
    renamed,
    same,
    some,
    substitute,
    substitute_term,
)

Keys = Mapping[str, Sequence[tuple[str, ...]]]  # of a table: its keys, the columns of each
MOST_STEPS = 200  # of one term; every form on the way is as good as the last
_ARITHMETIC = ("+", "-", "*")


class Normaliser:
    """Rewrites bags by syntactic steps alone. ``used`` collects the constraints that steps rested on, ``told`` says for
    a reader what the steps did."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.used: dict[str, None] = {}
        self.told: dict[str, None] = {}
        self._exist: dict[Expr, Expr] = {}
        self._exprs: dict[Expr, Expr] = {}

    def bag(self, bag: Bag, *, as_set: bool) -> Bag:
        """``bag`` in canonical form; ``as_set``: how often a row occurs does not matter."""
        found: list[Term] = []
        waiting = list(bag.terms)
        while waiting:
            made = self._term(waiting.pop(0), as_set=as_set)
            if isinstance(made, Term):
                found.append(made)
            elif made is not None:
                waiting = [*made, *waiting]
        return Bag(tuple(found))

    def _term(self, term: Term, *, as_set: bool) -> Term | list[Term] | None:
        """The term in canonical form; None when it stands for nothing; several terms to go on with when it falls
        apart."""
        for _ in range(MOST_STEPS):
            term = Term(
                term.variables,
                tuple(dict.fromkeys(part for c in term.conditions for part in conjuncts(self.expr(c)))),
                tuple(map(self.expr, term.outputs)),
            )
            if FALSE in term.conditions:
                return None
            split = _inlined(term) if as_set else None
            if split is not None:
                return split
            made = _substituted(term) or self._merged(term) or _narrowed(term)
            if made is None and not as_set:
                made = self._lifted(term) or self._pulled(term) or self._pushed(term)
            if made is None:
                return term
            term = made
        return term

    # --- expressions ---

    def expr(self, expr: Expr) -> Expr:
        """An equal expression in which totals of totals are one total and CASE stands outside of arithmetic."""
        if not expr.nested:
            return self._rewritten(expr)
        if expr not in self._exprs:
            self._exprs[expr] = self._rewritten(expr)
        return self._exprs[expr]

    def _rewritten(self, expr: Expr) -> Expr:
        if isinstance(expr, Call):
            made = replace(expr, arguments=tuple(map(self.expr, expr.arguments)))
            return self._call(made)
        if isinstance(expr, Exists):
            return self._exists(expr)
        if isinstance(expr, Aggregate):
            if expr.name == "total":
                return self._total(expr)
            if expr.name in ("min", "max"):
                return _extremes(expr)
        return expr

    def _exists(self, expr: Exists) -> Expr:
        """EXISTS with joins and unions laid open, without terms that stand for nothing or for the same as another."""
        known = self._exist.get(expr)
        if known is None:
            kept: dict[Term, Term] = {}
            known = None
            for term in self.bag(expr.bag, as_set=True).terms:
                if not term.variables and not term.conditions:
                    known = TRUE
                names = {variable.id: -at for at, variable in enumerate(term.variables, start=1)}
                kept.setdefault(renamed(term, names), replace(term, outputs=()))
            known = known or (Exists(Bag(tuple(kept.values()))) if kept else FALSE)
            self._exist[expr] = self._exist[known] = known
        return known

    def _call(self, expr: Call) -> Expr:
        arguments = expr.arguments
        if expr.name == "and":
            return every(arguments)
        if expr.name == "or":
            return _factored(arguments)
        if expr.name == "not":
            return negated(arguments[0])
        if expr.name == "same":
            return same(*arguments)
        if expr.name == "is null":
            return negated(present(arguments[0]))
        if expr.name == "case":
            return _case(expr)
        if expr.name in (*_ARITHMETIC, "to num"):
            for at, argument in enumerate(arguments):
                if isinstance(argument, Call) and argument.name == "case":
                    return self.expr(_lifted(expr, at, argument))
        if expr.sort in ("int", "num"):
            if expr.name == "*" and all(_is_total(argument) for argument in arguments):
                return self._product(expr)
            if expr.name == "to num" and _is_total(arguments[0]):
                inner = arguments[0]
                assert isinstance(inner, Aggregate)
                bag = Bag(tuple(replace(t, outputs=(_as_num(t.outputs[0]),)) for t in inner.bag.terms))
                return self._total(Aggregate("total", bag, "num"))
        return expr

    def _product(self, expr: Call) -> Expr:
        """The product of two totals is the total of the products over all pairs of rows."""
        one, two = expr.arguments
        assert isinstance(one, Aggregate)
        assert isinstance(two, Aggregate)
        self.told["the product of two totals is the total of the products over all pairs of rows"] = None
        terms = []
        for first in one.bag.terms:
            for second in refreshed(two.bag).terms:
                value = _product(first.outputs[0], second.outputs[0], expr.sort)
                terms.append(
                    Term((*first.variables, *second.variables), (*first.conditions, *second.conditions), (value,))
                )
        return self._total(Aggregate("total", refreshed(Bag(tuple(terms))), expr.sort))

    def _total(self, expr: Aggregate) -> Expr:
        """Totals are linear: of a sum, of cases, of totals."""
        found: list[Term] = []
        waiting = list(expr.bag.terms)
        while waiting:
            term = waiting.pop(0)
            value = self.expr(term.outputs[0])
            conditions = tuple(part for c in term.conditions for part in conjuncts(self.expr(c)))
            if FALSE in conditions or value == Literal(0, expr.sort):
                continue
            term = Term(term.variables, conditions, (value,))
            parts = _linear(term)
            if parts is None:
                found.append(term)
            else:
                self.told["totals of sums, cases and partial totals are taken apart: addition is linear"] = None
                waiting = [*parts, *waiting]
        return Aggregate("total", Bag(tuple(found)), expr.sort) if found else Literal(0, expr.sort)

    # --- steps on terms ---

    def _merged(self, term: Term) -> Term | None:
        """Two rows of one table that agree on a key are one row."""
        classes = Classes(term.conditions)
        for at, one in enumerate(term.variables):
            for other in term.variables[:at]:
                if one.table is None or one.table != other.table or one.source is not None:
                    continue
                for key in self.keys.get(one.table, ()):
                    if all(classes.equal_cells(one.id, other.id, column) for column in key):
                        self._note(one.table, key)
                        self.told[f"two rows of {one.table} that agree on its key ({', '.join(key)}) are one row"] = (
                            None
                        )
                        variables = tuple(v for v in term.variables if v is not one)
                        return renamed(replace(term, variables=variables), {one.id: other.id})
        return None

    def _pinned(self, variables: Iterable[Variable], conditions: Sequence[Expr]) -> list[Variable]:
        """Those of the variables of which a key leaves one row at most, given all others that are not among them."""
        classes = Classes(conditions)
        open_ = {variable.id: variable for variable in variables}
        found: list[Variable] = []
        while True:
            now = [v for v in open_.values() if self._one_row(v, classes, open_.keys())]
            if not now:
                return found
            found += now
            for variable in now:
                del open_[variable.id]

    def _one_row(self, variable: Variable, classes: Classes, unknown: Iterable[int]) -> bool:
        if variable.table is None or variable.source is not None:
            return False
        unknown = set(unknown)
        for key in self.keys.get(variable.table, ()):
            if all(classes.fixed(variable.id, column, unknown) for column in key):
                self._note(variable.table, key)
                return True
        return False

    def _pulled(self, term: Term) -> Term | None:
        """EXISTS over a row that the values outside pin down is that row; done where it says what a value is."""
        own = {variable.id for variable in term.variables if variable.table is None}
        if not own:
            return None
        for condition in term.conditions:
            if not isinstance(condition, Exists) or len(condition.bag.terms) != 1 or not condition.free & own:
                continue
            inner = refreshed_term(condition.bag.terms[0])
            pinned = self._pinned(inner.variables, inner.conditions)
            ids = {variable.id for variable in pinned}
            read = _told_by(inner.conditions, own, ids)
            if not pinned or not read:
                # A value that EXISTS itself equates with something outside is known as well.
                outside = [c for c in inner.conditions if not c.free & inner.bound and _defined(c, own) is not None]
                if not outside:
                    continue
                pinned, ids, read = [], set(), []
            for variable in pinned:
                self.told[f"a row of {variable.table} that a grouped key pins down stands for its group"] = None
            moved = [c for c in inner.conditions if not c.free & (inner.bound - ids)]
            kept = tuple(c for c in inner.conditions if c not in moved)
            rest = tuple(v for v in inner.variables if v.id not in ids)
            others = tuple(c for c in term.conditions if c != condition)
            left = (Exists(Bag((Term(rest, kept, ()),))),) if rest else ()
            return Term((*term.variables, *pinned), (*others, *read, *moved, *left), term.outputs)
        return None

    def _lifted(self, term: Term) -> Term | None:
        """What an EXISTS says of values outside holds outside."""
        found: list[Expr] = []
        for condition in term.conditions:
            if isinstance(condition, Exists):
                said = [list(_said_outside(inner)) for inner in condition.bag.terms]
                found += [part for part in said[0] if all(part in other for other in said[1:])]
        plain = [part for made in map(self.expr, found) for part in conjuncts(made)]
        new = [part for part in dict.fromkeys(plain) if part not in term.conditions and not _trivial(part)]
        if new:
            self.told["what an EXISTS demands of outer columns holds for them outside too"] = None
        if not new or FALSE in new:
            return replace(term, conditions=(FALSE,)) if new else None
        return replace(term, conditions=(*term.conditions, *new))

    def _pushed(self, term: Term) -> Term | None:
        """A joined row that a key pins down and that no output needs is a mere EXISTS."""
        classes = Classes(term.conditions)
        # By table, so that two texts of one query choose alike.
        for variable in sorted(term.variables, key=lambda v: (v.table or "", v.id), reverse=True):
            if not self._one_row(variable, classes, {variable.id}):
                continue
            outputs = []
            for output in term.outputs:
                own = {c for c in cells(output) if c.variable == variable.id}
                values = {cell: classes.other(cell, {variable.id}) for cell in own}
                known: dict[Expr, Expr] = {cell: value for cell, value in values.items() if value is not None}
                outputs.append(substitute(output, known))
            if any(variable.id in output.free for output in outputs):
                continue
            inside = tuple(c for c in term.conditions if variable.id in c.free)
            outside = tuple(c for c in term.conditions if variable.id not in c.free)
            variables = tuple(v for v in term.variables if v is not variable)
            if any(v.source is not None and variable.id in v.source.free for v in variables):
                continue
            found = Exists(Bag((Term((variable,), inside, ()),)))
            self.told[f"a joined row of {variable.table}, found by its key and read no further, is an EXISTS"] = None
            return Term(variables, (*outside, found), tuple(outputs))
        return None

    def _note(self, table: str, key: Sequence[str]) -> None:
        self.used[f"key {table}({', '.join(key)})"] = None


class Classes:
    """Which cells and constants are equal, and not NULL or NULL together, under conditions: closure of equalities."""

    def __init__(self, conditions: Iterable[Expr]) -> None:
        self.groups: list[set[Expr]] = []
        self._filled: set[Expr] = set()
        for condition in conditions:
            pair = _equality(condition)
            if pair is None:
                continue
            if getattr(condition, "name", "") == "is true":
                self._filled |= set(pair)
            touched = [group for group in self.groups if group & set(pair)]
            self.groups = [group for group in self.groups if group not in touched]
            self.groups.append(set(pair).union(*touched))

    def group(self, expr: Expr) -> set[Expr]:
        return next((group for group in self.groups if expr in group), {expr})

    def equal_cells(self, one: int, other: int, column: str) -> bool:
        """Whether both rows have the same value, and not NULL, in a column."""
        for group in self.groups:
            both = [c for c in group if isinstance(c, Cell) and c.column == column and c.variable in (one, other)]
            if {cell.variable for cell in both} == {one, other}:
                return not both[0].nullable or bool(group & self._filled)
        return False

    def fixed(self, variable: int, column: str, unknown: set[int]) -> bool:
        """Whether a column of a row equals, and is not NULL, something that no unknown row has a part in."""
        for group in self.groups:
            for cell in group:
                if isinstance(cell, Cell) and cell.variable == variable and cell.column == column:
                    known = any(not other.free & unknown for other in group)
                    return known and (not cell.nullable or bool(group & self._filled))
        return False

    def other(self, cell: Cell, without: set[int]) -> Expr | None:
        """An equal expression of the same sort that no row of ``without`` has a part in."""
        found = [e for e in self.group(cell) if not e.free & without and getattr(e, "sort", "") == cell.sort]
        return min(found, key=_rank) if found else None


def _rank(expr: Expr) -> tuple[int, str]:
    return (0 if isinstance(expr, Literal) else 1 if isinstance(expr, Cell) else 2, repr(expr))


def _equality(condition: Expr) -> tuple[Expr, Expr] | None:
    if not isinstance(condition, Call):
        return None
    if condition.name == "same":
        return condition.arguments[0], condition.arguments[1]
    if condition.name == "is true" and isinstance(condition.arguments[0], Call):
        inner = condition.arguments[0]
        # CHAR values that differ in trailing blanks are equal, but not the same.
        if inner.name == "=" and getattr(inner.arguments[0], "sort", "") != "char":
            return inner.arguments[0], inner.arguments[1]
    return None


def _factored(alternatives: Sequence[Expr]) -> Expr:
    """OR with the conditions that all alternatives share in front of it."""
    parts = [conjuncts(alternative) for alternative in alternatives]
    shared = [part for part in parts[0] if all(part in other for other in parts[1:])] if parts else []
    if not shared:
        return some(list(alternatives))
    rest = some([every([part for part in own if part not in shared]) for own in parts])
    return every([*shared, rest])


def _said_outside(inner: Term) -> Iterator[Expr]:
    """Conditions on values outside that hold where an EXISTS of this term does."""
    classes = Classes(inner.conditions)
    bound = set(inner.bound)
    for condition in inner.conditions:
        if condition.nested:
            continue
        values: dict[Expr, Expr] = {}
        for cell in {cell for cell in cells(condition) if cell.variable in bound}:
            other = classes.other(cell, bound)
            if other is not None:
                values[cell] = other
        made = substitute(condition, values)
        for part in conjuncts(made):
            if not part.free & bound and not _trivial(part):
                yield part
        for value in _filled(condition):
            outside = substitute(value, values)
            if not outside.free & bound:
                yield present(outside)


def _trivial(condition: Expr) -> bool:
    pair = _equality(condition)
    return pair is not None and pair[0] == pair[1]


def _filled(condition: Expr) -> Iterator[Expr]:
    """Values that are not NULL where a condition holds."""
    if isinstance(condition, Call):
        if condition.name in ("is true", "is false"):
            inner = condition.arguments[0]
            if isinstance(inner, Call) and inner.name in STRICT:
                yield from inner.arguments
            else:
                yield inner
        elif condition.name == "same":
            one, two = condition.arguments
            if TRUE in (present(one), present(two)):
                yield from condition.arguments


def _narrowed(term: Term) -> Term | None:
    """The rows that a LIMIT lets through without the columns that nobody reads, columns alike only once."""
    for variable in term.variables:
        source = variable.source
        if source is None or source.keys is None:
            continue
        (bag,) = source.bags
        width = len(bag.terms[0].outputs) - source.keys
        # A column is known by the first that has its values in all terms; so is a sort key.
        alike = [
            next(b for b in range(at + 1) if all(t.outputs[b] == t.outputs[at] for t in bag.terms))
            for at in range(width + source.keys)
        ]
        if any(v.source is not None and variable.id in v.source.free for v in term.variables):
            continue
        own = [c for part in (*term.outputs, *term.conditions) for c in cells(part) if c.variable == variable.id]
        read = list(dict.fromkeys(alike[int(cell.column)] for cell in own))
        if read == list(range(width)) and all(alike[int(cell.column)] == int(cell.column) for cell in own):
            continue
        chosen = [*read, *range(width, width + source.keys)]
        bags = (Bag(tuple(replace(t, outputs=tuple(t.outputs[at] for at in chosen)) for t in bag.terms)),)
        made = replace(variable, source=replace(source, bags=bags))
        values: dict[Expr, Expr] = {
            cell: replace(cell, column=f"#{read.index(alike[int(cell.column)])}") for cell in own
        }
        variables = tuple(made if v is variable else v for v in term.variables)
        moved = substitute_term(Term(variables, term.conditions, term.outputs), values)
        back: dict[Expr, Expr] = {c: replace(c, column=c.column[1:]) for c in values.values() if isinstance(c, Cell)}
        return substitute_term(moved, back)
    return None


def _defined(condition: Expr, own: set[int]) -> tuple[Cell, Expr] | None:
    """A value variable and the expression that it equals."""
    pair = _equality(condition)
    if pair is None:
        return None
    for one, other in (pair, pair[::-1]):
        if not isinstance(one, Cell) or one.variable not in own or one.column or one.variable in other.free:
            continue
        if getattr(other, "sort", "") == one.sort:
            return one, other
    return None


def _told_by(conditions: Sequence[Expr], own: set[int], rows: set[int]) -> list[Expr]:
    """That values among ``own`` are the same as columns of the ``rows``, where the conditions say so."""
    classes = Classes(conditions)
    found: list[Expr] = []
    for group in classes.groups:
        values = [e for e in group if isinstance(e, Cell) and e.variable in own and not e.column]
        columns = sorted((e for e in group if isinstance(e, Cell) and e.variable in rows), key=_rank)
        found += [same(value, column) for value in values for column in columns[:1] if value.sort == column.sort]
    return found


def _substituted(term: Term) -> Term | None:
    """A value variable that equals an expression is that expression."""
    own = {variable.id for variable in term.variables if variable.table is None}
    for condition in term.conditions if own else ():
        found = _defined(condition, own)
        if found is None:
            continue
        cell, value = found
        variables = tuple(v for v in term.variables if v.id != cell.variable)
        filled = [] if getattr(condition, "name", "") == "same" else [present(value)]
        rest = tuple(c for c in term.conditions if c is not condition)
        return substitute_term(Term(variables, (*rest, *filled), term.outputs), {cell: value})
    return None


def _inlined(term: Term) -> list[Term] | None:
    """Under an EXISTS, or where duplicates do not count, an inner EXISTS is a join, and OR is a union."""
    for condition in term.conditions:
        rest = tuple(c for c in term.conditions if c is not condition)
        if isinstance(condition, Exists):
            return [
                Term((*term.variables, *inner.variables), (*rest, *inner.conditions), term.outputs)
                for inner in refreshed(condition.bag).terms
            ]
        if isinstance(condition, Call) and condition.name == "or" and condition.nested:
            return [replace(term, conditions=(*rest, *conjuncts(part))) for part in condition.arguments]
    return None


# --- totals ---


def _is_total(expr: Expr) -> bool:
    return isinstance(expr, Aggregate) and expr.name == "total"


def _as_num(value: Expr) -> Expr:
    if isinstance(value, Literal):
        return replace(value, sort="num")
    return Call("to num", (value,), "num") if getattr(value, "sort", "") == "int" else value


def _product(one: Expr, two: Expr, sort: str) -> Expr:
    unit = Literal(1, sort)
    return two if one == unit else one if two == unit else Call("*", (one, two), sort)


def _case(expr: Call) -> Expr:
    """CASE without branches that cannot be taken, inner CASEs over the same condition decided."""
    *branches, otherwise = expr.arguments
    made: list[tuple[Expr, Expr]] = []
    excluded: list[Expr] = []
    for condition, value in zip(branches[::2], branches[1::2], strict=True):
        if condition in excluded:
            continue
        made.append((condition, _under(value, condition, True)))
        excluded.append(condition)
    for condition in excluded:
        otherwise = _under(otherwise, condition, False)
    return case(made, otherwise)


def _under(value: Expr, condition: Expr, holds: bool) -> Expr:
    if isinstance(value, Call) and value.name == "case":
        *branches, otherwise = value.arguments
        made: list[tuple[Expr, Expr]] = []
        for inner, result in zip(branches[::2], branches[1::2], strict=True):
            if inner == condition:
                if holds:
                    return case(made, result) if made else result
                continue
            made.append((inner, result))
        return case(made, otherwise)
    return value


def _lifted(expr: Call, at: int, argument: Call) -> Expr:
    """A strict operation on a CASE is a CASE of operations."""
    *branches, otherwise = argument.arguments

    def applied(value: Expr) -> Expr:
        if isinstance(value, Literal) and value.value is None:
            return Literal(None, expr.sort)
        return replace(expr, arguments=(*expr.arguments[:at], value, *expr.arguments[at + 1 :]))

    pairs = [(c, applied(v)) for c, v in zip(branches[::2], branches[1::2], strict=True)]
    return case(pairs, applied(otherwise))


def _linear(term: Term) -> list[Term] | None:
    """The terms of which a term of a total is the sum; None when its output is plain."""
    value = term.outputs[0]
    if isinstance(value, Aggregate) and value.name == "total":
        return _inside(term, value, Literal(1, value.sort))
    if not isinstance(value, Call):
        return None
    if value.name in ("+", "-"):
        one, two = value.arguments
        minus = two if value.name == "+" else Call("*", (Literal(-1, value.sort), two), value.sort)
        return [replace(term, outputs=(one,)), refreshed_term(replace(term, outputs=(minus,)))]
    if value.name == "case":
        condition, first, *rest = value.arguments
        otherwise = case(list(zip(rest[:-1:2], rest[1:-1:2], strict=True)), rest[-1])
        found = []
        for part, result in ((condition, first), (negated(condition), otherwise)):
            conditions = (*term.conditions, *conjuncts(every([part, present(result)])))
            if FALSE not in conditions:
                found.append(refreshed_term(Term(term.variables, conditions, (result,))))
        return found
    if value.name == "*":
        for argument, other in (value.arguments, value.arguments[::-1]):
            if isinstance(argument, Aggregate) and argument.name == "total":
                return _inside(term, argument, other)
    return None


def _inside(term: Term, value: Aggregate, factor: Expr) -> list[Term]:
    """A total times a factor over each row of a bag is the total over the rows of both."""
    found = []
    for inner in refreshed(value.bag).terms:
        output = _product(inner.outputs[0], factor, value.sort)
        made = Term((*term.variables, *inner.variables), (*term.conditions, *inner.conditions), (output,))
        found.append(refreshed_term(made))
    return found


def _extremes(expr: Aggregate) -> Expr:
    """The least of the least is the least of all."""
    found: list[Term] = []
    for term in expr.bag.terms:
        value = term.outputs[0]
        if not isinstance(value, Aggregate) or value.name != expr.name:
            found.append(term)
            continue
        filled = present(value)
        conditions = tuple(c for c in term.conditions if c != filled)
        for inner in refreshed(value.bag).terms:
            made = Term((*term.variables, *inner.variables), (*conditions, *inner.conditions), inner.outputs)
            found.append(refreshed_term(made))
    return (
        expr
        if len(found) == len(expr.bag.terms) and tuple(found) == expr.bag.terms
        else replace(expr, bag=Bag(tuple(found)))
    )
