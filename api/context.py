"""What all routes share: the store, the settings, the vault, the limiter, the metrics. One for each application."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, cast

from fastapi import Depends, Request

from api.limiting import Limiter
from api.lookups import Lookups
from api.metrics import Metrics
from api.oidc import Tokens
from rewriter.errors import StoreError
from rewriter.service.vault import Vault
from rewriter.settings import Settings
from rewriter.store import Store
from rewriter.store.access import KeyRecord

KEY_SECONDS = 1.0  # for which a key that was read is good: a revocation elsewhere is noticed that late
KEYS = 10_000  # keys that are remembered


class Keys:
    """The keys of the store, remembered for a moment, because every request asks for one. A key that is used is read
    again before that moment is over, so that nobody waits for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[float, KeyRecord | None]] = {}
        self._forgotten = 0
        self._reading: set[str] = set()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="keys")

    def fresh(self, identifier: str) -> bool:
        """Whether the store need not be asked."""
        known = self._known.get(identifier)
        age = time.monotonic() - known[0] if known is not None else KEY_SECONDS + 1
        if KEY_SECONDS / 2 < age <= KEY_SECONDS and identifier not in self._reading:
            self._reading.add(identifier)
            self._threads.submit(self._ahead, identifier)
        return age <= KEY_SECONDS

    def find(self, identifier: str) -> KeyRecord | None:
        known = self._known.get(identifier)
        if known is not None and time.monotonic() - known[0] <= KEY_SECONDS:
            return known[1]
        return self._read(identifier)

    def forget(self) -> None:
        self._forgotten += 1
        self._known.clear()

    def close(self) -> None:
        self._threads.shutdown()

    def _ahead(self, identifier: str) -> None:
        try:
            with contextlib.suppress(StoreError):
                self._read(identifier)
        finally:
            self._reading.discard(identifier)

    def _read(self, identifier: str) -> KeyRecord | None:
        forgotten, began = self._forgotten, time.monotonic()
        found = self._store.access().key(identifier)
        if len(self._known) >= KEYS:
            self._known.clear()
        if forgotten == self._forgotten:  # else it may have been read before it was revoked
            self._known[identifier] = began, found
        return found


class Service:
    """Opened at the application's start and closed at its end."""

    def __init__(self, settings: Settings, store: Store, vault: Vault) -> None:
        self.settings = settings
        self.store = store
        self.vault = vault
        self.limiter = Limiter(settings.rate)
        self.metrics = Metrics(store)
        self.keys = Keys(store)
        self.tokens = Tokens(settings)
        self.lookups = Lookups(store, settings, vault)

    def close(self) -> None:
        self.keys.close()
        self.lookups.close()
        self.store.close()


async def service_of(request: Request) -> Service:  # async: else it would be called in a thread
    return cast(Service, request.app.state.service)


TheService = Annotated[Service, Depends(service_of)]
