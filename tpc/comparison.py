"""Results of two texts compared in full on the real data."""

from __future__ import annotations

from rewriter.engines.base import Engine, Limits
from rewriter.errors import BindError, EngineError
from rewriter.records import Query, Result
from rewriter.verify.compare import same_bag, tolerance_for
from rewriter.verify.reference import reference

COMPARED_ROWS = 2_000_000


class Comparison:
    """Whether other texts return what the original returns on the real data; the original runs once."""

    def __init__(self, query: Query, engine: Engine, timeout: float) -> None:
        self.query = query
        self.engine = engine
        self.limits = Limits(timeout, COMPARED_ROWS)
        self.original: Result | None = None
        self.tried = False

    def same(self, sql: str) -> bool | None:
        """None when one of the two cannot be run to its end within the limits. Raises BindError, TargetLost."""
        if not self.tried:
            self.tried = True
            self.original = self._run(self.query.statement)
        if self.original is None or self.original.truncated:
            return None
        other = self._run(sql)
        if other is None:
            return None
        tolerance = tolerance_for((*self.original.types, *other.types))
        if same_bag(self.original.rows, other.rows, tolerance):
            return True
        # LIMIT over ties: the other text may have taken other rows of the last tie.
        allowed = reference(self.query.tree, len(self.query.columns))
        everything = self._run(allowed.query.sql(dialect=self.engine.dialect))
        return everything is not None and allowed.allows(everything, other)

    def _run(self, sql: str) -> Result | None:
        try:
            return self.engine.run(sql, self.limits)
        except BindError:
            raise
        except EngineError:
            return None
