"""Two statements side by side, aligned by their structure: clause by clause, CTE by CTE, branch by branch.

Both are laid out alike first, so spelling and line breaks are no difference, and a line that only went to another
clause is shown as moved.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

LONGEST = 2000  # lines beyond which nothing is aligned: comparing them would take too long
ALIKE = 0.55  # of two lines that stand in for each other, from where on their differing words are marked

Kind = Literal["same", "changed", "removed", "added", "moved"]
Piece = tuple[str, bool]  # text, and whether it differs from the other side


@dataclass(frozen=True)
class Row:
    """A line of one side beside a line of the other; None where that side has none."""

    kind: Kind
    left: tuple[Piece, ...] | None
    right: tuple[Piece, ...] | None


@dataclass(frozen=True)
class Block:
    """One part of the statements. ``same``: nothing differs in it."""

    heading: str
    rows: tuple[Row, ...]

    @property
    def same(self) -> bool:
        return all(row.kind == "same" for row in self.rows)


def difference(original: str, rewritten: str, dialect: str) -> list[Block]:
    """The blocks of both statements, in the order of the rewritten one, with what only the original has in between."""
    before, after = _blocks(original, dialect), _blocks(rewritten, dialect)
    headings = _merged([name for name, _ in before], [name for name, _ in after])
    left, right = dict(before), dict(after)
    blocks = [Block(name, tuple(_rows(left.get(name, []), right.get(name, [])))) for name in headings]
    return _moves(blocks)


# What a SELECT consists of, by the keys that sqlglot keeps it under; whatever is not named belongs to SELECT itself.
_CLAUSES: tuple[tuple[str, frozenset[str]], ...] = (
    ("SELECT", frozenset()),
    ("FROM", frozenset({"from", "from_", "joins", "laterals", "pivots"})),
    ("WHERE", frozenset({"where", "prewhere"})),
    ("GROUP BY", frozenset({"group"})),
    ("HAVING", frozenset({"having", "qualify"})),
    ("WINDOW", frozenset({"windows"})),
    ("ORDER BY", frozenset({"order", "sort", "distribute", "cluster"})),
    ("LIMIT", frozenset({"limit", "offset", "fetch"})),
)


def _blocks(statement: str, dialect: str) -> list[tuple[str, list[str]]]:
    """(heading, lines) in order; headings are unique."""
    lines = statement.splitlines()
    if len(lines) > LONGEST:
        return [("Statement", lines)]
    try:
        tree = sqlglot.parse_one(statement, dialect=dialect)
        found = list(_of_query(tree, "", dialect)) if isinstance(tree, exp.Query) else []
    except (SqlglotError, RecursionError, ValueError):
        found = []
    if not found:
        return [("Statement", lines)]
    seen: Counter[str] = Counter()
    named = []
    for heading, text in found:
        seen[heading] += 1
        named.append((heading if seen[heading] == 1 else f"{heading} ({seen[heading]})", text.splitlines()))
    return named


def _of_query(tree: exp.Expr, lead: str, dialect: str) -> Iterator[tuple[str, str]]:
    with_ = tree.args.get("with_") or tree.args.get("with")
    if with_ is not None:
        for cte in with_.expressions:
            yield f"{lead}WITH {cte.alias}", _text(cte.this, dialect)
        tree = tree.copy()
        tree.set("with_" if "with_" in tree.args else "with", None)
    if isinstance(tree, exp.Select):
        yield from _of_select(tree, lead, dialect)
    elif isinstance(tree, exp.SetOperation):
        branches = list(_branches(tree))
        for number, branch in enumerate(branches, 1):
            yield from _of_query(branch, f"{lead}Branch {number} · ", dialect)
        rest = type(tree)(this=exp.select("1"), expression=exp.select("1"), distinct=tree.args.get("distinct"))
        yield f"{lead}Combined by", type(rest).__name__.upper() + ("" if tree.args.get("distinct") else " ALL")
        for heading, keys in _CLAUSES[-2:]:
            kept = {key: tree.args[key] for key in keys if tree.args.get(key)}
            if kept:
                yield f"{lead}{heading}", _bare(kept, dialect)
    else:
        yield f"{lead}Query", _text(tree, dialect)


def _branches(tree: exp.SetOperation) -> Iterator[exp.Expr]:
    """The operands of a chain of the same operation, without recursion over long chains."""
    waiting: list[exp.Expr] = [tree]
    while waiting:
        one = waiting.pop()
        same = type(one) is type(tree) and one.args.get("distinct") == tree.args.get("distinct")
        if isinstance(one, exp.SetOperation) and same and not (one is not tree and one.args.get("limit")):
            waiting += [one.expression, one.this]
        else:
            yield one.unnest() if isinstance(one, exp.Subquery) and not one.alias else one


def _of_select(tree: exp.Select, lead: str, dialect: str) -> Iterator[tuple[str, str]]:
    elsewhere = frozenset().union(*(keys for _, keys in _CLAUSES))
    for heading, keys in _CLAUSES:
        wanted = {key for key in tree.args if (key in keys if keys else key not in elsewhere)}
        kept = {key: tree.args[key] for key in wanted if tree.args[key]}
        if kept:
            yield f"{lead}{heading}", _bare(kept, dialect, whole=heading == "SELECT")


def _bare(kept: dict[str, object], dialect: str, *, whole: bool = False) -> str:
    """Some clauses of a SELECT as text, without the word SELECT in front unless it is the list itself."""
    text = _text(exp.Select(**kept).copy(), dialect)
    return text if whole else re.sub(r"\ASELECT\s*", "", text)


def _text(tree: exp.Expr, dialect: str) -> str:
    return tree.sql(dialect=dialect, pretty=True, comments=False)


def _merged(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """All headings, those of both in the order of ``after``."""
    merged: list[str] = []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for _, start, end, other_start, other_end in matcher.get_opcodes():
        merged += [name for name in before[start:end] if name not in after and name not in merged]
        merged += [name for name in after[other_start:other_end] if name not in merged]
    return merged


def _rows(left: Sequence[str], right: Sequence[str]) -> Iterator[Row]:
    matcher = difflib.SequenceMatcher(None, [_key(x) for x in left], [_key(x) for x in right], autojunk=False)
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        gone, come = left[start:end], right[other_start:other_end]
        if kind == "equal":
            for one, other in zip(gone, come, strict=True):
                yield Row("same", ((one, False),), ((other, False),))
            continue
        for number in range(max(len(gone), len(come))):
            if number < len(gone) and number < len(come):
                yield _changed(gone[number], come[number])
            elif number < len(gone):
                yield Row("removed", ((gone[number], False),), None)
            else:
                yield Row("added", None, ((come[number], False),))


def _changed(one: str, other: str) -> Row:
    """Two lines in each other's place, with the words marked that differ where they are otherwise alike."""
    words, others = _words(one), _words(other)
    if len(words) + len(others) > 400:
        return Row("changed", ((one, False),), ((other, False),))
    matcher = difflib.SequenceMatcher(None, words, others, autojunk=False)
    if matcher.ratio() < ALIKE:
        return Row("changed", ((one, False),), ((other, False),))
    left: list[Piece] = []
    right: list[Piece] = []
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        if end > start:
            left.append(("".join(words[start:end]), kind != "equal"))
        if other_end > other_start:
            right.append(("".join(others[other_start:other_end]), kind != "equal"))
    return Row("changed", tuple(left), tuple(right))


def _words(line: str) -> list[str]:
    return re.findall(r"\s+|\w+|[^\w\s]", line)


def _key(line: str) -> str:
    """A line without its place in a list: a comma or AND more is no difference."""
    return re.sub(r"^(AND|OR) |,$", "", line.strip())


def _moves(blocks: list[Block]) -> list[Block]:
    """The same with lines marked as moved that one place lost and another one gained."""
    lost: Counter[str] = Counter()
    gained: Counter[str] = Counter()
    for block in blocks:
        for row in block.rows:
            if row.kind != "same":
                lost[_whole(row.left)] += 1
                gained[_whole(row.right)] += 1
    both = {text for text in lost if gained.get(text) and len(text) > 3 and not text.isupper()}

    def marked(row: Row) -> Iterator[Row]:
        if row.kind == "same":
            yield row
            return
        left, right = _whole(row.left) in both, _whole(row.right) in both
        if (left or right) and row.kind == "changed":
            yield Row("moved" if left else "removed", _plain(row.left), None)
            yield Row("moved" if right else "added", None, _plain(row.right))
        else:
            yield replace(row, kind="moved") if left or right else row

    return [Block(block.heading, tuple(one for row in block.rows for one in marked(row))) for block in blocks]


def _whole(side: tuple[Piece, ...] | None) -> str:
    return "" if side is None else _key("".join(text for text, _ in side))


def _plain(side: tuple[Piece, ...] | None) -> tuple[Piece, ...] | None:
    return None if side is None else (("".join(text for text, _ in side), False),)
