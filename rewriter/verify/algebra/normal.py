"""The canonical form of a bag: every step keeps the rows and how often each occurs.

Keys decide much here: a variable that some key pins down to one row at most is the same inside and outside an EXISTS.
A joined row that nobody reads goes in, a row that pins down a grouping value comes out, and two rows of one table that
agree on a key are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rewriter.verify.algebra.classes import Classes, defined, said_outside, told_by, trivial
from rewriter.verify.algebra.totals import Totals, decided_case, extremes
from rewriter.verify.sums.substitution import refreshed, refreshed_term, renamed, substitute, substitute_term
from rewriter.verify.sums.terms import (
    FALSE,
    TRUE,
    Aggregate,
    Bag,
    Call,
    Cell,
    Exists,
    Expr,
    Term,
    Variable,
    cells,
    conjuncts,
    every,
    negated,
    present,
    same,
    some,
)

Keys = Mapping[str, Sequence[tuple[str, ...]]]  # of a table: its keys, the columns of each
MOST_STEPS = 200  # of one term; every form on the way is as good as the last


class Normaliser:
    """Rewrites bags by syntactic steps alone. ``used`` collects the constraints that steps rested on, ``told`` says for
    a reader what the steps did."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.used: dict[str, None] = {}
        self.told: dict[str, None] = {}
        self.totals = Totals(self.expr, self.told)
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
                return self.totals.total(expr)
            if expr.name in ("min", "max"):
                return extremes(expr)
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
            return decided_case(expr)
        return self.totals.arithmetic(expr)

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
                        self.told[f"two rows of {one.table} that agree on a key are one row"] = None
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
            read = told_by(inner.conditions, own, ids)
            if not pinned or not read:
                # A value that EXISTS itself equates with something outside is known as well.
                outside = [c for c in inner.conditions if not c.free & inner.bound and defined(c, own) is not None]
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
                said = [list(said_outside(inner)) for inner in condition.bag.terms]
                found += [part for part in said[0] if all(part in other for other in said[1:])]
        plain = [part for made in map(self.expr, found) for part in conjuncts(made)]
        new = [part for part in dict.fromkeys(plain) if part not in term.conditions and not trivial(part)]
        if not new:
            return None
        self.told["what an EXISTS demands of outer columns holds for them outside too"] = None
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


def _factored(alternatives: Sequence[Expr]) -> Expr:
    """OR with the conditions that all alternatives share in front of it."""
    parts = [conjuncts(alternative) for alternative in alternatives]
    shared = [part for part in parts[0] if all(part in other for other in parts[1:])] if parts else []
    if not shared:
        return some(list(alternatives))
    rest = some([every([part for part in own if part not in shared]) for own in parts])
    return every([*shared, rest])


def _narrowed(term: Term) -> Term | None:
    """The rows that a LIMIT lets through without the columns that nobody reads, columns alike only once."""
    for variable in term.variables:
        source = variable.source
        if source is None or source.cut is None:
            continue
        (bag,) = source.bags
        keys = len(source.cut.order)
        width = len(bag.terms[0].outputs) - keys
        # A column is known by the first that has its values in all terms; so is a sort key.
        alike = [
            next(b for b in range(at + 1) if all(t.outputs[b] == t.outputs[at] for t in bag.terms))
            for at in range(width + keys)
        ]
        if any(v.source is not None and variable.id in v.source.free for v in term.variables):
            continue
        own = [c for part in (*term.outputs, *term.conditions) for c in cells(part) if c.variable == variable.id]
        read = list(dict.fromkeys(alike[int(cell.column)] for cell in own))
        if read == list(range(width)) and all(alike[int(cell.column)] == int(cell.column) for cell in own):
            continue
        chosen = [*read, *range(width, width + keys)]
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


def _substituted(term: Term) -> Term | None:
    """A value variable that equals an expression is that expression."""
    own = {variable.id for variable in term.variables if variable.table is None}
    for condition in term.conditions if own else ():
        found = defined(condition, own)
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
