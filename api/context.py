"""What all routes share: the store, the settings, the vault, the limiter, the metrics. One for each application."""

from __future__ import annotations

import time
from typing import Annotated, cast

from fastapi import Depends, Request

from api.limiting import Limiter
from api.lookups import Lookups
from api.metrics import Metrics
from api.oidc import Tokens
from rewriter.service.vault import Vault
from rewriter.settings import Settings
from rewriter.store import Store
from rewriter.store.access import KeyRecord

KEY_SECONDS = 1.0  # for which a key that was read is good: a revocation elsewhere is noticed that late
KEYS = 10_000  # keys that are remembered


class Keys:
    """The keys of the store, remembered for a moment, because every request asks for one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[float, KeyRecord | None]] = {}

    def fresh(self, identifier: str) -> bool:
        """Whether the store need not be asked."""
        known = self._known.get(identifier)
        return known is not None and time.monotonic() - known[0] <= KEY_SECONDS

    def find(self, identifier: str) -> KeyRecord | None:
        known = self._known.get(identifier)
        if known is not None and self.fresh(identifier):
            return known[1]
        if len(self._known) >= KEYS:
            self._known.clear()
        found = self._store.access().key(identifier)
        self._known[identifier] = time.monotonic(), found
        return found

    def forget(self) -> None:
        self._known.clear()


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
        self.lookups.close()
        self.store.close()


async def service_of(request: Request) -> Service:  # async: else it would be called in a thread
    return cast(Service, request.app.state.service)


TheService = Annotated[Service, Depends(service_of)]
