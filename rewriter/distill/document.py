"""The document of a learnt rule: every section filled from what was tried, with neutral names throughout.

Nothing of the pair's own schema or constants gets into it: the examples are generated uses, and words that a model gave
with the pair are taken only when they name nothing of the pair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import sqlglot
from sqlglot import exp

from rewriter.distill.generalise import LOOK_SECONDS, shown
from rewriter.distill.instances import instances, pattern_of
from rewriter.distill.records import Case, Pair, Reason, Refused, Rule
from rewriter.engines import DuckDB
from rewriter.parse import parse, read_schema
from rewriter.verify import Verifier
from rules.facts import Facts
from rules.pattern import Pattern
from rules.rulefile import RuleDocument, parse_rule

FAMILY = "learnt"
EXAMPLES = 3
LONGEST = 160  # characters of a template in the rule's sentence


def written(rule: Rule, pairs: Sequence[Pair], name: str, hunter: DuckDB) -> RuleDocument:
    """The document of a rule under ``name`` (family/stem), as a draft. Raises Refused when no examples can be made,
    TargetLost."""
    pattern = pattern_of(rule.hypothesis)
    numbers = count(1)
    examples = [_renamed(case, numbers) for case in _examples(rule, hunter)]
    if not examples:
        raise Refused(Reason.UNTESTED, "no example of it could be generated and verified")
    wrong = [_renamed(case, numbers) for case in rule.needed if case.rows and not _fires(pattern, case, rule)]
    schema = "\n".join(case.schema for case in (*examples, *wrong))
    parts = [
        _front(rule, pairs, conditional=bool(wrong)),
        f"## Rule\n\n{_sentence(rule, pairs)}",
        f"## Why it helps\n\n{_gain(pairs)}",
        f"## Precondition\n\n{_precondition(rule)}",
        f"## Pattern\n\n{_sql(rule.hypothesis.find)}\n\n{_sql(rule.hypothesis.replace)}",
    ]
    if rule.hypothesis.conditions:
        parts.append("\n".join(f"- {text}" for text in rule.hypothesis.conditions))
    parts.append(f"## Schema\n\n{_sql(schema)}")
    parts.append("## Rewrites")
    parts += [_sql(text) for case in examples for text in (case.before, case.after)]
    parts.append("## Leaves alone")
    for case in wrong:
        parts += [f"It does not hold that {_words(case.violates)}.", _sql(case.before)]
    if not wrong:
        parts += ["It is written that way already.", _sql(examples[0].after)]
    if wrong:
        parts.append("## Wrong without the precondition")
        parts += [_sql(text) for case in wrong for text in (case.rows, case.before, case.after)]
    text = "\n\n".join(parts) + "\n"
    return parse_rule(text, document_path(name))


def document_path(name: str) -> Path:
    """Where a document of the store would lie: no file, so that no code can stand beside it."""
    return Path("/store:") / f"{name}.md"


def name_of(rule: Rule, taken: set[str]) -> str:
    """A name that says what becomes what, and that nobody has."""
    find, replaced = _kind(rule.hypothesis.find), _kind(rule.hypothesis.replace)
    stem = f"{find}_to_{replaced}" if find != replaced else f"simpler_{find}"
    for number in count(1):
        name = f"{FAMILY}/{stem}" + (f"_{number}" if number > 1 else "")
        if name not in taken:
            return name
    raise AssertionError("unreachable")


def _kind(template: str) -> str:
    marked = re.sub(r"@([a-z][a-z0-9_]*)(\.\.\.)?", r'"\1"', template)
    select = marked.startswith("SELECT")
    whole = sqlglot.parse_one(marked if select else f"SELECT {marked}", read="postgres")
    assert isinstance(whole, exp.Select)
    tree: exp.Expr = whole if select else whole.selects[0]
    while isinstance(tree, (exp.Subquery, exp.Paren)):
        tree = tree.this
    if isinstance(tree, exp.Column):
        return "value"
    inner = tree.this if isinstance(tree, exp.Expr) else None
    negated = isinstance(tree, exp.Not) and isinstance(inner, exp.Expr)
    named = inner if negated and isinstance(inner, exp.Expr) else tree
    words = [_word(named)]
    if isinstance(named, (exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Mul, exp.Add, exp.AggFunc, exp.Select)):
        words += [
            _word(node) for node in named.find_all(exp.Func, exp.Cast, exp.Distinct, exp.Limit) if node is not named
        ]
    return ("not_" if negated else "") + "_".join(dict.fromkeys(words))[:40].rstrip("_")


def _word(node: exp.Expr) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(node).__name__).lower()


def _examples(rule: Rule, hunter: DuckDB) -> Iterator[Case]:
    """Uses on which the rule is verified: the plainest one, and others of other shapes."""
    given = 0
    for instance in instances(rule.hypothesis, 4 * EXAMPLES, seed=77):
        if given == EXAMPLES:
            return
        (result, *more) = instance.results
        if more:
            continue  # a document shows one result for each query
        if Verifier(instance.query, hunter).certify(result.tree, seconds=LOOK_SECONDS).kind.accepts:
            given += 1
            yield shown(instance, result.sql(pretty=True))


def _fires(pattern: Pattern, case: Case, rule: Rule) -> bool:
    catalog = read_schema(case.schema, rule.hypothesis.dialect)
    return next(pattern.rewrites(parse(case.before, catalog).tree, Facts(catalog)), None) is not None


def _renamed(case: Case, numbers: Iterator[int]) -> Case:
    """The case with tables of its own."""
    names: dict[str, str] = {}
    for old in re.findall(r"CREATE TABLE (t\d+)", case.schema):
        names[old] = f"t{next(numbers)}"

    def renamed(text: str) -> str:
        return re.sub(r"\bt\d+\b", lambda match: names.get(match.group(), match.group()), text)

    fields = {key: renamed(getattr(case, key)) for key in ("schema", "before", "after", "rows")}
    return replace(case, **fields)


def _front(rule: Rule, pairs: Sequence[Pair], *, conditional: bool) -> str:
    number = len(pairs)
    return "\n".join(
        (
            "---",
            "status: draft",
            f"equivalence: {'conditional' if conditional else 'always'}",
            f"dialects: [{rule.hypothesis.dialect}]",
            f'source: "learnt from {number} accepted {"rewrite" if number == 1 else "rewrites"}"',
            "---",
        )
    )


def _sentence(rule: Rule, pairs: Sequence[Pair]) -> str:
    for pair in pairs:
        said = " ".join(pair.said.split())
        if said and not _tells(said, pair):
            return said if said.endswith(".") else f"{said}."
    find, replaced = rule.hypothesis.find, rule.hypothesis.replace
    return f"Write `{_short(replaced)}` for `{_short(find)}`."


def _tells(said: str, pair: Pair) -> bool:
    """Whether words may give away something of the pair: a name of its schema, or a constant."""
    words = set(re.findall(r"\w+", said.lower()))
    names = {table.name.lower() for table in pair.before.catalog.tables}
    names |= {column.name.lower() for table in pair.before.catalog.tables for column in table.columns}
    return bool(words & names) or re.search(r"[\d'\"]", said) is not None or len(said) > 2 * LONGEST


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _gain(pairs: Sequence[Pair]) -> str:
    ratios = sorted(pair.ratio for pair in pairs if pair.ratio is not None)
    if not ratios:
        return "What it gains has not been measured: it was learnt from rewrites that were given without times."
    many = f"{len(ratios)} recorded rewrites" if len(ratios) > 1 else "the recorded rewrite"
    between = f"{ratios[0]:.1f} times" if len(ratios) == 1 else f"{ratios[0]:.1f} to {ratios[-1]:.1f} times"
    return f"In {many} the query became {between} as fast, together with whatever else was changed in it."


def _precondition(rule: Rule) -> str:
    if not rule.hypothesis.conditions:
        return "None."
    texts = [f"{_words(text)[:1].upper()}{_words(text)[1:]}." for text in rule.hypothesis.conditions]
    return "\n".join(texts)


def _words(condition: str) -> str:
    if condition.startswith("without "):
        return f"the SELECT has no {condition.removeprefix('without ')}"
    return "it stands in a filter" if condition == "in a filter" else condition


def _sql(text: str) -> str:
    return f"```sql\n{text}\n```"
