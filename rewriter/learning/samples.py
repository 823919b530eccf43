"""Samples: what rule sequences did to a query, as an engine measured it. A file of them has one JSON object a line."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rewriter.candidates.model.plan_tree import plan_body, plan_of
from rewriter.errors import UsageError
from rewriter.records import Plan

Rules = tuple[str, ...]
_TEMPLATE = re.compile(r"(.*?\d+)")


@dataclass(frozen=True)
class Sample:
    """One query on one target. ``template``: queries of one template are never told apart by train and test.
    ``applies``: the rules that apply to it somewhere. ``ratios``: by rule sequence, the original's time divided by
    that of what the sequence made of it (1.0: it changed nothing that the engine does)."""

    query: str
    template: str
    target: str
    dialect: str
    seconds: float
    shape: Counter[str]
    plan: Plan
    applies: tuple[str, ...]
    ratios: Mapping[Rules, float]

    @property
    def key(self) -> tuple[str, str]:
        return self.query, self.target

    @property
    def body(self) -> dict[str, Any]:
        """As plain data; ``of`` reads it back."""
        return {
            "kind": "sample",
            "query": self.query,
            "template": self.template,
            "target": self.target,
            "dialect": self.dialect,
            "seconds": self.seconds,
            "shape": dict(self.shape),
            "plan": plan_body(self.plan),
            "applies": list(self.applies),
            "ratios": [[list(rules), ratio] for rules, ratio in self.ratios.items()],
        }

    @staticmethod
    def of(body: Mapping[str, Any]) -> Sample:
        return Sample(
            body["query"],
            body["template"],
            body["target"],
            body["dialect"],
            float(body["seconds"]),
            Counter(body["shape"]),
            plan_of(body["plan"]),
            tuple(body["applies"]),
            {tuple(rules): float(ratio) for rules, ratio in body["ratios"] if math.isfinite(ratio) and ratio > 0},
        )


@dataclass(frozen=True)
class Found:
    """The rule sequences with which a search made a query faster, the fastest first."""

    query: str
    template: str
    target: str
    sequences: tuple[Rules, ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.query, self.target

    @property
    def body(self) -> dict[str, Any]:
        return {
            "kind": "found",
            "query": self.query,
            "template": self.template,
            "target": self.target,
            "sequences": [list(rules) for rules in self.sequences],
        }

    @staticmethod
    def of(body: Mapping[str, Any]) -> Found:
        return Found(body["query"], body["template"], body["target"], tuple(map(tuple, body["sequences"])))


@dataclass
class Samples:
    """All of a file. What was measured of one query at several times is one sample."""

    samples: dict[tuple[str, str], Sample]
    found: dict[tuple[str, str], Found]

    def add(self, sample: Sample) -> None:
        known = self.samples.get(sample.key)
        self.samples[sample.key] = replace(sample, ratios={**(known.ratios if known else {}), **sample.ratios})

    @property
    def sequences(self) -> list[Rules]:
        """Every rule sequence that made some query faster, once."""
        return list(dict.fromkeys(rules for found in self.found.values() for rules in found.sequences))


def read_samples(paths: Iterable[Path]) -> Samples:
    """All samples of the files. A last line that an interruption cut is left out. Raises UsageError."""
    read = Samples({}, {})
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise UsageError(
                f"cannot read samples from {path}", hint="rewriter llm selector collect makes them"
            ) from None
        for number, line in enumerate(lines, 1):
            try:
                body = json.loads(line)
                if body["kind"] == "found":
                    found = Found.of(body)
                    read.found[found.key] = found
                else:
                    read.add(Sample.of(body))
            except (ValueError, KeyError, TypeError, AttributeError):
                if number < len(lines):
                    raise UsageError(f"{path}, line {number} is no sample") from None
    return read


def template_of(name: str) -> str:
    """The template of a query's name: all up to its first number, so that ``14a``, ``14b`` and ``14_2`` are one."""
    found = _TEMPLATE.match(name)
    return found.group(1) if found else name
