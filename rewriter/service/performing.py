"""The performance of one job: what each kind of order means, and what is recorded of it.

Whatever is paid to a model is in the store under its prompt's hash before it is used, so a job that begins anew after a
crash finds its answers there. The result and the job's end are written in one transaction.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from rewriter.batch.logs import Options, gather
from rewriter.batch.logs.opening import find_files
from rewriter.batch.work import Item, items
from rewriter.candidates import Experience, Record, default_sources, packaged
from rewriter.candidates.base import CandidateSource
from rewriter.engines import SchemaOnly, connect, scratch
from rewriter.engines.base import Engine
from rewriter.errors import InputError, RewriterError, StoreError, UsageError
from rewriter.llm import Account, Limit
from rewriter.modelling import Payer, model_sources
from rewriter.parse import exact_key, named_tables, parse, read_schema
from rewriter.pipeline import rewrite
from rewriter.records import Event, Progress, Report
from rewriter.report import to_json, verdict_to_json
from rewriter.repository import Repository
from rewriter.service.currency import rows_of
from rewriter.service.orders import BatchOrder, ParameterValue, RewriteOrder, RuleOrder, VerificationOrder
from rewriter.service.targets import found, inside, look, opened
from rewriter.service.uploads import upload_path
from rewriter.service.vault import Vault
from rewriter.settings import Settings
from rewriter.store import Store, record_report
from rewriter.store.access import note
from rewriter.store.jobs import JobRecord, NewJob
from rewriter.store.reviews import settle
from rewriter.store.service_tables import Review
from rewriter.verify import RUNGS, Verifier

REWRITE, VERIFICATION, BATCH = "rewrite", "verification", "batch"
MANY = 1_000_000.0  # runs in the log beyond which nothing is known better
SETS = 20  # sets of values of one group that its rewrite is tested with
READERS = 1  # processes that read a log: a worker is one of several on its machine

Ending = Callable[[Session], Mapping[str, Any]]
Tell = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Performer:
    """Performs jobs. ``store`` and ``vault`` are those of the service."""

    settings: Settings
    store: Store
    vault: Vault

    def perform(self, job: JobRecord, progress: Progress, tell: Tell) -> Ending:
        """Do the work of a job; returns what writes its outcome. ``progress`` may raise to stop it. Raises
        RewriterError."""
        match job.kind:
            case "rewrite":
                return self._rewrite(job, RewriteOrder.model_validate(job.request), progress, tell)
            case "verification":
                return self._verification(job, VerificationOrder.model_validate(job.request), progress)
            case "batch":
                return self._batch(job, BatchOrder.model_validate(job.request), progress)
            case "rule":
                return self._rule(job, RuleOrder.model_validate(job.request), progress)
        raise UsageError(f"unknown kind of job {job.kind!r}")

    def _rewrite(self, job: JobRecord, order: RewriteOrder, progress: Progress, tell: Tell) -> Ending:
        target = found(self.store, job.tenant, order.target)
        experience = self._experience(job.tenant)
        rules_off = self.store.targets(job.tenant).rules_off(order.target)
        own_rules = Repository(self.store, job.tenant).executable()
        told: list[str] = []
        with contextlib.ExitStack() as stack:
            engine = stack.enter_context(opened(target, self.settings, self.vault))
            look(self.store, target, engine)
            asked = stack.enter_context(self._asked(job, order.strategies, told.append))
            report = rewrite(
                order.sql,
                engine,
                policy=order.policy(),
                sources=(*default_sources(experience, own_rules, rules_off), *asked),
                parameter_sets=[tuple(values) for values in order.parameter_sets],
                progress=progress,
                target=order.target,
            )
        for reason in told:
            tell("model", {"stage": "candidates", "message": reason})
        learnt = {key: (it.trials, it.wins, it.gained) for key, it in experience.fresh.items()}
        with contextlib.suppress(StoreError):  # what was learnt is not worth the report
            self.store.add_rule_trials(learnt, tenant=job.tenant)
        return lambda session: _recorded(session, job, order, report)

    def _verification(self, job: JobRecord, order: VerificationOrder, progress: Progress) -> Ending:
        with contextlib.ExitStack() as stack:
            engine: Engine
            if order.target is not None:
                target = found(self.store, job.tenant, order.target)
                engine = stack.enter_context(opened(target, self.settings, self.vault))
            elif order.ddl is not None:
                engine = SchemaOnly(read_schema(order.ddl, order.dialect))
            else:
                raise UsageError("a verification needs a target or the schema's DDL")
            hunter = stack.enter_context(contextlib.closing(connect("duckdb://:memory:")))
            catalog = engine.catalog()
            original, candidate = parse(order.original, catalog), parse(order.candidate, catalog)
            progress(Event("verify", "looking for a proof and for a difference"))
            judge = engine if engine.capabilities.runs else None

            def climbing(rung: str) -> None:
                progress(Event(rung, f"rung {RUNGS.index(rung) + 1} of {len(RUNGS)}", RUNGS.index(rung), len(RUNGS)))

            verifier = Verifier(original, hunter, judge, rung=climbing)
            verdict = verifier.certify(candidate.tree, seconds=order.seconds)
        body = verdict_to_json(verdict)
        return lambda _: {"result": body}

    def _batch(self, job: JobRecord, order: BatchOrder, progress: Progress) -> Ending:
        path = self._log(order, job.tenant)
        progress(Event("read", "reading the log"))
        options = Options(prefix=order.prefix, dialect=order.dialect)
        # A link in a folder may lead out of what is open to the API.
        files = [file for file in find_files([path]) if file.resolve().is_relative_to(path.resolve())]
        try:
            gathered = gather(files, order.dialect, options, jobs=READERS)
        except InputError as error:
            raise UsageError(error.message.replace(f"{path.parent}/", ""), hint=error.hint) from None
        todo = items(gathered.groups, order.top)
        target = found(self.store, job.tenant, order.target)
        with opened(target, self.settings, self.vault) as engine:
            catalog = look(self.store, target, engine).catalog
        children: list[NewJob] = []
        refused: list[dict[str, Any]] = []
        for number, item in enumerate(todo):
            progress(Event("parse", "reading the statements", number, len(todo)))
            try:
                query = parse(item.statement, catalog)
            except RewriterError as error:
                refused.append({"group": item.key, "calls": item.calls, "seconds": item.seconds, "why": error.message})
                continue
            children.append(_child(job, order, item, len(query.parameters), target.place))
        counted = {
            "lines": gathered.tally.lines,
            "groups": len(gathered.groups.ranked()),
            "skipped": sum(gathered.tally.skipped.values()),
            "chosen": [
                {"group": item.key, "calls": item.calls, "seconds": item.seconds, "statement": item.statement}
                for item in todo
            ],
            "refused": refused,
        }

        def ending(session: Session) -> Mapping[str, Any]:
            # The batch and all of its rewrites appear together or not at all.
            jobs = self.store.jobs(job.tenant)
            for child in children:
                jobs.add(session, child)
            return {"result": counted}

        return ending

    def _rule(self, job: JobRecord, order: RuleOrder, progress: Progress) -> Ending:
        repository = Repository(self.store, job.tenant)
        progress(Event("verify", "checking the rule"))
        with contextlib.closing(scratch()) as hunter:
            do = repository.approve if order.approve else repository.check
            findings = do(order.name, hunter, by=job.actor)
        passed = all(finding.ok for finding in findings)
        body = {"passed": passed, "approved": passed and order.approve, "findings": [asdict(one) for one in findings]}
        return lambda _: {"result": body}

    def _log(self, order: BatchOrder, tenant: str) -> Path:
        if order.upload is not None:
            path = upload_path(self.settings, order.upload)
            if not path.is_file():
                raise UsageError("the uploaded log is no longer there", hint="upload it again")
            return path
        if order.path is None:
            raise UsageError("a batch needs an uploaded log or a path")
        return inside(order.path, self.settings, tenant)

    def _experience(self, tenant: str) -> Experience:
        own = {key: Record(*numbers) for key, numbers in self.store.rule_trials(tenant=tenant).items()}
        return Experience({**packaged(), **own})

    @contextlib.contextmanager
    def _asked(
        self, job: JobRecord, strategies: Sequence[str], told: Callable[[str], None]
    ) -> Iterator[Sequence[CandidateSource]]:
        """The model's strategies, paid by the key that ordered the job; none when no model is set up."""
        if not strategies:
            yield ()
            return
        if self.settings.model is None:
            told("no model is set up: rules alone")
            yield ()
            return
        access = self.store.access()
        key = access.key(job.actor)
        limit = Limit(
            key.day_tokens if key is not None and key.day_tokens is not None else self.settings.model_day_tokens,
            key.day_cost if key is not None and key.day_cost is not None else self.settings.model_day_cost,
        )
        account = Account(
            "key",
            limit,
            lambda *what: access.reserve(job.tenant, job.actor, *what),
            lambda tokens, cost: access.spend(job.tenant, job.actor, tokens, cost),
        )
        payer = Payer(job.tenant, account)
        with model_sources(list(strategies), self.settings, told, payer=payer) as sources:
            yield sources


def _child(job: JobRecord, order: BatchOrder, item: Item, parameters: int, place: str) -> NewJob:
    """The rewrite of one group of a log, with those sets of values that fit its statement."""
    sets: list[list[ParameterValue]] = [
        list(values) for values in item.parameters if parameters and len(values) == parameters
    ]
    child = RewriteOrder.model_construct(
        sql=item.statement,
        target=order.target,
        effort=order.effort,
        timeout=order.timeout,
        runs_per_day=min(float(item.calls), MANY),
        strategies=list(order.strategies),
        parameter_sets=sets[:SETS],
    )
    request = child.request()
    return NewJob(REWRITE, order.target, place, job.actor, request, child.digest(), batch=job.id)


def _recorded(session: Session, job: JobRecord, order: RewriteOrder, report: Report) -> Mapping[str, Any]:
    """Write a rewrite's report and, where it found something, its review; the job's last fields."""
    document = to_json(report)
    identifier = record_report(session, report, document, job.tenant)
    chosen, gain, verdict = report.decision.chosen, report.decision.speedup, report.verdict
    summary: dict[str, Any] = {"chosen": chosen is not None, "reason": report.decision.reason}
    stands = settle(session, job.tenant, job.request_hash, chosen.sql if chosen is not None else None)
    if chosen is not None:
        summary |= {
            "ratio": gain.ratio if gain is not None else None,
            "verdict": verdict.kind.value if verdict is not None else None,
        }
    if chosen is not None and not stands:
        tables = named_tables((report.query.stated,), report.query.catalog)
        session.add(
            Review(
                job_id=job.id,
                tenant=job.tenant,
                target=order.target,
                rewrite_id=identifier,
                rewrite_key=report.query.rewrite_key,
                exact_key=exact_key(report.query),
                catalog_hash=report.query.catalog.hash,
                tables=[[table.schema, table.name] for table in tables],
                rows=rows_of(tables),
                saved_per_day=_saved_per_day(report, order.runs_per_day),
            )
        )
        note(session, job.tenant, job.actor, "rewrite.found", job.id, {"ratio": summary["ratio"]})
    return {"rewrite_id": identifier, "result": summary}


def _saved_per_day(report: Report, runs: float) -> float | None:
    """Seconds a day, as measured; None when it is not known how often the query runs."""
    if not runs or report.decision.chosen is None:
        return None
    medians = {one.label: one.median or one.stopped_after for one in report.measurements}
    before, after = medians.get("original"), medians.get(report.decision.chosen.id)
    return (before - after) * runs if before is not None and after is not None else None


def waits(error: RewriterError, attempt: int) -> float | None:
    """Seconds to wait before a job that ended in ``error`` is tried again; None when it never will be."""
    if isinstance(error, InputError) or error.code not in TRANSIENT or attempt >= ATTEMPTS:
        return None
    return FIRST_WAIT * 3.0 ** (attempt - 1)


TRANSIENT = frozenset({"target-unreachable", "target-lost", "target", "store", "model-unreachable"})
ATTEMPTS = 4
FIRST_WAIT = 2.0  # seconds; three times as long at each further attempt
