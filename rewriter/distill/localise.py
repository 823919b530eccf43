"""Where the two queries of a pair differ: the smallest corresponding parts, and what is around them as the next try."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from rewriter.distill.records import Pair, Reason, Refused, Site
from rewriter.errors import RewriterError
from rewriter.parse import parse
from rewriter.records import Query
from rules.build import conjunction, disjunction
from rules.facts import Facts
from rules.pattern import is_value
from rules.sites import copied, owner, relations

MOST_DIFFERENCES = 4


@dataclass(frozen=True, eq=False)
class Difference:
    """Corresponding nodes of both trees that differ, smallest first; each one after the first is around it."""

    ladder: tuple[tuple[exp.Expr, exp.Expr], ...]


def differences(pair: Pair) -> list[Difference]:
    """All places where the two trees differ. Raises Refused when they are the same, or have nothing in common."""
    before, after = annotated(pair.before), annotated(pair.after)
    if _plain(before) == _plain(after):
        raise Refused(Reason.NOTHING_GAINED, "both queries are the same but for names and the order of conditions")
    found = [Difference(ladder) for ladder in _walk(before, after, ())]
    if len(found) > MOST_DIFFERENCES:
        raise Refused(Reason.CANNOT_LOCALISE, f"the queries differ in {len(found)} places")
    return found


def _plain(tree: exp.Query) -> str:
    """A query as text in which neither the names that relations go by nor the order of conditions matters."""
    copy = tree.copy()
    number = 0
    for select in copy.find_all(exp.Select):
        for item in relations(select):
            alias, old = item.args.get("alias"), item.alias_or_name
            if isinstance(alias, exp.TableAlias):
                number += 1
                for column in copy.find_all(exp.Column):
                    if column.table == old and owner(column) is select:
                        column.set("table", exp.to_identifier(f"n{number}"))
                alias.set("this", exp.to_identifier(f"n{number}"))
    for node in list(copy.find_all(exp.And, exp.Or))[::-1]:
        if not isinstance(node.parent, type(node)):
            parts = sorted(_chain(node, type(node)), key=lambda part: part.sql())
            made = conjunction(parts) if isinstance(node, exp.And) else disjunction(parts)
            if made is not None and node.parent is not None:
                node.replace(made)
    return copy.sql(comments=False)


def annotated(query: Query) -> exp.Query:
    """A copy of the tree in which every column knows its type, its base table and the number of the SELECT that it
    belongs to: copies of its parts keep that."""
    facts, copy = Facts(query.catalog), query.tree.copy()
    homes = {id(select): number for number, select in enumerate(copy.find_all(exp.Select))}
    for select in copy.find_all(exp.Select):
        select.meta["home"] = homes[id(select)]
    for column in copy.find_all(exp.Column):
        home, found = owner(column), facts.source(column)
        table = facts.table(found[0]) if found is not None else None
        column.meta["home"] = -1 if home is None else homes[id(home)]
        column.meta["type"] = facts.type(column).sql(dialect=query.dialect)
        item = found[0] if found is not None and isinstance(found[0], exp.Table) else None
        column.meta["table"] = None if table is None or item is None else (table.name, item.db)
    return copy


def sites(pair: Pair, difference: Difference, *, alone: bool) -> Iterator[Site]:
    """The places to generalise for one difference, smallest first. ``alone``: it is the only one, so that with it the
    before becomes the after."""
    for find, replace in difference.ladder:
        if not isinstance(find, (exp.Condition, exp.Select)) or isinstance(find, exp.Alias):
            continue
        if isinstance(find, exp.Select) and is_value(find.parent) and is_value(replace.parent):
            assert find.parent is not None  # both are scalar subqueries
            assert replace.parent is not None
            find, replace = find.parent, replace.parent
        after = pair.after if alone else _changed(pair, find, replace)
        if after is not None:
            yield Site(find, replace, pair.before, after)


def _changed(pair: Pair, find: exp.Expr, replace: exp.Expr) -> Query | None:
    """The before with this one change; None when that is no query."""
    copy, (site,) = copied(_root(find), find)
    if site is copy:
        return None
    site.replace(replace.copy())
    try:
        return parse(copy.sql(dialect=pair.before.dialect), pair.before.catalog)
    except RewriterError:
        return None


def _root(node: exp.Expr) -> exp.Query:
    root = node.root()
    assert isinstance(root, exp.Query)
    return root


Ladder = tuple[tuple[exp.Expr, exp.Expr], ...]


def _walk(one: exp.Expr, other: exp.Expr, around: Ladder) -> Iterator[Ladder]:
    """The smallest differing pairs of nodes, each with those around it."""
    one, other = _bare(one), _bare(other)
    if one == other:
        return
    here = ((one, other), *around)
    children = _children(one, other)
    if not children:
        yield here
        return
    for left, right in children:
        yield from _walk(left, right, here)


def _children(one: exp.Expr, other: exp.Expr) -> list[tuple[exp.Expr, exp.Expr]]:
    """Corresponding children that differ; none where the difference is one of the nodes themselves."""
    if type(one) is not type(other):
        return []
    if isinstance(one, (exp.And, exp.Or)):
        return _operands(one, other)
    if isinstance(one, (exp.Column, exp.Literal, exp.Table, exp.Func)) and not isinstance(one, (exp.Exists, exp.Case)):
        return []
    found: list[tuple[exp.Expr, exp.Expr]] = []
    for key in {**one.args, **other.args}:
        left, right = one.args.get(key) or None, other.args.get(key) or None
        if left == right:
            continue
        if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            found += [(a, b) for a, b in zip(left, right, strict=True) if a != b]
        elif isinstance(left, exp.Expr) and isinstance(right, exp.Expr):
            found.append((left, right))
        else:
            return []
    # A relation by another name, or another table, is a difference of the SELECT that reads it.
    if any(not isinstance(a, exp.Expr) or not isinstance(b, exp.Expr) for a, b in found):
        return []
    if isinstance(one, (exp.Binary, exp.In, exp.Between, exp.Not)) and len(found) > 1:
        return []
    if isinstance(one, exp.Select) and any(_about_rows(a) or _about_rows(b) for a, b in found):
        return []
    return found


def _about_rows(node: exp.Expr) -> bool:
    """Whether a difference in this clause may go with others of the same SELECT."""
    if isinstance(node, (exp.From, exp.Join)):
        return not isinstance(node.this, exp.Subquery)
    return isinstance(node, (exp.Group, exp.Distinct, exp.Limit, exp.Offset, exp.With))


def _operands(one: exp.Expr, other: exp.Expr) -> list[tuple[exp.Expr, exp.Expr]]:
    """The operands of two chains that differ, when there is one on each side."""
    kind = type(one)
    left, right = list(_chain(one, kind)), list(_chain(other, kind))
    for operand in list(left):
        if operand in right:
            right.remove(operand)
            left.remove(operand)
    return [(left[0], right[0])] if len(left) == len(right) == 1 else []


def reduced(find: exp.Expr, replace: exp.Expr) -> tuple[exp.Expr, exp.Expr]:
    """Two chains of AND without the operands that both have, unless one of them would be left with none: then it keeps
    those that share a column with what the other has more."""
    if not isinstance(find, exp.And) and not isinstance(replace, exp.And):
        return find, replace
    left, right = list(_chain(find, exp.And)), list(_chain(replace, exp.And))
    common = [part for part in left if part in right]
    mine, theirs = [part for part in left if part not in common], [part for part in right if part not in common]
    if not mine or not theirs:
        columns = {column.sql() for part in (*mine, *theirs) for column in part.find_all(exp.Column)}
        kept = [part for part in common if columns & {column.sql() for column in part.find_all(exp.Column)}]
        mine, theirs = [*kept, *mine], [*kept, *theirs]
    first, second = conjunction(mine), conjunction(theirs)
    if first is None:
        return find, replace
    return first, second if second is not None else exp.true()


def _chain(node: exp.Expr, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    node = _bare(node)
    if isinstance(node, kind):
        yield from _chain(node.this, kind)
        yield from _chain(node.expression, kind)
    else:
        yield node


def _bare(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Paren):
        node = node.this
    return node
