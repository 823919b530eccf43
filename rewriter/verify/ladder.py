"""The ladder: which rungs a candidate climbs, for a quick screening and for the certificate of a winner.

Rungs: ``shape`` (columns), ``algebra`` (proofs), ``bounded`` (all small databases at once) and ``tested`` (generated
databases). Each is a module of its own; a stronger rung between them and the verdict is added here and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from sqlglot import exp

from rewriter.engines.base import Engine
from rewriter.records import Adequacy, Query, Row, Verdict, VerdictKind
from rewriter.verify.generate import relations, unsupported
from rewriter.verify.parameters import CHOICES, Binding, bindings, bound, bound_tree
from rewriter.verify.solving.process import proof, search
from rewriter.verify.tested import Tester

Effort = Literal["screen", "certify"]
SCREEN_SECONDS = 2.0
PROOF_SECONDS = 5.0  # what a proof may take at most; it has half of a certificate's time, and this much at least:
LEAST_PROOF_SECONDS = 2.0
SEARCH_SECONDS = 3.0  # what the search of all small databases may take at most; a quarter of a certificate's time
RUNGS = ("screening", "proof", "search", "tests")  # in the order that a certificate climbs them
LEAST_BOUND = 2  # rows a table below which such a search says less than tests


class Verifier:
    """Holds candidates against one original. Databases made for it and the original's answers on them are kept and
    used for every candidate.

    ``hunter`` looks for differences (DuckDB, because it is fast), ``judge`` is the target's own engine: a difference
    counts only if the judge shows it, and a winner is tested again there. Without a judge the hunter stands alone and
    ``Verdict.confirmed_on`` says so. ``by_position``: columns are compared by position and value only, without regard
    to names and declared types (for pairs from benchmarks). Without ``proofs`` there is the rung ``tested`` alone, to
    hold proofs against it. ``given``: sets of values for the query's parameters, by label, that a candidate is tested
    with besides ``choices`` generated ones. The same seed gives the same databases. ``rung`` is told which of RUNGS a
    certificate is about to climb.
    """

    def __init__(
        self,
        original: Query,
        hunter: Engine,
        judge: Engine | None = None,
        *,
        seed: int = 0,
        by_position: bool = False,
        proofs: bool = True,
        given: Mapping[str, Row] | None = None,
        choices: int = CHOICES,
        rung: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.original = original
        self.rung = rung
        self.given = given or {}
        self.proofs = proofs
        self.seed = seed
        self._testers = [
            (binding, Tester(bound(original, binding), hunter, judge, seed=seed, by_position=by_position))
            for binding in bindings(original, seed, self.given, choices)
        ]

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
            verdict = self._tested(candidate, None)
        else:
            proved = self._proved(candidate, seconds) if self.proofs else None
            verdict = proved or self._searched(candidate, seconds)
        return replace(verdict, seconds=time.monotonic() - started, seed=self.seed)

    def _proved(self, candidate: exp.Query, seconds: float) -> Verdict | None:
        """The verdict of the rung ``algebra``; None when it finds no proof. What is proved has to pass the screening,
        and run on the judge, all the same: a proof says nothing of column names and types."""
        self.rung("screening")
        screened = self._tested(candidate, None, judged=True)
        if screened.kind is VerdictKind.REFUTED:
            return screened
        if not screened.confirmed_on:
            return None  # it did not run
        original = self.original
        self.rung("proof")
        found = proof(
            original.stated, candidate, original.catalog, min(PROOF_SECONDS, max(LEAST_PROOF_SECONDS, seconds / 2))
        )
        if not found.proved:
            return None
        return replace(
            screened,
            kind=VerdictKind.PROVED,
            method="algebra",
            reason=found.reason,
            assumptions=found.assumptions,
            proof=found.steps,
            observed=None,
        )

    def _searched(self, candidate: exp.Query, seconds: float) -> Verdict:
        """The verdict of the rungs ``bounded`` and ``tested`` together: what the search finds counts once an engine
        shows it, and that it finds nothing counts where the tests find nothing either."""
        if not self.proofs:
            return self._tested(candidate, seconds)
        original = self.original
        self.rung("search")
        found = search(original.stated, candidate, original.catalog, min(SEARCH_SECONDS, seconds / 4))
        if found.databases and not original.parameters:
            (_, tester), *_ = self._testers
            refuted = tester.replay(candidate, found.databases, time.monotonic() + SCREEN_SECONDS)
            if refuted is not None and refuted.kind is VerdictKind.REFUTED:
                return replace(refuted, method="bounded")
        self.rung("tests")
        verdict = self._tested(candidate, seconds)
        # What the search says is no less when no generated database made the original return a row.
        quiet = verdict.adequacy is not None and verdict.adequacy.databases > 0 and verdict.adequacy.non_empty == 0
        if found.rows < LEAST_BOUND or not (verdict.kind is VerdictKind.TESTED or (quiet and verdict.confirmed_on)):
            return verdict
        return replace(
            verdict,
            kind=VerdictKind.BOUNDED,
            method="bounded",
            reason=f"no difference on any database of up to {found.rows} rows a table; and {verdict.reason}",
            assumptions=found.assumptions,
            bound=found.rows,
        )

    def _tested(self, candidate: exp.Query, seconds: float | None, *, judged: bool = False) -> Verdict:
        """The verdict of the rung ``tested``; with parameters, over several choices of their values."""
        verdicts: list[tuple[Binding, Verdict]] = []
        for number, (binding, tester) in enumerate(self._testers):
            tree = bound_tree(candidate, binding)
            if seconds is None:
                verdict = tester.screen(tree, time.monotonic() + SCREEN_SECONDS, judged=judged)
            else:
                share = time.monotonic() + seconds / len(self._testers)
                verdict = tester.certify(tree, share, weighed=number == 0)
            if verdict.kind is VerdictKind.REFUTED:
                return _refuted_with(binding, verdict, self.original.dialect)
            verdicts.append((binding, verdict))
        passed = [(binding, verdict) for binding, verdict in verdicts if verdict.kind is VerdictKind.TESTED]
        tested = [verdict for _, verdict in passed]
        first_binding, first = verdicts[0]
        if not first_binding.values:
            return first
        if not tested:
            return replace(first, observed={})
        observed = {binding.label: self.given[binding.label] for binding, _ in passed if binding.label}
        adequacy = Adequacy(
            sum(verdict.adequacy.databases for verdict in tested if verdict.adequacy),
            sum(verdict.adequacy.non_empty for verdict in tested if verdict.adequacy),
            *_mutants(tested[0]),
        )
        reason = (
            f"no difference on {adequacy.databases} generated databases with {len(tested)} choices of parameter values;"
            f" the original returned rows on {adequacy.non_empty}"
        )
        return replace(tested[0], reason=reason, adequacy=adequacy, observed=observed)


def _refuted_with(binding: Binding, verdict: Verdict, dialect: str) -> Verdict:
    """A refutation that says with which values it was found."""
    found = verdict.counterexample
    if not binding.values or found is None:
        return verdict
    reason = f"{verdict.reason} With {binding.described(dialect)}."
    return replace(verdict, reason=reason, counterexample=replace(found, parameters=binding.texts))


def _mutants(verdict: Verdict) -> tuple[int | None, int | None, tuple[str, ...]]:
    """What the mutants say with the first choice of parameter values."""
    adequacy = verdict.adequacy
    return (adequacy.mutants, adequacy.killed, adequacy.alive) if adequacy is not None else (None, None, ())


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
