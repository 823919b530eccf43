"""What a model's rewrites have taught: bottlenecks with the rules that removed them, and what each rule was worth.

GenRewrite's repository of natural-language rules (J. Liu and B. Mozafari, "GenRewrite: Query Rewriting via Large
Language Models", 2024). Texts are compared by the cosine of their words, weighted by rarity.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rewriter.candidates.model.features import Profile
from rewriter.candidates.model.plan_tree import plan_body, plan_of
from rewriter.candidates.model.selector import Selector, Structural
from rewriter.records import Plan

T = TypeVar("T")
PUT_AWAY = ("rejected", "retired")  # statuses of rules that a person does not want used
_WORD = re.compile(r"[a-z]{3,}")
_COMMON = frozenset("the and for that with this from into are its which each one all any not once only when".split())


@dataclass
class LearntRule:
    """A rule in words, that names no table and no column. ``group``: rules that say the same have the same number.
    ``gained``: the sum of what it was worth where it won, in orders of magnitude of time."""

    text: str
    group: int
    uses: int = 0
    wins: int = 0
    gained: float = 0.0
    status: str = "draft"
    origin: str = "model"


@dataclass
class Lesson:
    """A query's bottleneck in words, the group of the rule that was dominant in its rewrite, and what that gained
    (orders of magnitude of time)."""

    bottleneck: str
    group: int
    gained: float


@dataclass(frozen=True)
class Demonstration:
    """A rewrite that was measured: the query without its literals, its operators counted, the rules in order, how many
    times faster it became; the original's plan without names and conditions, and the rules that apply to it (none: of a
    version that kept neither)."""

    sql: str
    shape: Counter[str]
    rules: tuple[str, ...]
    ratio: float
    plan: Plan | None = None
    applies: tuple[str, ...] = ()

    @property
    def profile(self) -> Profile:
        return Profile(self.shape, self.plan, self.applies)

    @property
    def body(self) -> dict[str, Any]:
        """As plain data; ``of`` reads it back."""
        return {
            "sql": self.sql,
            "shape": dict(self.shape),
            "rules": list(self.rules),
            "ratio": self.ratio,
            "plan": plan_body(self.plan) if self.plan is not None else None,
            "applies": list(self.applies),
        }

    @staticmethod
    def of(body: Mapping[str, Any]) -> Demonstration:
        plan = plan_of(body["plan"]) if body.get("plan") else None
        applies = tuple(body.get("applies", ()))
        return Demonstration(body["sql"], Counter(body["shape"]), tuple(body["rules"]), body["ratio"], plan, applies)


Learnt = LearntRule | Lesson | Demonstration


@dataclass
class Knowledge:
    """Grows from query to query. ``selector`` chooses among the demonstrations; ``learnt`` is called with whatever is
    new, for whoever keeps it."""

    rules: list[LearntRule] = field(default_factory=list)
    lessons: list[Lesson] = field(default_factory=list)
    demonstrations: list[Demonstration] = field(default_factory=list)
    selector: Selector = field(default_factory=Structural)
    learnt: Callable[[Learnt], None] | None = None

    def similar(self, bottleneck: str, most: int) -> list[Lesson]:
        """Earlier queries whose bottleneck reads alike, the most alike first."""
        return nearest(bottleneck, self.lessons, lambda lesson: lesson.bottleneck, most)

    def near(self, rule: str, most: int) -> list[LearntRule]:
        """Known rules that read alike, one of each group, the most alike first."""
        found: dict[int, LearntRule] = {}
        standing = [one for one in self.rules if one.status not in PUT_AWAY]
        for known in nearest(rule, standing, lambda one: one.text, len(standing)):
            found.setdefault(known.group, known)
        return list(found.values())[:most]

    def best(self, group: int) -> LearntRule:
        """The wording of a group that has won most."""
        return max((rule for rule in self.rules if rule.group == group), key=lambda rule: (rule.wins, rule.gained))

    def add(self, text: str, group: int | None) -> LearntRule:
        """A rule, of a known group or of one of its own; a wording that is known is not added again."""
        known = next((rule for rule in self.rules if rule.text == text), None)
        if known is not None:
            return known
        number = group if group is not None else 1 + max((rule.group for rule in self.rules), default=0)
        made = LearntRule(text, number)
        self.rules.append(made)
        return made

    def used(self, rule: LearntRule, gained: float | None) -> None:
        """A rewrite made use of a rule; ``gained`` when it was the one that mattered."""
        rule.uses += 1
        if gained is not None:
            rule.wins += 1
            rule.gained += gained
        self._tell(rule)

    def remember(self, lesson: Lesson) -> None:
        self.lessons.append(lesson)
        self._tell(lesson)

    def demonstration(self, query: Profile) -> Demonstration | None:
        """The one to be shown beside a query; None while there is none."""
        scores = self.selector.scores(query, self.demonstrations)
        best = max(range(len(scores)), key=scores.__getitem__, default=None)
        return None if best is None else self.demonstrations[best]

    def demonstrate(self, rewrite: Demonstration) -> None:
        """A rewrite by rules of the catalogue that paid, to be shown beside queries like it."""
        self.demonstrations.append(rewrite)
        self._tell(rewrite)

    def _tell(self, what: Learnt) -> None:
        if self.learnt is not None:
            self.learnt(what)


def nearest(text: str, known: Sequence[T], words_of: Callable[[T], str], most: int) -> list[T]:
    """Those of ``known`` that share words with ``text``, the most alike first."""
    bags = [_words(words_of(one)) for one in known]
    spread = Counter(word for bag in bags for word in bag)
    weights = {word: math.log(1 + len(bags) / count) for word, count in spread.items()}
    mine = _words(text)
    scored = [(_cosine(mine, bag, weights), at) for at, bag in enumerate(bags)]
    return [known[at] for score, at in sorted(scored, key=lambda pair: (-pair[0], pair[1])) if score > 0][:most]


def _words(text: str) -> Counter[str]:
    return Counter(word for word in _WORD.findall(text.lower()) if word not in _COMMON)


def _cosine(one: Counter[str], two: Counter[str], weights: dict[str, float]) -> float:
    def length(bag: Counter[str]) -> float:
        return math.sqrt(sum((count * weights.get(word, 1.0)) ** 2 for word, count in bag.items()))

    shared = sum(one[word] * two[word] * weights.get(word, 1.0) ** 2 for word in one if word in two)
    lengths = length(one) * length(two)
    return shared / lengths if lengths else 0.0
