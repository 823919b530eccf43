"""Values for a witness: classes of equal variables, what each class may hold, and assignments.

An assignment gives each class one value. ``Solved.vary`` makes a neighbour of an assignment: a few classes get another
value (allowed, just outside, NULL) and the keys of the rows that changed get fresh values, so that the neighbour is a
second set of rows beside the first instead of a conflict with it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from rewriter.records import Value
from rewriter.verify.generate.checks import like
from rewriter.verify.generate.domains import Domain, Kind
from rewriter.verify.generate.relations import RelationKey
from rewriter.verify.generate.terms import Variable
from rewriter.verify.generate.witness import MIRRORED, Constraint, Witness

Assignment = dict[int, Value]
ColumnKey = tuple[RelationKey, str]

_SAMPLE = 12  # of a long IN list, so many values are tried


def column_key(variable: Variable) -> ColumnKey:
    return (variable.relation.key, variable.column)


class Solved:
    """A witness with its classes of equal variables. A class is named by a number."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        parent: dict[int, int] = {}
        variables = [v for _, columns in witness.occurrences for v in columns.values()]
        index = {id(v): n for n, v in enumerate(variables)}

        def root(number: int) -> int:
            while parent.get(number, number) != number:
                number = parent[number]
            return number

        for left, right in witness.equal:
            a, b = root(index[id(left)]), root(index[id(right)])
            if a != b:
                parent[a] = b
        # Rows of one table that agree on a key are one row: they agree on everything.
        merging = True
        while merging:
            merging = False
            first: dict[tuple[RelationKey, tuple[str, ...], tuple[int, ...]], dict[str, Variable]] = {}
            for relation, row in witness.occurrences:
                for key in relation.keys:
                    same = first.setdefault(
                        (relation.key, tuple(key), tuple(root(index[id(row[column])]) for column in key)), row
                    )
                    for column, variable in row.items():
                        a, b = root(index[id(variable)]), root(index[id(same[column])])
                        if a != b:
                            parent[a] = b
                            merging = True
        self.cells = [
            (relation, {c: root(index[id(v)]) for c, v in row.items()}) for relation, row in witness.occurrences
        ]
        self.members: dict[int, list[Variable]] = {}
        for number, variable in enumerate(variables):
            self.members.setdefault(root(number), []).append(variable)
        self.class_of = {id(v): root(n) for n, v in enumerate(variables)}
        self.constraints: dict[int, list[Constraint]] = {}
        for constraint in witness.constraints:
            self.constraints.setdefault(self.class_of[id(constraint.variable)], []).append(constraint)
        self.relating = [
            (self.class_of[id(r.fixed)], r.operator, self.class_of[id(r.changed.variable)], r.changed)
            for r in witness.relating
        ]
        self.grouped = {self.class_of[number] for number in witness.grouped if number in self.class_of}

    def domain(self, number: int) -> Domain:
        return self.members[number][0].domain

    def hints(self) -> Iterable[tuple[ColumnKey, Value]]:
        """Constants that the columns of each class are worth having, for noise rows and mutations."""
        for constraint in self.witness.hints + self.witness.constraints:
            for value in constraint.values[:_SAMPLE]:
                for variable in self.members[self.class_of[id(constraint.variable)]]:
                    for near in _worth(variable.domain, constraint.operator, value):
                        yield column_key(variable), near

    def assign(
        self, rng: random.Random, pool: Callable[[Variable], list[Value]], fresh: Callable[[Domain], Value]
    ) -> Assignment:
        """A value for each class that meets the constraints and the keys as far as the search is able to."""
        values = {number: self.pick(number, rng, pool) for number in self.members}
        for _ in range(3):
            for fixed, operator, changed, wish in self.relating:
                bound = self.domain(changed).coerce(wish.wanted(values[fixed]))
                operator = operator if wish.flips else MIRRORED[operator]
                if bound is None or _meets(values[changed], operator, bound):
                    continue
                if self.constraints.get(changed) and not self.constraints.get(fixed) and not wish.inverse:
                    back = Constraint(self.members[fixed][0], MIRRORED[operator], (values[changed],))
                    values[fixed] = self.pick(fixed, rng, pool, back)
                else:
                    values[changed] = self.pick(
                        changed, rng, pool, Constraint(self.members[changed][0], operator, (bound,))
                    )
        self._distinguish(values, fresh)
        return values

    def _distinguish(self, values: Assignment, fresh: Callable[[Domain], Value]) -> None:
        """Give rows of one table that have the same key by chance, and differ otherwise, keys of their own."""
        taken: dict[tuple[RelationKey, tuple[str, ...], tuple[Value, ...]], dict[str, int]] = {}
        for relation, cells in self.cells:
            for key in relation.keys:
                own = (relation.key, tuple(key), tuple(values[cells[column]] for column in key))
                other = taken.setdefault(own, cells)
                if all(values[cells[column]] == values[other[column]] for column in cells):
                    continue
                loose = [c for c in key if cells[c] != other[c] and cells[c] not in self.constraints]
                if loose:
                    values[cells[loose[-1]]] = fresh(self.domain(cells[loose[-1]]))

    def pick(
        self,
        number: int,
        rng: random.Random,
        pool: Callable[[Variable], list[Value]],
        extra: Constraint | None = None,
    ) -> Value:
        """A value of class ``number`` that meets its constraints (and ``extra``), or any value if none is found."""
        constraints = self.constraints.get(number, [])
        if extra is not None:
            constraints = [extra, *constraints]
        domain = self.domain(number)
        if not constraints:
            return rng.choice(pool(self.members[number][0]) or [None])
        options: list[Value] = []
        for constraint in constraints:
            sample = constraint.values
            if len(sample) > _SAMPLE:
                sample = tuple(rng.sample(sample, _SAMPLE))
            options += [v for value in sample for v in _worth(domain, constraint.operator, value)]
            if constraint.operator == "null":
                options.append(None)
        options += pool(self.members[number][0])
        bounds = [domain.coerce(v) for c in constraints if c.operator in ("<", "<=", ">", ">=") for v in c.values]
        options += _between(domain, [b for b in bounds if b is not None])
        options = list(dict.fromkeys(options))
        fitting = [v for v in options if all(_satisfies(domain, v, c) for c in constraints)]
        if not fitting:
            return rng.choice(options or [None])
        return rng.choice(fitting)

    def vary(
        self,
        base: Assignment,
        rng: random.Random,
        pool: Callable[[Variable], list[Value]],
        fresh: Callable[[Domain], Value],
        *,
        rate: float,
        clone: bool = False,
    ) -> Assignment:
        """A neighbour of ``base``: each class changes with probability ``rate``; ``clone``: only key values change."""
        values = dict(base)
        changed: set[int] = set()
        if not clone:
            for number in self.members:
                if rng.random() < rate * (0.4 if number in self.grouped else 1.0):
                    values[number] = self._other(number, base, rng, pool)
                    changed.add(number)
        elif self.cells:
            relation, cells = rng.choice(self.cells)
            for key in relation.keys[:1]:
                self._refresh(rng.choice(key), cells, values, changed, fresh)
        self._separate(values, changed, rng, fresh)
        return values

    def renewed(self, base: Assignment, fresh: Callable[[Domain], Value]) -> Assignment:
        """``base`` with a fresh value for every class that no condition binds: another way to the query's result, with
        rows, groups and output of its own."""
        bound = set(self.constraints) | {
            number for fixed, _, changed, _ in self.relating for number in (fixed, changed)
        }
        return {
            number: value if number in bound or value is None else fresh(self.domain(number))
            for number, value in base.items()
        }

    def _other(
        self, number: int, base: Mapping[int, Value], rng: random.Random, pool: Callable[[Variable], list[Value]]
    ) -> Value:
        chance = rng.random()
        if chance < 0.45:
            return self.pick(number, rng, pool)
        if chance < 0.6:
            return None
        options = [*pool(self.members[number][0]), *(self.domain(number).extremes() if chance > 0.9 else ())]
        for constraint in self.constraints.get(number, []):
            options += [v for value in constraint.values[:_SAMPLE] for v in self.domain(number).near(value)]
        options = [v for v in options if v != base[number]]
        return rng.choice(options or [base[number]])

    def _separate(
        self,
        values: Assignment,
        changed: set[int],
        rng: random.Random,
        fresh: Callable[[Domain], Value],
    ) -> None:
        """Give rows whose content changed under the same key a fresh key; goes on until every row is settled."""
        settled: set[int] = set()
        moving = True
        while moving:
            moving = False
            for position, (relation, cells) in enumerate(self.cells):
                if position in settled or not changed & set(cells.values()):
                    continue
                settled.add(position)
                moving = True
                for key in relation.keys:
                    if any(cells[c] in changed and values[cells[c]] is not None for c in key):
                        continue
                    free = [c for c in key if len(self.members[cells[c]]) == 1 and cells[c] not in self.constraints]
                    loose = free or [c for c in key if cells[c] not in self.constraints] or list(key)
                    self._refresh(rng.choice(loose), cells, values, changed, fresh)

    def _refresh(
        self,
        column: str,
        cells: Mapping[str, int],
        values: Assignment,
        changed: set[int],
        fresh: Callable[[Domain], Value],
    ) -> None:
        number = cells[column]
        values[number] = fresh(self.domain(number))
        changed.add(number)


def _worth(domain: Domain, operator: str, value: Value) -> list[Value]:
    if operator in ("like", "unlike"):
        return [v for v in (domain.coerce(text) for text in _likenesses(str(value))) if v is not None]
    return list(domain.near(value))


def _likenesses(pattern: str) -> list[str]:
    """Texts that match a LIKE pattern, and near misses."""
    match = pattern.replace("%", "").replace("_", "b")
    filled = pattern.replace("%", "xy").replace("_", "a")
    return [match, filled, match[:-1], "z" + match, match + "z", match.swapcase(), pattern]


def _between(domain: Domain, bounds: list[Value]) -> list[Value]:
    """Values inside the range that the bounds span."""
    if len(bounds) < 2:
        return []
    low, high = min(bounds), max(bounds)
    try:
        middle = low + (high - low) / 2
    except TypeError:
        return []
    if domain.kind is Kind.INTEGER:
        middle = int(middle)
    coerced = domain.coerce(middle)
    return [] if coerced is None else [coerced]


def _satisfies(domain: Domain, value: Value, constraint: Constraint) -> bool:
    operator = constraint.operator
    if operator == "null":
        return value is None
    if value is None:
        return False
    if operator == "not-null":
        return True
    if operator in ("in", "not-in"):
        inside = value in _held(domain, constraint.values)
        return inside == (operator == "in")
    if operator in ("like", "unlike"):
        return all(like(str(value), str(p)) == (operator == "like") for p in constraint.values)
    for bound in constraint.values:
        if not _meets(value, operator, _comparable(domain, bound)):
            return False
    return bool(constraint.values)


@lru_cache(maxsize=256)
def _held(domain: Domain, values: tuple[Value, ...]) -> frozenset[Value]:
    """The values of an IN list as ``domain`` holds them."""
    return frozenset(domain.coerce(value) for value in values)


def _comparable(domain: Domain, bound: Value) -> Value:
    """A bound as it compares with values of ``domain``: not rounded to it when it is a number."""
    if domain.kind in (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT) and not isinstance(bound, (str, bool)):
        return bound
    return domain.coerce(bound)


def _meets(left: Value, operator: str, right: Value) -> bool:
    if left is None or right is None:
        return False
    try:
        match operator:
            case "=":
                return bool(left == right)
            case "<>":
                return bool(left != right)
            case "<":
                return bool(left < right)
            case "<=":
                return bool(left <= right)
            case ">":
                return bool(left > right)
            case ">=":
                return bool(left >= right)
    except TypeError:
        return False
    return False
