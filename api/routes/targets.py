"""Targets: the databases that an admin has registered."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from api.access import Admin, Caller, Operator, Viewer
from api.context import Service, TheService
from api.problems import ANSWERS
from api.wire import TargetView, target_view
from rewriter.catalog import Catalog, Table
from rewriter.errors import NotFound
from rewriter.service.orders import Name
from rewriter.service.targets import registered
from rewriter.store.target_records import TargetRecord

router = APIRouter(prefix="/v1/targets", tags=["targets"], responses=ANSWERS)


class NewTarget(BaseModel):
    """A database to register."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    url: SecretStr = Field(
        max_length=4096,
        description="env:REWRITER_TARGET_NAME or file:PATH, which the operator has set; or the URL itself, which is "
        "kept encrypted",
        examples=["env:REWRITER_TARGET_ORDERS"],
    )
    runs: bool = Field(False, description="its owner agrees to queries being run on it; else they are only planned")


class TargetChange(BaseModel):
    """What is to be changed; what is absent stays."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool | None = Field(None, description="false: clients use no rewrite on it any more", examples=[False])
    runs: bool | None = None


@router.post("", status_code=201)
def register_target(body: NewTarget, service: TheService, caller: Admin, response: Response) -> TargetView:
    """Register a database. It is not connected to yet; see ``POST /v1/targets/{name}/check``."""
    record = registered(
        body.name,
        body.url.get_secret_value(),
        tenant=caller.tenant,
        settings=service.settings,
        vault=service.vault,
        runs=body.runs,
    )
    made = service.store.targets(caller.tenant).add(record, caller.actor)
    response.headers["Location"] = f"/v1/targets/{body.name}"
    return target_view(made)


@router.get("")
def list_targets(service: TheService, caller: Viewer) -> list[TargetView]:
    """All targets."""
    return [target_view(record) for record in service.store.targets(caller.tenant).listed()]


@router.get("/{name}")
def read_target(name: str, service: TheService, caller: Viewer) -> TargetView:
    """One target."""
    return target_view(_found(service, caller, name))


@router.patch("/{name}")
def change_target(name: str, body: TargetChange, service: TheService, caller: Admin) -> TargetView:
    """Switch the use of rewrites off or on, or allow or forbid queries to be run."""
    changed = service.store.targets(caller.tenant).switch(name, caller.actor, enabled=body.enabled, runs=body.runs)
    if changed is None:
        raise NotFound("there is no such target")
    service.lookups.expire(caller.tenant, name)
    return target_view(changed)


@router.delete("/{name}", status_code=204)
def remove_target(name: str, service: TheService, caller: Admin) -> None:
    """Forget a target and its credentials. What was found on it stays readable; clients get nothing of it any more."""
    if not service.store.targets(caller.tenant).remove(name, caller.actor):
        raise NotFound("there is no such target")
    service.lookups.forget(caller.tenant, name)


@router.post("/{name}/check")
def check_target(name: str, service: TheService, caller: Operator) -> TargetView:
    """Connect, read the catalog, and take back evidence that rested on another one."""
    service.lookups.check(caller.tenant, name)
    return target_view(_found(service, caller, name))


@router.get("/{name}/catalog")
def read_catalog(name: str, service: TheService, caller: Viewer) -> dict[str, list[str]]:
    """The target's tables and views with their columns, as a query would name them: for completion."""
    catalog = service.lookups.catalog(caller.tenant, name)
    return {_called(table, catalog): [column.name for column in table.columns] for table in catalog.tables}


def _called(table: Table, catalog: Catalog) -> str:
    """Without its schema where the search path finds it."""
    plain = catalog.find(table.name, None)
    return table.name if plain is table or not table.schema else f"{table.schema}.{table.name}"


def _found(service: Service, caller: Caller, name: str) -> TargetRecord:
    record = service.store.targets(caller.tenant).find(name)
    if record is None:
        raise NotFound("there is no such target")
    return record
