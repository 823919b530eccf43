"""Failures as pages: what was wrong, and the way on. Never a traceback, never SQL."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from api.console.rendering import page
from api.console.sessions import SignIn, recognise
from api.problems import status_of
from rewriter.errors import RewriterError, TooManyRequests, place_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FailureView:
    status: int
    what: str
    hint: str


_TITLES = {403: "Not allowed", 404: "Not found", 413: "Too large", 422: "Cannot be used", 429: "Too many requests"}


def install(console: FastAPI) -> None:
    @console.exception_handler(SignIn)
    async def nobody(request: Request, _: SignIn) -> Response:
        back = request.url.path if request.method == "GET" else "/console/"
        where = f"/console/sign-in?next={quote(back, safe='/')}"
        if request.headers.get("hx-request"):
            return Response(status_code=401, headers={"HX-Redirect": where})
        return RedirectResponse(where, 303)

    @console.exception_handler(RewriterError)
    async def failed(request: Request, error: RewriterError) -> Response:
        response = _page(request, status_of(error), error.message, error.hint)
        if isinstance(error, TooManyRequests):
            response.headers["Retry-After"] = str(max(1, round(error.wait)))
        return response

    @console.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        fields = sorted({str(entry["loc"][-1])[:40] for entry in error.errors()})
        return _page(request, 422, f"The form has fields that cannot be used: {', '.join(fields)[:200]}", "")

    @console.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return _page(request, error.status_code, "There is no such page." if error.status_code == 404 else "", "")

    @console.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        log.error("internal error in %s: %s at %s", request.url.path, type(error).__name__, place_of(error))
        return _page(request, 500, "Something went wrong in the service.", "Its log says where.")


def _page(request: Request, status: int, what: str, hint: str) -> Response:
    with contextlib.suppress(RewriterError):
        recognise(request)
    title = _TITLES.get(status, "It did not work")
    return page(request, "failure.html", FailureView(status, what, hint), title=title, status=status)
