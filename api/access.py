"""Who calls: API keys, bearer tokens of an OIDC issuer, and what each role may do."""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.context import Service, service_of
from api.outer import OURS
from rewriter.errors import Forbidden, Unauthenticated, UsageError
from rewriter.service.vault import digest
from rewriter.settings import Settings
from rewriter.store import Store
from rewriter.store.access import KeyRecord
from rewriter.store.tables import DEFAULT_TENANT

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
ROLES = (VIEWER, OPERATOR, ADMIN)  # each may do what those before it may
MARK = "rk"
TENANT = re.compile(r"[!-~]{1,64}")
LONGEST_SUBJECT = 100  # characters; those of longer subjects are hashed

_bearer = HTTPBearer(auto_error=False, description="an API key (rk_...), or a token of the configured OIDC issuer")


@dataclass(frozen=True)
class Caller:
    """Whoever makes a request. ``actor`` is the visible part of the key, or the subject of the token."""

    tenant: str
    actor: str
    role: str
    rate: int | None = None

    def may(self, role: str) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


def needs(role: str) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, who must have this role or a higher one. Raises Unauthenticated, Forbidden,
    TooManyRequests."""

    async def caller(
        request: Request,
        service: Annotated[Service, Depends(service_of)],
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> Caller:
        credentials = given.credentials if given is not None else None
        if credentials and credentials.startswith(f"{MARK}_") and service.keys.fresh(visible_of(credentials)):
            found = _of_key(credentials, service)
        else:
            found = await run_in_threadpool(identify, credentials, service)
        allowance = service.limiter.take(f"{found.tenant}/{found.actor}", found.rate)
        request.scope[OURS].update(allowance.headers)
        allowance.check()
        if not found.may(role):
            raise Forbidden(f"this needs the role {role}", hint=f"the caller's role is {found.role}")
        request.state.caller = found
        return found

    caller.role = role  # type: ignore[attr-defined]  # the authorisation matrix reads it
    return caller


Viewer = Annotated[Caller, Depends(needs(VIEWER))]
Operator = Annotated[Caller, Depends(needs(OPERATOR))]
Admin = Annotated[Caller, Depends(needs(ADMIN))]


def identify(credentials: str | None, service: Service) -> Caller:
    """Raises Unauthenticated."""
    if not credentials:
        raise Unauthenticated("no key was given", hint="send the header Authorization: Bearer KEY")
    if credentials.startswith(f"{MARK}_"):
        return _of_key(credentials, service)
    if service.settings.oidc_issuer is not None:
        return _of_token(service.tokens.claims(credentials), service.settings)
    raise _invalid()


def _of_key(credentials: str, service: Service) -> Caller:
    visible = visible_of(credentials)
    found = service.keys.find(visible) if visible else None
    # Compared also when there is no such key, so that time does not tell which visible parts exist.
    same = hmac.compare_digest(found.digest if found is not None else digest(""), digest(credentials))
    if found is None or not same or found.revoked is not None:
        raise _invalid()
    return Caller(found.tenant, found.id, found.role, found.rate)


def visible_of(credentials: str) -> str:
    """The visible part of a key; empty when it has not the form of one."""
    parts = credentials.split("_")
    return parts[1] if len(parts) == 3 else ""


def _of_token(claims: Mapping[str, Any], settings: Settings) -> Caller:
    role = claims.get(settings.oidc_role_claim)
    if role not in ROLES:
        raise Unauthenticated("the token names no role of this service")
    tenant = claims.get(settings.oidc_tenant_claim, DEFAULT_TENANT)
    # Never cut short: two tenants, or two people, could then become one.
    if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
        raise Unauthenticated("the token names no tenant that can be one", hint="1 to 64 printable ASCII characters")
    subject = str(claims["sub"])
    if len(subject) > LONGEST_SUBJECT or not (subject.isascii() and subject.isprintable()):
        subject = f"sha256:{digest(subject)}"
    return Caller(tenant, f"oidc:{subject}", str(role))


def _invalid() -> Unauthenticated:
    return Unauthenticated("the key is not valid", hint="it may have been revoked; an admin can make a new one")


def new_key(
    tenant: str,
    name: str,
    role: str,
    by: str,
    *,
    rate: int | None = None,
    day_tokens: int | None = None,
    day_cost: float | None = None,
) -> tuple[str, KeyRecord]:
    """The key to hand out, which is kept nowhere, and its record. 256 random bits."""
    visible = secrets.token_hex(6)
    key = f"{MARK}_{visible}_{secrets.token_hex(32)}"
    return key, record_of(key, tenant, name, role, by, rate=rate, day_tokens=day_tokens, day_cost=day_cost)


def record_of(
    key: str,
    tenant: str,
    name: str,
    role: str,
    by: str,
    *,
    rate: int | None = None,
    day_tokens: int | None = None,
    day_cost: float | None = None,
) -> KeyRecord:
    visible = key.split("_")[1]
    return KeyRecord(visible, tenant, name, role, digest(key), rate, day_tokens, day_cost, time.time(), by, None, None)


def first_key(store: Store, settings: Settings) -> str | None:
    """The admin key of a store that has no keys yet, to be shown once; None when there are keys already, or when the
    operator has chosen it. Raises UsageError."""
    access = store.access()
    if access.any_key():
        return None
    chosen = settings.admin_key.get_secret_value() if settings.admin_key is not None else None
    if chosen is not None:
        parts = chosen.split("_")
        if len(parts) != 3 or parts[0] != MARK or not parts[1].isalnum() or len(parts[2]) < 32 or len(parts[1]) > 16:
            raise UsageError(
                "REWRITER_ADMIN_KEY has not the form of a key", hint="rk_NAME_SECRET, the secret 32 characters or more"
            )
        access.add_key(record_of(chosen, DEFAULT_TENANT, "first admin", ADMIN, "operator"))
        return None
    key, record = new_key(DEFAULT_TENANT, "first admin", ADMIN, "first start")
    access.add_key(record)
    return key
