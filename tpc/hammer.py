"""Proofs held against generated databases: of labelled pairs, and of queries and their own mutants, which are near
misses. A database that contradicts a proof is a fault of the prover."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from rewriter.engines.base import Engine
from rewriter.errors import RewriterError
from rewriter.parse import catalog_of, parse
from rewriter.records import Query, Verdict, VerdictKind
from rewriter.verify.algebra import Proof
from rewriter.verify.mutants import mutants
from rewriter.verify.solving.process import proof
from rewriter.verify.tested import Tester
from rules.facts import Facts

__all__ = ["Blows", "Proof", "Work", "hammer", "near_misses", "pairs", "summary"]

PROOF_SECONDS = 5.0
HAMMER_SECONDS = 60.0  # for one proof, at most


@dataclass
class Blows:
    """What came of hammering: proofs by outcome, databases that told something, and the contradicted proofs."""

    proofs: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    databases: int = 0
    contradicted: list[str] = field(default_factory=list)


Work = Iterable[tuple[str, Query, list[tuple[str, exp.Query]]]]  # name, query, and the others with what they are


def pairs(lines: Iterable[Mapping[str, Any]]) -> Work:
    """Each pair that can be read: the second is the one to be proved equal to the first."""
    for pair in lines:
        with suppress(RewriterError):
            catalog = catalog_of(pair["schema"], pair.get("dialect", "duckdb"))
            first, second = parse(pair["q1"], catalog), parse(pair["q2"], catalog)
            yield str(pair["id"]), first, [("the pair", second.stated)]


def near_misses(lines: Iterable[Mapping[str, Any]], seed: int) -> Work:
    """Each query of the pairs that can be read, once, with its mutants."""
    seen: set[str] = set()
    for pair in lines:
        catalog = catalog_of(pair["schema"], pair.get("dialect", "duckdb"))
        for text in (pair["q1"], pair["q2"]):
            if text in seen:
                continue
            seen.add(text)
            with suppress(RewriterError):
                query = parse(text, catalog)
                made = mutants(query.tree, Facts(catalog), seed)
                yield str(pair["id"]), query, [(mutant.fault, mutant.tree) for mutant in made]


def summary(source: str, blows: Blows) -> str:
    """One line for a reader."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in blows.proofs.most_common())
    return (
        f"{source}: {blows.attempts} attempts, {blows.proofs.total()} proofs ({kinds or 'none'}),"
        f" {blows.databases:,} databases, {len(blows.contradicted)} contradicted"
    )


def hammer(
    work: Work,
    hunter: Engine,
    databases: int,
    seed: int,
    told: Callable[[str, Blows], None] = lambda *_: None,
) -> Blows:
    """Try to prove each query equal to each of its others; hammer what is proved. Raises TargetLost."""
    blows = Blows()
    for name, query, others in work:
        tester: Tester | None = None
        for what, tree in others:
            blows.attempts += 1
            if not proof(query.stated, tree, query.catalog, PROOF_SECONDS).proved:
                continue
            tester = tester or Tester(query, hunter, None, seed=seed, by_position=True)
            verdict = tester.hammer(tree, time.monotonic() + HAMMER_SECONDS, databases)
            blows.proofs[verdict.kind.value] += 1
            blows.databases += verdict.adequacy.databases if verdict.adequacy is not None else 0
            if verdict.kind is VerdictKind.REFUTED:
                blows.contradicted.append(f"{name}, {what}: {_script(verdict)}")
        told(name, blows)
    return blows


def _script(verdict: Verdict) -> str:
    return verdict.counterexample.scripts["duckdb"] if verdict.counterexample is not None else verdict.reason
