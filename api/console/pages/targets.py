"""Targets: register, check, switch, remove."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import SecretStr, ValidationError

from api.console.rendering import page
from api.console.sessions import ActingAdmin, ActingOperator, Viewer, Visitor
from api.routes import targets as api
from rewriter.errors import InputError, RewriterError
from rewriter.store.target_records import TargetRecord

router = APIRouter(prefix="/targets")


@dataclass(frozen=True)
class TargetsView:
    """``given``: name and URL as typed, when the form was not good; a URL with a password is never given back."""

    targets: list[TargetRecord]
    given: tuple[str, str]
    wrong: str
    hint: str


@router.get("")
def targets_page(request: Request, visitor: Viewer) -> Response:
    return _page(request, visitor)


@router.post("")
def register(
    request: Request,
    visitor: ActingAdmin,
    name: Annotated[str, Form(max_length=64)] = "",
    url: Annotated[str, Form(max_length=4096)] = "",
    runs: Annotated[bool, Form()] = False,
) -> Response:
    shown = url if url.startswith(("env:", "file:")) else ""
    try:
        body = api.NewTarget(name=name, url=SecretStr(url), runs=runs)
        api.register_target(body, visitor.service, visitor.caller, Response())
    except ValidationError:
        hint = "Small letters, digits, dots, dashes and underscores; it begins with a letter or a digit."
        return _page(request, visitor, (name, shown), "The name or the URL cannot be used.", hint, 422)
    except InputError as error:
        return _page(request, visitor, (name, shown), error.message, error.hint, 422)
    return RedirectResponse("/console/targets?said=registered", 303)


@router.post("/{name}/check")
def check(name: str, request: Request, visitor: ActingOperator) -> Response:
    try:
        api.check_target(name, visitor.service, visitor.caller)
    except RewriterError as error:
        return _page(request, visitor, ("", ""), f"{name}: {error.message}", error.hint, 503)
    return RedirectResponse("/console/targets?said=checked", 303)


@router.post("/{name}/switch")
def switch(
    name: str, visitor: ActingAdmin, what: Annotated[Literal["enabled", "runs"], Form()], on: Annotated[bool, Form()]
) -> Response:
    api.change_target(name, api.TargetChange.model_validate({what: on}), visitor.service, visitor.caller)
    return RedirectResponse("/console/targets?said=changed", 303)


@router.post("/{name}/remove")
def remove(name: str, visitor: ActingAdmin) -> Response:
    api.remove_target(name, visitor.service, visitor.caller)
    return RedirectResponse("/console/targets?said=removed", 303)


def _page(
    request: Request,
    visitor: Visitor,
    given: tuple[str, str] = ("", ""),
    wrong: str = "",
    hint: str = "",
    status: int = 200,
) -> Response:
    view = TargetsView(visitor.service.store.targets(visitor.caller.tenant).listed(), given, wrong, hint)
    return page(request, "targets.html", view, title="Targets", section="settings", twin="/v1/targets", status=status)
