"""What a job has told so far: stages, candidates as they fared, how far it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rewriter.store.jobs import JobEventRecord, JobRecord
from rewriter.verify import RUNGS

SHOWN = 60  # candidates that are listed

STAGES = {
    "rewrite": (
        ("parse", "Read", "catalog and statement"),
        ("candidates", "Search", "rewrite, plan, run, screen"),
        ("measure", "Measure", "race on the target"),
        ("verify", "Certify", "prove or refute the winner"),
    ),
    "verification": (
        (RUNGS[0], "Screening", "generated databases, both engines"),
        (RUNGS[1], "Proof", "for all databases"),
        (RUNGS[2], "Bounded search", "all small databases at once"),
        (RUNGS[3], "Tests", "databases made for this pair, and mutants"),
    ),
    "batch": (
        ("read", "Read", "lines to statements to groups"),
        ("parse", "Rank", "groups by total time"),
    ),
}


@dataclass(frozen=True)
class Stage:
    """``state``: past, now or ahead. ``done`` of ``total`` where that is known, else total is 0."""

    title: str
    what: str
    state: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class Tried:
    """One candidate. ``fate``: passed, refuted, rejected, stopped or tried."""

    id: str
    source: str
    rules: tuple[str, ...]
    fate: str
    seconds: float | None


@dataclass(frozen=True)
class ProgressView:
    job: JobRecord
    stages: tuple[Stage, ...]
    message: str
    tried: tuple[Tried, ...]
    counts: Mapping[str, int]
    fastest: float | None
    raced: str


@dataclass
class Progress:
    """Takes events in their order."""

    kind: str
    stage: str = ""
    message: str = "waiting for a worker"
    last: int = 0
    done: dict[str, tuple[int, int]] = field(default_factory=dict)
    tried: dict[str, Tried] = field(default_factory=dict)

    def add(self, events: Iterable[JobEventRecord]) -> None:
        for event in events:
            self.last = event.id
            body = event.body
            if event.kind == "running":
                self.message = "a worker has begun" if body.get("attempt", 1) == 1 else "a worker has begun again"
                self.done.clear()
                self.tried.clear()
            elif event.kind == "queued":
                self.stage, self.message = "", "waiting for a worker"
            elif event.kind == "candidate":
                one = _tried(body)
                self.tried[one.id] = one
            elif "stage" in body:
                self.stage, self.message = str(body["stage"]), str(body.get("message", ""))
                self.done[self.stage] = int(body.get("done", 0)), int(body.get("total", 0))

    def view(self, job: JobRecord) -> ProgressView:
        stages = STAGES[job.kind]
        names = [name for name, _, _ in stages]
        now = names.index(self.stage) if self.stage in names else -1
        if job.state == "done":
            now = len(names)
        fates = [one.fate for one in self.tried.values()]
        times = [one.seconds for one in self.tried.values() if one.seconds is not None and one.fate != "refuted"]
        return ProgressView(
            job=job,
            stages=tuple(
                Stage(
                    title,
                    what,
                    "past" if place < now else "now" if place == now else "ahead",
                    *self.done.get(name, (0, 0)),
                )
                for place, (name, title, what) in enumerate(stages)
            ),
            message=self.message,
            tried=tuple(reversed(list(self.tried.values())[-SHOWN:])),
            counts={fate: fates.count(fate) for fate in ("passed", "refuted", "rejected", "stopped", "tried")},
            fastest=min(times, default=None),
            raced=self.message if self.stage == "measure" else "",
        )


def _tried(body: Mapping[str, Any]) -> Tried:
    verdict = body.get("verdict")
    if verdict == "refuted":
        fate = "refuted"
    elif body.get("rejected"):
        fate = "rejected"
    elif body.get("stopped_after") is not None:
        fate = "stopped"
    else:
        fate = "passed" if verdict is not None and verdict != "unknown" else "tried"
    rules = tuple(str(rule) for rule in body.get("rules", ()))
    seconds = body.get("seconds")
    return Tried(str(body.get("candidate")), str(body.get("source")), rules, fate, seconds)
