"""What rules have done so far: for each rule and dialect, how much its single steps changed measured time.

It orders what a search tries first and decides nothing: a rule that never paid is tried later, not left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

START = 0.08  # orders of magnitude promised by a rule of which nothing is known: a fifth less time
WEIGHT = 3.0  # trials that the start counts for
CLEAR = 0.04  # orders of magnitude: less than this is noise of a single run


@dataclass
class Record:
    """``trials`` single runs after the rule's step; ``wins`` of them clearly faster than before it; ``gained`` the sum
    of the wins, in orders of magnitude of time."""

    trials: int = 0
    wins: int = 0
    gained: float = 0.0


@dataclass
class Experience:
    """Records by (rule, dialect). ``keep`` is called with each lesson, for whoever stores them."""

    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    keep: Callable[[str, str, float], None] | None = None

    @classmethod
    def of(cls, records: Mapping[tuple[str, str], Record]) -> Experience:
        return cls(dict(records))

    def promise(self, rule: str, dialect: str) -> float:
        """The orders of magnitude of time that the next step by the rule is expected to save."""
        known = self.records.get((rule, dialect), Record())
        return (START * WEIGHT + known.gained) / (WEIGHT + known.trials)

    def learn(self, rule: str, dialect: str, gain: float) -> None:
        """Take in one trial: ``gain`` is log10 of the time before the step less that after it."""
        record = self.records.setdefault((rule, dialect), Record())
        record.trials += 1
        if gain > CLEAR:
            record.wins += 1
            record.gained += gain
        if self.keep is not None:
            self.keep(rule, dialect, gain)
