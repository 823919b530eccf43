"""Rules without Python: two SQL templates with metavariables, and conditions on what these stand for.

``@x`` stands for one expression, ``@xs...`` for the rest of a list. A template is an expression or a SELECT. Written
twice, a metavariable stands for equal expressions. Operands of AND, OR, ``=``, ``<>``, ``+`` and ``*`` match in either
order, comparisons also mirrored; a template that is a chain of AND (or OR) matches any operands of a longer chain and
leaves the others. Clauses that the outermost SELECT does not name stay as they are, where it names no FROM and the
other template has a SELECT to keep them in; any other SELECT has the clauses that it shows and no more. Names are
metavariables too: ``@t AS @a`` is a table (or CTE) under a name, ``@a.@c`` a column of what goes by that name (see
pattern_names.py). CONTRIBUTING.md has the format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.errors import RuleFileError
from rules.build import conjunction
from rules.facts import Facts
from rules.pattern_conditions import SELECT, Bound, Condition, parse_condition
from rules.pattern_names import (
    LIST,
    MARK,
    ONE,
    column_key,
    filled_names,
    freshly_named,
    marked,
    names_kept,
    same_table,
)
from rules.sites import copied

_VARIABLE = re.compile(r"@([a-z][a-z0-9_]*)(\.\.\.)?")
_COMMUTATIVE = (exp.EQ, exp.NEQ, exp.Add, exp.Mul, exp.NullSafeEQ, exp.NullSafeNEQ)
_MIRRORED: Mapping[type[exp.Expr], type[exp.Expr]] = {
    exp.GT: exp.LT,
    exp.LT: exp.GT,
    exp.GTE: exp.LTE,
    exp.LTE: exp.GTE,
}
# What stands in the place of an argument and is no value of its own.
_NO_VALUES = (exp.Distinct, exp.Star, exp.Query, exp.Order, exp.Ordered, exp.Where, exp.DataType, exp.Var)
_OPEN = "open"  # marks the SELECT of a template that may have more clauses than it shows
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
                for bindings, rest in matches(template.find, node):
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
        outermost = template.find.find(exp.Select)
        if outermost is not None and not outermost.args.get("from_") and template.replace.find(exp.Select) is not None:
            outermost.meta[_OPEN] = True
        known = _variables(template.find)
        mixed = sorted(known & _names(template.find, template.replace))
        if mixed:
            raise RuleFileError(f"{path}:{at}: {_shown(mixed[0])} is a name in one place and an expression in another")
        known |= _names(template.find)
        unknown = sorted((_variables(template.replace) | _names(template.replace)) - known)
        if unknown:
            raise RuleFileError(f"{path}:{after}: nothing binds {', '.join(map(_shown, unknown))}")
        if not known:
            raise RuleFileError(f"{path}:{at}: the template has no metavariable", hint="write @x for one expression")
        if _is_variable(template.find):
            raise RuleFileError(f"{path}:{at}: a template of one metavariable alone matches everything")
        known |= {key for key in map(column_key, template.find.find_all(exp.Column)) if key is not None}
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
    marked = _VARIABLE.sub(lambda match: f'"{LIST if match.group(2) else ONE}{match.group(1)}"', text.strip())
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
        if _is_list(node) and node.index is None and not isinstance(node.parent, (exp.Connector, exp.Where)):
            raise RuleFileError(f"{path}:{line}: {_shown(node.name)} does not stand at the end of a list")
    if isinstance(tree, exp.Alias):
        raise RuleFileError(f"{path}:{line}: the template cannot be read: it ends in an alias")
    return tree


def _variables(tree: exp.Expr) -> set[str]:
    """Metavariables that stand for expressions."""
    return {node.name for node in tree.find_all(exp.Column) if _is_variable(node)}


def _names(*trees: exp.Expr) -> set[str]:
    """Metavariables that stand for names."""
    return {
        node.name
        for tree in trees
        for node in tree.find_all(exp.Identifier)
        if node.name.startswith(MARK) and not _is_variable(node.parent)
    }


def _shown(name: str) -> str:
    return f"@{name.partition(':')[2]}" + ("..." if name.startswith(LIST) else "")


def _is_variable(node: object) -> bool:
    return isinstance(node, exp.Column) and node.name.startswith(MARK) and not node.table


def _is_list(node: object) -> bool:
    return _is_variable(node) and isinstance(node, exp.Column) and node.name.startswith(LIST)


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


def matches(find: exp.Expr, node: exp.Expr) -> Iterator[tuple[Bindings, tuple[exp.Expr, ...]]]:
    """The ways in which ``node`` matches, each with the operands of its chain that were left over."""
    if isinstance(find, (exp.And, exp.Or)):
        operands = _chain(node, type(find))
        for bindings, used in _choose(_chain(find, type(find)), operands, {}):
            yield bindings, tuple(part for place, part in enumerate(operands) if place not in used)
        return
    if isinstance(find, exp.Subquery) and not is_value(node):
        return
    for bindings in _match(find, node, {}):
        yield bindings, ()


def is_value(node: exp.Expr | None) -> bool:
    """Whether a node is a query in brackets that stands for the one value that it returns."""
    if not isinstance(node, exp.Subquery):
        return False
    above = node.parent
    if isinstance(above, exp.In):
        return node.arg_key != "query"
    return above is not None and not isinstance(
        above, (exp.From, exp.Join, exp.SetOperation, exp.Subquery, exp.CTE, exp.Lateral, exp.Exists, exp.Any, exp.All)
    )


def _choose(
    parts: Sequence[exp.Expr], operands: Sequence[exp.Expr], bindings: Bindings, used: frozenset[int] = frozenset()
) -> Iterator[tuple[Bindings, frozenset[int]]]:
    """The ways in which each of ``parts`` matches an operand of its own; a list takes all the others."""
    rest = next((part for part in parts if _is_list(part)), None)
    if rest is not None:
        for state, taken in _choose([part for part in parts if part is not rest], operands, bindings, used):
            others = tuple(operand for place, operand in enumerate(operands) if place not in taken)
            if state.get(rest.name, others) == others:
                yield {**state, rest.name: others}, frozenset(range(len(operands)))
        return
    if not parts:
        yield bindings, used
        return
    for place, operand in enumerate(operands):
        if place not in used:
            for more in _match(parts[0], operand, bindings):
                yield from _choose(parts[1:], operands, more, used | {place})


def _match(find: exp.Expr, node: exp.Expr, bindings: Bindings) -> Iterator[Bindings]:
    find = _bare(find)
    if isinstance(node, exp.Alias) and not isinstance(find, exp.Alias):
        node = node.this
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
    if isinstance(find, exp.Identifier) and find.name.startswith(MARK):
        known = bindings.get(find.name)
        if isinstance(node, exp.Identifier) and (known is None or (isinstance(known, exp.Expr) and known == node)):
            yield {**bindings, find.name: node}
        return
    if isinstance(find, exp.Table) and find.name.startswith(MARK):
        yield from _match_table(find, node, bindings)
        return
    if isinstance(find, (exp.And, exp.Or)):
        parts, operands = _chain(find, type(find)), _chain(node, type(find))
        loose = any(map(_is_list, parts))
        if (loose or isinstance(node, type(find))) and len(parts) - loose <= len(operands):
            for found, used in _choose(parts, operands, bindings):
                if len(used) == len(operands):
                    yield found
        return
    mirrored = _MIRRORED.get(type(find))
    if mirrored is not None and type(node) is mirrored:
        for half in _match(find.this, node.expression, bindings):
            yield from _match(find.expression, node.this, half)
        return
    if type(find) is not type(node):
        return
    if find.meta.get(_OPEN):
        bindings = {**bindings, SELECT: node}
    key = column_key(find)
    if key is not None and isinstance(node, exp.Column):
        bindings = {**bindings, key: bindings.get(key, node)}
    yield from _match_arguments(find, node, bindings)
    if isinstance(find, _COMMUTATIVE):
        for half in _match(find.this, node.expression, bindings):
            yield from _match(find.expression, node.this, half)


def _match_table(find: exp.Table, node: exp.Expr, bindings: Bindings) -> Iterator[Bindings]:
    """A table or CTE under a name, and nothing else with it (no sample, no names of columns)."""
    alias = node.args.get("alias")
    if not isinstance(node, exp.Table) or not node.alias_or_name or (alias is not None and alias.columns):
        return
    if any(_given(value) for key, value in node.args.items() if key not in ("this", "db", "catalog", "alias")):
        return
    known = bindings.get(find.name)
    if known is not None and not (isinstance(known, exp.Table) and same_table(known, node)):
        return
    name = alias.this if alias is not None and alias.this is not None else node.this
    yield from _match(find.args["alias"].this, name, {**bindings, find.name: known or node})


def _match_arguments(find: exp.Expr, node: exp.Expr, bindings: Bindings) -> Iterator[Bindings]:
    """All parts in turn. The clauses that an open SELECT does not name are passed over, and so is what a SELECT
    under EXISTS puts out for each of its rows."""
    keys = {key for key, value in find.args.items() if _given(value)}
    if not find.meta.get(_OPEN):
        keys |= {key for key, value in node.args.items() if _given(value)}
    if isinstance(find.parent, exp.Exists) and isinstance(node, exp.Select) and not _counts_rows(node):
        keys -= {"expressions"}
    if is_value(node):
        keys -= {"alias"}  # which is the name of an output there
    states: list[Bindings] = [bindings]
    for key in sorted(keys):
        states = [more for state in states for more in _match_values(find.args.get(key), node.args.get(key), state)]
        if not states:
            return
    yield from states


def _counts_rows(select: exp.Select) -> bool:
    """Whether the outputs decide how many rows there are."""
    if select.args.get("distinct"):
        return True
    return any(output.find(exp.AggFunc, exp.UDTF, exp.Explode, exp.Anonymous) for output in select.expressions)


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
    if isinstance(last, exp.Column) and last.name.startswith(LIST):
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
    tree = freshly_named(template.replace.copy(), template.find, query)
    new = filled(tree, {name: marked(value, node) for name, value in bindings.items()}, bindings)
    if not _carry_over(template, new, bindings.get(SELECT)):
        return None
    was, made = _select(node), _select(new)
    if was is not None and made is not None and len(was.expressions) == len(made.expressions):
        made.set("expressions", [_named_as(*pair) for pair in zip(made.expressions, was.expressions, strict=True)])
    if isinstance(new, exp.Filter) and isinstance(site.parent, exp.Filter):
        return None
    kind = type(template.find)
    for part in rest:
        term = part.copy()
        new = kind(this=_bracketed(term, kind), expression=_bracketed(new, kind))
    if isinstance(site, exp.Subquery) and site.alias and is_value(node):
        if isinstance(new, exp.Subquery):
            new.set("alias", site.args["alias"].copy())
        else:
            new = exp.Alias(this=new, alias=exp.to_identifier(site.alias))
    if site is not copy:
        new = _fitting(new, site.parent)
        site.replace(new)
        return copy if names_kept(new) else None
    return new if isinstance(new, exp.Query) and names_kept(new) else None


def _carry_over(template: Template, new: exp.Expr, matched: Bound | None) -> bool:
    """Put the clauses that the template does not name into the outermost SELECT of the result, in place. False where
    one of them has no place: the result has another one there."""
    found, made = template.find.find(exp.Select), new.find(exp.Select)
    if found is None or made is None or not isinstance(matched, exp.Select):
        return True
    for key, value in matched.args.items():
        if _given(found.args.get(key)) or not _given(value):
            continue
        mine = made.args.get(key)
        if not _given(mine):
            made.set(key, [item.copy() for item in value] if isinstance(value, list) else value.copy())
        elif key in ("where", "having") and isinstance(mine, exp.Expr):
            both = [_bracketed(part, exp.And) for part in (value.this.copy(), mine.this.copy())]
            mine.set("this", exp.And(this=both[0], expression=both[1]))
        else:
            return False
    return True


def _select(node: exp.Expr) -> exp.Select | None:
    """The SELECT that a template as a whole is, in brackets or not."""
    node = node.this if isinstance(node, exp.Subquery) else node
    return node if isinstance(node, exp.Select) else None


def _named_as(output: exp.Expr, was: exp.Expr) -> exp.Expr:
    """``output`` under the name of the one whose place it takes, unless it has one."""
    if isinstance(output, (exp.Alias, exp.Star)) or not isinstance(was, exp.Alias) or output.output_name == was.alias:
        return output
    return exp.Alias(this=output, alias=was.args["alias"].copy())


def _fitting(new: exp.Expr, inside: exp.Expr | None) -> exp.Expr:
    """``new`` in brackets where its parent binds as tightly or more."""
    if isinstance(inside, exp.Connector):
        loose = isinstance(new, exp.Connector) and type(new) is not type(inside)
    else:
        loose = isinstance(new, _OPERATORS) and isinstance(inside, (*_OPERATORS, exp.Cast, exp.Is))
    return exp.Paren(this=new) if loose else new


def _bracketed(term: exp.Expr, kind: type[exp.Expr]) -> exp.Expr:
    return exp.Paren(this=term) if isinstance(term, exp.Connector) and not isinstance(term, kind) else term


def filled(tree: exp.Expr, values: Bindings, bindings: Bindings) -> exp.Expr:
    """A template with the metavariables replaced by what they stand for."""
    filled_names(tree, bindings)
    if _is_variable(tree):
        value = values[tree.name]
        assert isinstance(value, exp.Expr)
        return value.copy()
    root = exp.Paren(this=tree)  # what the whole tree may become is known to its parent
    for node in list(root.find_all(exp.Column)):
        if not _is_variable(node):
            continue
        value, above = values[node.name], node.parent
        assert above is not None  # the root stands in brackets
        if not isinstance(value, tuple):
            node.replace(_fitting(value.copy(), above))
        elif isinstance(above, exp.Where):
            where = conjunction(item.copy() for item in value)
            above.set("this", where) if where is not None else above.pop()
        elif isinstance(above, exp.Connector):
            _spread(above, node, value)
        else:  # the parser keeps lists in lists
            items = above.args[node.arg_key or ""]
            place = next(at for at, item in enumerate(items) if item is node)
            above.set(node.arg_key or "", [*items[:place], *(item.copy() for item in value), *items[place + 1 :]])
    result = root.this
    result.pop()
    assert isinstance(result, exp.Expr)
    return result


def _spread(chain: exp.Connector, node: exp.Expr, operands: Sequence[exp.Expr]) -> None:
    """Put operands into the place of a list in a chain; with none of them its neighbour stands alone."""
    other = chain.expression if chain.this is node else chain.this
    made: exp.Expr = other.copy()
    for operand in operands:
        made = type(chain)(this=made, expression=_bracketed(operand.copy(), type(chain)))
    chain.replace(made)
