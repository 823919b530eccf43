"""LITHE (S. Dharwada et al., EDBT 2026): an ensemble of prompts, prompts with one rule each, and a search over tokens.

Ensemble: four prompts of growing instruction, the last as three turns. Rules: six prompts that each show one rule with
a worked example, two of them with the engine's statistics and estimates. Search: where the model was unsure of a token,
the answer is begun anew with the other likely one and completed, steered by what the completed rewrites cost (UCB over
prefixes).
Last, the cheapest rewrite is held against other constants of the query, at the ends of its predicates' selectivity.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import yaml

from rewriter.candidates.base import Depth, Proposal
from rewriter.candidates.model.conversation import Conversation, Strategy
from rewriter.candidates.model.estimates import estimates
from rewriter.errors import BadAnswer
from rewriter.llm import Ask, Reply, read_answer
from rewriter.llm.prompts import Filled
from rewriter.records import Feedback
from rules.facts import Facts

REPAIRS = 5  # of one answer that the engine refuses, as published
UNSURE = 0.7  # the likeliest token's probability, at or below which the search branches, as published
BRANCHES = 2
ROLLOUTS = 8
HELD = 3  # rewrites that are held against other constants, cheapest first, until one is good there too
CURIOSITY = 0.7  # how much an unvisited branch counts against a good one
_TURNS = (
    "Which parts of this query are inefficient on this engine, and why? If none is, say so. Do not rewrite it yet.",
    "For each inefficiency: which change removes it, and to which part of the query does it apply? No rewrite yet.",
)


class Lithe(Strategy):
    name = "lithe"

    def conversed(self, talk: Conversation, facts: Facts) -> Generator[Proposal, Feedback, None]:
        best: tuple[float, Filled] | None = None
        for filled in (*self._ensemble(talk), *self._rules(talk)):
            found = yield from talk.rewrite(filled, depth=Depth.VERDICT, patience=REPAIRS)
            if found is not None:
                if _value(talk.original, found.feedback) >= 1.0:
                    yield from talk.run(found)
                value = _value(talk.original, found.feedback)
                if best is None or value > best[0]:
                    best = value, filled
        seed = best[1] if best is not None and best[0] > 1.0 else talk.filled("lithe_p1")
        yield from TokenSearch(talk, seed).run()
        yield from self._held(talk)

    def _held(self, talk: Conversation) -> Generator[Proposal, Feedback, None]:
        """The published last check: the cheapest rewrites are out when they are wrong or dear with other constants."""
        passed = [known for known in talk.known.values() if known[1].rejected is None]
        priced = [(_value(talk.original, feedback), draft) for draft, feedback in passed]
        for value, draft in sorted(priced, key=lambda one: -one[0])[:HELD]:
            if value <= 1.0 or (yield Proposal(draft, Depth.ROBUST)).rejected is None:
                return

    def _ensemble(self, talk: Conversation) -> Generator[Filled, None, None]:
        for name in ("lithe_p1", "lithe_p2", "lithe_p3"):
            yield talk.filled(name)
        last = talk.filled("lithe_p3")
        messages: list[dict[str, str]] = [*talk.filled("lithe_p2").messages]
        for turn in _TURNS:
            messages.append({"role": "user", "content": turn})
            said = self.terms.model.ask(Ask("lithe_p4/1", tuple(messages)))
            messages.append({"role": "assistant", "content": said.text})
        yield Filled("lithe_p4/1", (*messages, {"role": "user", "content": _ending(last)}))

    def _rules(self, talk: Conversation) -> Generator[Filled, None, None]:
        for rule in _known_rules():
            statistics = estimates(talk.query, talk.original.plan, talk.redaction) if rule.get("statistics") else ""
            texts = {key: str(rule[key]).strip() for key in ("rule", "before", "after")}
            yield talk.filled("lithe_rule", statistics=statistics, **texts)


@dataclass
class _Node:
    """A beginning of the answer. ``probability`` of its last token where it branches; ``value``: the best rewrite
    below. Once it was completed and the model was sure of all the rest, there is nothing more to find below it."""

    prefix: str
    probability: float
    value: float = 0.0
    visits: int = 0
    children: list[_Node] = field(default_factory=list)

    @property
    def exhausted(self) -> bool:
        return self.visits > 0 and all(child.exhausted for child in self.children)


class TokenSearch:
    """Best-first over beginnings of the answer. Without token probabilities, or where the endpoint cannot go on with an
    answer begun, the model is asked again with temperature instead, under the same number of rollouts."""

    def __init__(self, talk: Conversation, filled: Filled) -> None:
        self.talk = talk
        self.filled = filled

    def run(self) -> Generator[Proposal, Feedback, None]:
        able = self.talk.terms.model.capabilities
        if not (able.logprobs and able.prefix):
            for turn in range(1, ROLLOUTS // 2 + 1):
                yield from self.talk.rewrite(self.filled, temperature=0.7, turn=turn, depth=Depth.VERDICT, patience=0)
            return
        root = _Node("", 1.0)
        for _ in range(ROLLOUTS):
            if root.exhausted:
                return
            path = self._selected(root)
            value = yield from self._completed(path[-1])
            for node in path:
                node.visits += 1
                node.value = max(node.value, value)

    def _selected(self, root: _Node) -> list[_Node]:
        path = [root]
        while path[-1].children:
            parent = path[-1]
            open_ones = [node for node in parent.children if not node.exhausted]
            path.append(max(open_ones, key=lambda node: self._promise(node, parent)))
        return path

    def _promise(self, node: _Node, parent: _Node) -> float:
        unseen = math.sqrt(math.log(parent.visits + 1) / (node.visits + 1))
        return node.value + CURIOSITY * node.probability * unseen

    def _completed(self, node: _Node) -> Generator[Proposal, Feedback, float]:
        """The value of the rewrite that the model makes of a beginning; where it was unsure, the node gets children."""
        reply = self.talk.ask(self.filled, prefix=node.prefix, logprobs=BRANCHES)
        node.children = _branches(node.prefix, reply)
        try:
            answer = read_answer(node.prefix + reply.text)
        except BadAnswer:
            return 0.0
        known = yield from self.talk.propose(answer, Depth.VERDICT)
        if known is None or known[1].rejected is not None:
            return 0.0
        return _value(self.talk.original, known[1])


def _branches(prefix: str, reply: Reply) -> list[_Node]:
    """The two ways to go on at the first token of which the model was unsure."""
    text = prefix
    for token in reply.tokens:
        if token.likeliest and token.likeliest[0][1] <= UNSURE and len(token.likeliest) >= BRANCHES:
            return [_Node(text + word, probability) for word, probability in token.likeliest[:BRANCHES]]
        text += token.text
    return []


def _value(original: Feedback, rewritten: Feedback) -> float:
    """How many times cheaper the plan is; 1 where plans cannot be compared."""
    if original.cost is None or not rewritten.cost:
        return 1.0
    return original.cost / rewritten.cost


def _ending(filled: Filled) -> str:
    """The last part of a prompt: how to answer."""
    text = filled.messages[-1]["content"]
    return (
        "Now write the complete query with all of these changes.\n\n"
        + text[text.index("Answer with one JSON object") :]
    )


@cache
def _known_rules() -> list[dict[str, Any]]:
    text = (resources.files("rewriter.llm") / "lithe_rules.yaml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = yaml.safe_load(text)
    return found
