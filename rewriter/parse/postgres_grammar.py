"""What Postgres's own grammar makes of a statement: a second opinion on every text that may reach a Postgres.

The server reads text with its own lexer and grammar, we read it with sqlglot's. Wherever the two disagree (comments,
escapes, operator precedence) a check on our tree says nothing about what the server does. libpg_query is the server's
grammar as a library (https://github.com/pganalyze/libpg_query). So what may be run is decided on its tree as well, and
a statement whose two readings differ is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pgparse

from rewriter.errors import QueryRejected

Node = Any  # libpg_query's JSON: dicts with one upper-case key for the kind, lists, strings, numbers, booleans

_POSITIONS = frozenset({"location", "stmt_location", "stmt_len", "rexpr_list_start", "rexpr_list_end", "funcformat"})
_POSITIONS |= {"list_start", "list_end"}


def read(statement: str) -> Node:
    """The tree of exactly one SELECT. Raises QueryRejected (syntax-error, multiple-statements, unsupported-statement,
    too-deep)."""
    try:
        statements = pgparse.parse(statement)
    except pgparse.PGQueryError as error:
        raise _refusal(statement, error) from None
    except (RecursionError, ValueError):
        raise QueryRejected("Postgres cannot read the statement", hint="split it with WITH", code="too-deep") from None
    if len(statements) > 1:
        raise QueryRejected(
            f"there are {len(statements)} statements", hint="pass exactly one SELECT", code="multiple-statements"
        )
    if not statements:
        raise QueryRejected("there is no statement", hint="pass one SELECT", code="empty-query")
    tree = statements[0]["stmt"]
    for kind, body in _kinds(tree):
        if kind == "SelectStmt" and "intoClause" in body:
            raise _unsupported("SELECT INTO")
        if kind == "LockingClause":
            raise _unsupported("FOR UPDATE or FOR SHARE")
        if kind.endswith("Stmt") and kind != "SelectStmt":
            raise _unsupported(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.removesuffix("Stmt")).upper())
    return tree


def functions(tree: Node) -> Iterator[tuple[str | None, str]]:
    """(schema, name) of every function that is called by name, as Postgres will look it up."""
    for kind, body in _kinds(tree):
        if kind == "FuncCall":
            *schema, name = _words(body["funcname"])
            yield (schema[-1] if schema else None), name
        elif kind == "RangeTableSample":
            *schema, name = _words(body["method"])
            if schema or name not in ("system", "bernoulli"):
                yield (schema[-1] if schema else None), name
        elif kind == "A_Expr" and len(body.get("name", ())) > 1:
            schema_name, operator = _words(body["name"])[-2:]
            if schema_name != "pg_catalog":
                yield schema_name, operator


def difference(one: Node, other: Node) -> str | None:
    """The kind of the first place where two trees say different things; None if they say the same."""
    return _difference(canonical(one), canonical(other), "statement")


def _difference(one: Node, other: Node, place: str) -> str | None:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            inner = key if key[:1].isupper() else place
            if key not in one or key not in other:
                return inner
            found = _difference(one[key], other[key], inner)
            if found:
                return found
        return None
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return place
        return next((found for a, b in zip(one, other, strict=True) if (found := _difference(a, b, place))), None)
    return None if one == other else place


# Names that are one function in Postgres (or differ in nothing for arguments that both accept).
_SYNONYMS = {
    "substr": "substring",
    "variance": "var_samp",
    "stddev": "stddev_samp",
    "ceiling": "ceil",
    "pow": "power",
    "char_length": "length",
    "character_length": "length",
}
_TYPES = {"int": "int4", "integer": "int4", "decimal": "numeric", "char": "bpchar"}
_INTERVAL_UNITS = {4: "year", 2: "month", 8: "day", 1024: "hour", 2048: "minute", 4096: "second"}


def canonical(node: Node) -> Node:
    """``node`` without positions and with one spelling for what Postgres treats alike."""
    if isinstance(node, list):
        return [canonical(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: canonical(value) for key, value in node.items() if key not in _POSITIONS}
    if "FuncCall" in result:
        return _call(result["FuncCall"])
    if "SQLValueFunction" in result and result["SQLValueFunction"].get("op") == "SVFOP_CURRENT_TIMESTAMP":
        return {"FuncCall": {"funcname": ["now"]}}
    if "SortBy" in result:
        sort = result["SortBy"]
        descending = sort.get("sortby_dir") == "SORTBY_DESC"
        if sort.get("sortby_nulls") == ("SORTBY_NULLS_FIRST" if descending else "SORTBY_NULLS_LAST"):
            sort["sortby_nulls"] = "SORTBY_NULLS_DEFAULT"
        if sort.get("sortby_dir") == "SORTBY_ASC":
            sort["sortby_dir"] = "SORTBY_DEFAULT"
    if "TypeCast" in result:
        return _cast(result["TypeCast"])
    if "A_Expr" in result:
        return _operator(result["A_Expr"])
    number = result.get("A_Const", {}).get("fval", {}).get("fval", "")
    if number.startswith("."):
        return {"A_Const": {"fval": {"fval": f"0{number}"}}}
    if "frameOptions" in result:
        # ROWS 1 PRECEDING is short for ROWS BETWEEN 1 PRECEDING AND CURRENT ROW (parsenodes.h: FRAMEOPTION_BETWEEN).
        result["frameOptions"] &= ~0x10
    test = result.get("BooleanTest", {}).get("booltesttype", "")
    if test in ("IS_UNKNOWN", "IS_NOT_UNKNOWN"):
        kind = "IS_NULL" if test == "IS_UNKNOWN" else "IS_NOT_NULL"
        return {"NullTest": {"arg": result["BooleanTest"]["arg"], "nulltesttype": kind}}
    if test.startswith("IS_NOT_"):
        result["BooleanTest"]["booltesttype"] = test.replace("IS_NOT_", "IS_")
        return _not(result)
    return result


def _not(argument: Node) -> Node:
    return {"BoolExpr": {"boolop": "NOT_EXPR", "args": [argument]}}


_NEGATED = {"!~": "~", "!~*": "~*", "!~~": "~~", "!~~*": "~~*", "NOT BETWEEN": "BETWEEN"}
_NEGATED |= {"NOT BETWEEN SYMMETRIC": "BETWEEN SYMMETRIC"}

_OPERATOR_FUNCTIONS = {("^", 2): "power", ("%", 2): "mod", ("|/", 1): "sqrt"}


def _operator(expression: dict[str, Node]) -> Node:
    """x NOT LIKE y is NOT (x LIKE y): both are NULL together. Some operators are functions by another name."""
    name = _words(expression.get("name", []))[-1:]
    if name and name[0] in _NEGATED:
        expression["name"] = [_NEGATED[name[0]]]
        expression["kind"] = str(expression.get("kind")).replace("NOT_", "")
        return _not({"A_Expr": expression})
    arguments = [expression[side] for side in ("lexpr", "rexpr") if side in expression]
    if name == ["+"] and len(arguments) == 1:
        return arguments[0]
    if name and (name[0], len(arguments)) in _OPERATOR_FUNCTIONS:
        return {"FuncCall": {"funcname": [_OPERATOR_FUNCTIONS[name[0], len(arguments)]], "args": arguments}}
    if expression.get("kind") in ("AEXPR_LIKE", "AEXPR_ILIKE"):
        expression["kind"] = "AEXPR_OP"
    expression["name"] = name
    return {"A_Expr": expression}


def _call(call: dict[str, Node]) -> Node:
    words = [word for word in _words(call["funcname"]) if word != "pg_catalog"]
    name = _SYNONYMS.get(words[-1], words[-1])
    call["funcname"] = [*words[:-1], name]
    arguments = call.get("args", [])
    if name == "strpos":
        call["funcname"] = [*words[:-1], "position"]
    if name in ("extract", "date_part", "date_trunc") and arguments:
        unit = arguments[0].get("A_Const", {}).get("sval")
        if unit:
            unit["sval"] = unit["sval"].lower()
    if name in ("round", "trunc") and len(arguments) == 2:
        # sqlglot casts the argument to numeric, which is what the only two-argument form takes.
        inner = arguments[0].get("TypeCast", {})
        if inner.get("typeName", {}).get("names") == ["numeric"] and "typmods" not in inner["typeName"]:
            arguments[0] = inner["arg"]
    return {"FuncCall": call}


def _cast(cast: dict[str, Node]) -> Node:
    type_name = cast.get("typeName", {})
    words = [word for word in _words(type_name.get("names", [])) if word != "pg_catalog"]
    type_name["names"] = [_TYPES.get(word, word) for word in words]
    text = cast.get("arg", {}).get("A_Const", {}).get("sval", {}).get("sval")
    if words == ["interval"] and isinstance(text, str):
        mask = next(
            (item["A_Const"]["ival"].get("ival") for item in type_name.pop("typmods", ()) if "A_Const" in item), None
        )
        unit = f" {_INTERVAL_UNITS[mask]}" if mask in _INTERVAL_UNITS else f" {mask}" if mask else ""
        cast["arg"] = re.sub(r"([a-z])s\b", r"\1", f"{text.strip().lower()}{unit}")
    return {"TypeCast": cast}


def _kinds(node: Node) -> Iterator[tuple[str, dict[str, Node]]]:
    """(kind, body) of every node, without recursion."""
    open_nodes = [node]
    while open_nodes:
        current = open_nodes.pop()
        if isinstance(current, list):
            open_nodes.extend(current)
        elif isinstance(current, dict):
            for key, value in current.items():
                if key[:1].isupper() and isinstance(value, dict):
                    yield key, value
                open_nodes.append(value)


def _words(names: list[Node]) -> list[str]:
    return [name["String"]["sval"] if isinstance(name, dict) else name for name in names]


def _refusal(statement: str, error: pgparse.PGQueryError) -> QueryRejected:
    message = str(error.args[0]) if error.args else ""
    if "memory exhausted" in message:
        return QueryRejected("the statement is nested too deeply for Postgres", code="too-deep")
    position = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else 0
    before = statement[: max(position - 1, 0)]
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    found = re.search(r'near "(.{0,40}?)"', message)
    return QueryRejected(
        f"syntax error at line {line}, column {column}" + (f", near {found.group(1)!r}" if found else ""),
        hint="Postgres's grammar cannot read on from there",
        code="syntax-error",
    )


def _unsupported(what: str) -> QueryRejected:
    return QueryRejected(
        f"only one SELECT or set operation is accepted, not {what}",
        hint="statements that change data, settings or sessions are never run",
        code="unsupported-statement",
    )
