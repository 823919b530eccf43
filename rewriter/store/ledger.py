"""Ledgers of what models have cost: sums by day, which several processes add to at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from rewriter.store.database import Sessions, again
from rewriter.store.service_tables import KeySpending
from rewriter.store.tables import Spending

Sums = type[Spending] | type[KeySpending]


def add(
    sessions: Sessions,
    sums: Sums,
    key: Mapping[str, Any],
    tokens: int,
    cost: float,
    most_tokens: int | None = None,
    most_cost: float | None = None,
) -> bool:
    """Add to the sums under ``key``; False, with nothing added, when they would then be more than the most. In one
    statement, so that two who add at once cannot both find room for the last piece. Raises StoreError."""

    def change(session: Session) -> bool:
        if session.scalar(select(sums.id).filter_by(**key)) is None:
            session.add(sums(**key, tokens=0, cost=0.0))
            session.flush()
        room = [
            column + more <= most
            for column, more, most in ((sums.tokens, tokens, most_tokens), (sums.cost, cost, most_cost))
            if most is not None
        ]
        more = {"tokens": sums.tokens + tokens, "cost": sums.cost + cost}
        done = session.execute(
            update(sums).filter_by(**key).where(*room).values(more).execution_options(synchronize_session=False)
        )
        return isinstance(done, CursorResult) and done.rowcount == 1

    return again(sessions, change)
