"""The checks of a rule document: its own cases, uses of its pattern that were generated for it, and variations of its
cases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from random import Random

from sqlglot import exp

from rewriter.distill.abstraction import place_of, template_text, type_of
from rewriter.distill.generalise import shown, verified
from rewriter.distill.instances import instances
from rewriter.distill.records import Hypothesis, Variable
from rewriter.engines import DuckDB
from rewriter.parse import parse, read_schema
from rewriter.records import VerdictKind
from rewriter.rulecheck import Finding, check_rule
from rewriter.soundness import AtRandom, variation, verdicts
from rules.facts import Facts
from rules.pattern import Template, matches
from rules.pattern_conditions import Bound
from rules.pattern_names import LIST, MARK, ONE
from rules.rulefile import RuleDocument

LEAST_USES, LEAST_SCHEMAS = 30, 5  # generated uses that have to pass, over so many schemas
WANTED_USES = 32
CERTIFIED_USES = 16  # of them are certified, with proofs, and not only screened
DRAWS, VARIATIONS = 40, 4  # variations of the document's cases that are drawn, and that are verified


def check_document(document: RuleDocument, hunter: DuckDB, *, seed: int = 0) -> Iterator[Finding]:
    """All findings on a document of the store. A pattern is held against generated uses and variations as well; what
    is no pattern is advice. Raises TargetLost."""
    yield from check_rule(document, hunter)
    if document.pattern is None:
        return
    for template in document.pattern.templates:
        yield from _generated(document, template, hunter, seed)
    yield from _varied(document, hunter, seed)


def _generated(document: RuleDocument, template: Template, hunter: DuckDB, seed: int) -> Iterator[Finding]:
    hypothesis = hypothesis_of(document, template)
    if hypothesis is None:
        yield Finding(False, "generated", template.line, "no example shows this pair of templates")
        return
    passed = proofs = 0
    schemas: set[str] = set()
    for number, instance in enumerate(instances(hypothesis, WANTED_USES, seed + 4711, tries=16)):
        for result, verdict in verified(instance, hunter, certified=number < CERTIFIED_USES, patient=number < 2):
            if verdict.kind is VerdictKind.REFUTED:
                case = shown(instance, result.sql(pretty=True), verdict)
                script = verdict.counterexample.scripts.get("duckdb") if verdict.counterexample else None
                message = f"refuted on a generated use: {case.explanation or verdict.reason}"
                yield Finding(False, "generated", template.line, message, script)
                return
            if verdict.kind.accepts:
                passed += 1
                schemas.add(instance.schema)
                proofs += verdict.kind is VerdictKind.PROVED
    enough = passed >= LEAST_USES and len(schemas) >= LEAST_SCHEMAS
    counted = f"{passed} generated uses over {len(schemas)} schemas, {proofs} of them proved"
    message = counted if enough else f"only {counted}; {LEAST_USES} over {LEAST_SCHEMAS} are needed"
    yield Finding(enough, "generated", template.line, message)


def _varied(document: RuleDocument, hunter: DuckDB, seed: int) -> Iterator[Finding]:
    """Variations of the cases; how many the rule fires on is not asked, for few conditions leave much to vary."""
    choose = AtRandom(Random(seed))
    fired = 0
    for _ in range(DRAWS):
        found = variation(document, choose) if fired < VARIATIONS else None
        if found is None:
            continue
        fired += 1
        for _, verdict in verdicts(found, hunter):
            if verdict.kind is VerdictKind.REFUTED:
                script = verdict.counterexample.scripts.get("duckdb") if verdict.counterexample else None
                yield Finding(False, "variations", 1, f"refuted on a variation of a case: {verdict.reason}", script)
                return
    yield Finding(True, "variations", 1, f"{fired} variations of its cases")


def hypothesis_of(document: RuleDocument, template: Template) -> Hypothesis | None:
    """A pair of templates as a hypothesis; what its metavariables stand for is read off the document's first example
    that it matches."""
    if document.pattern is None:
        return None
    dialect = document.dialects[0]
    catalog = read_schema(document.schema, dialect)
    facts = Facts(catalog)
    for pair in document.rewrites:
        tree = parse(pair.before, catalog).tree
        for node in tree.find_all(type(template.find)):
            for bindings, _ in matches(template.find, node):
                variables, outer = _variables(template, bindings, facts)
                conditions = tuple(_bullet(condition.text) for condition in document.pattern.conditions)
                known = set(variables)
                kept = tuple(text for text in conditions if _named(text) <= known)
                return Hypothesis(
                    template_text(template.find),
                    template_text(template.replace),
                    variables,
                    place_of(template.find),
                    dialect,
                    outer,
                    kept,
                )
    return None


def _variables(
    template: Template, bindings: Mapping[str, Bound], facts: Facts
) -> tuple[dict[str, Variable], tuple[str, ...]]:
    """The metavariables of a template by what one match binds them to, and the relations that stand around it."""
    find = template.find
    outputs = {alias.alias for alias in find.find_all(exp.Alias) if alias.alias.startswith(MARK)}
    tables: dict[str, str] = {}
    for item in find.find_all(exp.Table, exp.Subquery):
        if item.alias.startswith(ONE):
            tables[item.alias.removeprefix(ONE)] = item.name.removeprefix(ONE) if isinstance(item, exp.Table) else ""
    columns = [it for it in find.find_all(exp.Column) if it.table.startswith(ONE)]
    outer = tuple(
        dict.fromkeys(it.table.removeprefix(ONE) for it in columns if it.table.removeprefix(ONE) not in tables)
    )
    found: dict[str, Variable] = {}
    for key, value in bindings.items():
        name = key.partition(":")[2]
        if key.startswith(LIST):
            found[name] = Variable(name, "list")
        elif not key.startswith(ONE) or "." in name:
            continue
        elif isinstance(value, exp.Table):
            found[name] = Variable(name, "table")
        elif name in tables or name in outer:
            found[name] = Variable(name, "relation", table=tables.get(name, ""))
        elif key in outputs:
            found[name] = Variable(name, "output")
        elif isinstance(value, exp.Identifier):
            of = tuple(dict.fromkeys(it.table.removeprefix(ONE) for it in columns if it.name == key))
            whole = bindings.get(f"{ONE}{of[0]}.{name}") if of else None
            type_ = facts.type(whole).sql() if isinstance(whole, exp.Column) else ""
            sample = whole if isinstance(whole, exp.Expr) else None
            found[name] = Variable(name, "column", sample, type_, relations=of)
        elif isinstance(value, exp.Expr):
            kind = "expression" if value.find(exp.Column) is not None else "constant"
            found[name] = Variable(name, kind, value, type_of(value, facts))
    return found, outer


def _bullet(text: str) -> str:
    """A condition as it stands in a document, metavariables between backticks."""
    return re.sub(r"@\w+(?:\.@\w+)?", r"`\g<0>`", text)


def _named(text: str) -> set[str]:
    return set(re.findall(r"@(\w+)", text))
