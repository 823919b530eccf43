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

from rewriter.candidates.model.features import WIDTH, Profile, counted, nodes_of, words_of
from rewriter.candidates.model.selector import Weights
from rewriter.errors import UsageError
from rewriter.learning.pool import Entry, gain, pool_of, profile_of
from rewriter.learning.samples import Sample


@dataclass(frozen=True)
class Recipe:
    """``hidden``, ``wide``, ``size``: of the encoder. ``steps`` in all ``stages`` together. ``sharpness``: how much
    a difference of similarity counts. ``faster``: times from which a rewrite is a positive. ``seen_in``: templates that
    must have a word for it to be in the vocabulary. ``drop``: share of inputs left out at each step."""

    hidden: int = 24
    wide: int = 24
    size: int = 32
    steps: int = 400
    stages: int = 4
    rate: float = 0.01
    decay: float = 0.01
    sharpness: float = 8.0
    faster: float = 1.1
    seen_in: int = 4
    drop: float = 0.2
    rules: bool = True
    seed: int = 0


Told = Callable[[int, int, float], None]  # stage, queries in it, mean loss


def train(samples: Sequence[Sample], recipe: Recipe | None = None, told: Told = lambda *_: None) -> Weights:
    """The weights learned from samples: the same for the same samples, recipe and machine. Raises UsageError when torch
    is not installed, or when nothing in the samples tells good from bad."""
    return trained(samples, recipe, told).learnt()


def trained(samples: Sequence[Sample], recipe: Recipe | None = None, told: Told = lambda *_: None) -> Training:
    """As ``train``, with all that was made for it."""
    torch = load_torch()
    recipe = recipe or Recipe()
    pool = pool_of(samples)
    anchors = [sample for sample in samples if _teaches(sample, pool, recipe)]
    if not anchors:
        raise UsageError("the samples teach nothing: no query has a rewrite that helps beside one that does not")
    threads = torch.get_num_threads()
    torch.manual_seed(recipe.seed)
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
    least = math.log2(recipe.faster)
    return any(value >= least for value in known) and any(value < least for value in known)


class _Forest:
    """The plans of many queries as tensors, all nodes of one height together."""

    def __init__(self, torch: Any, samples: Sequence[Profile], vocabulary: Sequence[str]) -> None:
        self.torch = torch
        trees = [nodes_of(profile.plan) for profile in samples]
        heights: list[list[int]] = []
        for tree in trees:
            own: list[int] = []
            for node in tree:
                own.append(1 + max((own[at] for at in node.inputs), default=-1))
            heights.append(own)
        order = sorted(
            ((height, tree, at) for tree, own in enumerate(heights) for at, height in enumerate(own)),
        )
        place = {(tree, at): position for position, (_, tree, at) in enumerate(order)}
        values = [trees[tree][at].values for _, tree, at in order]
        self.count = len(samples)
        self.values = torch.tensor(values, dtype=torch.float32).reshape(-1, WIDTH)
        self.words = torch.tensor([counted(words_of(profile), vocabulary) for profile in samples])
        self.words = self.words.reshape(self.count, len(vocabulary))
        self.tree = torch.tensor([tree for _, tree, _ in order], dtype=torch.long)
        self.roots = torch.tensor(
            [place[tree, len(own) - 1] for tree, own in enumerate(heights) if own], dtype=torch.long
        )
        self.planned = torch.tensor([tree for tree, own in enumerate(heights) if own], dtype=torch.long)
        # Of each height: its nodes' number, and (node within the height, input, weight) of every edge.
        self.levels: list[tuple[int, Any, Any, Any]] = []
        start = 0
        for height in range(1 + max((entry[0] for entry in order), default=-1)):
            members = [entry for entry in order[start:] if entry[0] == height]
            edges = [
                (number, place[tree, child], 1.0 / len(trees[tree][at].inputs))
                for number, (_, tree, at) in enumerate(members)
                for child in trees[tree][at].inputs
            ]
            nodes, inputs, weights = zip(*edges, strict=True) if edges else ((), (), ())
            self.levels.append(
                (
                    len(members),
                    torch.tensor(nodes, dtype=torch.long),
                    torch.tensor(inputs, dtype=torch.long),
                    torch.tensor(weights, dtype=torch.float32).reshape(-1, 1),
                )
            )
            start += len(members)


class Training:
    """The encoder in torch, and what it learns from: ``anchors`` are the queries chosen for, of ``pool``."""

    def __init__(self, torch: Any, anchors: Sequence[Sample], pool: Sequence[Entry], recipe: Recipe) -> None:
        self.torch, self.recipe = torch, recipe
        profiles = [profile_of(sample) for sample in anchors] + [entry.profile for entry in pool]
        templates = [sample.template for sample in anchors] + [entry.template for entry in pool]
        self.vocabulary = _vocabulary(profiles, templates, recipe)
        self.forest = _Forest(torch, profiles, self.vocabulary)
        self.anchors = len(anchors)
        self.rules = sorted({rule for entry in pool for rule in entry.rules})
        number = {rule: at for at, rule in enumerate(self.rules)}
        self.shown = torch.zeros(len(pool), len(self.rules))
        for at, entry in enumerate(pool):
            for rule in entry.rules:
                self.shown[at, number[rule]] = 1.0
        gains = [[_trained_gain(sample, entry) for entry in pool] for sample in anchors]
        self.known = torch.tensor([[value is not None for value in row] for row in gains])
        self.gains = torch.tensor([[value or 0.0 for value in row] for row in gains])
        hidden, wide, size = recipe.hidden, recipe.wide, recipe.size

        def made(rows: int, columns: int, scale: float = 1.0) -> Any:
            weight = torch.randn(rows, columns) * scale / math.sqrt(max(columns, 1))
            return weight.requires_grad_()

        self.weights = {
            "own": made(hidden, WIDTH, 2.0),
            "inputs": made(hidden, hidden),
            "bias": torch.zeros(hidden, requires_grad=True),
            "words": made(wide, len(self.vocabulary), 2.0),
            "words_bias": torch.zeros(wide, requires_grad=True),
            "out": made(size, 2 * hidden + wide),
            "rules": made(len(self.rules), size, 0.3) if recipe.rules else torch.zeros(len(self.rules), size),
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
        return Weights(tuple(self.vocabulary), **plain, rules=rules)

    def similarities(self, *, drop: bool = False) -> Any:
        """Of every anchor (row) and demonstration (column), -1 to 1."""
        torch = self.torch
        vectors = self._vectors(drop=drop)
        mine, theirs = vectors[: self.anchors], vectors[self.anchors :] + self.shown @ self.weights["rules"]
        unit = torch.nn.functional.normalize
        return unit(mine, dim=1) @ unit(theirs, dim=1).T

    def _vectors(self, *, drop: bool) -> Any:
        torch, weights, forest = self.torch, self.weights, self.forest
        share = self.recipe.drop if drop else 0.0
        own = torch.nn.functional.dropout(forest.values, share, training=drop) @ weights["own"].T + weights["bias"]
        hidden = torch.zeros(0, self.recipe.hidden)
        start = 0
        for count, nodes, inputs, edge in forest.levels:
            level = own[start : start + count]
            if len(nodes):
                below = torch.zeros(count, self.recipe.hidden).index_add(0, nodes, hidden[inputs] * edge)
                level = level + below @ weights["inputs"].T
            hidden = torch.cat([hidden, torch.tanh(level)])
            start += count
        empty = torch.zeros(forest.count, self.recipe.hidden)
        root = empty.index_copy(0, forest.planned, hidden[forest.roots])
        at = forest.tree.reshape(-1, 1).expand(-1, self.recipe.hidden)
        most = empty.scatter_reduce(0, at, hidden, "amax", include_self=False)
        words = torch.nn.functional.dropout(forest.words, share, training=drop)
        wide = torch.tanh(words @ weights["words"].T + weights["words_bias"])
        joined = torch.cat([root, most, wide], dim=1)
        return torch.nn.functional.dropout(joined, share, training=drop) @ weights["out"].T

    def _loss(self, chosen: Any) -> Any:
        """Of each query, how improbable a demonstration near its best one is among all that are not of its template."""
        torch = self.torch
        scores = self.similarities(drop=True)[chosen] * self.recipe.sharpness
        gains, known = self.gains[chosen], self.known[chosen]
        worth = (gains / gains.amax(dim=1, keepdim=True).clamp(min=1e-6)).clamp(0.0, 1.0) ** 2
        worth = worth * (gains >= math.log2(self.recipe.faster)) * known
        scores = scores.masked_fill(~known, -math.inf)
        good = torch.logsumexp(scores + torch.log(worth.clamp(min=1e-12)), dim=1)
        weight = gains.amax(dim=1).clamp(0.3, 2.0)
        return (weight * (torch.logsumexp(scores, dim=1) - good)).sum() / weight.sum()

    def _easiest(self, count: int) -> Any:
        """The ``count`` anchors that the model tells good from bad for with most confidence (LLM-R2, section 4.3)."""
        torch = self.torch
        with torch.no_grad():
            scores = self.similarities()
        good = self.known & (self.gains >= math.log2(self.recipe.faster))
        bad = self.known & ~good
        confidence = _mean(scores, good) - _mean(scores, bad)
        return torch.argsort(confidence, descending=True, stable=True)[:count]


def _mean(values: Any, mask: Any) -> Any:
    return (values * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def _trained_gain(sample: Sample, entry: Entry) -> float | None:
    """None too for a demonstration of the query's own template, which would be all too alike."""
    value = gain(sample, entry) if entry.template != sample.template and entry.dialect == sample.dialect else None
    return None if value is None else max(-2.0, min(4.0, value))


def _vocabulary(profiles: Sequence[Profile], templates: Sequence[str], recipe: Recipe) -> list[str]:
    """The words that occur in enough templates, and not in all queries alike."""
    seen: dict[str, set[str]] = {}
    for profile, template in zip(profiles, templates, strict=True):
        for word in words_of(profile):
            seen.setdefault(word, set()).add(template)
    return sorted(word for word, where in seen.items() if len(where) >= recipe.seen_in)
