"""One query's outcome in a benchmark run, and the figures over all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

SLOWER = 0.95


@dataclass(frozen=True)
class Outcome:
    """``original`` and ``chosen`` are median seconds in one race; ``stopped``: the original was stopped at its limit.

    ``gains``: by rule, the best ratio of times before and after a single step of it, of single runs in the search.
    ``same`` is the full comparison on the real data: True, False, or None when the original did not finish.
    """

    query: str
    original: float | None
    chosen: float | None
    ratio: float
    stopped: bool
    verdict: str
    rules: tuple[str, ...]
    same: bool | None
    candidates: int
    seconds: dict[str, float]
    error: str | None = None
    peer_ratio: float | None = None
    peer_same: bool | None = None
    peer_error: str | None = None
    gains: dict[str, float] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return self.chosen is not None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Outcome:
        return cls(**{**body, "rules": tuple(body["rules"])})


@dataclass(frozen=True)
class Figures:
    """Counts over a run. ``mean_running`` is the geometric mean without queries whose original was stopped."""

    queries: int
    at_1_5: int
    at_2: int
    at_10: int
    slower: int
    wrong: int
    not_compared: int
    errors: int
    mean: float
    mean_running: float


def figures(outcomes: Sequence[Outcome]) -> Figures:
    """The figures of our own choices; a query that failed or was kept counts with ratio 1."""
    ratios = [(outcome.ratio, outcome.stopped) for outcome in outcomes]
    return _figures(
        ratios,
        wrong=sum(1 for outcome in outcomes if outcome.same is False),
        not_compared=sum(1 for outcome in outcomes if outcome.changed and outcome.same is None),
        errors=sum(1 for outcome in outcomes if outcome.error is not None),
    )


def peer_figures(outcomes: Sequence[Outcome]) -> Figures | None:
    """The same for the peer, whose text is taken as it is: errors and wrong results count with ratio 1."""
    taken = [outcome for outcome in outcomes if outcome.peer_ratio is not None or outcome.peer_error is not None]
    if not taken:
        return None
    ratios = [
        (
            outcome.peer_ratio if outcome.peer_ratio is not None and outcome.peer_same is not False else 1.0,
            outcome.stopped,
        )
        for outcome in taken
    ]
    return _figures(
        ratios,
        wrong=sum(1 for outcome in taken if outcome.peer_same is False),
        not_compared=sum(1 for outcome in taken if outcome.peer_ratio is not None and outcome.peer_same is None),
        errors=sum(1 for outcome in taken if outcome.peer_error is not None),
    )


def _figures(ratios: Sequence[tuple[float, bool]], *, wrong: int, not_compared: int, errors: int) -> Figures:
    values = [ratio for ratio, _ in ratios]
    return Figures(
        queries=len(values),
        at_1_5=sum(1 for ratio in values if ratio >= 1.5),
        at_2=sum(1 for ratio in values if ratio >= 2.0),
        at_10=sum(1 for ratio in values if ratio >= 10.0),
        slower=sum(1 for ratio in values if ratio < SLOWER),
        wrong=wrong,
        not_compared=not_compared,
        errors=errors,
        mean=geometric_mean(values),
        mean_running=geometric_mean([ratio for ratio, stopped in ratios if not stopped]),
    )


def geometric_mean(values: Sequence[float]) -> float:
    """1.0 for no values."""
    return math.exp(sum(math.log(value) for value in values) / len(values)) if values else 1.0
