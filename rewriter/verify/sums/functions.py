"""Functions that a proof may meet: scalar, deterministic, one row in and one value out.

A function that is not listed is Unsupported: it could be an aggregate, return several rows, or differ from call to
call, and nothing in a syntax tree tells. Of a listed one a proof knows that equal arguments give equal results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlglot import exp

from rewriter.verify.sums.sorts import EXACT, NULL, Unsupported, sort_of_expr, unified
from rewriter.verify.sums.terms import Call, Expr, Literal

# NULL exactly when an argument is.
_TOTAL: dict[type[exp.Expr], str] = {
    exp.Upper: "text",
    exp.Lower: "text",
    exp.Trim: "text",
    exp.Length: "int",
    exp.Like: "bool",
    exp.ILike: "bool",
    exp.DPipe: "text",
}
_SORTS: dict[type[exp.Expr], str] = {
    exp.BitwiseAnd: "int",
    exp.BitwiseLeftShift: "int",
    exp.BitwiseOr: "int",
    exp.BitwiseRightShift: "int",
    exp.BitwiseXor: "int",
    exp.Concat: "text",
    exp.CurrentDate: "date",
    exp.CurrentTimestamp: "other current timestamp",
    exp.DateDiff: "int",
    exp.Initcap: "text",
    exp.IntDiv: "int",
    exp.Left: "text",
    exp.Pad: "text",
    exp.RegexpLike: "bool",
    exp.RegexpReplace: "text",
    exp.Replace: "text",
    exp.Reverse: "text",
    exp.Right: "text",
    exp.Sign: "num",
    exp.SimilarTo: "bool",
    exp.StartsWith: "bool",
    exp.StrPosition: "int",
    exp.Substring: "text",
    exp.TimeToStr: "text",
}
_PARTS = {exp.Year: "YEAR", exp.Month: "MONTH", exp.Day: "DAY"}
_WHOLE_PARTS = frozenset("CENTURY DAY DECADE DOW DOY HOUR ISODOW ISOYEAR MINUTE MONTH QUARTER WEEK YEAR".split())
_MAGNITUDES = (exp.Sqrt, exp.Pow, exp.Ln, exp.Exp)
_NUMBERS = (*EXACT, "float", "bool")


def scalar_function(node: exp.Expr, value: Callable[[exp.Expr], Expr], dialect: str) -> Expr:
    """A listed function of its arguments, which ``value`` translates. Raises Unsupported."""
    if isinstance(node, exp.Interval):
        return Literal(node.sql(), "other interval")
    if isinstance(node, (exp.Parameter, exp.Placeholder)):
        return Call(f"parameter {node.sql()}", (), NULL)
    kind = type(node)
    if kind in _PARTS or kind is exp.Extract:
        return _part(node, value)
    name, arguments = [node.key], []
    for key, part in node.args.items():
        for one in part if isinstance(part, list) else [part]:
            if isinstance(one, exp.Expr) and not isinstance(one, (exp.Var, exp.DataType, exp.Identifier)):
                name.append(key)
                arguments.append(value(one))
            elif one not in (None, False):
                name.append(f"{key}={one.sql() if isinstance(one, exp.Expr) else one}")
    if any(sort_of_expr(argument) == NULL and not isinstance(argument, Literal) for argument in arguments):
        raise Unsupported("a parameter of unknown type in a function")
    text = " ".join(name)
    total = next((sort for listed, sort in _TOTAL.items() if listed is kind), None)
    if total is not None:
        if kind is exp.DPipe and not all(_textual(argument) for argument in arguments):
            raise Unsupported("|| of anything but text")
        return _checked(Call(f"total {text}", tuple(arguments), total))
    sort = next((sort for listed, sort in _SORTS.items() if listed is kind), None) or _computed(
        node, arguments, dialect
    )
    if sort is None:
        raise Unsupported(f"the function {node.key}")
    return _checked(Call(f"function {text}", tuple(arguments), sort))


def converted_by_cast(value: Expr, to: str, sort: str) -> Call:
    """A conversion of which nothing more is known."""
    return _checked(Call(f"cast {to}", (value,), sort))


def _checked(call: Call) -> Call:
    """Equal numbers may be written differently (1.0 and 1.00), so that a text of them is no function of their value."""
    if call.sort not in _NUMBERS and any(sort_of_expr(a) in ("num", "float") for a in call.arguments):
        raise Unsupported("a text made of a number with digits behind the point")
    return call


def _part(node: exp.Expr, value: Callable[[exp.Expr], Expr]) -> Expr:
    """A field of a date; EXTRACT and the functions named after fields are the same."""
    unit = next((unit for kind, unit in _PARTS.items() if kind is type(node)), "") or node.this.name.upper()
    moment = value(node.expression if isinstance(node, exp.Extract) else node.this)
    sort = "int" if unit in _WHOLE_PARTS else "num"
    return Call(f"function extract {unit}", (moment,), sort)


def _textual(value: Expr) -> bool:
    sort = sort_of_expr(value)
    return sort in ("text", NULL) or sort.startswith("char ")


def _computed(node: exp.Expr, arguments: Sequence[Expr], dialect: str) -> str | None:
    """The sort of a function whose result depends on its arguments; None for a function that is not listed."""
    sorts = [sort_of_expr(argument) for argument in arguments]
    if isinstance(node, exp.Div):
        if set(sorts) == {"int"}:
            return "int" if dialect == "postgres" else "float"
        return "num" if set(sorts) <= set(EXACT) and dialect == "postgres" else "float"
    if isinstance(node, (exp.Mod, exp.Abs)):
        return sort_of_expr(unified(list(arguments))[0])
    if isinstance(node, (exp.Round, exp.Floor, exp.Ceil)):
        return "float" if sorts[0] == "float" else "num"
    if isinstance(node, (exp.Greatest, exp.Least)):
        return sort_of_expr(unified(list(arguments))[0])
    if isinstance(node, _MAGNITUDES):
        return "num" if dialect == "postgres" and "num" in sorts and "float" not in sorts else "float"
    return None
