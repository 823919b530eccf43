"""What the model may cost: limits on tokens and money, each with a name (query, job, key, day), checked before anything
is sent and against the worst that the answer could cost, so that no retry can spend more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rewriter.errors import BudgetExceeded


@dataclass(frozen=True)
class Limit:
    """The most that may be spent; None: no limit. ``cost`` in US dollars. ``spent`` and ``paid``: tokens and dollars
    that were spent before this purse was opened (earlier on this day, by this key)."""

    tokens: int | None = None
    cost: float | None = None
    spent: int = 0
    paid: float = 0.0


class Purse:
    """Spending under several limits at once. ``told`` is called with the tokens and dollars of each attempt, for
    whoever keeps a ledger. Safe to share between threads."""

    def __init__(self, limits: Mapping[str, Limit], told: Callable[[int, float], None] | None = None) -> None:
        self._limits = dict(limits)
        self._told = told
        self._lock = threading.Lock()
        self._reserved = (0, 0.0)
        self._since: dict[str, tuple[int, float]] = {}
        self.tokens = 0
        self.cost = 0.0
        self.attempts = 0

    def renew(self, name: str) -> None:
        """What was spent so far counts no more against the limit of this name: its next query or job begins."""
        with self._lock:
            self._since[name] = self.tokens, self.cost

    def reserve(self, tokens: int, cost: float) -> None:
        """Set aside what an attempt may cost at most. Raises BudgetExceeded, and then nothing is set aside."""
        with self._lock:
            held_tokens, held_cost = self._reserved
            for name, limit in self._limits.items():
                old_tokens, old_cost = self._since.get(name, (0, 0.0))
                spent, paid = limit.spent + self.tokens - old_tokens, limit.paid + self.cost - old_cost
                if limit.tokens is not None and spent + held_tokens + tokens > limit.tokens:
                    raise BudgetExceeded(f"the model's budget of {limit.tokens:,} tokens for the {name} is used up")
                if limit.cost is not None and paid + held_cost + cost > limit.cost:
                    raise BudgetExceeded(f"the model's budget of ${limit.cost:g} for the {name} is used up")
            self._reserved = held_tokens + tokens, held_cost + cost

    def settle(self, tokens: int, cost: float, *, used_tokens: int, used_cost: float) -> None:
        """An attempt that had ``tokens`` and ``cost`` set aside is over, and has used this much."""
        with self._lock:
            self._reserved = self._reserved[0] - tokens, self._reserved[1] - cost
            self.tokens += used_tokens
            self.cost += used_cost
            self.attempts += 1
        if self._told is not None and used_tokens:
            self._told(used_tokens, used_cost)
