"""The DBA console: pages over the same store and functions as the API, rendered here, with no script from elsewhere.

It is an application of its own below ``/console``, because its failures are pages and its answers carry a
Content-Security-Policy under which nothing inline runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from starlette.middleware.gzip import GZipMiddleware

from api.console import assets, failures
from api.console.pages import PAGES

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def install(app: FastAPI) -> None:
    """Mount the console on the API's application, and lead a browser's first request there."""
    console = FastAPI(title="rewriter console", openapi_url=None, docs_url=None, redoc_url=None)
    console.state.outer = app
    for router in (assets.router, *PAGES):
        console.include_router(router)
    failures.install(console)
    console.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=6)

    @console.middleware("http")
    async def guarded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response

    @app.get("/", include_in_schema=False)
    def first() -> Response:
        return RedirectResponse("/console/")

    @app.get("/console", include_in_schema=False)
    def slash() -> Response:
        return RedirectResponse("/console/")

    app.mount("/console", console)
