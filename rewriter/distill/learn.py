"""From recorded pairs to drafts of rules, or to the reason why there is none."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from rewriter.distill.checks import check_document
from rewriter.distill.document import name_of, written
from rewriter.distill.generalise import generalised
from rewriter.distill.localise import Difference, differences, sites
from rewriter.distill.records import Outcome, Pair, Reason, Refused, Rule, Site
from rewriter.engines import DuckDB
from rewriter.errors import RewriterError
from rewriter.parse import parse
from rewriter.records import Event, Progress, Query, VerdictKind, quiet
from rewriter.verify import Verifier
from rules.discovery import code
from rules.facts import Facts
from rules.rulefile import RuleDocument

CLEAR = 1.05  # times as fast: less is no gain
PAIR_SECONDS = 3.0  # what the certificate of a pair, or of one of its differences, may take
STEPS = 2  # applications of known rules after which a result still counts as theirs
KNOWN_SECONDS = 4.0  # what looking for them may take
PER_RULE = 6  # results of one rule on one query that are looked at


def learn(
    pairs: Iterable[Pair],
    hunter: DuckDB,
    known: Sequence[RuleDocument],
    taken: Iterable[str] = (),
    progress: Progress = quiet,
) -> Iterator[Outcome]:
    """An outcome for every difference of every pair; pairs from which the same rule comes count as one. ``known`` are
    the executable rules there are, ``taken`` names that are given. Documents are drafts that have passed every check.
    Raises TargetLost."""
    known, names = list(known), set(taken)
    grouped = list(pairs)
    found: dict[tuple[str, str], tuple[Rule, list[Pair]]] = {}
    for number, pair in enumerate(grouped):
        progress(Event("learn", pair.origin or f"pair {number + 1}", number, len(grouped)))
        for result in _of(pair, hunter, known):
            if isinstance(result, Outcome):
                yield result
                continue
            key = (result.hypothesis.find, result.hypothesis.replace)
            found.setdefault(key, (result, []))[1].append(pair)
    for number, (rule, of) in enumerate(found.values()):
        progress(Event("check", f"rule {number + 1}", number, len(found)))
        outcome = _checked(rule, of, hunter, names)
        if outcome.document is not None:
            names.add(outcome.document.name)
        yield outcome


def _of(pair: Pair, hunter: DuckDB, known: Sequence[RuleDocument]) -> Iterator[Rule | Outcome]:
    """The rules of one pair, and the reasons why there is none for a difference."""

    def refused(error: Refused) -> Outcome:
        return Outcome(
            1, refused=error.reason, detail=error.detail, ratio=pair.ratio, script=error.script, origins=(pair.origin,)
        )

    try:
        if pair.ratio is not None and pair.ratio < CLEAR:
            raise Refused(Reason.NOTHING_GAINED, f"it was measured to be {pair.ratio:.2f} times as fast")
        places = differences(pair)
        _certified(pair.before, pair.after, hunter)
        by = _already(pair.before, pair.after, known)
        if by:
            raise Refused(Reason.IN_CATALOGUE, f"{' and '.join(by)} make the same of it")
    except Refused as error:
        yield refused(error)
        return
    alone = len(places) == 1
    split = not alone and all(_stands_alone(pair, place, hunter) for place in places)
    for place in places if alone or split else places[:1]:
        try:
            around = list(sites(pair, place, alone=alone)) if alone or split else _whole(pair, places)
            yield _rule(around, pair, hunter, known)
        except Refused as error:
            yield refused(error)


def _whole(pair: Pair, places: Sequence[Difference]) -> list[Site]:
    """What is around all differences, where they depend on one another."""
    (first, *others) = places
    shared = [rung for rung in first.ladder if all(any(rung[0] is it for it, _ in other.ladder) for other in others)]
    return list(sites(pair, Difference(tuple(shared)), alone=True))


def _stands_alone(pair: Pair, place: Difference, hunter: DuckDB) -> bool:
    """Whether a difference by itself is an equivalent rewrite."""
    site = next(sites(pair, place, alone=False), None)
    if site is None:
        return False
    return Verifier(site.before, hunter).certify(site.after.tree, seconds=PAIR_SECONDS).kind.accepts


def _rule(places: Sequence[Site], pair: Pair, hunter: DuckDB, known: Sequence[RuleDocument]) -> Rule:
    """The rule of the smallest site that gives one. Raises Refused with what came nearest."""
    refused = Refused(Reason.CANNOT_LOCALISE, "the queries have no part that could be exchanged by itself")
    for site in places:
        by = _already(site.before, site.after, known)
        if by:
            raise Refused(Reason.IN_CATALOGUE, f"{' and '.join(by)} make the same of it")
        try:
            return generalised(site, pair, hunter)
        except Refused as error:
            if refused.reason in (Reason.CANNOT_LOCALISE, Reason.BEYOND_PATTERNS) or error.reason is Reason.REFUTED:
                refused = error
    raise refused


def _certified(before: Query, after: Query, hunter: DuckDB) -> None:
    """Raises Refused when the pair is not equivalent as far as the verifier can tell here."""
    verdict = Verifier(before, hunter).certify(after.tree, seconds=PAIR_SECONDS)
    if verdict.kind is VerdictKind.REFUTED:
        script = verdict.counterexample.scripts.get("duckdb") if verdict.counterexample is not None else None
        raise Refused(Reason.NOT_EQUIVALENT, verdict.reason, script)
    if not verdict.kind.accepts:
        raise Refused(Reason.NOT_EQUIVALENT, f"nothing is known about it: {verdict.reason}")


def _already(before: Query, after: Query, known: Sequence[RuleDocument]) -> tuple[str, ...]:
    """The known rules that in turn make the after of the before; empty when they do not."""
    facts, deadline = Facts(before.catalog), time.monotonic() + KNOWN_SECONDS
    wanted = after.sql()
    states: list[tuple[Query, tuple[str, ...]]] = [(before, ())]
    for _ in range(STEPS):
        further: list[tuple[Query, tuple[str, ...]]] = []
        for state, steps in states:
            for document in known:
                if time.monotonic() > deadline:
                    return ()
                for made in _made(document, state, facts):
                    if made.sql() == wanted:
                        return (*steps, document.name)
                    further.append((made, (*steps, document.name)))
        states = further
    return ()


def _made(document: RuleDocument, query: Query, facts: Facts) -> Iterator[Query]:
    if query.dialect not in document.dialects:
        return
    try:
        for tree in islice(code(document)(query.tree, facts), PER_RULE):
            yield parse(tree.sql(dialect=query.dialect), query.catalog)
    except (RewriterError, AssertionError, LookupError, TypeError, ValueError, AttributeError):
        return


def _checked(rule: Rule, pairs: Sequence[Pair], hunter: DuckDB, names: set[str]) -> Outcome:
    """The draft of a rule that has passed every check, or why it has not."""
    ratios = [pair.ratio for pair in pairs if pair.ratio is not None]
    ratio = max(ratios) if ratios else None
    origins = tuple(pair.origin for pair in pairs)
    try:
        document = written(rule, pairs, name_of(rule, names), hunter)
    except Refused as error:
        return Outcome(
            len(pairs), refused=error.reason, detail=error.detail, ratio=ratio, script=error.script, origins=origins
        )
    findings = list(check_document(document, hunter))
    failed = [finding for finding in findings if not finding.ok]
    if failed:
        (first, *_) = failed
        detail = f"{first.check}: {first.message}"
        return Outcome(
            len(pairs), refused=Reason.CHECKS_FAILED, detail=detail, ratio=ratio, script=first.script, origins=origins
        )
    (uses,) = [finding.message for finding in findings if finding.check == "generated"]
    return Outcome(len(pairs), document, ratio=ratio, detail=uses, origins=origins)
