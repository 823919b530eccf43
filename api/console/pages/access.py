"""Keys, the model endpoint, the audit log: for admins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from api.console.rendering import page
from api.console.sessions import ActingAdmin, Admin, Viewer, Visitor
from api.routes import keys as api
from rewriter.store.access import AuditRecord, KeyRecord

router = APIRouter()


@dataclass(frozen=True)
class KeysView:
    """``made``: a new key with its secret, shown this once."""

    keys: list[KeyRecord]
    made: str | None
    made_name: str
    wrong: str


@dataclass(frozen=True)
class ModelView:
    """The endpoint as it is set up. ``where`` is its host alone."""

    name: str | None
    where: str
    masked: bool
    tokens_today: int
    cost_today: float
    day_tokens: int
    day_cost: float


@dataclass(frozen=True)
class AuditView:
    entries: list[AuditRecord]
    following: str | None
    names: dict[str, str]


@router.get("/keys")
def keys_page(request: Request, visitor: Admin) -> Response:
    return _keys(request, visitor)


@router.post("/keys")
def make_key(
    request: Request,
    visitor: ActingAdmin,
    name: Annotated[str, Form(max_length=128)] = "",
    role: Annotated[str, Form()] = "viewer",
    rate: Annotated[str, Form(max_length=12)] = "",
    day_tokens: Annotated[str, Form(max_length=15)] = "",
) -> Response:
    """The key is in this answer and nowhere else: no redirect, so no address and no store holds it."""
    given = {"name": name.strip(), "role": role, "rate": rate or None, "day_tokens": day_tokens or None}
    try:
        made = api.create_key(api.NewKey.model_validate(given), visitor.service, visitor.caller, Response())
    except ValidationError as error:
        fields = ", ".join(sorted({str(one["loc"][0]).replace("_", " ") for one in error.errors()}))
        return _keys(request, visitor, wrong=f"These fields cannot be used: {fields}.", status=422)
    return _keys(request, visitor, made=made.key, made_name=made.name)


@router.post("/keys/{identifier}/revoke")
def revoke(identifier: str, visitor: ActingAdmin) -> Response:
    api.revoke_key(identifier, visitor.service, visitor.caller)
    return RedirectResponse("/console/keys?said=revoked", 303)


@router.get("/model")
def model_page(request: Request, visitor: Viewer) -> Response:
    settings = visitor.service.settings
    tokens, cost = visitor.service.store.models(tenant=visitor.caller.tenant).spent()
    view = ModelView(
        name=settings.model,
        where=urlsplit(settings.model_url).hostname or "" if settings.model_url else "",
        masked=settings.model_mask_names,
        tokens_today=tokens,
        cost_today=cost,
        day_tokens=settings.model_day_tokens,
        day_cost=settings.model_day_cost,
    )
    return page(request, "model.html", view, title="Model", section="settings", twin="/v1/me")


@router.get("/audit")
def audit_page(request: Request, visitor: Admin, before: int | None = None) -> Response:
    access, tenant = visitor.service.store.access(), visitor.caller.tenant
    found = access.audit(tenant, before, 101)
    following = f"/console/audit?before={found[99].id}" if len(found) > 100 else None
    names = {key.id: key.name for key in access.keys(tenant)}
    view = AuditView(found[:100], following, names)
    return page(request, "audit.html", view, title="Audit log", section="settings", twin="/v1/audit")


def _keys(
    request: Request,
    visitor: Visitor,
    *,
    made: str | None = None,
    made_name: str = "",
    wrong: str = "",
    status: int = 200,
) -> Response:
    keys = visitor.service.store.access().keys(visitor.caller.tenant)
    view = KeysView(sorted(keys, key=lambda key: (key.revoked is not None, key.created)), made, made_name, wrong)
    return page(request, "keys.html", view, title="API keys", section="settings", twin="/v1/api-keys", status=status)
