"""Executable form of self_join_to_min_max.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from rules.build import column, inner_conjuncts, set_where
from rules.facts import Facts
from rules.join.inequality import has_extremes
from rules.sites import copied, only_inner, outer_columns, owner, references, relation_name, relations, selects, with_of


@dataclass(frozen=True)
class _Pair:
    """``FROM r a, r b WHERE a.key = b.key AND a.value <> b.value AND filters``; ``own`` are a's filters."""

    key: exp.Column
    value: exp.Column
    own: tuple[exp.Expr, ...]


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A self-join that only asks whether a key has two different values becomes one grouping."""
    for select in selects(query):
        pair = _pair(select, facts)
        if pair is None or not duplicates_ignored(query, select):
            continue
        outputs = used_outputs(query, select)
        if outputs is None:
            continue
        positions = [index for index, output in enumerate(select.selects) if output.alias_or_name in outputs]
        if any(not _is_key(select.selects[index].unalias(), pair) for index in positions) or not positions:
            continue
        copy, (site,) = copied(query, select)
        assert isinstance(site, exp.Select)
        first = relations(site)[0]
        name = relation_name(first)
        grouped = exp.Select(
            expressions=[
                exp.alias_(column(name, pair.key.name), select.selects[index].alias_or_name) for index in positions
            ]
        )
        grouped.set("from_", exp.From(this=first.copy()))
        own = list(pair.own)
        if facts.nullable(pair.key):
            own.append(exp.Not(this=exp.Is(this=column(name, pair.key.name), expression=exp.Null())))
        set_where(grouped, own)
        grouped.set("group", exp.Group(expressions=[column(name, pair.key.name)]))
        value = column(name, pair.value.name)
        differs = exp.NEQ(this=exp.Min(this=value.copy()), expression=exp.Max(this=value.copy()))
        grouped.set("having", exp.Having(this=differs))
        site.replace(grouped)
        yield copy


def _is_key(output: exp.Expr, pair: _Pair) -> bool:
    return isinstance(output, exp.Column) and output.name == pair.key.name


def _pair(select: exp.Select, facts: Facts) -> _Pair | None:
    items = relations(select)
    clauses = ("group", "having", "limit", "offset", "qualify", "windows", "distinct")
    if len(items) != 2 or not only_inner(select) or any(select.args.get(clause) for clause in clauses):
        return None
    if with_of(select) is not None or outer_columns(select) or select.find(exp.AggFunc, exp.Window) is not None:
        return None
    tables = [facts.table(item) for item in items]
    if tables[0] is None or tables[0] != tables[1]:
        return None
    first, second = (relation_name(item) for item in items)
    keys: list[exp.Column] = []
    values: list[exp.Column] = []
    filters: dict[str, list[exp.Expr]] = {first: [], second: []}
    for part in inner_conjuncts(select):
        columns = list(part.find_all(exp.Column))
        if part.find(exp.Query) is not None:
            return None
        tables_read = {node.table for node in columns}
        if len(tables_read) == 1:
            filters[tables_read.pop()].append(part)
        elif isinstance(part, (exp.EQ, exp.NEQ)) and _same_column(part):
            (keys if isinstance(part, exp.EQ) else values).append(part.this)
        else:
            return None
    if len(keys) != 1 or len(values) != 1 or not has_extremes(values[0], facts):
        return None
    unqualified = {
        name: sorted(part.sql().replace(f"{name}.", "") for part in parts) for name, parts in filters.items()
    }
    # Both sides must be filtered alike: then "another row with another value" looks among the same rows.
    if unqualified[first] != unqualified[second]:
        return None
    return _Pair(keys[0], values[0], tuple(filters[first]))


def _same_column(part: exp.Expr) -> bool:
    left, right = part.this, part.expression
    return isinstance(left, exp.Column) and isinstance(right, exp.Column) and left.name == right.name


def duplicates_ignored(query: exp.Query, select: exp.Select) -> bool:
    """Whether it makes no difference how often ``select`` returns a row: it is read by IN or EXISTS alone, perhaps
    through joins, derived tables and CTEs whose own rows may repeat as well."""
    parent = select.parent
    if isinstance(parent, exp.Exists):
        return True
    if isinstance(parent, exp.Subquery):
        if isinstance(parent.parent, exp.In):
            return True
        return _reader_ignores(query, parent)
    if isinstance(parent, exp.CTE):
        readers = references(query, parent)
        return bool(readers) and all(_reader_ignores(query, reader) for reader in readers)
    return False


def _reader_ignores(query: exp.Query, item: exp.Expr) -> bool:
    """Whether the SELECT that reads a FROM/JOIN item ignores duplicates of it."""
    if not isinstance(item.parent, (exp.From, exp.Join)):
        return False
    select = item.parent.parent
    if not isinstance(select, exp.Select):
        return False
    clauses = ("group", "having", "limit", "offset", "qualify", "windows")
    if any(select.args.get(clause) for clause in clauses):
        return False
    if any(output.find(exp.AggFunc, exp.Window) is not None for output in select.expressions):
        return False
    return bool(select.args.get("distinct")) or duplicates_ignored(query, select)


def used_outputs(query: exp.Query, select: exp.Select) -> set[str] | None:
    """Names of the outputs of ``select`` that its readers use; None when it cannot be told."""
    parent = select.parent
    names = set(select.named_selects)
    if isinstance(parent, exp.Exists):
        return None
    if isinstance(parent, exp.Subquery) and isinstance(parent.parent, exp.In):
        return names
    if isinstance(parent, exp.Subquery):
        items: list[exp.Expr] = [parent]
    elif isinstance(parent, exp.CTE) and not parent.args["alias"].columns:
        items = list(references(query, parent))
    else:
        return None
    used: set[str] = set()
    for item in items:
        alias = item.args.get("alias")
        reader = item.find_ancestor(exp.Select)
        if (alias is not None and alias.columns) or not isinstance(reader, exp.Select):
            return None
        name = relation_name(item)
        used |= {node.name for node in reader.find_all(exp.Column) if node.table == name and owner(node) is reader}
    return used & names
