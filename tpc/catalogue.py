"""Where each rule of the catalogue applies, and what it gained: rule by query, from texts and from runs' results."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlglot.errors import SqlglotError

from rewriter.catalog import Catalog
from rewriter.errors import RewriterError, UsageError
from rewriter.parse import catalog_of, parse, read_schema
from rules.discovery import code, discover
from rules.facts import Facts
from rules.rulefile import RuleDocument
from tpc.outcome import Outcome

WORTH = 1.1  # least gain that is shown
SHOWN = 12  # queries named in one cell
PER_FILE = 400  # pairs read of one file


@dataclass
class Found:
    """Of one rule: the queries it applies to by workload, and its best gains by run and query."""

    fires: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    gains: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))


Workload = Iterable[tuple[str, str, Catalog]]  # query's name, text, catalog


def survey(workloads: Mapping[str, Workload], told: Callable[[str], None] = lambda _: None) -> dict[str, Found]:
    """By rule, the queries on which it gives anything. Queries that are rejected, and rules of other dialects than the
    query's, are passed over."""
    documents = [document for document in discover() if document.executable]
    found = {document.name: Found() for document in discover()}
    for workload, entries in workloads.items():
        for name, text, catalog in entries:
            told(f"{workload} {name}")
            try:
                query = parse(text, catalog)
            except (RewriterError, RecursionError):
                continue
            facts = Facts(catalog)
            for document in documents:
                if query.dialect in document.dialects and _fires(document, query.tree, facts):
                    found[document.name].fires[workload].append(name)
    return found


def _fires(document: RuleDocument, tree: object, facts: Facts) -> bool:
    try:
        return next(iter(code(document)(tree, facts)), None) is not None  # type: ignore[arg-type]
    except (SqlglotError, AssertionError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return False


def job(folder: Path) -> Workload:
    """The Join Order Benchmark in ``folder``: ``schema.sql`` and ``queries/*.sql``."""
    schema = read_schema((folder / "schema.sql").read_text(encoding="utf-8"), "postgres")
    return [
        (path.stem, path.read_text(encoding="utf-8"), schema) for path in sorted((folder / "queries").glob("*.sql"))
    ]


def pairs(folder: Path) -> Iterator[tuple[str, str, Catalog]]:
    """First queries of the pair files in ``folder``, ``PER_FILE`` of each at most."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines()[:PER_FILE]:
            entry = json.loads(line)
            try:
                name, text, catalog = entry["id"], entry["q1"], catalog_of(entry["schema"], entry["dialect"])
            except (RewriterError, KeyError):
                continue
            if isinstance(text, str):
                yield name, text, catalog


def _read(file: Path) -> tuple[dict[str, Any], list[Outcome]]:
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
        return body, [Outcome.from_json(entry) for entry in body["outcomes"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{file} is not a file that run --out wrote") from None


def experience(results: Sequence[Path]) -> list[dict[str, Any]]:
    """By rule and dialect, over runs' results: the queries on which a step of it was tried, those on which its best
    step paid, and the orders of magnitude of time gained there."""
    known = {document.name for document in discover()}
    summed: dict[tuple[str, str], list[float]] = {}
    for file in results:
        body, outcomes = _read(file)
        dialect = "duckdb" if "duckdb" in body["engine"].lower() else "postgres"
        for outcome in outcomes:
            for rule, ratio in outcome.gains.items():
                if rule in known:
                    entry = summed.setdefault((rule, dialect), [0, 0, 0.0])
                    entry[0] += 1
                    if ratio >= WORTH:
                        entry[1] += 1
                        entry[2] += math.log10(ratio)
    return [
        {"rule": rule, "dialect": dialect, "trials": trials, "wins": wins, "gained": round(gained, 2)}
        for (rule, dialect), (trials, wins, gained) in sorted(summed.items())
    ]


def add_results(found: dict[str, Found], file: Path) -> None:
    """Take in what ``run --out`` wrote: what single steps gained, and which rules made the winners."""
    body, outcomes = _read(file)
    run = f"{body['title']}, {body['engine'].split(' (')[0]}"
    for outcome in outcomes:
        for rule, ratio in outcome.gains.items():
            if rule in found and ratio >= WORTH:
                found[rule].gains[run][outcome.query] = ratio


def as_markdown(found: Mapping[str, Found]) -> str:
    """The catalogue with its tables: every rule, where it applies, where a step of it paid and how much."""
    documents = discover()
    runs = sorted({run for entry in found.values() for run in entry.gains})
    lines = [
        "# The rule catalogue",
        "",
        "Generated by `python -m tpc rules`; do not edit.",
        "",
        f"{len(documents)} rules, {sum(document.executable for document in documents)} of them executable.",
        "",
        "## Where each rule applies",
        "",
        "Numbers of queries of each workload on which the rule gives at least one rewrite, each query as it stands.",
        "",
        *_applies(documents, found),
        "",
        "## What single steps gained",
        "",
        "Time before the step divided by the time after it, of single runs inside the search: they are noisy, and the",
        f"race that decides is not shown here. Best step of each rule on each query, from {WORTH:g}x on.",
        "",
    ]
    for run in runs:
        lines += [f"### {run}", "", "| rule | queries |", "|---|---|"]
        for document in documents:
            gains = sorted(found[document.name].gains.get(run, {}).items(), key=lambda item: -item[1])
            if gains:
                cell = ", ".join(f"{query}: {ratio:.1f}x" for query, ratio in gains[:SHOWN])
                more = f", and {len(gains) - SHOWN} more" if len(gains) > SHOWN else ""
                lines.append(f"| {document.name} | {cell}{more} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _applies(documents: Sequence[RuleDocument], found: Mapping[str, Found]) -> list[str]:
    workloads = sorted({workload for entry in found.values() for workload in entry.fires})
    lines = [
        "| rule | what it does | " + " | ".join(workloads) + " |",
        "|---|---|" + "---|" * len(workloads),
    ]
    for document in documents:
        counts = [len(found[document.name].fires.get(workload, ())) for workload in workloads]
        cells = " | ".join(str(count) if count else "" for count in counts)
        kind = "" if document.executable else " (advice)"
        seen = f" Seen: {document.seen}" if document.seen else ""
        lines.append(f"| {document.name}{kind} | {document.summary}{seen} | {cells} |")
    return lines
