"""Lookups: from the text of a statement to an approved rewrite, from memory, without a model and without a search.

Of each target that was asked for, its catalog and its approved rewrites are kept. When the last look is older than
REWRITER_CATALOG_SECONDS, the catalog's version and the reviews are looked at again before a lookup is answered; a
catalog that has changed takes back all evidence that rested on the old one first.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from rewriter.catalog import Catalog
from rewriter.clients.values import Key, key_of, keys_of
from rewriter.engines import connect
from rewriter.engines.base import Engine
from rewriter.errors import NotFound, RewriterError, TargetError, TargetUnreachable
from rewriter.parse import exact_key, parse
from rewriter.service.targets import Seen, found, look, url_of, version_of
from rewriter.service.vault import Vault
from rewriter.settings import Settings
from rewriter.store import Store
from rewriter.store.reviews import ReviewRecord
from rewriter.store.target_records import TargetRecord

REMEMBERED = 10_000  # statements of a target whose keys are kept
AWAY = 3.0  # seconds for which a target that could not be reached counts as away, so that nobody queues to find out


@dataclass(frozen=True)
class Usable:
    """An approved rewrite. ``values``: the parameter values that it is known to hold for; None: all."""

    review: ReviewRecord
    sql: str
    verdict: str
    values: frozenset[Key] | None

    def holds_for(self, parameters: Sequence[Any]) -> bool:
        return self.values is None or key_of(parameters) in self.values


@dataclass
class _Target:
    """A target with an open engine and what was last seen of it. ``at`` is a moment of the monotonic clock, ``marker``
    changes with every review."""

    engine: Engine
    record: TargetRecord
    seen: Seen
    at: float = 0.0
    marker: object = None
    usable: dict[str, Usable] = field(default_factory=dict)
    shapes: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: OrderedDict[bytes, tuple[str, str]] = field(default_factory=OrderedDict)
    renewing: bool = False


@dataclass(frozen=True)
class Answer:
    """``alike``: the id of an approved rewrite of the same shape with other literals, for which it would have to be
    verified. ``enabled``: the target's own switch."""

    usable: Usable | None
    alike: str | None
    enabled: bool


class Lookups:
    """Keeps one engine for each target that was asked for."""

    def __init__(self, store: Store, settings: Settings, vault: Vault) -> None:
        self._store = store
        self._settings = settings
        self._vault = vault
        self._targets: dict[tuple[str, str], _Target] = {}
        self._opening: dict[tuple[str, str], threading.Lock] = {}
        self._failed: dict[tuple[str, str], tuple[float, TargetError]] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="lookups")

    def answer(self, tenant: str, name: str, sql: str) -> Answer:
        """Raises NotFound (no such target), InputError (not one SELECT), TargetError (its catalog cannot be seen, so
        nothing may be used)."""
        target = self._current(tenant, name)
        text = _digest(sql)
        keys = target.keys.get(text)
        if keys is None:
            seen = target.seen
            query = parse(sql, seen.catalog)
            keys = exact_key(query), query.rewrite_key
            with target.lock:
                if target.seen is seen:  # keys hold for the catalog that they were made on
                    target.keys[text] = keys
                while len(target.keys) > REMEMBERED:
                    target.keys.popitem(last=False)
        return _found(target, keys)

    def at_hand(self, tenant: str, name: str, sql: str) -> Answer | None:
        """The answer, where it needs neither a look at the target or the store, nor the parser: this never blocks."""
        target = self._targets.get((tenant, name))
        if target is None or not self._fresh(target):
            return None
        if not target.renewing and not self._fresh(target, 0.5):
            # Looked at again before the look is too old, nobody has to wait for it.
            target.renewing = True
            self._threads.submit(self._ahead, target, tenant, name)
        keys = target.keys.get(_digest(sql))
        return None if keys is None else _found(target, keys)

    @contextlib.contextmanager
    def engine(self, tenant: str, name: str) -> Iterator[Engine]:
        """The target's engine, for nobody else meanwhile. Raises as ``answer``."""
        target = self._current(tenant, name)
        with target.lock:
            yield target.engine

    def catalog(self, tenant: str, name: str) -> Catalog:
        """The target's catalog as last looked at. Raises as ``answer``."""
        return self._current(tenant, name).seen.catalog

    def check(self, tenant: str, name: str) -> Seen:
        """Look at the target anew, whenever it was last looked at. Raises as ``answer``."""
        self.forget(tenant, name)
        return self._current(tenant, name).seen

    def expire(self, tenant: str, name: str) -> None:
        """What is known of a target is to be looked at again before the next answer."""
        target = self._targets.get((tenant, name))
        if target is not None:
            with target.lock:  # a look that has begun before may have seen what was, and must not count any more
                target.at = 0.0

    def forget(self, tenant: str, name: str) -> None:
        """Close what is open for a target: it was changed or removed."""
        with self._lock:
            target = self._targets.pop((tenant, name), None)
            self._failed.pop((tenant, name), None)
        if target is not None:
            with target.lock, contextlib.suppress(RewriterError):
                target.engine.close()

    def close(self) -> None:
        self._threads.shutdown()
        for tenant, name in list(self._targets):
            self.forget(tenant, name)

    def _current(self, tenant: str, name: str) -> _Target:
        target = self._targets.get((tenant, name)) or self._open(tenant, name)
        if self._fresh(target):
            return target
        with target.lock:
            if not self._fresh(target):
                try:
                    self._renew(target, tenant, name)
                except (TargetError, NotFound):
                    with self._lock:
                        self._targets.pop((tenant, name), None)
                    with contextlib.suppress(RewriterError):
                        target.engine.close()
                    raise
        return target

    def _fresh(self, target: _Target, share: float = 1.0) -> bool:
        """Whether the last look is recent enough, or has used up no more than a share of that time."""
        return target.at > 0 and time.monotonic() - target.at <= share * self._settings.catalog_seconds

    def _ahead(self, target: _Target, tenant: str, name: str) -> None:
        try:
            # What goes wrong here is found again, and told, by the first lookup after the look is too old.
            with target.lock, contextlib.suppress(RewriterError):
                if self._targets.get((tenant, name)) is target:
                    self._renew(target, tenant, name)
        finally:
            target.renewing = False

    def _renew(self, target: _Target, tenant: str, name: str) -> None:
        began = time.monotonic()  # what is seen is as old as the beginning of the look
        record = found(self._store, tenant, name)
        if version_of(target.engine) != target.seen.version:
            target.seen = look(self._store, record, target.engine)
            target.keys.clear()
        target.record = record
        reviews = self._store.reviews(tenant)
        marker = reviews.marker(name)
        if marker != target.marker:
            approved = reviews.approved(name)
            target.usable = {review.exact_key: _usable(review, report) for review, report in approved}
            target.shapes = {review.rewrite_key: review.job_id for review, _ in approved}
            target.marker = marker
        target.at = began

    def _open(self, tenant: str, name: str) -> _Target:
        key = (tenant, name)
        with self._lock:
            opening = self._opening.setdefault(key, threading.Lock())
        # A lock for each target: one that does not answer is to hold up nobody who asks for another.
        with opening:
            known = self._targets.get(key)
            if known is not None:
                return known
            away = self._failed.get(key)
            if away is not None and time.monotonic() - away[0] <= AWAY:
                raise TargetUnreachable(away[1].message, hint=away[1].hint)
            record = found(self._store, tenant, name)
            try:
                engine = connect(url_of(record, self._settings, self._vault))
            except TargetError as error:
                self._failed[key] = time.monotonic(), error
                self._store.targets(tenant).failed(name, error.message)
                raise
            try:
                target = _Target(engine, record, look(self._store, record, engine))
            except RewriterError:
                engine.close()
                raise
            with self._lock:
                self._failed.pop(key, None)
                self._targets[key] = target
            return target


def _found(target: _Target, keys: tuple[str, str]) -> Answer:
    if not target.record.enabled:
        return Answer(None, None, enabled=False)
    exact, shape = keys
    usable = target.usable.get(exact)
    return Answer(usable, None if usable is not None else target.shapes.get(shape), enabled=True)


def _digest(sql: str) -> bytes:
    """Statements may be long, and many are remembered."""
    return hashlib.sha256(sql.encode()).digest()


def _usable(review: ReviewRecord, report: Mapping[str, Any]) -> Usable:
    return Usable(review, report["chosen"]["sql"], report["verdict"]["kind"], values_of(report))


def values_of(report: Mapping[str, Any]) -> frozenset[Key] | None:
    """The parameter values that a report's rewrite is known to hold for; None: all."""
    if report.get("holds_for", "all") == "all":
        return None
    return keys_of(report["parameter_sets"].values())
