"""Finds the rules: every document below ``rules/``, and the code beside it. There is no registry to edit."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from sqlglot import exp

from rewriter.errors import RuleFileError
from rules.facts import Facts
from rules.rulefile import RuleDocument, read_rule

RuleCode = Callable[[exp.Query, Facts], Iterator[exp.Query]]


@cache
def discover() -> tuple[RuleDocument, ...]:
    """All rule documents, by name. Raises RuleFileError for a malformed one."""
    return tuple(read_rule(path) for path in sorted(Path(__file__).parent.glob("*/*.md")))


@cache
def code(document: RuleDocument) -> RuleCode:
    """The executable form of a rule. Raises RuleFileError when there is none or it lacks ``rewrites``."""
    if not document.executable:
        raise RuleFileError(f"{document.path}: the rule has no executable form")
    if document.pattern is not None:
        return document.pattern.rewrites
    module = importlib.import_module(f"rules.{document.name.replace('/', '.')}")
    rewrites: RuleCode | None = getattr(module, "rewrites", None)
    if rewrites is None:
        raise RuleFileError(f"{document.path.with_suffix('.py')}: there is no function rewrites(query, facts)")
    return rewrites


def executable(dialect: str, version: Sequence[int] = ()) -> tuple[RuleDocument, ...]:
    """The stable rules that can be run for a dialect and are worth trying on a version of its engine."""
    return tuple(
        document
        for document in discover()
        if document.executable and document.status == "stable" and document.pays_on(dialect, version)
    )
