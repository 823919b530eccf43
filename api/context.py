"""What all routes share: the store, the settings, the vault, the limiter, the metrics. One for each application."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from api.limiting import Limiter
from api.lookups import Lookups
from api.metrics import Metrics
from rewriter.service.vault import Vault
from rewriter.settings import Settings
from rewriter.store import Store


class Service:
    """Opened at the application's start and closed at its end."""

    def __init__(self, settings: Settings, store: Store, vault: Vault) -> None:
        self.settings = settings
        self.store = store
        self.vault = vault
        self.limiter = Limiter(settings.rate)
        self.metrics = Metrics(store)
        self.lookups = Lookups(store, settings, vault)

    def close(self) -> None:
        self.lookups.close()
        self.store.close()


def service_of(request: Request) -> Service:
    return cast(Service, request.app.state.service)


TheService = Annotated[Service, Depends(service_of)]
