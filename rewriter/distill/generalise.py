"""From the specific to the general: a hypothesis starts with every condition that its pair meets, and gives up one
after the other as long as the verifier finds no difference on uses that break it.

What must stay has a counterexample, which becomes the document's proof that the condition is needed. What cannot be
tried stays too.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rewriter.distill.abstraction import NEUTRAL, Manner, abstracted, constants
from rewriter.distill.conditions import Ask, lasting, met
from rewriter.distill.instances import Instance, instances
from rewriter.distill.records import Case, Hypothesis, Pair, Reason, Refused, Rule, Site
from rewriter.engines import DuckDB
from rewriter.errors import RuleFileError
from rewriter.records import Counterexample, Query, Value, Verdict, VerdictKind
from rewriter.verify import Verifier

FIRST, EACH = 3, 4  # uses for a first look at a hypothesis, and for each condition that is tried to do without
LOOK_SECONDS = 3.0  # what a certificate may take,
PATIENT_SECONDS = 12.0  # and where it says less than a proof or a search of all small databases, a second one
CERTIFIED = 2  # uses of each condition that are certified
LEAST_PASSED = 2  # uses that have to pass before a condition is given up


@dataclass(frozen=True)
class Tried:
    """``passed`` uses on which no difference was found, ``proofs`` of them proved; ``case``: one with a difference."""

    passed: int = 0
    proofs: int = 0
    case: Case | None = None
    script: str | None = None


def generalised(site: Site, pair: Pair, hunter: DuckDB) -> Rule:
    """The most general rule that a site gives. Raises Refused, TargetLost."""
    refused: Refused | None = None
    seen: set[tuple[str, str]] = set()
    for manner in _manners(site):
        try:
            hypothesis = abstracted(site, manner)
            if (hypothesis.find, hypothesis.replace) in seen:
                continue
            seen.add((hypothesis.find, hypothesis.replace))
            asks = met(hypothesis, pair)
            specific = replace(hypothesis, conditions=(*lasting(hypothesis), *_texts(asks)))
            first = tried(specific, hunter, FIRST + 2 * len(constants(site)), seed=1)
            if first.case is not None:
                raise Refused(Reason.REFUTED, first.case.explanation, first.script)
            if not first.passed:
                raise Refused(Reason.UNTESTED, "no use of it could be generated and verified")
            return _climbed(specific, asks, hunter)
        except RuleFileError as error:
            refused = refused or Refused(Reason.BEYOND_PATTERNS, error.message.partition(": ")[2])
        except Refused as error:
            # What comes nearest to a rule is told: a counterexample says more than a shape that patterns lack.
            if refused is None or error.reason is Reason.REFUTED:
                refused = error
    assert refused is not None
    raise refused


def _manners(site: Site) -> Iterator[Manner]:
    """From the most general: whole expressions and all constants first, then constants that say nothing of anybody's
    data kept as they are."""
    neutral = frozenset(text for text in constants(site) if text.strip("'") in NEUTRAL)
    for whole in (True, False):
        for rest in (True, False):
            yield Manner(whole, rest)
            if neutral:
                yield Manner(whole, rest, neutral)


def _texts(asks: list[Ask]) -> tuple[str, ...]:
    return tuple(text for ask in asks for text in ask.texts)


def _climbed(hypothesis: Hypothesis, asks: list[Ask], hunter: DuckDB) -> Rule:
    """Give up what is not needed, one after the other; then, of what is left without a counterexample, all at once."""
    needed: list[Case] = []
    proofs = count = 0
    for number, ask in enumerate(asks, start=2):
        others = [text for text in hypothesis.conditions if text not in ask.texts]
        if all(implied(text, others) for text in ask.texts):
            hypothesis = replace(hypothesis, conditions=tuple(others))
            continue
        steps = [(ask.texts, ask.instead)]
        if ask.instead:
            steps.append((ask.instead, ()))
        for texts, instead in steps:
            rest = [text for text in hypothesis.conditions if text not in texts]
            weaker = replace(hypothesis, conditions=(*rest, *instead))
            found = tried(weaker, hunter, EACH, seed=number, violating=texts)
            count += found.passed
            proofs += found.proofs
            if found.case is not None:
                needed.append(replace(found.case, violates=texts[0]))
                break
            if found.passed < LEAST_PASSED:
                break
            hypothesis = weaker
    # Some say the same twice over, and neither can be broken while the other stays.
    shown_needed = {case.violates for case in needed}
    left = tuple(
        text for ask in asks for text in ask.texts if text in hypothesis.conditions and not shown_needed & {*ask.texts}
    )
    if len(left) > 1:
        weaker = replace(hypothesis, conditions=tuple(text for text in hypothesis.conditions if text not in left))
        found = tried(weaker, hunter, 2 * EACH, seed=1000, violating=left)
        count += found.passed
        proofs += found.proofs
        if found.case is None and found.passed >= EACH:
            hypothesis = weaker
    return Rule(hypothesis, tuple(needed), proofs, count)


def implied(text: str, others: list[str]) -> bool:
    """Whether other conditions say as much as ``text``: what is a key or refers to one is a column."""
    shown, _, said = text.partition(" is ")
    return said == "a column" and any(
        other == f"{shown} is a key of the rows" or other.startswith(f"{shown} refers to") for other in others
    )


def tried(hypothesis: Hypothesis, hunter: DuckDB, wanted: int, *, seed: int, violating: tuple[str, ...] = ()) -> Tried:
    """What the verifier says of generated uses; it ends with the first difference. The first ones are certified, with
    proof and search of all small databases, the others are screened: generated databases alone overlook a difference
    that takes two values within one of each other."""
    passed = proofs = 0
    for number, instance in enumerate(instances(hypothesis, wanted, seed, violating=violating)):
        for result, verdict in verified(instance, hunter, certified=number < CERTIFIED, patient=number == 0):
            if verdict.kind is VerdictKind.REFUTED:
                case = shown(instance, result.sql(pretty=True), verdict)
                return Tried(passed, proofs, case, _script(verdict))
            passed += verdict.kind.accepts and _returned(verdict)
            proofs += verdict.kind is VerdictKind.PROVED
    return Tried(passed, proofs)


def verified(
    instance: Instance, hunter: DuckDB, *, certified: bool, patient: bool = False
) -> Iterator[tuple[Query, Verdict]]:
    """The verdict on each result; ``certified``: with proof and search of all small databases, not only screened;
    ``patient``: with more time where neither was had."""
    verifier = Verifier(instance.query, hunter)
    for result in instance.results:
        if not certified:
            yield result, verifier.screen(result.tree)
            continue
        verdict = verifier.certify(result.tree, seconds=LOOK_SECONDS)
        if patient and verdict.kind in (VerdictKind.TESTED, VerdictKind.UNKNOWN):
            verdict = verifier.certify(result.tree, seconds=PATIENT_SECONDS)
        yield result, verdict


def _returned(verdict: Verdict) -> bool:
    """Whether the verdict rests on more than empty results."""
    return verdict.kind is not VerdictKind.TESTED or (verdict.adequacy is not None and verdict.adequacy.non_empty > 0)


def shown(instance: Instance, after: str, verdict: Verdict | None = None) -> Case:
    """An instance as a case of a document, with the rows of a counterexample."""
    found = verdict.counterexample if verdict is not None else None
    return Case(
        instance.schema,
        instance.query.sql(pretty=True),
        after,
        rows=_inserts(found) if found is not None else "",
        explanation=(found.explanation if found is not None else "") or (verdict.reason if verdict is not None else ""),
    )


def _script(verdict: Verdict) -> str | None:
    return verdict.counterexample.scripts.get("duckdb") if verdict.counterexample is not None else None


def _inserts(found: Counterexample) -> str:
    lines = []
    for table in found.database.tables:
        if table.rows:
            rows = ", ".join("(" + ", ".join(map(_literal, row)) + ")" for row in table.rows)
            lines.append(f"INSERT INTO {table.table} ({', '.join(table.columns)}) VALUES {rows};")
    return "\n".join(lines)


def _literal(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, (str, datetime.date, datetime.time)):
        return "'" + str(value).replace("'", "''") + "'"
    return str(value)
