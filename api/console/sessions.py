"""Who looks at the console: sign-in by API key, sessions in a sealed cookie, tokens against forged requests.

A session is the id of the key it was opened with, sealed by the service's vault (AES-256-GCM): the browser can neither
read nor make one, the key itself is nowhere in it, and revoking the key ends it. Every form carries a token, which is
the session's own number sealed anew for each page, so compression tells nothing about it.
"""

from __future__ import annotations

import binascii
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Form, Header, Request, Response

from api.access import ADMIN, OPERATOR, VIEWER, Caller, identify
from api.context import Service
from rewriter.errors import Forbidden, Unauthenticated, UsageError

COOKIE = "rewriter_session"
LIFE = 12 * 3600.0  # seconds after which one signs in again
FAILURES = 20  # wrong keys a minute from one address
SEALED_FOR = "console/session"
TOKEN_FOR = "console/form"  # noqa: S105 (a purpose, not a secret)


@dataclass(frozen=True)
class Session:
    """``number`` is random; ``key`` the visible part of the API key, None before signing in; ``ends`` a moment."""

    number: str
    key: str | None
    ends: float


@dataclass(frozen=True)
class Visitor:
    """Somebody who has signed in, with what a page needs."""

    service: Service
    session: Session
    caller: Caller

    def may(self, role: str) -> bool:
        return self.caller.may(role)


def service_of(request: Request) -> Service:
    """The console is an application of its own inside the API's, which owns the service."""
    return cast(Service, request.app.state.outer.state.service)


TheService = Annotated[Service, Depends(service_of)]


def session_of(request: Request) -> Session | None:
    """The session that the browser's cookie holds, if it is one of ours and has not ended."""
    sealed = request.cookies.get(COOKIE)
    if not sealed or len(sealed) > 1024:
        return None
    try:
        found = Session(**json.loads(service_of(request).vault.open(_standard(sealed), SEALED_FOR)))
    except (UsageError, binascii.Error, ValueError, TypeError):
        return None
    return found if found.ends > time.time() else None


def begin(request: Request, response: Response, key: str | None) -> Session:
    """Open a session and put it into the response's cookie."""
    session = Session(secrets.token_hex(16), key, time.time() + LIFE)
    sealed = service_of(request).vault.seal(json.dumps(session.__dict__), SEALED_FOR)
    response.set_cookie(
        COOKIE,
        _plain(sealed),
        max_age=int(LIFE),
        path="/console",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return session


def end(response: Response) -> None:
    response.delete_cookie(COOKIE, path="/console", httponly=True, samesite="lax")


def token(service: Service, session: Session) -> str:
    """A token for the forms of one page."""
    return _plain(service.vault.seal(session.number, TOKEN_FOR))


def check_token(request: Request, session: Session | None, given: str | None) -> None:
    """Raises Forbidden for a POST that none of our pages has made."""
    foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    if foreign or session is None or not given or len(given) > 1024:
        raise _forged()
    try:
        number = service_of(request).vault.open(_standard(given), TOKEN_FOR)
    except (UsageError, binascii.Error, ValueError):
        raise _forged() from None
    if not secrets.compare_digest(number, session.number):
        raise _forged()


def signed_in(service: Service, credentials: str, address: str) -> Caller:
    """Whose key this is. Raises Unauthenticated, TooManyRequests."""
    try:
        if not credentials.startswith("rk_"):
            raise Unauthenticated("This is not an API key.", hint="Keys begin with rk_; an admin can make one.")
        return identify(credentials, service)
    except Unauthenticated:
        service.limiter.take(f"console sign-in from {address}", FAILURES).check()
        raise


def recognise(request: Request) -> Visitor | None:
    """Whoever the session's key belongs to, while the key is good; kept with the request for the page's frame."""
    service, session = service_of(request), session_of(request)
    record = service.keys.find(session.key) if session is not None and session.key is not None else None
    if session is None or record is None or record.revoked is not None:
        return None
    visitor = Visitor(service, session, Caller(record.tenant, record.id, record.role, record.rate))
    request.state.visitor = visitor
    return visitor


def _visitor(request: Request, role: str) -> Visitor:
    """Raises SignIn, Forbidden, TooManyRequests."""
    visitor = recognise(request)
    if visitor is None:
        raise SignIn
    caller = visitor.caller
    visitor.service.limiter.take(f"{caller.tenant}/{caller.actor}", caller.rate).check()
    if not caller.may(role):
        raise Forbidden(f"This needs the role {role}.", hint=f"Your key's role is {caller.role}.")
    return visitor


def _looks(role: str) -> Callable[..., Visitor]:
    def visitor(request: Request) -> Visitor:
        return _visitor(request, role)

    visitor.role = role  # type: ignore[attr-defined]  # the tests' authorisation matrix reads it
    return visitor


def _acts(role: str) -> Callable[..., Visitor]:
    def visitor(
        request: Request,
        token: Annotated[str | None, Form()] = None,
        x_csrf_token: Annotated[str | None, Header()] = None,
    ) -> Visitor:
        found = _visitor(request, role)
        check_token(request, found.session, x_csrf_token or token)
        return found

    visitor.role = role  # type: ignore[attr-defined]
    return visitor


class SignIn(Exception):
    """Nobody has signed in: to be answered with the way to the sign-in page."""


# Pages are looked at, and forms act; only the second kind changes anything, and it needs a token.
Viewer = Annotated[Visitor, Depends(_looks(VIEWER))]
Operator = Annotated[Visitor, Depends(_looks(OPERATOR))]
Admin = Annotated[Visitor, Depends(_looks(ADMIN))]
ActingViewer = Annotated[Visitor, Depends(_acts(VIEWER))]
ActingOperator = Annotated[Visitor, Depends(_acts(OPERATOR))]
ActingAdmin = Annotated[Visitor, Depends(_acts(ADMIN))]


def _plain(sealed: str) -> str:
    """Base64 in the alphabet that needs no quoting in cookies."""
    return sealed.replace("+", "-").replace("/", "_").rstrip("=")


def _standard(plain: str) -> str:
    return plain.replace("-", "+").replace("_", "/") + "=" * (-len(plain) % 4)


def _forged() -> Forbidden:
    return Forbidden("this form is not one of this session's pages", hint="go back, load the page again and retry")
