"""What every answer passes last: measured, with the headers that all answers have, and no error's text in any log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import Metrics
from api.problems import problem
from rewriter.errors import place_of

log = logging.getLogger(__name__)

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
OURS = "rewriter.headers"
MAX_BODY = 2 * 1024 * 1024  # bytes
STREAMED = frozenset({"/v1/batches/upload", "/console/logs"})  # whose routes count for themselves
METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())


class Cut(Exception):
    """An answer that had begun cannot be finished; why is in the log."""


class Outer:
    """Around the whole application. ``scope[OURS]`` takes the headers that an answer is to have whatever it turns out
    to be. (FastAPI's own ``max_body_size`` answers in plain text.)"""

    def __init__(self, app: ASGIApp, metrics: Callable[[Scope], Metrics]) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, size = time.perf_counter(), 0, 0
        ours: dict[str, str] = scope.setdefault(OURS, {})

        async def receiving() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY and scope["path"] not in STREAMED:
                raise HTTPException(413, f"a body has at most {MAX_BODY:,} bytes")
            return message

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in {**HEADERS, **ours}.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receiving, sending)
        except Exception as error:
            # Its text may quote SQL, so it goes no further: the server would log it.
            log.error("internal error in %s: %s at %s", _route(scope), type(error).__name__, place_of(error))
            if status:
                raise Cut("an answer was cut off") from None
            answer = problem(500, "internal", "something went wrong in the service", "its log says where")
            await answer(scope, receive, sending)
        finally:
            metrics = self._metrics(scope)
            # A caller may send any method; labels are ours.
            method = scope["method"] if scope["method"] in METHODS else "other"
            metrics.requests.labels(method, _route(scope), str(status or 500)).inc()
            metrics.seconds.labels(_route(scope)).observe(time.perf_counter() - start)


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", "unknown"))
