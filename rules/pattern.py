"""Rules without Python: two SQL templates with metavariables, and conditions on what these stand for.

``@x`` stands for one expression, ``@xs...`` for the rest of a list. A template is an expression or a SELECT. Written
twice, a metavariable stands for equal expressions. Operands of AND, OR, ``=``, ``<>``, ``+`` and ``*`` match in either
order, comparisons also mirrored; a template that is a chain of AND (or OR) matches any operands of a longer chain and
leaves the others. Clauses that a SELECT template does not name stay as they are. CONTRIBUTING.md has the format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.errors import RuleFileError
from rules.facts import Facts
from rules.pattern_conditions import SELECT, Bound, Condition, parse_condition
from rules.sites import copied

_VARIABLE = re.compile(r"@([a-z][a-z0-9_]*)(\.\.\.)?")
_MARK = "?"
_ONE, _LIST = f"{_MARK}one:", f"{_MARK}list:"
_COMMUTATIVE = (exp.EQ, exp.NEQ, exp.Add, exp.Mul, exp.NullSafeEQ, exp.NullSafeNEQ)
_MIRRORED: Mapping[type[exp.Expr], type[exp.Expr]] = {
    exp.GT: exp.LT,
    exp.LT: exp.GT,
    exp.GTE: exp.LTE,
    exp.LTE: exp.GTE,
}
# What stands in the place of an argument and is no value of its own.
_NO_VALUES = (exp.Distinct, exp.Star, exp.Query, exp.Order, exp.Ordered, exp.Where, exp.DataType, exp.Var)
_OPERATORS = (exp.Binary, exp.Connector, exp.Not, exp.Neg, exp.Between, exp.In)

Bindings = Mapping[str, Bound]


@dataclass(frozen=True, eq=False)
class Template:
    """One pair: what is found, and what takes its place."""

    find: exp.Expr
    replace: exp.Expr
    line: int


@dataclass(frozen=True, eq=False)
class Pattern:
    """The templates of one document, under common conditions."""

    templates: tuple[Template, ...]
    conditions: tuple[Condition, ...]

    def rewrites(self, query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
        """One fresh copy of ``query`` for each place where a template matches and all conditions hold."""
        for template in self.templates:
            for node in list(query.find_all(type(template.find), *_also(template.find))):
                if isinstance(template.find, exp.Connector) and isinstance(_outside(node), type(template.find)):
                    continue  # the chain as a whole is matched from its top
                for bindings, rest in _matches_at(template.find, node):
                    if all(condition.holds(node, bindings, facts) for condition in self.conditions):
                        result = _replaced(query, node, template, bindings, rest)
                        if result is not None:
                            yield result
                            break


def parse_pattern(blocks: Sequence[tuple[str, int]], bullets: Sequence[tuple[str, int]], path: object) -> Pattern:
    """The pattern of a document: ``blocks`` are the templates' texts in pairs, ``bullets`` the conditions, each with
    its line. Raises RuleFileError naming file and line."""
    if not blocks or len(blocks) % 2:
        line = blocks[-1][1] if blocks else 1
        raise RuleFileError(f"{path}:{line}: a pattern needs pairs of templates", hint="what to find, then what to put")
    templates: list[Template] = []
    bound: set[str] = set()
    for (find, at), (replace, after) in zip(blocks[::2], blocks[1::2], strict=True):
        template = Template(_parsed(find, at, path), _parsed(replace, after, path), at)
        known = _variables(template.find)
        unknown = sorted(_variables(template.replace) - known)
        if unknown:
            raise RuleFileError(f"{path}:{after}: nothing binds {', '.join(map(_shown, unknown))}")
        if not known:
            raise RuleFileError(f"{path}:{at}: the template has no metavariable", hint="write @x for one expression")
        if _is_variable(template.find):
            raise RuleFileError(f"{path}:{at}: a template of one metavariable alone matches everything")
        bound = bound | known if templates else known
        templates.append(template)
    conditions = []
    for text, line in bullets:
        condition = parse_condition(text, f"{path}:{line}")
        missing = sorted(name for name in condition.names if not any(name == key.partition(":")[2] for key in bound))
        if missing:
            raise RuleFileError(f"{path}:{line}: nothing binds @{', @'.join(missing)}")
        conditions.append(condition)
    return Pattern(tuple(templates), tuple(conditions))


def _parsed(text: str, line: int, path: object) -> exp.Expr:
    """A template as a tree; metavariables are quoted columns with names that no SQL text can have."""
    marked = _VARIABLE.sub(lambda match: f'"{_LIST if match.group(2) else _ONE}{match.group(1)}"', text.strip())
    try:
        tree = sqlglot.parse_one(marked, read="postgres")
        if not isinstance(tree, exp.Query):
            select = sqlglot.parse_one(f"SELECT {marked}", read="postgres")
            if not isinstance(select, exp.Select) or len(select.expressions) != 1:
                raise SqlglotError("not one expression")
            tree = select.expressions[0]
    except SqlglotError:
        try:
            select = sqlglot.parse_one(f"SELECT {marked}", read="postgres")
            if not isinstance(select, exp.Select) or len(select.expressions) != 1:
                raise SqlglotError("not one expression")
            tree = select.expressions[0]
        except SqlglotError as error:
            reason = str(error).splitlines()[0] if str(error) else "it is no SQL"
            raise RuleFileError(f"{path}:{line}: the template cannot be read: {reason}") from None
    for node in tree.find_all(exp.Column):
        if node.name.startswith(_LIST) and node.index is None:
            raise RuleFileError(f"{path}:{line}: {_shown(node.name)} does not stand at the end of a list")
    if isinstance(tree, exp.Alias):
        raise RuleFileError(f"{path}:{line}: the template cannot be read: it ends in an alias")
    return tree


def _variables(tree: exp.Expr) -> set[str]:
    return {node.name for node in tree.find_all(exp.Identifier) if node.name.startswith(_MARK)}


def _shown(name: str) -> str:
    return f"@{name.partition(':')[2]}" + ("..." if name.startswith(_LIST) else "")


def _is_variable(node: object) -> bool:
    return isinstance(node, exp.Column) and node.name.startswith(_MARK)


def _also(find: exp.Expr) -> tuple[type[exp.Expr], ...]:
    mirrored = _MIRRORED.get(type(find))
    return (mirrored,) if mirrored is not None else ()


def _outside(node: exp.Expr) -> exp.Expr | None:
    above = node.parent
    while isinstance(above, exp.Paren):
        above = above.parent
    return above


def _bare(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _chain(node: exp.Expr, kind: type[exp.Expr]) -> list[exp.Expr]:
    """The operands of a chain of AND or OR, brackets taken off."""
    bare = _bare(node)
    if not isinstance(bare, kind):
        return [bare]
    return [*_chain(bare.this, kind), *_chain(bare.expression, kind)]


def _matches_at(find: exp.Expr, node: exp.Expr) -> Iterator[tuple[Bindings, tuple[exp.Expr, ...]]]:
    """The ways in which ``node`` matches, each with the operands of its chain that were left over."""
    if isinstance(find, (exp.And, exp.Or)):
        operands = _chain(node, type(find))
        for bindings, used in _choose(_chain(find, type(find)), operands, {}):
            yield bindings, tuple(part for place, part in enumerate(operands) if place not in used)
        return
    for bindings in _match(find, node, {}):
        yield bindings, ()


def _choose(
    parts: Sequence[exp.Expr], operands: Sequence[exp.Expr], bindings: Bindings, used: frozenset[int] = frozenset()
) -> Iterator[tuple[Bindings, frozenset[int]]]:
    if not parts:
        yield bindings, used
        return
    for place, operand in enumerate(operands):
        if place not in used:
            for more in _match(parts[0], operand, bindings):
                yield from _choose(parts[1:], operands, more, used | {place})


def _match(find: exp.Expr, node: exp.Expr, bindings: Bindings) -> Iterator[Bindings]:
    find = _bare(find)
    if _is_variable(find):
        name = find.name
        value = _bare(node)
        if isinstance(value, _NO_VALUES):
            return
        known = bindings.get(name)
        if known is None:
            yield {**bindings, name: value}
        elif known == value:
            yield bindings
        return
    node = _bare(node)
    if isinstance(find, (exp.And, exp.Or)):
        parts, operands = _chain(find, type(find)), _chain(node, type(find))
        if len(parts) == len(operands) and isinstance(node, type(find)):
            for found, _ in _choose(parts, operands, bindings):
                yield found
        return
    mirrored = _MIRRORED.get(type(find))
    if mirrored is not None and type(node) is mirrored:
        for half in _match(find.this, node.expression, bindings):
            yield from _match(find.expression, node.this, half)
        return
    if type(find) is not type(node):
        return
    if isinstance(find, exp.Select):
        bindings = {**bindings, SELECT: node}
    yield from _match_arguments(find, node, bindings)
    if isinstance(find, _COMMUTATIVE):
        for half in _match(find.this, node.expression, bindings):
            yield from _match(find.expression, node.this, half)


def _match_arguments(find: exp.Expr, node: exp.Expr, bindings: Bindings) -> Iterator[Bindings]:
    """All parts in turn. A SELECT's clauses that the template does not name are passed over."""
    keys = {key for key, value in find.args.items() if _given(value)}
    if not isinstance(find, exp.Select):
        keys |= {key for key, value in node.args.items() if _given(value)}
    states: list[Bindings] = [bindings]
    for key in sorted(keys):
        states = [more for state in states for more in _match_values(find.args.get(key), node.args.get(key), state)]
        if not states:
            return
    yield from states


def _given(value: object) -> bool:
    return value is not None and value is not False and value != []


def _match_values(find: object, node: object, bindings: Bindings) -> Iterator[Bindings]:
    if isinstance(find, list):
        yield from _match_lists(find, node if isinstance(node, list) else [], bindings)
    elif isinstance(find, exp.Expr):
        if isinstance(node, exp.Expr):
            yield from _match(find, node, bindings)
    elif find == node or (not _given(find) and not _given(node)):
        yield bindings


def _match_lists(find: list[object], node: list[object], bindings: Bindings) -> Iterator[Bindings]:
    last = find[-1] if find else None
    if isinstance(last, exp.Column) and last.name.startswith(_LIST):
        fixed = len(find) - 1
        if len(node) < fixed:
            return
        rest = tuple(item for item in node[fixed:] if isinstance(item, exp.Expr))
        for state in _match_lists(find[:-1], node[:fixed], bindings):
            known = state.get(last.name)
            if known is None:
                yield {**state, last.name: rest}
            elif known == rest:
                yield state
        return
    if len(find) != len(node):
        return
    states: list[Bindings] = [bindings]
    for one, other in zip(find, node, strict=True):
        states = [more for state in states for more in _match_values(one, other, state)]
    yield from states


def _replaced(
    query: exp.Query, node: exp.Expr, template: Template, bindings: Bindings, rest: Sequence[exp.Expr]
) -> exp.Query | None:
    if isinstance(node.parent, exp.Escape):
        return None  # LIKE with ESCAPE is one operator in two nodes
    copy, (site,) = copied(query, node)
    new = _filled(template.replace.copy(), bindings)
    _carry_over(template, new, bindings.get(SELECT))
    if isinstance(new, exp.Filter) and isinstance(site.parent, exp.Filter):
        return None
    kind = type(template.find)
    for part in rest:
        term = part.copy()
        new = kind(this=_bracketed(term, kind), expression=_bracketed(new, kind))
    if site is copy:
        return new if isinstance(new, exp.Query) else None
    site.replace(_fitting(new, site.parent))
    return copy


def _carry_over(template: Template, new: exp.Expr, matched: Bound | None) -> None:
    """Put the clauses that the template does not name into the one SELECT of the result, in place."""
    found, made = template.find.find(exp.Select), new.find(exp.Select)
    if found is None or made is None or not isinstance(matched, exp.Select):
        return
    for key, value in matched.args.items():
        if not _given(found.args.get(key)) and _given(value) and not _given(made.args.get(key)):
            made.set(key, [item.copy() for item in value] if isinstance(value, list) else value.copy())


def _fitting(new: exp.Expr, inside: exp.Expr | None) -> exp.Expr:
    """``new`` in brackets where its parent binds as tightly or more."""
    if isinstance(inside, exp.Connector):
        loose = isinstance(new, exp.Connector) and type(new) is not type(inside)
    else:
        loose = isinstance(new, _OPERATORS) and isinstance(inside, (*_OPERATORS, exp.Cast, exp.Is))
    return exp.Paren(this=new) if loose else new


def _bracketed(term: exp.Expr, kind: type[exp.Expr]) -> exp.Expr:
    return exp.Paren(this=term) if isinstance(term, exp.Connector) and not isinstance(term, kind) else term


def _filled(tree: exp.Expr, bindings: Bindings) -> exp.Expr:
    """A template with the metavariables replaced by what they stand for."""
    if _is_variable(tree):
        value = bindings[tree.name]
        assert isinstance(value, exp.Expr)
        return value.copy()
    for node in list(tree.find_all(exp.Column)):
        if not _is_variable(node):
            continue
        value = bindings[node.name]
        if isinstance(value, tuple):
            assert node.parent is not None  # the parser keeps lists in lists
            items = node.parent.args[node.arg_key or ""]
            place = items.index(node)
            node.parent.set(node.arg_key or "", [*items[:place], *(item.copy() for item in value), *items[place + 1 :]])
        else:
            node.replace(_fitting(value.copy(), node.parent))
    return tree
