"""The HTTP service: one configured target, the same pipeline as the command line.

``REWRITER_TARGET`` names the target. Statements run one at a time on it, because measuring two at once would measure
neither. Errors are problem details (RFC 9457) and never echo SQL.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from rewriter import __version__
from rewriter.candidates import default_sources
from rewriter.engines import connect, without_credentials
from rewriter.errors import EngineError, InputError, RewriterError, StoreError, TargetError, UsageError
from rewriter.pipeline import EFFORTS, rewrite
from rewriter.records import VerdictKind
from rewriter.report import to_json
from rewriter.repository import Repository
from rewriter.settings import Settings
from rewriter.store import Store

MAX_BODY = 512 * 1024  # bytes; the guard's own limit on a statement is lower


class RewriteRequest(BaseModel):
    """A statement to rewrite."""

    sql: str = Field(description="exactly one SELECT or set operation", examples=["SELECT count(*) FROM orders"])
    require: VerdictKind = Field(VerdictKind.TESTED, description="weakest verdict accepted")
    effort: Literal["quick", "normal", "thorough"] = Field("normal", description="how long to search, verify and time")
    timeout: float = Field(60.0, gt=0, le=3600, description="seconds one run of a query may take on the target")


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application for ``settings`` (read from the environment when not given). Raises UsageError."""
    chosen = settings or Settings.load()
    measuring = threading.Lock()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.store = Store(chosen.store_url)
        yield
        app.state.store.close()

    app = FastAPI(title="rewriter", version=__version__, lifespan=lifespan, max_body_size=MAX_BODY)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """The process is alive."""
        return {"status": "ok", "version": __version__}

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        """The target answers."""
        with contextlib.closing(connect(_target(chosen))) as engine:
            return {"status": "ready", "engine": engine.name}

    @app.post("/v1/rewrites")
    def create_rewrite(body: RewriteRequest, request: Request) -> dict[str, Any]:
        """Rewrite one statement and answer with the report (see rewriter/report/schema.json)."""
        store: Store = request.app.state.store
        policy = replace(EFFORTS[body.effort], require=body.require, timeout=body.timeout)
        with measuring, contextlib.closing(connect(_target(chosen))) as engine:
            report = rewrite(
                body.sql,
                engine,
                policy=policy,
                sources=default_sources(rules=Repository(store).executable()),
                target=without_credentials(_target(chosen)),
            )
        document = to_json(report)
        return {"id": store.record(report, document), **document}

    @app.exception_handler(RewriterError)
    async def problem(_: Request, error: RewriterError) -> JSONResponse:
        return _problem(_status(error), error.code, error.message, error.hint)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        places = sorted({".".join(str(part) for part in entry["loc"]) for entry in error.errors()})
        return _problem(422, "bad-request", f"not a valid request: {', '.join(places)}", "see /openapi.json")

    return app


def _target(settings: Settings) -> str:
    if settings.target is None:
        raise UsageError("the service has no target", hint="set REWRITER_TARGET to a database URL")
    return settings.target.get_secret_value()


def _status(error: RewriterError) -> int:
    if isinstance(error, InputError):
        return 422
    if isinstance(error, TargetError):
        return 503
    if isinstance(error, EngineError):
        return 422
    return 503 if isinstance(error, StoreError) else 500


def _problem(status: int, code: str, detail: str, hint: str) -> JSONResponse:
    body = {"type": f"urn:rewriter:problem:{code}", "title": code, "status": status, "detail": detail, "hint": hint}
    return JSONResponse(body, status, media_type="application/problem+json")
