"""All rules in one place: those of the catalogue, those that users wrote, those learnt from rewrites, and the sentences
that a model's rewrites have taught.

A document of the store starts as a draft. It is applied from the moment that a person approves it, which the checks
must allow, until it is retired or switched off; whoever edits it makes it a draft again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from rewriter.candidates import packaged
from rewriter.candidates.model.knowledge import LearntRule, nearest
from rewriter.distill import Outcome, check_document
from rewriter.distill.document import document_path
from rewriter.engines import DuckDB
from rewriter.errors import RuleFileError, UsageError
from rewriter.rulecheck import Finding
from rewriter.store import RuleRecord, Store
from rewriter.store.tables import DEFAULT_TENANT
from rules.discovery import discover
from rules.rulefile import RuleDocument, parse_rule

ORIGINS = ("catalogue", "user", "model", "distilled")
STATUSES = ("draft", "stable", "retired", "rejected")
OWN_FAMILY = "own"  # of rules that users add without naming a family
_NAME = re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Listed:
    """One rule. ``text``: its sentence; ``kind``: executable, pattern or advice; ``uses`` single runs after its step,
    ``wins`` of them clearly faster, ``gained`` the sum of those in orders of magnitude of time; ``ratio``: original
    time / rewritten time of the rewrites that it was learnt from. ``reason``: what the last check or person said."""

    name: str
    text: str
    origin: str
    status: str
    kind: str
    uses: int = 0
    wins: int = 0
    gained: float = 0.0
    group: int | None = None
    ratio: float | None = None
    enabled: bool = True
    reason: str = ""
    changed_by: str = ""


class Repository:
    """The rules of one tenant. All methods raise StoreError."""

    def __init__(self, store: Store, tenant: str = DEFAULT_TENANT) -> None:
        self._store = store
        self._tenant = tenant
        self._rules = store.rules(tenant=tenant)

    def all(
        self,
        *,
        search: str | None = None,
        origin: str | None = None,
        status: str | None = None,
        most: int | None = None,
    ) -> list[Listed]:
        """The rules of an origin and status, or all; with ``search`` only those that share words with it, the most
        alike first. Raises UsageError for an unknown origin or status."""
        for given, known in ((origin, ORIGINS), (status, STATUSES)):
            if given is not None and given not in known:
                raise UsageError(f"unknown: {given!r}", hint=f"use {', '.join(known)}")
        found = [*self._catalogue(), *self._own(), *self._taught()]
        kept = [it for it in found if origin in (None, it.origin) and status in (None, it.status)]
        if search is not None:
            kept = nearest(
                search, kept, lambda it: f"{it.name.replace('_', ' ').replace('/', ' ')} {it.text}", len(kept)
            )
        return kept if most is None else kept[:most]

    def executable(self) -> tuple[RuleDocument, ...]:
        """The documents of the store that are applied: approved patterns that are not switched off. One that can no
        longer be read is passed over."""
        found = []
        for record in self._rules.all():
            if record.status == "stable" and record.enabled:
                try:
                    document = _document(record)
                except RuleFileError:
                    continue
                if document.pattern is not None:
                    found.append(document)
        return tuple(found)

    def document(self, name: str) -> RuleDocument:
        """A document, of the catalogue or of the store. Raises UsageError when there is none, RuleFileError."""
        for known in discover():
            if name in (known.name, known.name.rpartition("/")[2]):
                return known
        return _document(self._record(name))

    def is_own(self, name: str) -> bool:
        """Whether a document of the store has this name."""
        return self._rules.find(name) is not None

    def add(
        self, name: str, text: str, *, by: str = "", origin: str = "user", ratio: float | None = None
    ) -> RuleDocument:
        """Keep a document as a draft. Raises RuleFileError with the line of what is malformed, UsageError."""
        name = name if "/" in name else f"{OWN_FAMILY}/{name}"
        if not _NAME.fullmatch(name) or len(name) > 128:
            raise UsageError(
                f"a rule cannot be called {name!r}", hint="use family/name, in small letters, digits and _"
            )
        if any(known.name == name for known in discover()):
            raise UsageError(f"the catalogue has a rule {name!r} already", hint="give it another name")
        document = _parsed(name, text, "draft")
        self._rules.add(name, origin, document.text, by, ratio=ratio)
        return document

    def edit(self, name: str, text: str, *, by: str = "") -> RuleDocument:
        """Put another text in the place of a document: it is a draft from then on. Raises RuleFileError, UsageError."""
        record = self._record(name)
        document = _parsed(record.name, text, "draft")
        self._rules.change(name, by, text=document.text, status="draft", reason="edited")
        return document

    def check(self, name: str, hunter: DuckDB, *, by: str = "") -> list[Finding]:
        """Everything that has to hold of a document of the store; what was found is kept with it. Raises UsageError,
        RuleFileError, TargetLost."""
        record = self._record(name)
        findings = list(check_document(_document(record), hunter))
        self._rules.change(name, by, reason=_said(findings))
        return findings

    def approve(self, name: str, hunter: DuckDB, *, by: str = "") -> list[Finding]:
        """Make a document stable when all its checks pass, and tell what they found. A document whose checks fail
        stays what it is; one that is no pattern is advice, and has nothing to run."""
        record = self._record(name)
        findings = self.check(name, hunter, by=by)
        if all(finding.ok for finding in findings):
            self._stand(record, "stable", by)
        return findings

    def reject(self, name: str, reason: str, *, by: str = "") -> None:
        """Never to be applied, and why."""
        self._put_away(name, "rejected", reason, by)

    def retire(self, name: str, reason: str = "", *, by: str = "") -> None:
        """No longer applied."""
        self._put_away(name, "retired", reason, by)

    def enable(self, name: str, on: bool, *, by: str = "") -> None:
        """Switch a stable document on or off."""
        self._record(name)
        self._rules.change(name, by, enabled=on)

    def keep(self, outcomes: Iterable[Outcome], *, approve: bool = False, by: str = "") -> list[str]:
        """Keep the documents of outcomes, which have passed every check, as drafts, or as stable where ``approve``
        says so. The names kept."""
        kept = []
        for outcome in outcomes:
            document = outcome.document
            if document is not None:
                self.add(document.name, document.text, by=by, origin="distilled", ratio=outcome.ratio)
                if approve:
                    self._stand(self._record(document.name), "stable", by)
                self._rules.change(document.name, by, reason=outcome.detail)
                kept.append(document.name)
        return kept

    def _catalogue(self) -> list[Listed]:
        trials = self._trials()
        return [
            Listed(it.name, _flat(it.rule), "catalogue", it.status, kind(it), *trials.get(it.name, (0, 0, 0.0)))
            for it in discover()
        ]

    def _own(self) -> list[Listed]:
        trials, found = self._trials(), []
        for record in self._rules.all():
            try:
                document = _document(record)
                text, of = _flat(document.rule), kind(document)
            except RuleFileError as error:
                text, of = error.message, "advice"
            found.append(
                Listed(
                    record.name,
                    text,
                    record.origin,
                    record.status,
                    of,
                    *trials.get(record.name, (0, 0, 0.0)),
                    group=record.group,
                    ratio=record.ratio,
                    enabled=record.enabled,
                    reason=record.reason,
                    changed_by=record.changed_by,
                )
            )
        return found

    def _taught(self) -> list[Listed]:
        return [
            Listed(taught_name(it), it.text, "model", it.status, "advice", it.uses, it.wins, it.gained, group=it.group)
            for it in self._sentences()
        ]

    def _sentences(self) -> list[LearntRule]:
        records = self._store.models(tenant=self._tenant)
        return [LearntRule(**body) for known, body in records.knowledge() if known == "rule"]

    def _trials(self) -> dict[str, tuple[int, int, float]]:
        """By rule: runs, wins and what these gained, of the packaged experience and the store's together."""
        own = self._store.rule_trials(tenant=self._tenant)
        known = {key: (record.trials, record.wins, record.gained) for key, record in packaged().items()}
        found: dict[str, tuple[int, int, float]] = {}
        for (rule, _, _), (trials, wins, gained) in {**known, **own}.items():
            before = found.get(rule, (0, 0, 0.0))
            found[rule] = (before[0] + trials, before[1] + wins, before[2] + gained)
        return found

    def _record(self, name: str) -> RuleRecord:
        found = self._rules.find(name)
        if found is None:
            hint = "a rule of the catalogue is changed in its file" if self._in_catalogue(name) else ""
            raise UsageError(f"the store has no rule {name!r}", hint=hint or "rewriter rules list --all names them")
        return found

    @staticmethod
    def _in_catalogue(name: str) -> bool:
        return any(name in (it.name, it.name.rpartition("/")[2]) for it in discover())

    def _stand(self, record: RuleRecord, status: str, by: str) -> None:
        document = _parsed(record.name, record.text, status)
        self._rules.change(record.name, by, status=status, text=document.text)

    def _put_away(self, name: str, status: str, reason: str, by: str) -> None:
        for sentence in self._sentences():
            if taught_name(sentence) == name:
                body = asdict(replace(sentence, status=status))
                self._store.models(tenant=self._tenant).learn("rule", sentence.text, body)
                return
        self._record(name)
        self._rules.change(name, by, status=status, reason=reason)


def kind(document: RuleDocument) -> str:
    """Whether a pattern, code or nobody executes a rule."""
    if document.pattern is not None:
        return "pattern"
    return "executable" if document.executable else "advice"


def taught_name(sentence: LearntRule) -> str:
    """The name of a rule that is only a sentence: it has none of its own."""
    return f"model/{hashlib.sha256(sentence.text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _parsed(name: str, text: str, status: str) -> RuleDocument:
    """A document of the store with a status in its front matter. Raises RuleFileError."""
    stated = re.sub(r"\A(---\n(?:(?!---).*\n)*?status:)[^\n]*", rf"\1 {status}", text, count=1)
    document = parse_rule(stated, document_path(name))
    if document.executable and document.pattern is None:
        raise RuleFileError(f"{name}: a rule of the store cannot have code", hint="write a Pattern section")
    return document


def _document(record: RuleRecord) -> RuleDocument:
    return parse_rule(record.text, document_path(record.name))


def _flat(text: str) -> str:
    return " ".join(text.split())


def _said(findings: Sequence[Finding]) -> str:
    failed = [f"line {finding.line}: {finding.check}: {finding.message}" for finding in findings if not finding.ok]
    return failed[0] if failed else f"{len(findings)} checks passed"


__all__ = ["ORIGINS", "STATUSES", "Listed", "Repository", "kind", "taught_name"]
