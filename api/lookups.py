"""Lookups: from the text of a statement to an approved rewrite, from memory, without a model and without a search.

The catalog of a target is kept parsed, and its version asked for again when the last look is older than
REWRITER_CATALOG_SECONDS; a change takes back all evidence that rests on the old one before the lookup is answered.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from rewriter.engines import connect
from rewriter.engines.base import Engine
from rewriter.errors import NotFound, RewriterError, TargetError
from rewriter.parse import exact_key, parse
from rewriter.service.targets import Seen, found, look, url_of, version_of
from rewriter.service.vault import Vault
from rewriter.settings import Settings
from rewriter.store import Store
from rewriter.store.reviews import ReviewRecord

REMEMBERED = 10_000  # statements whose keys are kept


@dataclass
class _Target:
    """A target with an open engine and what was last seen of it. ``at`` is a moment of the monotonic clock."""

    engine: Engine
    shown: str
    seen: Seen
    at: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: OrderedDict[str, tuple[str, str, int]] = field(default_factory=OrderedDict)


@dataclass(frozen=True)
class Answer:
    """``review`` is usable and of exactly this statement; ``alike`` has the same shape and other literals, so that it
    would have to be verified again."""

    review: ReviewRecord | None
    alike: ReviewRecord | None
    parameters: int


class Lookups:
    """Keeps one engine for each target that was asked for."""

    def __init__(self, store: Store, settings: Settings, vault: Vault) -> None:
        self._store = store
        self._settings = settings
        self._vault = vault
        self._targets: dict[tuple[str, str], _Target] = {}
        self._lock = threading.Lock()

    def answer(self, tenant: str, name: str, sql: str) -> Answer:
        """Raises NotFound (no such target), InputError (not one SELECT), TargetError (its catalog cannot be seen, so
        nothing may be used)."""
        target = self._current(tenant, name)
        keys = target.keys.get(sql)
        if keys is None:
            query = parse(sql, target.seen.catalog)
            keys = exact_key(query), query.rewrite_key, len(query.parameters)
            with target.lock:
                target.keys[sql] = keys
                while len(target.keys) > REMEMBERED:
                    target.keys.popitem(last=False)
        exact, rewrite_key, parameters = keys
        review, alike = self._store.reviews(tenant).by_key(name, exact=exact, rewrite_key=rewrite_key)
        return Answer(review, alike if review is None else None, parameters)

    def seen(self, tenant: str, name: str) -> Seen:
        """The target as it is now. Raises as ``answer``."""
        return self._current(tenant, name).seen

    def check(self, tenant: str, name: str) -> Seen:
        """Look at the target anew, whenever it was last looked at."""
        self.forget(tenant, name)
        return self._current(tenant, name).seen

    def forget(self, tenant: str, name: str) -> None:
        """Close what is open for a target: it was changed or removed."""
        with self._lock:
            target = self._targets.pop((tenant, name), None)
        if target is not None:
            with target.lock, contextlib.suppress(RewriterError):
                target.engine.close()

    def close(self) -> None:
        for tenant, name in list(self._targets):
            self.forget(tenant, name)

    def _current(self, tenant: str, name: str) -> _Target:
        key = (tenant, name)
        target = self._targets.get(key)
        if target is None:
            target = self._open(tenant, name)
        if time.monotonic() - target.at <= self._settings.catalog_seconds:
            return target
        with target.lock:
            if time.monotonic() - target.at <= self._settings.catalog_seconds:
                return target
            try:
                # Also another process may have seen a change first, or an admin may have removed the target.
                record = found(self._store, tenant, name)
                if version_of(target.engine) != target.seen.version or record.shown != target.shown:
                    target.seen = look(self._store, record, target.engine)
                    target.keys.clear()
                target.at = time.monotonic()
                return target
            except (TargetError, NotFound):
                with self._lock:
                    self._targets.pop(key, None)
                with contextlib.suppress(RewriterError):
                    target.engine.close()
                raise

    def _open(self, tenant: str, name: str) -> _Target:
        with self._lock:
            known = self._targets.get((tenant, name))
            if known is not None:
                return known
            record = found(self._store, tenant, name)
            try:
                engine = connect(url_of(record, self._settings, self._vault))
            except TargetError as error:
                self._store.targets(tenant).failed(name, error.message)
                raise
            try:
                seen = look(self._store, record, engine)
            except RewriterError:
                engine.close()
                raise
            target = _Target(engine, record.shown, seen, time.monotonic())
            self._targets[tenant, name] = target
            return target


def summary(review: ReviewRecord) -> dict[str, Any]:
    """What may be told of a review beside its rewrite."""
    return {"rewrite": review.job_id, "state": review.state, "currency": review.currency}
