"""The HTTP service: durable jobs over the same pipeline as the command line. See ``docs/service.md``.

The process that answers requests does no rewriting: worker processes do, one of which it starts beside itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from api import console, problems
from api.access import first_key
from api.context import Service
from api.description import complete
from api.oidc import check_issuer
from api.outer import Outer
from api.routes import ROUTERS
from api.workers import LocalWorkers
from rewriter import __version__
from rewriter.errors import StoreError
from rewriter.service.targets import registered
from rewriter.service.vault import vault_of
from rewriter.settings import Settings
from rewriter.store import Store
from rewriter.store.tables import DEFAULT_TENANT


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application for ``settings`` (read from the environment when not given). Raises UsageError."""
    chosen = settings or Settings.load()
    check_issuer(chosen)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = _opened(chosen)
        app.state.service = service
        workers = LocalWorkers(chosen)
        workers.start()
        try:
            yield
        finally:
            workers.stop()
            service.close()

    app = FastAPI(
        title="rewriter",
        version=__version__,
        lifespan=lifespan,
        # Their pages load scripts from elsewhere while people may have a key at hand. The description is /openapi.json.
        docs_url=None,
        redoc_url=None,
        description="Rewrites slow SQL queries into faster ones, with evidence that they are equivalent.",
        # Spans tell routes and times; validation errors and exceptions could quote SQL.
        telemetry={"logs": False},
        # A redirect would name whatever host the caller named, over plain HTTP, and clients send their key there.
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app)
    console.install(app)

    complete(app)
    app.add_middleware(Outer, metrics=lambda _: app.state.service.metrics)
    return app


def _opened(settings: Settings) -> Service:
    """The store with its first key and the operator's own target. Raises StoreError, UsageError."""
    store = Store(settings.store_url)
    try:
        if settings.queue == "procrastinate":
            from rewriter.service.cluster import announcing, prepare  # only here: an extra

            prepare(settings)
            store.announce = announcing(settings)
        vault = vault_of(settings)
        key = first_key(store, settings)
        if key is not None:
            # Once, and only on the terminal of whoever starts the service for the first time.
            print(f"first admin key (shown this once): {key}", flush=True)  # noqa: T201
        if settings.target_url is not None:
            record = registered(
                "default", "env:REWRITER_TARGET", tenant=DEFAULT_TENANT, settings=settings, vault=vault, runs=True
            )
            targets = store.targets(DEFAULT_TENANT)
            known = targets.find("default")
            if known is None or known.shown != record.shown or known.place != record.place:
                targets.add(record, "operator", replace=True)
        return Service(settings, store, vault)
    except BaseException:
        with contextlib.suppress(StoreError):
            store.close()
        raise
