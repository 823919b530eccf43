"""Reading what a model answers: data, never instructions. A JSON object, or SQL in a fence, or both in prose."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rewriter.errors import BadAnswer

MOST_CHARACTERS = 200_000  # of an answer that is looked at
MOST_RULES = 8
MOST_RULE = 400  # characters of one rule
_FENCE = re.compile(r"```[ \t]*([A-Za-z]*)[ \t]*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """``sql``: the rewrite, empty where the model proposes none. ``fields``: everything else it said, by name."""

    sql: str
    rules: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


def read_answer(text: str) -> Answer:
    """Raises BadAnswer for what holds neither an object nor SQL."""
    fields = read_object(text)
    if fields is not None:
        sql = fields.get("sql")
        rules = fields.get("rules")
        return Answer(
            _unfenced(sql) if isinstance(sql, str) else "",
            tuple(_one_line(rule) for rule in rules if isinstance(rule, str) and rule.strip())[:MOST_RULES]
            if isinstance(rules, list)
            else (),
            fields,
        )
    blocks = [
        body for kind, body in _FENCE.findall(text[:MOST_CHARACTERS]) if kind.lower() in ("", "sql", "postgresql")
    ]
    if blocks:
        return Answer(blocks[-1].strip())
    bare = text.strip()
    if len(bare) <= MOST_CHARACTERS and re.match(r"(?is)(select|with)\b", bare):
        return Answer(bare)
    raise BadAnswer("the model's answer holds no rewrite")


def read_object(text: str) -> dict[str, Any] | None:
    """The JSON object in an answer: all of it, in a fence, or the first that stands in the prose."""
    if len(text) > MOST_CHARACTERS:
        raise BadAnswer(f"the model's answer has more than {MOST_CHARACTERS:,} characters")
    decoder = json.JSONDecoder()
    for start in (found.start() for found in re.finditer(r"\{", text)):
        try:
            found, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return None


def _unfenced(sql: str) -> str:
    found = _FENCE.search(sql)
    return (found.group(2) if found else sql).strip()


def _one_line(rule: str) -> str:
    return " ".join(rule.split())[:MOST_RULE]
