"""Measuring what rule sequences do to queries: first what a search finds for each query, then the sequences that made
any query faster tried on every other one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlglot import exp

from rewriter.candidates.model.llm_r2 import first, shape_of
from rewriter.candidates.model.plan_tree import pruned
from rewriter.engines.base import Engine
from rewriter.errors import EngineError, RewriterError, TargetLost
from rewriter.learning.samples import Found, Rules, Sample, Samples, read_samples, template_of
from rewriter.measure import RacePolicy, race
from rewriter.parse import parse
from rewriter.pipeline import Policy, rewrite
from rewriter.records import Event, Measurement, Progress, Query, Report, quiet
from rules.discovery import executable
from rules.facts import Facts
from rules.rulefile import RuleDocument

FASTER = 1.1  # times; what a search found below is noise
MOST_FOUND = 3  # sequences of one query
LONGEST = 6  # rules of one sequence
RACERS = 24  # forms of one query that are timed at once


@dataclass(frozen=True)
class Spending:
    """Seconds: ``search`` for one query's search (0: none, only what is known is tried), ``timeout`` for one run,
    ``race`` for the repetitions of one query's race. ``candidates``: trial runs of one search."""

    search: float = 8.0
    candidates: int = 24
    timeout: float = 10.0
    race: float = 4.0

    @property
    def policy(self) -> Policy:
        return Policy(
            timeout=self.timeout,
            search_seconds=self.search,
            candidates=self.candidates,
            trial_seconds=min(4.0, self.timeout),
            verify_seconds=1.0,
            race_seconds=1.0,
            racers=1,
        )

    @property
    def race_policy(self) -> RacePolicy:
        # A form far slower than the original is of no more interest than one that is three times slower.
        return RacePolicy(timeout=self.timeout, seconds=self.race, multiple=30.0, slack=3.0, rounds=(2, 5))


def collect(
    texts: Mapping[str, str],
    workload: str,
    engine: Engine,
    hunter: Engine,
    target: str,
    file: Path,
    spending: Spending | None = None,
    progress: Progress = quiet,
) -> Samples:
    """Measure the queries ``texts`` (by name) of a workload on ``engine``, each line of ``file`` written as soon as it
    is known. What the file already has is not measured again, and sequences found on other targets of it are tried here
    too. ``target`` is a name without credentials. Raises TargetLost, UsageError."""
    spending = spending or Spending()
    known = read_samples([file]) if file.exists() else Samples({}, {})
    named = {f"{workload}/{name}": text for name, text in texts.items()}
    with file.open("a", encoding="utf-8") as out:
        for number, (name, text) in enumerate(named.items()):
            progress(Event("search", name, number, len(named)))
            if (name, target) in known.found or not spending.search:
                continue
            found = Found(name, _template(name), target, _searched(text, engine, hunter, spending))
            known.found[found.key] = found
            out.write(json.dumps(found.body) + "\n")
            out.flush()
        sequences = known.sequences
        for number, (name, text) in enumerate(named.items()):
            progress(Event("measure", name, number, len(named)))
            before = known.samples.get((name, target))
            todo = [rules for rules in sequences if before is None or rules not in before.ratios]
            sample = _measured(name, text, engine, target, todo, spending) if todo else None
            if sample is not None:
                known.add(sample)
                out.write(json.dumps(sample.body) + "\n")
                out.flush()
    return known


def _searched(text: str, engine: Engine, hunter: Engine, spending: Spending) -> tuple[Rules, ...]:
    """The sequences that made a query faster, the fastest first, the shorter before a longer one that gains nothing."""
    try:
        report = rewrite(text, engine, policy=spending.policy, hunter=hunter)
    except TargetLost:
        raise
    except RewriterError:
        return ()
    return faster(report)


def faster(report: Report) -> tuple[Rules, ...]:
    """Of a report's trials, the sequences that paid: the fastest, and those that come near it with other rules."""
    base = next((trial.seconds or trial.stopped_after for trial in report.trials if not trial.rules), None)
    if base is None:
        return ()
    times: dict[Rules, float] = {}
    for trial in report.trials:
        if trial.rules and trial.seconds is not None and len(trial.rules) <= LONGEST:
            times[trial.rules] = min(trial.seconds, times.get(trial.rules, trial.seconds))
    paid = {rules: seconds for rules, seconds in times.items() if seconds * FASTER < base}
    # A tenth is noise: a longer sequence must gain more than that.
    ordered = sorted(paid, key=lambda rules: (paid[rules] * 1.1 ** len(rules), rules))
    return tuple(ordered[:MOST_FOUND])


def _measured(
    name: str, text: str, engine: Engine, target: str, sequences: Sequence[Rules], spending: Spending
) -> Sample | None:
    """The sample of a query over ``sequences``; None for a query that cannot be run in the time."""
    try:
        query = parse(text, engine.catalog())
        plan = engine.explain(query.statement)
    except TargetLost:
        raise
    except RewriterError:
        return None
    facts = Facts(query.catalog)
    documents = {document.name: document for document in executable(query.dialect, facts.version)}
    forms = _Forms(query, facts, documents, engine, repr(plan))
    made = {rules: forms.of(rules) for rules in sequences}
    asked = [number for number in dict.fromkeys(made.values()) if number > 0]
    ratios: dict[int, float] = {0: 1.0}
    seconds = None
    for at in range(0, max(len(asked), 1), RACERS):
        entrants = [(str(number), forms.texts[number]) for number in asked[at : at + RACERS]]
        original, *others = race(engine, query.statement, entrants, policy=spending.race_policy)
        base = original.median or original.stopped_after
        if base is None:
            return None
        seconds = seconds or base
        for other in others:
            ratio = _ratio(base, other)
            if ratio is not None:
                ratios[int(other.label)] = ratio
    return Sample(
        name,
        _template(name),
        target,
        query.dialect,
        seconds or 0.0,
        shape_of(query.tree),
        pruned(plan),
        tuple(name for name, document in documents.items() if forms.applied(query.tree, document) is not None),
        {rules: round(ratios[number], 4) for rules, number in made.items() if number in ratios},
    )


def _template(name: str) -> str:
    workload, _, query = name.rpartition("/")
    return f"{workload}/{template_of(query)}"


def _ratio(base: float, other: Measurement) -> float | None:
    """None for a form that fails, or that returns other rows: it says nothing about time."""
    if other.error is not None:
        return None
    seconds = other.stopped_after if other.stopped_after is not None else other.median
    return base / max(seconds, 1e-5) if seconds else None


class _Forms:
    """What sequences make of one query, numbered: equal texts and equal plans have one number, the original's is 0."""

    def __init__(
        self, query: Query, facts: Facts, documents: Mapping[str, RuleDocument], engine: Engine, plan: str
    ) -> None:
        self.query = query
        self.facts = facts
        self.documents = documents
        self.engine = engine
        self.texts: list[str] = [query.statement]
        self._plans = {plan: 0}
        self._numbers = {query.sql(): 0}
        self._after: dict[tuple[str, str], exp.Query | None] = {}

    def of(self, rules: Rules) -> int:
        """The number of the form; that of the original where no rule applies, -1 where the engine refuses it."""
        tree = self.query.tree
        for rule in rules:
            document = self.documents.get(rule)
            after = self.applied(tree, document) if document is not None else None
            tree = after if after is not None else tree
        text = tree.sql(dialect=self.query.dialect)
        if text not in self._numbers:
            self._numbers[text] = self._numbered(text)
        return self._numbers[text]

    def applied(self, tree: exp.Query, document: RuleDocument) -> exp.Query | None:
        """``first``, each asked once."""
        key = (tree.sql(dialect=self.query.dialect), document.name)
        if key not in self._after:
            self._after[key] = first(document, tree, self.facts)
        return self._after[key]

    def _numbered(self, text: str) -> int:
        try:
            plan = repr(self.engine.explain(text))
        except EngineError:
            return -1
        if plan not in self._plans:
            self._plans[plan] = len(self.texts)
            self.texts.append(text)
        return self._plans[plan]
