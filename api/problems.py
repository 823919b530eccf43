"""Problem details (RFC 9457). The type is stable, the detail never quotes SQL or literals."""

from __future__ import annotations

import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from rewriter.errors import (
    AccessError,
    BudgetExceeded,
    Conflict,
    EngineError,
    Forbidden,
    InputError,
    ModelError,
    NotFound,
    RewriterError,
    StoreError,
    TargetError,
    TooManyRequests,
)

PREFIX = "urn:rewriter:problem:"
MEDIA = "application/problem+json"


class Problem(BaseModel):
    """What every failed request answers."""

    type: str = Field(description="a stable name of the problem", examples=[f"{PREFIX}not-found"])
    title: str
    status: int
    detail: str = Field(description="what was wrong and where; never SQL or literals")
    hint: str = Field("", description="what to do")


_STATUS: tuple[tuple[type[RewriterError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (InputError, 422),
    (Forbidden, 403),
    (TooManyRequests, 429),
    (AccessError, 401),
    (BudgetExceeded, 402),
    (ModelError, 503),
    (TargetError, 503),
    (EngineError, 422),
    (StoreError, 503),
)

_NAMES = {
    400: "The body is not what its type says",
    401: "No valid key",
    403: "The key's role does not allow it",
    404: "Not there, or not for this caller",
    409: "Does not fit with what was done before",
    413: "The body is too large",
    422: "The request cannot be used",
    429: "Too many requests",
    503: "The store or the target is not to be had",
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {
        "model": Problem,
        "description": name,
        "content": {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, name in _NAMES.items()
}


def install(app: FastAPI) -> None:
    """Let every failure of ``app`` be answered by a problem."""

    @app.exception_handler(RewriterError)
    async def failed(_: Request, error: RewriterError) -> JSONResponse:
        status = status_of(error)
        headers = {}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if isinstance(error, TooManyRequests):
            headers["Retry-After"] = str(max(1, math.ceil(error.wait)))
        return problem(status, error.code, error.message, error.hint, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # The places only: what stands there may be SQL, and a member's name may be anything.
        places = sorted({_place(entry["loc"]) for entry in error.errors()})
        what = f"not a valid request: {', '.join(places)[:300]}"
        return problem(422, "bad-request", what, "see /openapi.json")

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        code = {400: "bad-request", 404: "not-found", 405: "method-not-allowed", 413: "too-large"}.get(
            error.status_code, "http"
        )
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = _allowed(app, request.url.path)
        return problem(error.status_code, code, str(error.detail), "", headers)


def _allowed(app: FastAPI, path: str) -> str:
    """The methods of all routes of a path (the router tells those of the first only)."""
    items = app.openapi()["paths"].items()
    found = {method.upper() for template, item in items if compile_path(template)[0].match(path) for method in item}
    return ", ".join(sorted(found)) or "GET"


def status_of(error: RewriterError) -> int:
    """The HTTP status that says what kind of failure it is."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def problem(status: int, code: str, detail: str, hint: str = "", headers: dict[str, str] | None = None) -> JSONResponse:
    body = Problem(type=PREFIX + code, title=code.replace("-", " "), status=status, detail=detail, hint=hint)
    return JSONResponse(body.model_dump(), status, headers, media_type=MEDIA)


def _place(location: tuple[Any, ...]) -> str:
    known = [str(part) for part in location if isinstance(part, int) or str(part).replace("_", "").isalnum()]
    return ".".join(part[:40] for part in known)
