"""Trains the encoder of ``rewriter.candidates.model.selector`` on samples, contrastively, from easy to hard.

After LLM-R2 (Z. Li et al., PVLDB 18(1), 2024): for every query, demonstrations whose rules made it faster are drawn
near and those whose rules did not are pushed away. Training goes in stages; each takes in the queries that the model so
far tells apart best (similarity to what helps less that to what does not), and the last stage takes all.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rewriter.candidates.model.features import OWN_COST, WIDTH, Profile, counted, nodes_of, words_of
from rewriter.candidates.model.selector import LEAST_SHARE, Layer, Weights, applicable, likeness
from rewriter.errors import UsageError
from rewriter.learning.pool import Entry, gain, pool_of, profile_of
from rewriter.learning.samples import Sample

LAYERS = 2  # of the convolution: a node sees its inputs and theirs


@dataclass(frozen=True)
class Recipe:
    """``hidden``, ``wide``, ``size``: of the encoder. ``steps`` in all ``stages`` together. ``sharpness``: how much
    a difference of scores counts. A demonstration counts as a positive by how near it comes to the best one for the
    query: a third where it is ``near`` (log2 of times) behind. ``faster``: times that the best must be before the worst
    for a query to teach anything. ``seen_in``: templates that must have a word for it to be in the vocabulary.
    ``drop``: share of inputs left out at each step. ``alike``, ``apply``: where these weights start. ``members``:
    encoders trained from different starts."""

    hidden: int = 24
    wide: int = 24
    size: int = 32
    steps: int = 120
    stages: int = 4
    rate: float = 0.005
    decay: float = 0.01
    sharpness: float = 8.0
    faster: float = 1.1
    near: float = 1.0
    seen_in: int = 4
    drop: float = 0.2
    members: int = 3
    alike: float = 1.0
    apply: float = 0.5
    seed: int = 0


Told = Callable[[int, int, float], None]  # stage, queries in it, mean loss


def train(samples: Sequence[Sample], recipe: Recipe | None = None, told: Told = lambda *_: None) -> list[Weights]:
    """The members of a selector, learned from samples: the same for the same samples, recipe and machine. Raises
    UsageError when torch is not installed, or when nothing in the samples tells good from bad."""
    recipe = recipe or Recipe()
    return [trained(samples, recipe, member, told).learnt() for member in range(recipe.members)]


def trained(samples: Sequence[Sample], recipe: Recipe, member: int = 0, told: Told = lambda *_: None) -> Training:
    """One member with all that was made for it. Raises as ``train``."""
    torch = load_torch()
    pool = pool_of(samples)
    anchors = [sample for sample in samples if _teaches(sample, pool, recipe)]
    if not anchors:
        raise UsageError("the samples teach nothing: no query has a rewrite that helps more than another")
    threads = torch.get_num_threads()
    torch.manual_seed(recipe.seed * recipe.members + member)
    try:
        torch.set_num_threads(1)  # small matrices; and sums in one order
        made = Training(torch, anchors, pool, recipe)
        made.run(told)
        return made
    finally:
        torch.set_num_threads(threads)


def load_torch() -> Any:
    """Torch. Raises UsageError where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that it has no numpy, which is not needed
            import torch
    except ImportError:
        hint = "pip install 'rewriter[learn]'; using a trained model needs no torch"
        raise UsageError("torch is not installed, which training needs", hint=hint) from None
    return torch


def _teaches(sample: Sample, pool: Sequence[Entry], recipe: Recipe) -> bool:
    gains = [_trained_gain(sample, entry) for entry in pool]
    known = [value for value in gains if value is not None]
    return bool(known) and max(known) - min(known) >= math.log2(recipe.faster)


class _Forest:
    """The plans and statements of many queries as tensors."""

    def __init__(self, torch: Any, profiles: Sequence[Profile], vocabulary: Sequence[str]) -> None:
        self.count = len(profiles)
        values: list[tuple[float, ...]] = []
        trees: list[int] = []
        edges: list[tuple[int, int, float]] = []  # node, input, weight
        for tree, profile in enumerate(profiles):
            start = len(values)
            for at, node in enumerate(nodes_of(profile.plan)):
                values.append(node.values)
                trees.append(tree)
                edges += [(start + at, start + one, 1.0 / len(node.inputs)) for one in node.inputs]
        nodes, inputs, weights = zip(*edges, strict=True) if edges else ((), (), ())
        self.values = torch.tensor(values, dtype=torch.float32).reshape(-1, WIDTH)
        self.tree = torch.tensor(trees, dtype=torch.long)
        self.nodes = torch.tensor(nodes, dtype=torch.long)
        self.inputs = torch.tensor(inputs, dtype=torch.long)
        self.weights = torch.tensor(weights, dtype=torch.float32).reshape(-1, 1)
        shares = self.values[:, OWN_COST] + LEAST_SHARE
        whole = torch.zeros(self.count).index_add(0, self.tree, shares)
        self.shares = (shares / whole[self.tree]).reshape(-1, 1)
        self.words = torch.tensor([counted(words_of(profile), vocabulary) for profile in profiles])
        self.words = self.words.reshape(self.count, len(vocabulary))


class Training:
    """The encoder in torch, and what it learns from: ``anchors`` are the queries chosen for, of ``pool``."""

    def __init__(self, torch: Any, anchors: Sequence[Sample], pool: Sequence[Entry], recipe: Recipe) -> None:
        self.torch, self.recipe = torch, recipe
        # A query that is both chosen for and offered is encoded once.
        queries = {id(one.shape): (one.template, profile_of(one)) for one in anchors}
        queries.update({id(one.profile.shape): (one.template, one.profile) for one in pool})
        place = {key: at for at, key in enumerate(queries)}
        self.mine = torch.tensor([place[id(one.shape)] for one in anchors])
        self.theirs = torch.tensor([place[id(one.profile.shape)] for one in pool])
        self.vocabulary = _vocabulary(list(queries.values()), recipe)
        self.forest = _Forest(torch, [profile for _, profile in queries.values()], self.vocabulary)
        self.anchors = len(anchors)
        self.rules = sorted({rule for entry in pool for rule in entry.rules})
        number = {rule: at for at, rule in enumerate(self.rules)}
        self.shown = torch.zeros(len(pool), len(self.rules))
        for at, entry in enumerate(pool):
            for rule in entry.rules:
                self.shown[at, number[rule]] = 1.0
        gains = [[_trained_gain(sample, entry) for entry in pool] for sample in anchors]
        self.alike = torch.tensor([[likeness(one.shape, entry.profile.shape) for entry in pool] for one in anchors])
        self.apply = torch.tensor([[applicable(entry.rules, one.applies) for entry in pool] for one in anchors])
        self.known = torch.tensor([[value is not None for value in row] for row in gains])
        self.gains = torch.tensor([[value or 0.0 for value in row] for row in gains])
        hidden, wide, size = recipe.hidden, recipe.wide, recipe.size

        def made(rows: int, columns: int, scale: float = 1.0) -> Any:
            weight = torch.randn(rows, columns) * scale / math.sqrt(max(columns, 1))
            return weight.requires_grad_()

        self.weights = {
            **{
                f"{name}{layer}": made(hidden, columns, 1.5)
                for layer, columns in enumerate((WIDTH, hidden))
                for name in ("own", "inputs")
            },
            **{f"bias{layer}": torch.zeros(hidden, requires_grad=True) for layer in range(LAYERS)},
            "words": made(wide, len(self.vocabulary), 2.0),
            "words_bias": torch.zeros(wide, requires_grad=True),
            "out": made(size, 2 * hidden + wide),
            "rules": made(len(self.rules), size, 0.3),
            "alike": torch.tensor(recipe.alike, requires_grad=True),
            "apply": torch.tensor(recipe.apply, requires_grad=True),
        }

    def run(self, told: Told) -> None:
        torch, recipe = self.torch, self.recipe
        learnt = [weight for weight in self.weights.values() if weight.requires_grad]
        optimizer = torch.optim.AdamW(learnt, lr=recipe.rate, weight_decay=recipe.decay)
        for stage in range(1, recipe.stages + 1):
            chosen = self._easiest(math.ceil(self.anchors * stage / recipe.stages))
            losses = []
            for _ in range(recipe.steps // recipe.stages):
                optimizer.zero_grad()
                loss = self._loss(chosen)
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
            told(stage, len(chosen), sum(losses) / max(1, len(losses)))

    def learnt(self) -> Weights:
        plain = {name: weight.detach().tolist() for name, weight in self.weights.items()}
        rules = dict(zip(self.rules, plain.pop("rules"), strict=True))
        layers = tuple(
            Layer(*(plain.pop(f"{name}{layer}") for name in ("own", "inputs", "bias"))) for layer in range(LAYERS)
        )
        return Weights(tuple(self.vocabulary), layers, **plain, rules=rules)

    def scores(self, *, drop: bool = False) -> Any:
        """The score of every anchor (row) and demonstration (column)."""
        torch = self.torch
        vectors = self._vectors(drop=drop)
        mine, theirs = vectors[self.mine], vectors[self.theirs] + self.shown @ self.weights["rules"]
        unit = torch.nn.functional.normalize
        cosine = unit(mine, dim=1) @ unit(theirs, dim=1).T
        return cosine + self.weights["alike"] * self.alike + self.weights["apply"] * self.apply

    def _vectors(self, *, drop: bool) -> Any:
        torch, weights, forest = self.torch, self.weights, self.forest
        share = self.recipe.drop if drop else 0.0
        hidden = forest.values
        for layer in range(LAYERS):
            below = torch.zeros_like(hidden).index_add(0, forest.nodes, hidden[forest.inputs] * forest.weights)
            made = hidden @ weights[f"own{layer}"].T + below @ weights[f"inputs{layer}"].T
            hidden = torch.tanh(made + weights[f"bias{layer}"])
        empty = torch.zeros(forest.count, self.recipe.hidden)
        at = forest.tree.reshape(-1, 1).expand(-1, self.recipe.hidden)
        most = empty.scatter_reduce(0, at, hidden, "amax", include_self=False)
        mean = empty.index_add(0, forest.tree, hidden * forest.shares)
        words = torch.nn.functional.dropout(forest.words, share, training=drop)
        wide = torch.tanh(words @ weights["words"].T + weights["words_bias"])
        joined = torch.cat([most, mean, wide], dim=1)
        return torch.nn.functional.dropout(joined, share, training=drop) @ weights["out"].T

    def _loss(self, chosen: Any) -> Any:
        """Of each query, how improbable a demonstration near its best one is among all that are not of its template."""
        torch = self.torch
        scores = self.scores(drop=True)[chosen] * self.recipe.sharpness
        gains, known = self.gains[chosen], self.known[chosen]
        best = gains.masked_fill(~known, -math.inf).amax(dim=1, keepdim=True)
        worth = torch.exp((gains - best) / self.recipe.near) * known
        scores = scores.masked_fill(~known, -math.inf)
        good = torch.logsumexp(scores + torch.log(worth.clamp(min=1e-12)), dim=1)
        mean = _mean(gains, known)
        weight = (best.squeeze(1) - mean).clamp(0.1, 2.0)
        return (weight * (torch.logsumexp(scores, dim=1) - good)).sum() / weight.sum()

    def _easiest(self, count: int) -> Any:
        """The ``count`` anchors that the model tells good from bad for with most confidence (LLM-R2, section 4.3)."""
        torch = self.torch
        with torch.no_grad():
            scores = self.scores()
        best = self.gains.masked_fill(~self.known, -math.inf).amax(dim=1, keepdim=True)
        good = self.known & (self.gains >= best - math.log2(self.recipe.faster))
        bad = self.known & ~good
        confidence = _mean(scores, good) - _mean(scores, bad)
        return torch.argsort(confidence, descending=True, stable=True)[:count]


def _mean(values: Any, mask: Any) -> Any:
    return (values * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def _trained_gain(sample: Sample, entry: Entry) -> float | None:
    """None too for a demonstration of the query's own template, which would be all too alike."""
    value = gain(sample, entry) if entry.template != sample.template and entry.dialect == sample.dialect else None
    return None if value is None else max(-2.0, min(4.0, value))


def _vocabulary(queries: Sequence[tuple[str, Profile]], recipe: Recipe) -> list[str]:
    """The words that occur in enough templates."""
    seen: dict[str, set[str]] = {}
    for template, profile in queries:
        for word in words_of(profile):
            seen.setdefault(word, set()).add(template)
    return sorted(word for word, where in seen.items() if len(where) >= recipe.seen_in)
