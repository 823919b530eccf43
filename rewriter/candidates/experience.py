"""What rules have done so far: how much their single steps changed measured time, by dialect and shape of the query.

It orders what a search tries first and decides nothing: a rule that never paid is tried later, not left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from sqlglot import exp

START = 0.08  # orders of magnitude promised by a rule of which nothing is known: a fifth less time
WEIGHT = 3.0  # trials that what is known less specifically counts for
CLEAR = 0.04  # orders of magnitude: less than this is noise of a single run

PACKAGED = "experience.json"

Key = tuple[str, str, str]  # rule, dialect, shape


@dataclass(frozen=True)
class Record:
    """``trials`` single runs after the rule's step; ``wins`` of them clearly faster than before it; ``gained`` the sum
    of the wins, in orders of magnitude of time."""

    trials: int = 0
    wins: int = 0
    gained: float = 0.0

    def plus(self, other: Record) -> Record:
        return Record(self.trials + other.trials, self.wins + other.wins, self.gained + other.gained)


@cache
def packaged() -> Mapping[Key, Record]:
    """What the rules did in the benchmark runs of this version, of any shape: where a new installation starts from.
    ``python -m tpc experience`` writes the file."""
    entries = json.loads((files(__package__) / PACKAGED).read_text(encoding="utf-8"))
    return {
        (entry["rule"], entry["dialect"], ""): Record(entry["trials"], entry["wins"], entry["gained"])
        for entry in entries
    }


@dataclass
class Experience:
    """``known`` is what earlier searches have left behind, ``fresh`` what has been learnt since."""

    known: Mapping[Key, Record] = field(default_factory=packaged)
    fresh: dict[Key, Record] = field(default_factory=dict)

    def promise(self, rule: str, dialect: str, shape: str) -> float:
        """The orders of magnitude of time that the next step by the rule is expected to save: what it saved on queries
        of this shape, held against what it saved on all others as far as trials are few."""
        overall = Record()
        same = Record()
        for records in (self.known, self.fresh):
            for (name, language, kind), record in records.items():
                if name == rule and language == dialect:
                    overall = overall.plus(record)
                    if kind == shape:
                        same = same.plus(record)
        general = (START * WEIGHT + overall.gained) / (WEIGHT + overall.trials)
        return (general * WEIGHT + same.gained) / (WEIGHT + same.trials)

    def learn(self, rule: str, dialect: str, shape: str, gain: float) -> None:
        """Take in one trial: ``gain`` is log10 of the time before the step less that after it."""
        won = gain > CLEAR
        lesson = Record(1, int(won), gain if won else 0.0)
        key = (rule, dialect, shape)
        self.fresh[key] = self.fresh.get(key, Record()).plus(lesson)


def shape_of(query: exp.Query) -> str:
    """What kinds of constructs a query has, such as ``cte+grouping``: queries of one shape teach each other."""
    selects = list(query.find_all(exp.Select))
    tables = sum(1 for _ in query.find_all(exp.Table))
    inside = any(_scalar(node) for node in query.find_all(exp.Subquery))
    traits = {
        "cte": query.find(exp.CTE) is not None,
        "grouping": any(select.args.get("group") for select in selects),
        "many": tables > 6,
        "outer": any(join.side for join in query.find_all(exp.Join)),
        "set": query.find(exp.SetOperation) is not None,
        "subquery": inside or query.find(exp.Exists, exp.In) is not None,
        "window": query.find(exp.Window) is not None,
    }
    return "+".join(name for name, present in traits.items() if present) or "plain"


def _scalar(node: exp.Subquery) -> bool:
    return not isinstance(node.parent, (exp.From, exp.Join, exp.SetOperation))
