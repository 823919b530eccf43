"""API keys, the audit log, and who the caller is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import Admin, Viewer, new_key
from api.context import TheService
from api.problems import ANSWERS
from api.wire import AuditView, KeyView, NewKeyView, Role, audit_view, cursor_of, key_fields, parts_of
from rewriter.errors import Conflict, NotFound

router = APIRouter(prefix="/v1", tags=["access"], responses=ANSWERS)


class NewKey(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=128, examples=["orders application"])
    role: Role = Field(
        "viewer", description="viewer reads; operator orders and reviews; admin registers and hands out keys"
    )
    rate: int | None = Field(None, ge=1, le=1_000_000, description="requests a minute; default: the service's")
    day_tokens: int | None = Field(None, ge=0, le=10**12, description="tokens that models may cost it a day")
    day_cost: float | None = Field(None, ge=0, le=10**9, description="US dollars that models may cost it a day")


class WhoView(BaseModel):
    tenant: str
    actor: str
    role: Role
    tokens_today: int = Field(description="tokens paid to models for this caller today (UTC)")
    cost_today: float


@router.get("/me")
def read_me(service: TheService, caller: Viewer) -> WhoView:
    """Who the caller is, and what it has spent on models today."""
    tokens, cost = service.store.access().spent(caller.tenant, caller.actor)
    known = {"tenant": caller.tenant, "actor": caller.actor, "role": caller.role}
    return WhoView.model_validate({**known, "tokens_today": tokens, "cost_today": cost})


@router.post("/api-keys", status_code=201)
def create_key(body: NewKey, service: TheService, caller: Admin, response: Response) -> NewKeyView:
    """Make a key. It is shown in this answer and never again."""
    key, record = new_key(
        caller.tenant,
        body.name,
        body.role,
        caller.actor,
        rate=body.rate,
        day_tokens=body.day_tokens,
        day_cost=body.day_cost,
    )
    access = service.store.access()
    access.add_key(record)
    access.note(caller.tenant, caller.actor, "key.create", record.id, {"role": body.role})
    response.headers["Cache-Control"] = "no-store"
    return NewKeyView(**key_fields(record), key=key)


@router.get("/api-keys")
def list_keys(service: TheService, caller: Admin) -> list[KeyView]:
    """All keys, without their secrets."""
    return [KeyView(**key_fields(key)) for key in service.store.access().keys(caller.tenant)]


@router.delete("/api-keys/{identifier}")
def revoke_key(identifier: str, service: TheService, caller: Admin) -> KeyView:
    """Revoke a key: it is of no use from now on."""
    if identifier == caller.actor:
        raise Conflict("a key cannot revoke itself", hint="use another admin's key")
    access = service.store.access()
    found = access.revoke(caller.tenant, identifier)
    if found is None:
        raise NotFound("there is no such key")
    service.keys.forget()
    access.note(caller.tenant, caller.actor, "key.revoke", identifier)
    return KeyView(**key_fields(found))


class AuditList(BaseModel):
    items: list[AuditView]
    next: str | None


@router.get("/audit")
def read_audit(
    service: TheService,
    caller: Admin,
    response: Response,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AuditList:
    """Who did what, newest first."""
    before = parts_of(cursor, int)[0] if cursor is not None else None
    found = service.store.access().audit(caller.tenant, before, limit + 1)
    following = cursor_of(found[limit - 1].id) if len(found) > limit else None
    if following is not None:
        response.headers["Link"] = f'</v1/audit?limit={limit}&cursor={following}>; rel="next"'
    return AuditList(items=[audit_view(entry) for entry in found[:limit]], next=following)
