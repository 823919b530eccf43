"""From groups of a log to rewrites: which are worth the work, and the work on one after the other.

What is finished is in the store under its rewrite key; a run that was interrupted goes on there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewriter.batch.logs.entries import Parameters
from rewriter.batch.logs.grouping import Group, Groups
from rewriter.candidates.base import CandidateSource
from rewriter.catalog import Catalog
from rewriter.engines.base import Engine
from rewriter.errors import RewriterError, TargetError
from rewriter.parse import parse
from rewriter.pipeline import Policy, rewrite
from rewriter.records import Event, Progress, Report, quiet
from rewriter.report import to_json
from rewriter.store import Store

FASTER, KEPT, REFUSED, FAILED, KNOWN = "faster", "kept", "refused", "failed", "known"


@dataclass(frozen=True)
class Item:
    """One group to work on: its slowest statement, how often it was called and how many seconds that took in the log,
    and the sets of parameters that were seen."""

    key: str
    statement: str
    calls: int
    seconds: float
    parameters: tuple[Parameters, ...] = ()


@dataclass(frozen=True)
class Done:
    """What came of one item. ``outcome``: faster, kept, refused (by the guard), failed, or known (from before).
    ``ratio``: original time / chosen time; ``saved``: seconds of the log that the rewrite would have saved, as its
    measured ratio tells. ``holds_for``: all values of its parameters, or the observed ones. ``regressions``: the sets
    of parameters with which the rewrite is clearly slower. ``rewrite``: its id in the store."""

    item: Item
    outcome: str
    reason: str
    ratio: float | None = None
    verdict: str | None = None
    sql: str | None = None
    rewrite: str | None = None
    holds_for: str | None = None
    regressions: tuple[str, ...] = ()

    @property
    def saved(self) -> float:
        return self.item.seconds * (1 - 1 / self.ratio) if self.ratio is not None and self.ratio > 1 else 0.0


def items(groups: Groups, most: int) -> list[Item]:
    """The ``most`` groups that took the most time in total, of those of which a statement is known."""
    return [_item(group) for group in groups.ranked() if group.example is not None and not group.squashed][:most]


def _item(group: Group) -> Item:
    assert group.example is not None
    return Item(
        group.key,
        group.example.statement,
        group.total.calls,
        group.total.seconds,
        tuple(group.parameters.sets()),
    )


def work(
    todo: Sequence[Item],
    engine: Engine,
    store: Store,
    *,
    policy: Policy,
    sources: Sequence[CandidateSource] | None = None,
    target: str = "",
    progress: Progress = quiet,
) -> Iterator[Done]:
    """Rewrite item after item, one at a time, because measuring two at once would measure neither. Each result is in
    the store before the next begins. Raises TargetError when the target is lost, StoreError."""
    catalog = engine.catalog()
    for number, item in enumerate(todo, start=1):
        progress(Event("batch", f"group {item.key[:8]}", number - 1, len(todo)))
        yield _done(item, engine, catalog, store, policy, sources, target)
    progress(Event("batch", "done", len(todo), len(todo)))


def _done(
    item: Item,
    engine: Engine,
    catalog: Catalog,
    store: Store,
    policy: Policy,
    sources: Sequence[CandidateSource] | None,
    target: str,
) -> Done:
    try:
        query = parse(item.statement, catalog)
    except RewriterError as error:
        return Done(item, REFUSED, error.message)
    known = store.find(query.rewrite_key, target=target)
    if known is not None:
        stored = store.rewrite(known.id) or {}
        chosen = (stored.get("chosen") or {}).get("sql")
        return Done(
            item,
            KNOWN,
            known.reason,
            known.ratio if chosen else None,
            known.verdict,
            chosen,
            known.id,
            stored.get("holds_for"),
            _regressions(stored),
        )
    # The sets of a group's sample may be literals of other statements of the same shape, and then do not fit.
    fitting = [one for one in item.parameters if query.parameters and len(one) == len(query.parameters)]
    try:
        report = rewrite(
            item.statement,
            engine,
            policy=policy,
            sources=sources,
            parameter_sets=fitting,
            target=target,
        )
    except TargetError:
        raise
    except RewriterError as error:
        return Done(item, FAILED, error.message)
    document = to_json(report)
    return _of(item, report, document, store.record(report, document))


def _regressions(document: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(one["label"] for one in document.get("sets", ()) if one["slower"])


def _of(item: Item, report: Report, document: Mapping[str, Any], identifier: str) -> Done:
    decision = report.decision
    if decision.chosen is None:
        return Done(item, KEPT, decision.reason, rewrite=identifier)
    return Done(
        item,
        FASTER,
        decision.reason,
        decision.speedup.ratio if decision.speedup is not None else None,
        report.verdict.kind.value if report.verdict is not None else None,
        decision.chosen.sql,
        identifier,
        document["holds_for"],
        _regressions(document),
    )
