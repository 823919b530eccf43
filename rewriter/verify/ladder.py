"""The ladder: which rungs a candidate climbs, for a quick screening and for the certificate of a winner.

Rungs: ``shape`` (columns), then ``tested`` (generated databases). Each is a module of its own; a stronger rung between
them and the verdict is added here and nowhere else.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Literal

from sqlglot import exp

from rewriter.engines.base import Engine
from rewriter.records import Query, Verdict, VerdictKind
from rewriter.verify.generate import relations, unsupported
from rewriter.verify.tested import Tester

Effort = Literal["screen", "certify"]
SCREEN_SECONDS = 2.0


class Verifier:
    """Holds candidates against one original. Databases made for it and the original's answers on them are kept and
    used for every candidate.

    ``hunter`` looks for differences (DuckDB, because it is fast), ``judge`` is the target's own engine: a difference
    counts only if the judge shows it, and a winner is tested again there. Without a judge the hunter stands alone and
    ``Verdict.confirmed_on`` says so. ``by_position``: columns are compared by position and value only, without regard
    to names and declared types (for pairs from benchmarks). The same seed gives the same databases.
    """

    def __init__(
        self, original: Query, hunter: Engine, judge: Engine | None = None, *, seed: int = 0, by_position: bool = False
    ) -> None:
        self.original = original
        self.seed = seed
        self._tester = Tester(original, hunter, judge, seed=seed, by_position=by_position)

    def screen(self, candidate: exp.Query) -> Verdict:
        """A quick verdict (tens of milliseconds once the first call has made the databases). Raises TargetLost."""
        return self._climb(candidate, None)

    def certify(self, candidate: exp.Query, *, seconds: float = 10.0) -> Verdict:
        """The best verdict that ``seconds`` allow. Raises TargetLost."""
        return self._climb(candidate, seconds)

    def _climb(self, candidate: exp.Query, seconds: float | None) -> Verdict:
        started = time.monotonic()
        reason = unsupported(relations(self.original.catalog, (self.original.tree, candidate)))
        if reason is not None:
            verdict = Verdict(VerdictKind.UNKNOWN, "tested", reason)
        elif seconds is None:
            verdict = self._tester.screen(candidate, started + SCREEN_SECONDS)
        else:
            verdict = self._tester.certify(candidate, started + seconds)
        return replace(verdict, seconds=time.monotonic() - started, seed=self.seed)


def certify(
    original: Query,
    candidate: exp.Query,
    effort: Effort,
    hunter: Engine,
    judge: Engine | None = None,
    seed: int = 0,
    seconds: float = 10.0,
) -> Verdict:
    """The verdict on one pair; a Verifier is cheaper for several candidates of one original."""
    verifier = Verifier(original, hunter, judge, seed=seed)
    return verifier.screen(candidate) if effort == "screen" else verifier.certify(candidate, seconds=seconds)
