"""Equality of bags, containment of sets, and what follows from conditions.

z3 decides what follows from conditions over values. What it must know of nested bags is proved first, by this same
prover one level down: that an EXISTS follows from another or from a row at hand, and that two aggregates are over the
same rows. Everything is a proof attempt: False means "not proved".
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, islice, permutations, product

import z3

from rewriter.verify.algebra.normal import Normaliser
from rewriter.verify.sums.constraints import Constraints, ForeignKey
from rewriter.verify.sums.encode import Encoder
from rewriter.verify.sums.substitution import refreshed, renamed, renamed_expr
from rewriter.verify.sums.terms import (
    FALSE,
    TRUE,
    Aggregate,
    Bag,
    Call,
    Exists,
    Expr,
    Literal,
    OverBag,
    Term,
    Variable,
    all_variables,
    cells,
    conjuncts,
    every,
    fresh,
    negated,
    nested_bags,
    present,
    same,
    some,
)

_DEPTH = 10
_SOLVER_MILLISECONDS = 1500
_MOST_MAPPINGS = 200
_AS_SETS = ("min", "max")
Rows = tuple[Variable, ...]


class OutOfTime(Exception):
    """The proof's time is up."""


class Prover:
    """Proves over the databases that satisfy a catalog's constraints, until ``deadline`` (monotonic seconds)."""

    def __init__(self, promised: Constraints, deadline: float) -> None:
        self.promised = promised
        self.deadline = deadline
        self.normaliser = Normaliser(promised.keys)
        self.encoder = Encoder()
        self.used, self.told = self.normaliser.used, self.normaliser.told
        self._normal: dict[tuple[Bag, bool], Bag] = {}
        self._known: dict[object, bool] = {}
        self._open: dict[tuple[Bag, int, int], Bag] = {}
        self._opening: dict[Exists, Expr] = {}
        self._promises: dict[int, Expr] = {}  # rows that a foreign key promises, and when

    # --- bags ---

    def equal(self, one: Bag, two: Bag, given: Sequence[Expr] = (), rows: Rows = (), depth: int = 0) -> bool:
        """Whether two bags hold the same rows, each as often, under the conditions ``given``."""
        if one == two:
            return True
        if depth > _DEPTH:
            return False
        left = self._reduced(self._opened_bag(one, depth, 0), given, rows, depth)
        right = self._reduced(self._opened_bag(two, depth, 1), given, rows, depth)
        waiting = list(right)
        left_over: list[Term] = []
        for term in left:
            match = next((t for t in waiting if self._same_term(term, t, given, rows, depth)), None)
            if match is None:
                left_over.append(term)
            else:
                waiting.remove(match)
        if not left_over and not waiting:
            if not depth:
                self.told[_matched(len(left))] = None
            return True
        if not self._balanced(left_over, waiting, given, rows, depth):
            return False
        self.told["cases over the same tables count alike for every choice of rows (z3)"] = None
        return True

    def _opened_bag(self, bag: Bag, depth: int, side: int) -> Bag:
        """The bag under variables of its own, which no other level of the proof and no other side has: once opened they
        stand beside theirs."""
        key = (bag, depth, side)
        if key not in self._open:
            self._open[key] = refreshed(bag)
        return self._open[key]

    def _reduced(self, bag: Bag, given: Sequence[Expr], rows: Rows, depth: int) -> list[Term]:
        """The terms in canonical form without those that stand for nothing."""
        self._tick()
        found = []
        for term in self._normalised(bag, as_set=False).terms:
            term = self._lean(term, given, rows, depth)
            if not self.follows((*given, *term.conditions), FALSE, (*rows, *term.variables), depth + 1):
                found.append(term)
        return found

    def _lean(self, term: Term, given: Sequence[Expr], rows: Rows, depth: int) -> Term:
        """The term without EXISTS conditions that follow from all others."""
        kept = list(term.conditions)
        for condition in term.conditions:
            if isinstance(condition, Exists):
                rest = [c for c in kept if c != condition]
                if self.follows((*given, *rest), condition, (*rows, *term.variables), depth + 1):
                    kept = rest
                    self.told["an EXISTS that follows from the other conditions is left out"] = None
        if len(kept) == len(term.conditions):
            return term
        made = self.normaliser.bag(Bag((replace(term, conditions=tuple(kept)),)), as_set=False)
        return made.terms[0] if len(made.terms) == 1 else term

    def _normalised(self, bag: Bag, *, as_set: bool) -> Bag:
        found = self._normal.get((bag, as_set))
        if found is None:
            found = self._normal[bag, as_set] = self.normaliser.bag(bag, as_set=as_set)
        return found

    def _same_term(self, one: Term, two: Term, given: Sequence[Expr], rows: Rows, depth: int) -> bool:
        """Whether some one-to-one mapping of variables makes two terms the same rows."""
        if _signature(one) != _signature(two) or len(one.outputs) != len(two.outputs):
            return False
        for names in islice(_bijections(two, one), _MOST_MAPPINGS):
            self._tick()
            if not self._sources_equal(one, two, names, given, rows, depth):
                continue
            moved = renamed(two, names)
            here = (*rows, *one.variables)
            outputs = every([same(a, b) for a, b in zip(one.outputs, moved.outputs, strict=True)])
            goal = every([*moved.conditions, outputs])
            if self.follows((*given, *one.conditions), goal, here, depth + 1) and self.follows(
                (*given, *moved.conditions), every(one.conditions), here, depth + 1
            ):
                return True
        return False

    def _sources_equal(
        self, one: Term, two: Term, names: Mapping[int, int], given: Sequence[Expr], rows: Rows, depth: int
    ) -> bool:
        sources = {variable.id: variable.source for variable in one.variables if variable.source is not None}
        for variable in two.variables:
            if variable.source is None:
                continue
            other = sources[names[variable.id]]
            pairs = zip(other.bags, variable.source.bags, strict=True)
            if not all(self.equal(a, b, given, rows, depth + 1) for a, b in pairs):
                return False
        return True

    def _balanced(
        self, left: Sequence[Term], right: Sequence[Term], given: Sequence[Expr], rows: Rows, depth: int
    ) -> bool:
        """Whether terms over the same tables count alike for every choice of their rows: how a filter with OR equals
        disjoint branches."""
        terms = [*left, *right]
        if not left or not right or len(terms) > 6:
            return False
        if any((_signature(t), len(t.outputs)) != (_signature(terms[0]), len(terms[0].outputs)) for t in terms):
            return False
        if any(variable.source is not None for term in terms for variable in term.variables):
            return False
        first = terms[0]
        choices = [list(islice(_bijections(term, first), 24)) for term in terms[1:]]
        for names in islice(product(*choices), _MOST_MAPPINGS):
            self._tick()
            moved = [first, *(renamed(term, n) for term, n in zip(terms[1:], names, strict=True))]
            sides = moved[: len(left)], moved[len(left) :]
            here = (*rows, *first.variables)
            if all(
                self.follows((*given, *term.conditions), _counts_alike(term, *sides), here, depth + 1) for term in moved
            ):
                return True
        return False

    def contained(self, one: Bag, two: Bag, given: Sequence[Expr], rows: Rows, depth: int) -> bool:
        """Whether every row of ``one`` is among those of ``two``."""
        if one == two:
            return True
        if depth > _DEPTH:
            return False
        key = ("contained", one, two, tuple(given), rows)
        if key not in self._known:
            self._known[key] = all(
                self._covered(term, two, given, rows, depth)
                for term in self._opened_bag(self._normalised(one, as_set=True), depth, 0).terms
            )
        return self._known[key]

    def _covered(self, term: Term, bag: Bag, given: Sequence[Expr], rows: Rows, depth: int) -> bool:
        here = (*rows, *term.variables)
        if self._has_witness(term, bag, given, here, depth):
            return True
        at_hand = {row.table for row in here}
        if all(v.table in at_hand for inner in bag.terms for v in inner.variables):
            return False
        more, facts = self._referenced(here, [Exists(bag)])
        if more == here or not self._has_witness(term, bag, (*given, *(fact for _, fact in facts)), more, depth):
            return False
        self.used.update((name, None) for name, _ in facts)
        return True

    def _has_witness(self, term: Term, bag: Bag, given: Sequence[Expr], rows: Rows, depth: int) -> bool:
        wanted = some(list(self._witnesses(bag, rows, term.outputs)))
        return self.follows((*given, *term.conditions), wanted, rows, depth + 1)

    def _witnesses(self, bag: Bag, rows: Rows, outputs: Sequence[Expr] = ()) -> Iterator[Expr]:
        """Conditions each of which puts a row with these outputs into the bag, its variables being rows at hand."""
        for term in refreshed(self._normalised(bag, as_set=True)).terms:
            if any(v.table is None or v.source is not None for v in term.variables):
                continue
            choices = [[row for row in rows if row.table == v.table] for v in term.variables]
            for chosen in islice(product(*choices), _MOST_MAPPINGS):
                names = {v.id: row.id for v, row in zip(term.variables, chosen, strict=True)}
                moved = renamed(term, names)
                equal = [same(a, b) for a, b in zip(outputs, moved.outputs, strict=True)]
                # A row that a foreign key promises need not be there where the referring column is NULL.
                there = [self._promises[row.id] for row in chosen if row.id in self._promises]
                yield every([*moved.conditions, *equal, *there])

    # --- conditions ---

    def follows(self, given: Sequence[Expr], goal: Expr, rows: Rows, depth: int) -> bool:
        """Whether ``goal`` holds wherever all of ``given`` do, ``rows`` being rows of their tables."""
        given = self._opened(tuple(dict.fromkeys(given)))
        if goal == TRUE or FALSE in given or set(conjuncts(goal)) <= set(given):
            return True
        self._tick()
        key = ("follows", given, goal, rows)
        if key not in self._known:
            self._known[key] = self._decided(given, goal, rows, depth)
        return self._known[key]

    def _opened(self, given: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """Where an EXISTS is known, what it says of some row is known as well."""
        found = dict.fromkeys(given)
        for condition in given:
            if isinstance(condition, Exists):
                found.update(dict.fromkeys(conjuncts(self._said(condition))))
        return tuple(found)

    def _said(self, atom: Exists) -> Expr:
        """What holds of some row, under a name of its own, where an EXISTS holds."""
        if atom not in self._opening:
            terms = refreshed(self._normalised(atom.bag, as_set=True)).terms
            self._opening[atom] = some([every([c for c in term.conditions if not c.nested]) for term in terms])
        return self._opening[atom]

    def _decided(self, given: tuple[Expr, ...], goal: Expr, rows: Rows, depth: int) -> bool:
        encoder = self.encoder
        solver = z3.Solver()
        solver.set("timeout", min(_SOLVER_MILLISECONDS, max(1, int(1000 * (self.deadline - time.monotonic())))))
        for condition in given:
            solver.add(encoder.condition(condition))
        solver.add(z3.Not(encoder.condition(goal)))
        solver.add(encoder.facts((*given, goal)))
        if solver.check() == z3.unsat:
            return True
        atoms = _atoms([*given, goal])
        every_row, facts = self._referenced(rows, atoms)
        facts += self._row_facts(every_row, [*given, goal])
        # Tracked, so that the answer names the constraints that it rests on.
        tracked = {f"fact {number}": name for number, (name, _) in enumerate(facts)}
        for mark, (_, fact) in zip(tracked, facts, strict=True):
            solver.assert_and_track(encoder.condition(fact), mark)
        solver.add(encoder.facts((*given, goal, *(fact for _, fact in facts))))
        if facts and solver.check() == z3.unsat:
            self.used.update((tracked[str(mark)], None) for mark in solver.unsat_core())
            return True
        if not atoms or depth > _DEPTH:
            return False
        more = list(self._lemmas(atoms, given, every_row, depth))
        for lemma in more:
            solver.add(encoder.condition(lemma))
        solver.add(encoder.facts((*given, goal, *(fact for _, fact in facts), *more)))
        if solver.check() != z3.unsat:
            return False
        self.used.update((tracked[str(mark)], None) for mark in solver.unsat_core())
        return True

    def _row_facts(self, rows: Rows, conditions: Sequence[Expr]) -> list[tuple[str, Expr]]:
        """By constraint: the checks of the rows' tables; and rows of one table that agree on a key agree on all columns
        that the conditions read."""
        found: list[tuple[str, Expr]] = []
        read = {(cell.variable, cell.column) for condition in conditions for cell in cells(condition)}
        for row in rows:
            for check in self.promised.checks.get(row.table or "", ()) if row.source is None else ():
                if any((row.id, cell.column) in read for cell in cells(check.condition)):
                    holds = renamed_expr(check.condition, {check.row: row.id})
                    found.append((check.text, some([negated(self._promises.get(row.id, TRUE)), holds])))
        tables = Counter(row.table for row in rows if row.table is not None and row.source is None)
        for table in (table for table, count in tables.items() if count > 1 and table in self.promised.keys):
            alike = [row for row in rows if row.table == table]
            for at, one in enumerate(alike):
                for other in alike[:at]:
                    for key in self.promised.keys[table]:
                        agree = [_equal(self.promised.cell(one, c), self.promised.cell(other, c)) for c in key]
                        columns = [
                            c for c in self.promised.columns[table] if (one.id, c) in read or (other.id, c) in read
                        ]
                        equal = [same(self.promised.cell(one, c), self.promised.cell(other, c)) for c in columns]
                        found.append((f"key {table}({', '.join(key)})", some([negated(every(agree)), every(equal)])))
        return found

    def _referenced(self, rows: Rows, atoms: Sequence[OverBag]) -> tuple[Rows, list[tuple[str, Expr]]]:
        """The rows that foreign keys promise for the rows at hand, of tables that the atoms ask for; and what they
        promise."""
        asked = {v.table for atom in atoms for term in atom.bag.terms for v in all_variables(term)}
        every_row, facts = list(rows), list[tuple[str, Expr]]()
        for _ in range(2):
            for row in list(every_row):
                for key in self.promised.foreign:
                    if key.child != row.table or key.parent not in asked or row.source is not None:
                        continue
                    if any(known.table == key.parent and _promised(known, row, key) for known in every_row):
                        continue
                    parent = Variable(_promise_id(row, key), key.parent)
                    every_row.append(parent)
                    own = [self.promised.cell(row, column) for column in key.columns]
                    theirs = [self.promised.cell(parent, column) for column in key.referenced]
                    given = every([present(cell) for cell in own])
                    # Where a column is NULL there may be no parent: then nothing follows from this row, see _witnesses.
                    agree = every([_equal(a, b) for a, b in zip(own, theirs, strict=True)])
                    name = f"foreign key {key.child}({', '.join(key.columns)}) to {key.parent}"
                    facts.append((name, some([negated(given), agree])))
                    self._promises[parent.id] = every([given, self._promises.get(row.id, TRUE)])
        return tuple(every_row), facts

    def _lemmas(self, atoms: Sequence[OverBag], given: tuple[Expr, ...], rows: Rows, depth: int) -> Iterator[Expr]:
        """What holds of nested bags under conditions: facts of aggregates, EXISTS from EXISTS and from rows, equal
        aggregates. One level down only conditions count that have no bags themselves, or for aggregates bags without
        further bags, so that the proofs end."""
        plain = tuple(condition for condition in given if not condition.nested)
        shallow = tuple(condition for condition in given if _shallow(condition))
        exists = [atom for atom in atoms if isinstance(atom, Exists)]
        aggregates = [atom for atom in atoms if isinstance(atom, Aggregate)]
        own: dict[Aggregate, Exists] = {}
        for atom in aggregates:
            own[atom] = Exists(Bag(tuple(replace(term, outputs=()) for term in atom.bag.terms)))
            yield from _facts(atom, own[atom])
        every_exists = list(dict.fromkeys([*exists, *own.values()]))
        for known in every_exists:
            yield some([negated(known), self._said(known)])
            for witness in self._witnesses(known.bag, rows):
                yield some([negated(witness), known])
                for inner in _atoms([witness]):
                    if inner not in atoms and isinstance(inner, Exists):
                        yield from self._of_inner(inner, every_exists, plain, rows, depth)
        for one in every_exists:
            if self.contained(one.bag, Bag(()), plain, rows, depth + 1):
                yield negated(one)
                continue
            for other in every_exists:
                if one is not other and self.contained(one.bag, other.bag, plain, rows, depth + 1):
                    yield some([negated(one), other])
        for first, second in combinations(aggregates, 2):
            alike = (first.name, first.sort) == (second.name, second.sort)
            if alike and self._equal_aggregates(first, second, shallow, rows, depth):
                yield same(first, second)

    def _of_inner(
        self, inner: Exists, known: Sequence[Exists], plain: tuple[Expr, ...], rows: Rows, depth: int
    ) -> Iterator[Expr]:
        """What puts rows into a bag that the condition for a row at hand mentions."""
        for other in known:
            if self.contained(other.bag, inner.bag, plain, rows, depth + 1):
                yield some([negated(other), inner])
        for witness in self._witnesses(inner.bag, rows):
            if not witness.nested:
                yield some([negated(witness), inner])

    def _equal_aggregates(
        self, one: Aggregate, two: Aggregate, plain: tuple[Expr, ...], rows: Rows, depth: int
    ) -> bool:
        key = ("aggregates", one, two, plain, rows)
        if key not in self._known:
            if one.name in _AS_SETS:
                self._known[key] = self.contained(one.bag, two.bag, plain, rows, depth + 1) and self.contained(
                    two.bag, one.bag, plain, rows, depth + 1
                )
            else:
                self._known[key] = self.equal(one.bag, two.bag, plain, rows, depth + 1)
        return self._known[key]

    def _tick(self) -> None:
        if time.monotonic() > self.deadline:
            raise OutOfTime


def _shallow(condition: Expr) -> bool:
    """Without bags in bags, and without aggregates."""
    return all(
        isinstance(atom, Exists)
        and not any(part.nested for term in atom.bag.terms for part in (*term.conditions, *term.outputs))
        for atom in nested_bags(condition)
    )


def _matched(terms: int) -> str:
    if terms == 1:
        return "one to one, the variables of both products can be mapped so that conditions and outputs agree (z3)"
    return f"the {terms} products of the sums match one to one, conditions and outputs agreeing (z3)"


def _facts(atom: Aggregate, filled: Exists) -> Iterator[Expr]:
    """What an aggregate says of whether its bag has rows. All arguments of aggregates are not NULL."""
    if atom.name == "total":
        zero = Literal(0, atom.sort)
        yield some([filled, same(atom, zero)])
        if all(isinstance(t.outputs[0], Literal) and t.outputs[0].value > 0 for t in atom.bag.terms):
            yield some([negated(filled), Call("is true", (Call(">", (atom, zero), "bool"),))])
    else:
        yield some([filled, negated(present(atom))])
        if atom.name in ("min", "max", "avg", "sum"):
            yield some([negated(filled), present(atom)])


def _counts_alike(term: Term, left: Sequence[Term], right: Sequence[Term]) -> Expr:
    """As many terms of either side hold here with this term's outputs."""
    return same(_count(term, left), _count(term, right))


def _count(term: Term, side: Sequence[Term]) -> Expr:
    parts: list[Expr] = []
    for other in side:
        equal = [same(a, b) for a, b in zip(term.outputs, other.outputs, strict=True)]
        holds = every([*other.conditions, *equal])
        parts.append(Call("case", (holds, Literal(1, "int"), Literal(0, "int")), "int"))
    total = parts[0]
    for part in parts[1:]:
        total = Call("+", (total, part), "int")
    return total


def _equal(one: Expr, two: Expr) -> Expr:
    return Call("is true", (Call("=", (one, two), "bool"),))


def _signature(term: Term) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((variable.table or "", variable.sort) for variable in term.variables))


def _bijections(source: Term, target: Term) -> Iterator[dict[int, int]]:
    """One-to-one mappings of the variables that keep tables and sorts, those in the given order first."""
    groups: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
    for at, term in enumerate((source, target)):
        for variable in term.variables:
            groups.setdefault((variable.table or "", variable.sort), ([], []))[at].append(variable.id)
    choices = [
        [dict(zip(mine, theirs, strict=True)) for theirs in permutations(other)] for mine, other in groups.values()
    ]
    for chosen in product(*choices):
        yield {key: value for part in chosen for key, value in part.items()}


def _atoms(conditions: Iterable[Expr]) -> list[OverBag]:
    return list(dict.fromkeys(atom for condition in conditions for atom in nested_bags(condition)))


_promise_ids: dict[tuple[int, ForeignKey], int] = {}


def _promise_id(row: Variable, key: ForeignKey) -> int:
    return _promise_ids.setdefault((row.id, key), fresh(None).id)


def _promised(known: Variable, row: Variable, key: ForeignKey) -> bool:
    return _promise_ids.get((row.id, key)) == known.id
