"""One query put to a model: what is said of it, and the loop that repairs an answer until it holds or is given up.

The model sees the statement and the plan without their literals, the schema of the tables that the statement reads, and
of a rewrite that failed the parser's or planner's error or our own counterexample: never a value of the target's data.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rewriter.candidates.base import Budget, Depth, Draft, Proposal
from rewriter.errors import BadAnswer, ModelError
from rewriter.llm import Answer, Ask, Model, Redaction, Reply, read_answer
from rewriter.llm.prompts import Filled, prompt
from rewriter.llm.redaction import tables_of
from rewriter.records import Counterexample, Feedback, Query, Result, Step, TableRows
from rules.facts import Facts

log = logging.getLogger(__name__)

CORRECTIONS = 4  # of one rewrite, by errors and counterexamples together
ANSWER = {
    "type": "object",
    "properties": {
        "analysis": {"type": "string"},
        "rules": {"type": "array", "items": {"type": "string"}},
        "sql": {"type": "string"},
    },
    "required": ["analysis", "rules", "sql"],
    "additionalProperties": False,
}

Proposing = Generator[Proposal, Feedback, "Outcome | None"]


@dataclass
class Terms:
    """How the model is asked. ``masked``: names of tables and columns are replaced too. ``seconds``: what one strategy
    may take for one query; a model thinks longer than rules search. ``told`` is called once for each reason why the
    model could not be used."""

    model: Model
    masked: bool = False
    seconds: float = 600.0
    told: Callable[[str], object] | None = None
    _said: set[str] = field(default_factory=set)
    _query: str = ""

    def begin(self, query: Query) -> None:
        """Another query has a budget of its own; strategies for the same one share it."""
        if query.rewrite_key != self._query:
            self._query = query.rewrite_key
            self.model.purse.renew("query")

    def fell_silent(self, error: ModelError) -> None:
        if error.message not in self._said:
            self._said.add(error.message)
            log.info("the model is not used further for this query: %s", error.message)
            if self.told is not None:
                self.told(error.message)


@dataclass(frozen=True)
class Outcome:
    """A rewrite that passed, with the feedback on it."""

    draft: Draft
    rules: tuple[str, ...]
    feedback: Feedback


class Conversation:
    """What is said of one query. ``variables`` are those of the prompt files."""

    def __init__(self, terms: Terms, source: str, query: Query, original: Feedback) -> None:
        self.terms = terms
        self.source = source
        self.query = query
        self.original = original
        self.redaction = Redaction(query.dialect, masked=terms.masked)
        self.count = 0
        self.known: dict[str, tuple[Draft, Feedback]] = {}
        terms.begin(query)
        terms.model.deadline = time.monotonic() + terms.seconds
        # The statement first, so that literals of the plan find their placeholders.
        sql = self.redaction.sql(query.tree)
        slow = self.slow
        self.variables: Mapping[str, Any] = {
            "engine": _engine(query),
            "sql": sql,
            "schema": self.redaction.schema(tables_of(query.tree, query.catalog)),
            "plan": self.redaction.plan(original.plan) if original.plan is not None else "",
            "seconds": f"{slow:.2g}" if slow is not None else "",
        }

    @property
    def slow(self) -> float | None:
        """The seconds of the original, at least; None where it was not run."""
        return self.original.seconds if self.original.seconds is not None else self.original.stopped_after

    def filled(self, name: str, **more: Any) -> Filled:
        return prompt(name, **self.variables, **more)

    def ask(self, filled: Filled, **how: Any) -> Reply:
        return self.terms.model.ask(Ask(filled.purpose, filled.messages, **how))

    def rewrite(
        self,
        filled: Filled,
        *,
        temperature: float = 0.0,
        turn: int = 0,
        depth: Depth = Depth.TIME,
        patience: int = CORRECTIONS,
    ) -> Proposing:
        """Ask for a rewrite, propose it, and let the model correct what is wrong with it. None when nothing came of it.
        Raises ModelError."""
        messages = list(filled.messages)
        for _ in range(1 + patience):
            ask = Ask(filled.purpose, tuple(messages), schema=ANSWER, temperature=temperature, turn=turn)
            reply = self.terms.model.ask(ask)
            try:
                answer = read_answer(reply.text)
            except BadAnswer as error:
                wrong = "it was cut off" if not reply.complete else error.message
                correction = prompt("wrong_syntax", error=wrong)
            else:
                outcome, said = yield from self._proposed(answer, depth)
                if outcome is not None or said is None:
                    return outcome
                correction = said
            messages += [{"role": "assistant", "content": reply.text}, *correction.messages]
        return None

    def propose(self, answer: Answer, depth: Depth) -> Generator[Proposal, Feedback, tuple[Draft, Feedback] | None]:
        """What the pipeline says of an answer, asked once for each text; None for one that proposes nothing."""
        sql = self.redaction.restored(answer.sql)
        mark = " ".join(sql.split()).rstrip("; ")
        if not mark or mark in self.known:
            return self.known.get(mark)
        self.count += 1
        summary = "; ".join(answer.rules) or "A rewrite by the model."
        step = Step(f"model/{self.source}", summary)
        draft = Draft(f"{self.source}{self.count}", sql, self.source, (step,))
        feedback = yield Proposal(draft, depth)
        self.known[mark] = draft, feedback
        return draft, feedback

    def run(self, found: Outcome) -> Generator[Proposal, Feedback, Outcome | None]:
        """The outcome with the time of one run on the target; None when it fails there. What a run on real data says is
        never told to the model."""
        feedback = yield Proposal(found.draft, Depth.TIME)
        return None if feedback.rejected is not None else replace(found, feedback=feedback)

    def _proposed(
        self, answer: Answer, depth: Depth
    ) -> Generator[Proposal, Feedback, tuple[Outcome | None, Filled | None]]:
        """The outcome of an answer, or what to say to the model about it; neither when there is nothing to mend."""
        known = yield from self.propose(answer, Depth.PLAN if depth is Depth.PLAN else Depth.VERDICT)
        if known is None:
            return None, None
        draft, feedback = known
        if feedback.rejected is None:
            outcome = Outcome(draft, answer.rules, feedback)
            return (yield from self.run(outcome)) if depth is Depth.TIME else outcome, None
        found = feedback.verdict.counterexample if feedback.verdict is not None else None
        if found is not None:
            return None, self._shown(found)
        return None, prompt("wrong_syntax", error=self.redaction.text(feedback.rejected))

    def _shown(self, found: Counterexample) -> Filled:
        self.redaction.bind(found.parameters)
        tables = [self._rows(table) for table in found.database.tables]
        return prompt(
            "wrong_rows",
            explanation=self.redaction.text(found.explanation),
            tables="\n".join(tables),
            original=self._result(found.original),
            candidate=self._result(found.candidate) if found.candidate.columns else "an error",
        )

    def _rows(self, table: TableRows) -> str:
        names = ", ".join(table.columns)
        return self.redaction.text(f"{table.table} ({names}):") + "\n" + (self.redaction.rows(table.rows) or "no rows")

    def _result(self, result: Result) -> str:
        return self.redaction.rows(result.rows) or "no rows"


def _engine(query: Query) -> str:
    name = {"postgres": "PostgreSQL", "duckdb": "DuckDB"}.get(query.dialect, query.dialect)
    version = query.catalog.engine_version.split()[0] if query.catalog.engine_version else ""
    return f"{name} {version}".strip()


class Strategy:
    """A candidate source that asks a model. It proposes nothing more once the model cannot be used."""

    name: str

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    def candidates(
        self, query: Query, facts: Facts, budget: Budget, original: Feedback
    ) -> Generator[Proposal, Feedback, None]:
        """As every source; the model's own limits (``Terms``, its purse) stand in place of ``budget``."""
        try:
            yield from self.conversed(Conversation(self.terms, self.name, query, original), facts)
        except ModelError as error:
            self.terms.fell_silent(error)

    def conversed(self, talk: Conversation, facts: Facts) -> Generator[Proposal, Feedback, None]:
        """The strategy itself. May raise ModelError."""
        raise TypeError(f"{type(self).__name__} says nothing")
