"""What the model may cost: limits on tokens and money, each with a name (query, job, key, day), checked before anything
is sent and against the worst that the answer could cost, so that no retry can spend more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rewriter.errors import BudgetExceeded


@dataclass(frozen=True)
class Limit:
    """The most that may be spent; None: no limit. ``cost`` in US dollars."""

    tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True)
class Account:
    """A limit that several processes spend under, each with a purse of its own, and the ledger between them.
    ``reserve(tokens, cost, most_tokens, most_cost)`` adds to the ledger unless that is then above the most, and says
    whether it did; ``spend(tokens, cost)`` adds, also less than nothing, when it is known what was used."""

    name: str
    limit: Limit
    reserve: Callable[[int, float, int | None, float | None], bool]
    spend: Callable[[int, float], None]


class Purse:
    """Spending under several limits and on several accounts at once. Safe to share between threads."""

    def __init__(self, limits: Mapping[str, Limit], accounts: Sequence[Account] = ()) -> None:
        self._limits = dict(limits)
        self._accounts = tuple(accounts)
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
                spent, paid = self.tokens - old_tokens, self.cost - old_cost
                if limit.tokens is not None and spent + held_tokens + tokens > limit.tokens:
                    raise BudgetExceeded(f"the model's budget of {limit.tokens:,} tokens for the {name} is used up")
                if limit.cost is not None and paid + held_cost + cost > limit.cost:
                    raise BudgetExceeded(f"the model's budget of ${limit.cost:g} for the {name} is used up")
            self._enter(tokens, cost)
            self._reserved = held_tokens + tokens, held_cost + cost

    def _enter(self, tokens: int, cost: float) -> None:
        """Set aside on every account, or on none. A process that dies now leaves it set aside for the day."""
        for number, account in enumerate(self._accounts):
            if not account.reserve(tokens, cost, account.limit.tokens, account.limit.cost):
                for earlier in self._accounts[:number]:
                    earlier.spend(-tokens, -cost)
                raise BudgetExceeded(f"the model's budget for the {account.name} is used up")

    def settle(self, tokens: int, cost: float, *, used_tokens: int, used_cost: float) -> None:
        """An attempt that had ``tokens`` and ``cost`` set aside is over, and has used this much."""
        with self._lock:
            self._reserved = self._reserved[0] - tokens, self._reserved[1] - cost
            self.tokens += used_tokens
            self.cost += used_cost
            self.attempts += 1
        for account in self._accounts:
            account.spend(used_tokens - tokens, used_cost - cost)
