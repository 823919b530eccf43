"""Labelled pairs: what the verifier says of each, counted by source and label, and where it disagrees with a label."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from rewriter.batch.pairs import verify_pairs
from rewriter.errors import UsageError
from rewriter.records import VerdictKind
from rewriter.report.units import duration

Outcome = Mapping[str, Any]
EQUIVALENT, WITNESSED, CLAIMED, UNLABELLED = "equivalent", "different, witnessed", "different, as claimed", "no label"
LABELS = (EQUIVALENT, WITNESSED, CLAIMED, UNLABELLED)


@dataclass
class Line:
    """The verdicts on the pairs of one source that carry one label. ``seconds`` by pair; ``against``: the ids of the
    pairs on which verdict and label do not agree."""

    source: str
    label: str
    verdicts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    against: list[str] = field(default_factory=list)

    @property
    def pairs(self) -> int:
        return self.verdicts.total()

    @property
    def typical(self) -> float:
        """Median seconds of a pair."""
        return median(self.seconds) if self.seconds else 0.0


def pair_files(paths: Iterable[Path]) -> list[Path]:
    """The files meant by files and folders of ``.jsonl``. Raises UsageError when there is none."""
    found: list[Path] = []
    for path in paths:
        found.extend(sorted(path.glob("*.jsonl")) if path.is_dir() else [path])
    missing = [path for path in found if not path.is_file()]
    if missing or not found:
        raise UsageError(f"no pairs in {', '.join(map(str, missing or paths))}", hint="give .jsonl files or a folder")
    return found


def binding(path: Path, most: int | None = None) -> list[dict[str, Any]]:
    """The pairs of a file that bind as they stand, the first ``most`` of them."""
    pairs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    usable = [pair for pair in pairs if pair.get("duckdb_binds_q1", True) and pair.get("duckdb_binds_q2", True)]
    return usable[:most]


def judge(
    path: Path,
    pairs: Sequence[Mapping[str, Any]],
    results: Path,
    *,
    budget: float,
    jobs: int,
    told: Callable[[int], None] = lambda _: None,
) -> list[Line]:
    """Verify the pairs of one file and count. Verdicts go to ``results`` as JSON lines, as soon as they are known;
    those that stand there already are taken from there, so that a run may be stopped and taken up again."""
    known: dict[str, Outcome] = {}
    if results.is_file():
        lines = results.read_text(encoding="utf-8").splitlines()
        known = {outcome["id"]: outcome for outcome in map(json.loads, lines)}
    waiting = [pair for pair in pairs if pair["id"] not in known]
    with results.open("a", encoding="utf-8") as file:
        for outcome in verify_pairs(map(json.dumps, waiting), budget, jobs):
            known[outcome["id"]] = outcome
            file.write(json.dumps(outcome) + "\n")
            file.flush()
            told(len(known))
    return counted(path.stem, pairs, known)


def counted(source: str, pairs: Iterable[Mapping[str, Any]], outcomes: Mapping[str, Outcome]) -> list[Line]:
    """One line for each label that occurs among the pairs."""
    lines = {label: Line(source, label) for label in LABELS}
    for pair in pairs:
        outcome = outcomes.get(pair["id"])
        if outcome is None:
            continue
        line = lines[_label(pair)]
        line.verdicts[outcome["verdict"]] += 1
        line.seconds.append(outcome["seconds"])
        kind = VerdictKind(outcome["verdict"])
        refuted = kind is VerdictKind.REFUTED
        if (line.label == EQUIVALENT and refuted) or (line.label in (WITNESSED, CLAIMED) and kind.accepts):
            line.against.append(str(pair["id"]))
    return [line for line in lines.values() if line.pairs]


def _label(pair: Mapping[str, Any]) -> str:
    match pair.get("expected"):
        case "equivalent":
            return EQUIVALENT
        case "not_equivalent":
            return WITNESSED if pair.get("witnessed") else CLAIMED
    return UNLABELLED


def as_rich(lines: Sequence[Line]) -> Table:
    """The table for a terminal."""
    kinds = [kind.value for kind in VerdictKind]
    table = Table("source", "label", "pairs", *kinds, "median", title="Verdicts by label", title_justify="left")
    for column in table.columns[2:]:
        column.justify = "right"
    for line in lines:
        shares = (str(line.verdicts[kind]) if line.verdicts[kind] else "-" for kind in kinds)
        table.add_row(line.source, line.label, str(line.pairs), *shares, duration(line.typical))
    return table
