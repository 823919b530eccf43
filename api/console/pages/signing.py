"""Sign-in by API key, and sign-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from api.console.rendering import page
from api.console.sessions import ActingViewer, TheService, begin, check_token, end, session_of, signed_in
from rewriter.errors import AccessError

router = APIRouter()


@dataclass(frozen=True)
class SignInView:
    next: str
    wrong: str
    hint: str


@router.get("/sign-in")
def sign_in_page(request: Request, next: str = "/console/") -> Response:
    """The form. A session without a key is opened for its token."""
    return _form(request, SignInView(_inside(next), "", ""))


@router.post("/sign-in")
def sign_in(
    request: Request,
    service: TheService,
    key: Annotated[str, Form(max_length=512)] = "",
    token: Annotated[str | None, Form()] = None,
    next: Annotated[str, Form(max_length=512)] = "/console/",
) -> Response:
    check_token(request, session_of(request), token)
    address = request.client.host if request.client is not None else "?"
    try:
        caller = signed_in(service, key.strip(), address)
    except AccessError as error:
        return _form(request, SignInView(_inside(next), error.message, error.hint), status=401)
    service.store.access().note(caller.tenant, caller.actor, "console.sign-in", caller.actor)
    response = RedirectResponse(_inside(next), 303)
    begin(request, response, caller.actor)
    return response


@router.post("/sign-out")
def sign_out(visitor: ActingViewer) -> Response:
    visitor.service.store.access().note(
        visitor.caller.tenant, visitor.caller.actor, "console.sign-out", visitor.caller.actor
    )
    response = RedirectResponse("/console/sign-in?said=signed-out", 303)
    end(response)
    return response


def _form(request: Request, view: SignInView, status: int = 200) -> Response:
    kept = Response()
    session = session_of(request)
    if session is None or session.key is not None:
        session = begin(request, kept, None)
    response = page(request, "sign_in.html", view, title="Sign in", status=status, session=session)
    for name, value in kept.raw_headers:
        if name == b"set-cookie":
            response.raw_headers.append((name, value))
    return response


def _inside(path: str) -> str:
    """A place of the console: never another site's, whatever the address said."""
    return path if path.startswith("/console/") and "\\" not in path and "//" not in path else "/console/"
