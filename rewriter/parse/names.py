"""Names of output columns. A rewrite must return the columns under the names that the statement gave them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp


def output_names(tree: exp.Query) -> list[str] | None:
    """The names that Postgres gives to the outputs of an unqualified tree; None when a star stands among them.

    The rules are those of Postgres's FigureColname. DuckDB names an unnamed expression after its text, which only the
    engine itself can tell: the pipeline asks it and calls ``with_output_names``.
    """
    if any(isinstance(select, exp.Star) or select.is_star for select in tree.selects):
        return None
    return [select.alias or _figure(select) or "?column?" for select in tree.selects]


def name_unnamed(tree: exp.Query) -> None:
    """Give the unnamed outputs of every SELECT the names that Postgres gives them, in place, so that an outer query can
    refer to them."""
    for select in tree.find_all(exp.Select):
        outputs = []
        for output in select.expressions:
            unnamed = not isinstance(output, (exp.Alias, exp.Aliases, exp.Column)) and not output.is_star
            name = "" if not unnamed or output.alias else _figure(output) or "?column?"
            outputs.append(exp.alias_(output, exp.to_identifier(name, quoted=True), copy=False) if name else output)
        select.set("expressions", outputs)


def _figure(node: exp.Expr) -> str:
    if isinstance(node, (exp.Column, exp.Dot)):
        return node.name if isinstance(node, exp.Column) else _figure(node.expression)
    if isinstance(
        node, (exp.Paren, exp.Collate, exp.Window, exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.Bracket)
    ):
        return _figure(node.this)
    if isinstance(node, exp.Cast):
        return _figure(node.this) or _type_word(node.to)
    if isinstance(node, exp.Case):
        default = node.args.get("default")
        return (_figure(default) if default is not None else "") or "case"
    if isinstance(node, exp.Subquery):
        selects = node.this.selects if isinstance(node.this, exp.Query) else []
        return (selects[0].alias or _figure(selects[0])) if selects else ""
    if isinstance(node, exp.Exists):
        return "exists"
    if isinstance(node, exp.Array):
        return "array"
    if isinstance(node, exp.Func) and not isinstance(node, (exp.Connector, exp.Binary)):
        return str(node.meta.get("written") or _SPECIAL.get(type(node)) or node.sql_name().lower())
    return ""


# Functions with a syntax of their own, under the names that Postgres's grammar gives them.
_SPECIAL: dict[type[exp.Expr], str] = {exp.GroupConcat: "string_agg", exp.StrPosition: "position", exp.Trim: "btrim"}


def _type_word(type_: exp.DataType) -> str:
    word = type_.sql(dialect="postgres").split("(")[0].lower()
    short = {
        "integer": "int4",
        "int": "int4",
        "bigint": "int8",
        "smallint": "int2",
        "decimal": "numeric",
        "boolean": "bool",
    }
    short |= {"double precision": "float8", "real": "float4", "char": "bpchar"}
    return short.get(word, word)


def with_output_names(tree: exp.Query, names: Sequence[str]) -> exp.Query:
    """``tree`` with its outputs named ``names``, in place. Set operations take their names from the first branch."""
    branch: exp.Expr = tree
    while isinstance(branch, (exp.SetOperation, exp.Subquery)):
        branch = branch.this
    if not isinstance(branch, exp.Select):
        return tree
    projections = []
    renamed: dict[str, str] = {}
    for projection, name in zip(branch.expressions, names, strict=True):
        inner = projection.this if isinstance(projection, exp.Alias) else projection
        if projection.alias and projection.alias != name:
            renamed[projection.alias] = name
        projections.append(exp.alias_(inner, exp.to_identifier(name), copy=False))
    branch.set("expressions", projections)
    order = tree.args.get("order")
    for column in list(order.find_all(exp.Column)) if order is not None and renamed else ():
        if not column.table and column.name in renamed:
            column.set("this", exp.to_identifier(renamed[column.name]))
    return tree
