"""The mutation benchmark: of the mutants of benchmark queries that differ from their original on real data, how many do
generated databases refute?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median

from rich.table import Table

from rewriter.engines.base import Engine
from rewriter.errors import BindError
from rewriter.parse import parse
from rewriter.records import VerdictKind
from rewriter.report.units import duration
from rewriter.verify import Verifier
from rewriter.verify.data import Comparison
from rewriter.verify.mutants import Mutant, mutants, without_conditions
from rules.facts import Facts


@dataclass(frozen=True)
class Judged:
    """One mutant: whether it differs from the original on the real data (None: it could not be run there), the verdict
    on it and the seconds that took; the seconds of its screening, and whether that alone refuted it."""

    query: str
    fault: str
    differs: bool | None
    verdict: str | None = None
    seconds: float = 0.0
    screening: float = 0.0
    screened_out: bool = False

    @property
    def refuted(self) -> bool:
        return self.verdict == VerdictKind.REFUTED.value

    @property
    def missed(self) -> bool:
        return bool(self.differs) and not self.refuted


def judge_lost(
    name: str, text: str, data: Engine, hunter: Engine, *, seed: int, budget: float, timeout: float
) -> Iterator[Judged]:
    """The query without each of its conditions in turn, the verdict first: the data, on which a lost join may run for
    hours, is asked only about what was not refuted."""
    query = parse(text, data.catalog())
    comparison = Comparison(query, data, timeout)
    verifier = Verifier(query, hunter, seed=seed, by_position=True)
    for mutant in without_conditions(query.tree):
        found = _refuted(name, mutant, verifier, budget)
        if found.missed:
            with suppress(BindError):
                same = comparison.same(mutant.tree.sql(dialect=query.dialect))
                yield replace(found, differs=None if same is None else not same)
        else:
            yield found


def judge(
    name: str, text: str, data: Engine, hunter: Engine, *, seed: int, most: int, budget: float, timeout: float
) -> Iterator[Judged]:
    """The mutants of one query, those that differ on ``data`` with the verdict on them. ``budget``: seconds for a
    verdict; ``timeout``: seconds that a query may run on the data. Raises TargetLost."""
    query = parse(text, data.catalog())
    comparison = Comparison(query, data, timeout)
    verifier = Verifier(query, hunter, seed=seed, by_position=True)
    for mutant in mutants(query.tree, Facts(query.catalog), seed, most):
        try:
            same = comparison.same(mutant.tree.sql(dialect=query.dialect))
        except BindError:
            continue
        if same is not False:
            yield Judged(name, mutant.fault, None if same is None else False)
        else:
            yield _refuted(name, mutant, verifier, budget)


def _refuted(name: str, mutant: Mutant, verifier: Verifier, budget: float) -> Judged:
    screened = verifier.screen(mutant.tree)
    started = time.monotonic()
    verdict = verifier.certify(mutant.tree, seconds=budget)
    seconds = time.monotonic() - started
    out = screened.kind is VerdictKind.REFUTED
    return Judged(name, mutant.fault, True, verdict.kind.value, seconds, screened.seconds, out)


def as_rich(judged: Mapping[str, list[Judged]], title: str) -> Table:
    """One line a suite."""
    table = Table(
        "suite", "mutants", "not run", "same on the data", "differ", "refuted", "share", "median", "by screening",
        "median screening", title=title,
    )  # fmt: skip
    for column in table.columns[1:]:
        column.justify = "right"
    for suite, entries in judged.items():
        differing = [entry for entry in entries if entry.differs]
        refuted = [entry for entry in differing if not entry.missed]
        table.add_row(
            suite,
            str(len(entries)),
            str(sum(entry.differs is None for entry in entries)),
            str(sum(entry.differs is False for entry in entries)),
            str(len(differing)),
            str(len(refuted)),
            f"{len(refuted) / len(differing):.1%}" if differing else "-",
            duration(median([entry.seconds for entry in differing])) if differing else "-",
            f"{sum(entry.screened_out for entry in differing) / len(differing):.1%}" if differing else "-",
            duration(median([entry.screening for entry in differing])) if differing else "-",
        )
    return table
