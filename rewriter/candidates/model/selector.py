"""Chooses the demonstration to show beside a query: by structural likeness, or by a trained encoder of plans.

The encoder is evaluated here in plain Python; ``rewriter.learning`` trains it. Its form: a tree convolution over the
plan (as in Bao, R. Marcus et al., SIGMOD 2021; each node from its own values and the mean of its inputs, so that their
order does not count), the maximum and the mean by cost over all nodes beside the counted constructs of the statement,
projected to one vector of length 1. A demonstration's vector holds its rules too, because what is asked is whether
these rules would help the query, and queries may be alike of which one gains by a rule and the other does not.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from operator import mul
from pathlib import Path
from typing import Any, Protocol

from rewriter.candidates.model.features import OWN_COST, WIDTH, Node, Profile, counted, nodes_of, words_of
from rewriter.errors import UsageError

VERSION = 1
PACKAGED = "selector.json"
LARGEST = 2_000_000  # bytes of a model file
LEAST_SHARE = 1e-3  # of a node, so that a plan without estimates has a mean
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


def applicable(rules: Sequence[str], applies: Sequence[str]) -> float:
    """The share of the rules that apply."""
    return sum(rule in applies for rule in rules) / len(rules) if rules else 0.0


@dataclass(frozen=True)
class Layer:
    """Of the convolution: a node is made from its ``own`` values and the mean of its ``inputs``' (hidden x values
    each)."""

    own: Matrix
    inputs: Matrix
    bias: Vector


@dataclass(frozen=True)
class Weights:
    """Of the encoder. ``layers`` read the plan, ``words`` (wide x vocabulary) and ``words_bias`` the statement; ``out``
    (size x (2 hidden + wide)) makes the vector of the query, and ``rules`` (size values each) are added for a
    demonstration. ``alike`` and ``apply``: how much the likeness of statements and the share of rules that apply count
    beside the cosine."""

    vocabulary: tuple[str, ...]
    layers: tuple[Layer, ...]
    words: Matrix
    words_bias: Vector
    out: Matrix
    rules: Mapping[str, Vector]
    alike: float = 0.0
    apply: float = 0.0

    @property
    def body(self) -> dict[str, Any]:
        """As plain data; ``of`` reads it back."""
        return {
            "vocabulary": list(self.vocabulary),
            "layers": [
                {"own": _rounded(layer.own), "inputs": _rounded(layer.inputs), "bias": _rounded([layer.bias])[0]}
                for layer in self.layers
            ],
            "words": _rounded(self.words),
            "words_bias": _rounded([self.words_bias])[0],
            "out": _rounded(self.out),
            "rules": {name: _rounded([values])[0] for name, values in self.rules.items()},
            "alike": round(self.alike, 5),
            "apply": round(self.apply, 5),
        }

    @staticmethod
    def of(body: Mapping[str, Any]) -> Weights:
        """Raises KeyError, TypeError, ValueError for what is no such data."""
        wide, size = len(body["words_bias"]), len(body["out"])
        vocabulary = tuple(map(str, body["vocabulary"]))
        layers: list[Layer] = []
        hidden = WIDTH
        for layer in body["layers"]:
            columns, hidden = hidden, len(layer["bias"])
            own, inputs = (_matrix(layer[name], hidden, columns) for name in ("own", "inputs"))
            layers.append(Layer(own, inputs, _vector(layer["bias"], hidden)))
        if not layers:
            raise ValueError("no layers")
        return Weights(
            vocabulary,
            tuple(layers),
            _matrix(body["words"], wide, len(vocabulary)),
            _vector(body["words_bias"], wide),
            _matrix(body["out"], size, 2 * hidden + wide),
            {str(name): _vector(values, size) for name, values in body["rules"].items()},
            *_vector([body["alike"], body["apply"]], 2),
        )


class Learned:
    """By trained encoders: the mean of what each of ``members`` (trained alike, from different starts) makes of the
    query's and the demonstration's vectors. ``templates``: what they were trained on, so that nobody evaluates them on
    that."""

    def __init__(self, members: Sequence[Weights], templates: Iterable[str] = ()) -> None:
        self.members = [Encoder(weights) for weights in members]
        self.templates = frozenset(templates)

    def scores(self, query: Profile, pool: Sequence[Shown]) -> list[float]:
        scores = [member.scores(query, pool) for member in self.members]
        return [sum(each) / len(each) for each in zip(*scores, strict=True)]


class Encoder:
    """One member: the cosine of the vectors, and beside it how alike the statements are and how many of the
    demonstration's rules apply."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        # By column: most values of a node and most counts are 0, and their columns are passed over.
        self._layers = [(_columns(layer.own), _columns(layer.inputs), layer.bias) for layer in weights.layers]
        self._words, self._out = _columns(weights.words), _columns(weights.out)
        self._shown: dict[int, tuple[Shown, list[float]]] = {}

    def scores(self, query: Profile, pool: Sequence[Shown]) -> list[float]:
        weights, mine = self.weights, self.vector(query)
        return [
            _dot(mine, self._of(one))
            + weights.alike * likeness(query.shape, one.profile.shape)
            + weights.apply * applicable(one.rules, query.applies)
            for one in pool
        ]

    def _of(self, one: Shown) -> list[float]:
        """The vector of a demonstration, computed once; the demonstration is kept so that its id stays its own."""
        known = self._shown.get(id(one))
        if known is None:
            known = self._shown[id(one)] = one, self.vector(one.profile, one.rules)
        return known[1]

    def vector(self, profile: Profile, rules: Iterable[str] = ()) -> list[float]:
        """The vector of a query or, with the rules that rewrote it, of a demonstration; its length is 1."""
        weights = self.weights
        nodes = nodes_of(profile.plan)
        hidden = self._hidden(nodes)
        size = len(weights.layers[-1].bias)
        most = [max(values) for values in zip(*hidden, strict=True)] if hidden else [0.0] * size
        # What takes the time counts most.
        shares = [node.values[OWN_COST] + LEAST_SHARE for node in nodes]
        whole = sum(shares)
        mean = [_dot(shares, values) / whole for values in zip(*hidden, strict=True)] if hidden else [0.0] * size
        counts = counted(words_of(profile), weights.vocabulary)
        wide = map(math.tanh, _added(weights.words_bias, self._words, counts))
        made = _added([0.0] * len(weights.out), self._out, [*most, *mean, *wide])
        own = [weights.rules[rule] for rule in dict.fromkeys(rules) if rule in weights.rules]
        made = _added(made, own, [1.0] * len(own))
        length = math.sqrt(_dot(made, made)) or 1.0
        return [value / length for value in made]

    def _hidden(self, nodes: Sequence[Node]) -> list[Vector]:
        hidden: list[Vector] = [node.values for node in nodes]
        for own, inputs, bias in self._layers:
            below = [_mean([hidden[at] for at in node.inputs]) for node in nodes]
            hidden = [
                [math.tanh(value) for value in _added(_added(bias, own, mine), inputs, theirs)]
                for mine, theirs in zip(hidden, below, strict=True)
            ]
        return hidden


def _mean(vectors: Sequence[Vector]) -> list[float]:
    """Empty of none."""
    return [sum(values) / len(vectors) for values in zip(*vectors, strict=True)]


def _columns(matrix: Matrix) -> list[Vector]:
    return list(zip(*matrix, strict=True))


def _added(start: Vector, columns: Sequence[Vector], values: Sequence[float]) -> Vector:
    """``start`` and the matrix of ``columns`` times ``values``; no values count as zeros."""
    made = start
    for column, value in zip(columns, values, strict=False):
        if value:
            made = [one + value * more for one, more in zip(made, column, strict=True)]
    return made


def body_of(members: Sequence[Weights], templates: Iterable[str]) -> dict[str, Any]:
    """A model as plain data; ``learned_of`` reads it back."""
    return {
        "version": VERSION,
        "width": WIDTH,
        "templates": sorted(set(templates)),
        "members": [weights.body for weights in members],
    }


def learned_of(body: Mapping[str, Any]) -> Learned:
    """Raises KeyError, TypeError, ValueError for what is no model of this version."""
    if body["version"] != VERSION or body["width"] != WIDTH or not body["members"]:
        raise ValueError("another version's model")
    return Learned([Weights.of(member) for member in body["members"]], map(str, body["templates"]))


def read_selector(path: Path) -> Learned:
    """The model of a file. Raises UsageError for what is none."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("too large")
        return learned_of(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"cannot read the selector {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UsageError(
            f"{path} is no selector of this version", hint="rewriter llm selector train makes one"
        ) from None


def packaged() -> Learned:
    """The model of this version, read anew (it keeps what it has seen); ``rewriter llm selector`` has trained it on
    TPC-H, TPC-DS and JOB."""
    return learned_of(json.loads((files(__package__) / PACKAGED).read_text(encoding="utf-8")))


def _dot(one: Vector, two: Vector) -> float:
    return float(sum(map(mul, one, two)))


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
