"""Chooses the demonstration to show beside a query: by structural likeness, or by a trained encoder of plans.

The encoder is evaluated here in plain Python; ``rewriter.learning`` trains it. Its form: a recursive network over the
plan (each node from its own values and the mean of its inputs, so the order of inputs does not count), the root and the
maximum over all nodes beside the counted constructs of the statement, projected to one vector of length 1. A
demonstration's vector holds its rules too: two queries may be alike where one's rules do nothing for the other.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rewriter.candidates.model.features import WIDTH, Node, Profile, counted, nodes_of, words_of
from rewriter.errors import UsageError

VERSION = 1
LARGEST = 2_000_000  # bytes of a model file
Vector = Sequence[float]
Matrix = Sequence[Vector]


class Shown(Protocol):
    """What can be shown: the query it rewrote, and the rules."""

    @property
    def profile(self) -> Profile: ...

    @property
    def rules(self) -> tuple[str, ...]: ...


class Selector(Protocol):
    """Scores what may be shown beside a query; higher is better, and only the order counts."""

    def scores(self, query: Profile, pool: Sequence[Shown]) -> list[float]: ...


class Structural:
    """By the likeness of the statements alone."""

    def scores(self, query: Profile, pool: Sequence[Shown]) -> list[float]:
        return [likeness(query.shape, one.profile.shape) for one in pool]


def likeness(one: Counter[str], two: Counter[str]) -> float:
    """0 to 1: the share of what either has that both have (Jaccard, over counts)."""
    either = (one | two).total()
    return (one & two).total() / either if either else 1.0


@dataclass(frozen=True)
class Weights:
    """Of the encoder. ``own`` (hidden x WIDTH), ``inputs`` (hidden x hidden) and ``bias`` make a node; ``words`` (wide
    x vocabulary) and ``words_bias`` the statement's part; ``out`` (size x (2 hidden + wide)) the vector of the query;
    ``rules`` (rule to size values) is added for a demonstration."""

    vocabulary: tuple[str, ...]
    own: Matrix
    inputs: Matrix
    bias: Vector
    words: Matrix
    words_bias: Vector
    out: Matrix
    rules: Mapping[str, Vector]

    @property
    def body(self) -> dict[str, Any]:
        """As plain data; ``of`` reads it back."""
        return {
            "version": VERSION,
            "width": WIDTH,
            "vocabulary": list(self.vocabulary),
            "own": _rounded(self.own),
            "inputs": _rounded(self.inputs),
            "bias": _rounded([self.bias])[0],
            "words": _rounded(self.words),
            "words_bias": _rounded([self.words_bias])[0],
            "out": _rounded(self.out),
            "rules": {name: _rounded([values])[0] for name, values in self.rules.items()},
        }

    @staticmethod
    def of(body: Mapping[str, Any]) -> Weights:
        """Raises KeyError, TypeError, ValueError for what is no such data."""
        if body["version"] != VERSION or body["width"] != WIDTH:
            raise ValueError("another version's model")
        hidden, wide, size = len(body["bias"]), len(body["words_bias"]), len(body["out"])
        vocabulary = tuple(map(str, body["vocabulary"]))
        return Weights(
            vocabulary,
            _matrix(body["own"], hidden, WIDTH),
            _matrix(body["inputs"], hidden, hidden),
            _vector(body["bias"], hidden),
            _matrix(body["words"], wide, len(vocabulary)),
            _vector(body["words_bias"], wide),
            _matrix(body["out"], size, 2 * hidden + wide),
            {str(name): _vector(values, size) for name, values in body["rules"].items()},
        )


class Learned:
    """By a trained encoder: the cosine of the query's vector and the demonstration's. ``templates``: what it was
    trained on, so that nobody evaluates it on that."""

    def __init__(self, weights: Weights, templates: Iterable[str] = ()) -> None:
        self.weights = weights
        self.templates = frozenset(templates)

    def scores(self, query: Profile, pool: Sequence[Shown]) -> list[float]:
        mine = self.vector(query)
        return [_dot(mine, self.vector(one.profile, one.rules)) for one in pool]

    def vector(self, profile: Profile, rules: Iterable[str] = ()) -> list[float]:
        """The vector of a query or, with the rules that rewrote it, of a demonstration; its length is 1."""
        weights = self.weights
        hidden = self._hidden(nodes_of(profile.plan))
        size = len(weights.bias)
        root = hidden[-1] if hidden else [0.0] * size
        most = [max(values) for values in zip(*hidden, strict=True)] if hidden else [0.0] * size
        counts = counted(words_of(profile), weights.vocabulary)
        wide = [math.tanh(_dot(row, counts) + add) for row, add in zip(weights.words, weights.words_bias, strict=True)]
        joined = [*root, *most, *wide]
        made = [_dot(row, joined) for row in weights.out]
        for rule in dict.fromkeys(rules):
            made = [one + more for one, more in zip(made, weights.rules.get(rule, [0.0] * len(made)), strict=True)]
        length = math.sqrt(_dot(made, made)) or 1.0
        return [value / length for value in made]

    def _hidden(self, nodes: Sequence[Node]) -> list[list[float]]:
        weights = self.weights
        hidden: list[list[float]] = []
        for node in nodes:
            made = [_dot(row, node.values) + add for row, add in zip(weights.own, weights.bias, strict=True)]
            if node.inputs:
                below = [
                    sum(values) / len(node.inputs) for values in zip(*(hidden[at] for at in node.inputs), strict=True)
                ]
                made = [value + _dot(row, below) for value, row in zip(made, weights.inputs, strict=True)]
            hidden.append([math.tanh(value) for value in made])
        return hidden


def read_selector(path: Path) -> Learned:
    """The model of a file. Raises UsageError for what is none."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("too large")
        body = json.loads(path.read_text(encoding="utf-8"))
        return Learned(Weights.of(body), map(str, body.get("templates", ())))
    except OSError as error:
        raise UsageError(f"cannot read the selector {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UsageError(
            f"{path} is no selector of this version", hint="rewriter llm selector train makes one"
        ) from None


def _dot(one: Vector, two: Vector) -> float:
    return math.sumprod(one, two) if hasattr(math, "sumprod") else sum(map(float.__mul__, one, two))


def _rounded(matrix: Matrix) -> list[list[float]]:
    return [[round(float(value), 5) for value in row] for row in matrix]


def _vector(given: Any, size: int) -> list[float]:
    values = [float(value) for value in given]
    if len(values) != size or not all(map(math.isfinite, values)):
        raise ValueError("wrong size")
    return values


def _matrix(given: Any, rows: int, columns: int) -> list[list[float]]:
    matrix = [_vector(row, columns) for row in given]
    if len(matrix) != rows:
        raise ValueError("wrong size")
    return matrix
