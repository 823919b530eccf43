"""The rung ``data``, on request: two texts on the target's own data, compared without moving rows if that suffices."""

from __future__ import annotations

from dataclasses import dataclass

from rewriter.engines.base import Engine, Limits
from rewriter.errors import BindError, EngineError
from rewriter.records import Query, Result, Row
from rewriter.verify.compare import same_bag, tolerance_for
from rewriter.verify.reference import reference

COMPARED_ROWS = 2_000_000
# Rows and the sum of their hashes: the same for the same bag in whatever order.
_DIGESTS = {
    "postgres": "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM ({}\n) AS t",
    "duckdb": "SELECT count(*), coalesce(sum(hash(t::VARCHAR)::HUGEINT), 0)::VARCHAR FROM ({}\n) AS t",
}


@dataclass(frozen=True)
class OnData:
    """``same``: None when one of the two could not be run to its end within the limits. ``rows`` of the original, where
    it was counted; ``how`` they were compared."""

    same: bool | None
    rows: int | None
    how: str


class Comparison:
    """Whether other texts return what the original returns on the target's data; the original runs once for each way
    of comparing. ``seconds`` is what one run may take."""

    def __init__(self, query: Query, engine: Engine, seconds: float, parameters: Row = ()) -> None:
        self.query = query
        self.engine = engine
        self.limits = Limits(seconds, COMPARED_ROWS)
        self.parameters = parameters
        self._digest: tuple[int, str] | None = None
        self._digested = False
        self._original: Result | None = None
        self._tried = False

    def check(self, sql: str) -> OnData:
        """Digests first; where they differ the rows themselves, because text is stricter than equality (1.0 and 1.00,
        the last digit of a double) and LIMIT may leave a choice. Raises BindError, TargetLost."""
        mine = self._digest_of_original()
        if mine is not None and mine == self._digest_of(sql):
            return OnData(True, mine[0], "by count and sum of hashes")
        same = self.same(sql)
        return OnData(same, len(self._original.rows) if self._original is not None else None, "row by row")

    def same(self, sql: str) -> bool | None:
        """Row by row; None when one of the two cannot be run to its end within the limits. Raises BindError,
        TargetLost."""
        if not self._tried:
            self._tried = True
            self._original = self._run(self.query.statement)
        if self._original is None or self._original.truncated:
            return None
        other = self._run(sql)
        if other is None:
            return None
        tolerance = tolerance_for((*self._original.types, *other.types))
        if same_bag(self._original.rows, other.rows, tolerance):
            return True
        # LIMIT over ties: the other text may have taken other rows of the last tie.
        allowed = reference(self.query.tree, len(self.query.columns))
        everything = self._run(allowed.query.sql(dialect=self.engine.dialect))
        return everything is not None and allowed.allows(everything, other)

    def _digest_of_original(self) -> tuple[int, str] | None:
        if not self._digested:
            self._digested = True
            self._digest = self._digest_of(self.query.statement)
        return self._digest

    def _digest_of(self, sql: str) -> tuple[int, str] | None:
        form = _DIGESTS.get(self.engine.dialect)
        if form is None:
            return None
        try:
            found = self._run(form.format(sql.strip().rstrip(";")))
        except BindError:
            return None  # columns of one name, or of a type without text: the rows can be compared all the same
        return (int(found.rows[0][0]), str(found.rows[0][1])) if found is not None else None

    def _run(self, sql: str) -> Result | None:
        try:
            return self.engine.run(sql, self.limits, self.parameters)
        except BindError:
            raise
        except EngineError:
            return None
