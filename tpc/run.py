"""Runs queries through the pipeline and compares the results of original and chosen text in full on the real data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot.errors import SqlglotError
from sqlglot.optimizer import optimize

from rewriter.candidates import Experience, default_sources
from rewriter.catalog import Catalog
from rewriter.engines.base import Engine
from rewriter.errors import RewriterError, TargetLost
from rewriter.pipeline import Policy, rewrite
from rewriter.records import Measurement, Progress, Report, Trial, quiet
from rewriter.statistics import speedup
from rewriter.verify.data import Comparison
from tpc.outcome import Outcome

PEER = "sqlglot"


@dataclass(frozen=True)
class RunPolicy:
    """``compare_timeout``: seconds that a query may run for the full comparison of results."""

    pipeline: Policy
    compare_timeout: float = 120.0
    peer: bool = False


def run(
    texts: Mapping[str, str],
    engine: Engine,
    hunter: Engine,
    policy: RunPolicy,
    *,
    target: str = "",
    progress: Callable[[str], Progress] = lambda _: quiet,
) -> Iterator[tuple[Outcome, Report | None]]:
    """One outcome a query, in order, each as soon as it is known; what the rules did on one query orders the search on
    the next. Raises TargetLost only."""
    catalog = engine.catalog()
    sources = default_sources(Experience())
    for name, text in texts.items():
        peer_text, peer_error = _peer(text, catalog) if policy.peer else (None, None)
        also = {PEER: peer_text} if peer_text is not None else {}
        try:
            report = rewrite(
                text,
                engine,
                policy=policy.pipeline,
                sources=sources,
                hunter=hunter,
                progress=progress(name),
                also=also,
                target=target,
            )
        except TargetLost:
            raise
        except RewriterError as error:
            yield _failed(name, error.message), None
            continue
        yield _outcome(name, report, engine, policy, peer_text, peer_error), report


def _failed(name: str, message: str) -> Outcome:
    return Outcome(name, None, None, 1.0, False, "-", (), None, 0, {}, error=message)


def _outcome(
    name: str, report: Report, engine: Engine, policy: RunPolicy, peer_text: str | None, peer_error: str | None
) -> Outcome:
    times = {entry.label: entry for entry in report.measurements}
    original = times.get("original")
    decision = report.decision
    chosen = times.get(decision.chosen.id) if decision.chosen is not None else None
    comparison = Comparison(report.query, engine, policy.compare_timeout)
    same = comparison.same(decision.chosen.sql) if decision.chosen is not None else True
    peer = times.get(f"also:{PEER}")
    peer_ratio, peer_same = None, None
    if peer is not None and original is not None:
        peer_ratio, peer_error = _peer_ratio(original, peer)
        if peer_text is not None and peer_error is None and peer.stopped_after is None:
            peer_same = comparison.same(peer_text)
        elif peer.error is not None and peer.error.startswith("returned "):
            peer_same, peer_error = False, None
    return Outcome(
        query=name,
        original=_seconds(original),
        chosen=chosen.median if chosen is not None else None,
        ratio=decision.speedup.ratio if decision.speedup is not None else 1.0,
        stopped=original is not None and original.stopped_after is not None,
        verdict=report.verdict.kind.value if report.verdict is not None else "-",
        rules=decision.chosen.rules if decision.chosen is not None else (),
        same=same,
        candidates=report.candidates,
        gains=_gains(report.trials),
        seconds=dict(report.timings),
        peer_ratio=peer_ratio,
        peer_same=peer_same,
        peer_error=peer_error,
    )


def _gains(trials: Sequence[Trial]) -> dict[str, float]:
    """By rule, the best ratio of the times before and after a step of it."""
    times: dict[tuple[str, ...], float] = {}
    found: dict[str, float] = {}
    for trial in trials:
        if trial.seconds is None:
            continue
        before = times.get(trial.rules[:-1])
        if trial.rules and before is not None:
            rule, ratio = trial.rules[-1], round(before / max(trial.seconds, 1e-4), 2)
            found[rule] = max(ratio, found.get(rule, 0.0))
        # Several places may give the same sequence of rules: the quickest counts as what comes next started from.
        times[trial.rules] = min(trial.seconds, times.get(trial.rules, trial.seconds))
    return found


def _seconds(entry: Measurement | None) -> float | None:
    if entry is None:
        return None
    return entry.stopped_after if entry.stopped_after is not None else entry.median


def _peer_ratio(original: Measurement, peer: Measurement) -> tuple[float | None, str | None]:
    """(ratio, error). A peer stopped at its limit counts with the ratio at that limit: it is at most that."""
    if peer.error is not None:
        return None, peer.error
    if peer.stopped_after is not None:
        base = _seconds(original)
        return (min(1.0, base / peer.stopped_after) if base is not None else None), None
    gain = speedup(original, peer)
    return (gain.ratio if gain is not None else None), None


def _peer(text: str, catalog: Catalog) -> tuple[str | None, str | None]:
    """sqlglot's optimizer output taken as it is: (text, error)."""
    schema: dict[str, object] = {
        table.name: {column.name: column.type for column in table.columns} for table in catalog.tables
    }
    try:
        tree = optimize(sqlglot.parse_one(text, read=catalog.dialect), schema=schema, dialect=catalog.dialect)
        return tree.sql(dialect=catalog.dialect), None
    except (SqlglotError, RecursionError, ValueError, KeyError, AttributeError, TypeError) as error:
        return None, (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
