"""For applications' clients: the signed set of approved rewrites of a target, and what the clients tell back."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import Viewer
from api.context import TheService
from api.problems import ANSWERS
from rewriter.clients.snapshot import sign
from rewriter.service.orders import Name
from rewriter.service.snapshots import built
from rewriter.store.reviews import APPROVED, DISABLED, REMEASURE

router = APIRouter(prefix="/v1", tags=["applications"], responses=ANSWERS)

Kind = Literal["error", "mismatch", "regression", "timing"]
FALLS = {
    "error": "it failed in an application where the original did not",
    "mismatch": "it returned something else than the original in an application",
    "regression": "it was slower than the original in an application",
}


@router.get("/snapshots/{target}", response_class=Response, responses={304: {"description": "It is still the same"}})
def read_snapshot(
    target: Name,
    service: TheService,
    caller: Viewer,
    if_none_match: Annotated[str | None, Header(max_length=256)] = None,
) -> Response:
    """All approved rewrites of a target whose evidence holds, signed (header ``Rewriter-Signature``)."""
    with service.lookups.engine(caller.tenant, target) as engine:
        snapshot, marker = built(service.store, engine, caller.tenant, target)
    tag = f'"{hashlib.sha256(f"{service.vault.public_key} {marker}".encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Rewriter-Key": service.vault.public_key}
    if if_none_match is not None and tag in [one.strip().removeprefix("W/") for one in if_none_match.split(",")]:
        return Response(status_code=304, headers=headers)
    body, signature = sign(snapshot, service.vault.signing_key)
    return Response(body, media_type="application/json", headers={**headers, "Rewriter-Signature": signature})


class ClientEvent(BaseModel):
    """Something that happened to a rewrite in an application."""

    model_config = ConfigDict(extra="ignore")

    entry: str = Field(max_length=64, description="id of the rewrite")
    kind: Kind
    detail: str = Field("", max_length=64, pattern=r"^[A-Za-z0-9_.:-]*$", description="a code; never SQL or values")
    original_seconds: float | None = Field(None, ge=0)
    rewrite_seconds: float | None = Field(None, ge=0)
    count: int = Field(1, ge=1, le=10**9)


class Feedback(BaseModel):
    """What a client saw since it last told."""

    model_config = ConfigDict(extra="ignore")

    target: Name
    events: list[ClientEvent] = Field(
        max_length=1000,
        examples=[[{"entry": "4f0c5f0e3a9d4d0a8f7e6c5b4a392817", "kind": "timing", "rewrite_seconds": 0.2}]],
    )


@router.post("/feedback", status_code=204)
def take_feedback(body: Feedback, service: TheService, caller: Viewer) -> None:
    """What clients saw. An error, a mismatch or a regression disables the rewrite for everybody; a person can approve
    it again."""
    reviews = service.store.reviews(caller.tenant)
    for event in body.events:
        service.metrics.feedback.labels(event.kind).inc(event.count)
        review = reviews.find(event.entry) if event.kind != "timing" else None
        if review is None or review.state != APPROVED or review.target != body.target:
            continue
        reviews.decide(event.entry, f"client of {caller.actor}", state=DISABLED, reason=FALLS[event.kind], mode=None)
        if event.kind == "regression":
            reviews.mark(event.entry, currency=REMEASURE, reason=FALLS[event.kind])
        service.lookups.expire(caller.tenant, body.target)
