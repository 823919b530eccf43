"""Rules: what the service knows, and which rules a target uses."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.access import Operator, Viewer
from api.context import TheService
from api.problems import ANSWERS
from rewriter.errors import NotFound
from rewriter.service.orders import Name
from rewriter.service.targets import found
from rules.discovery import discover
from rules.rulefile import RuleDocument

router = APIRouter(prefix="/v1/rules", tags=["rules"], responses=ANSWERS)


class RuleView(BaseModel):
    """A rule in short."""

    name: str = Field(examples=["subquery/in_to_exists"])
    summary: str
    status: Literal["draft", "stable", "retired"]
    equivalence: Literal["always", "conditional", "advice"]
    dialects: list[str]
    executable: bool
    trials: int = Field(description="single runs after this rule's step, on this service's targets")
    wins: int = Field(description="of these, clearly faster than before it")
    gained: float = Field(description="orders of magnitude of time that the wins gained, in all")
    off: bool = Field(False, description="switched off for the target asked about")


class RuleText(RuleView):
    """A rule with its document."""

    text: str = Field(description="the whole document, as Markdown")


class Switch(BaseModel):
    """A rule on or off for a target."""

    model_config = ConfigDict(extra="forbid")

    target: Name
    enabled: bool = Field(examples=[False])


@router.get("")
def list_rules(
    service: TheService,
    caller: Viewer,
    target: Annotated[str | None, Query(max_length=64, description="tell which rules are off for this target")] = None,
) -> list[RuleView]:
    """The catalogue with what each rule was worth so far."""
    off = service.store.targets(caller.tenant).rules_off(target) if target is not None else frozenset()
    measured = _measured(service, caller.tenant)
    return [RuleView(**_fields(document, measured, off)) for document in discover()]


@router.get("/{family}/{rule}")
def read_rule(family: str, rule: str, service: TheService, caller: Viewer) -> RuleText:
    """One rule with its document."""
    document = _found(f"{family}/{rule}")
    text = document.path.read_text(encoding="utf-8")
    return RuleText(**_fields(document, _measured(service, caller.tenant), frozenset()), text=text)


@router.put("/{family}/{rule}/switch")
def switch_rule(family: str, rule: str, body: Switch, service: TheService, caller: Operator) -> RuleView:
    """Switch a rule off, or on again, for a target."""
    document = _found(f"{family}/{rule}")
    found(service.store, caller.tenant, body.target)
    targets = service.store.targets(caller.tenant)
    targets.switch_rule(body.target, document.name, caller.actor, enabled=body.enabled)
    return RuleView(**_fields(document, _measured(service, caller.tenant), targets.rules_off(body.target)))


def _found(name: str) -> RuleDocument:
    document = next((one for one in discover() if one.name == name), None)
    if document is None:
        raise NotFound("there is no such rule")
    return document


def _measured(service: TheService, tenant: str) -> dict[str, tuple[int, int, float]]:
    """By rule, over all dialects and shapes of queries."""
    found: dict[str, tuple[int, int, float]] = {}
    for (rule, _, _), (trials, wins, gained) in service.store.rule_trials(tenant=tenant).items():
        known = found.get(rule, (0, 0, 0.0))
        found[rule] = known[0] + trials, known[1] + wins, known[2] + gained
    return found


def _fields(
    document: RuleDocument, measured: dict[str, tuple[int, int, float]], off: frozenset[str]
) -> dict[str, object]:
    trials, wins, gained = measured.get(document.name, (0, 0, 0.0))
    return {
        "name": document.name,
        "summary": document.summary,
        "status": document.status,
        "equivalence": document.equivalence,
        "dialects": list(document.dialects),
        "executable": document.executable,
        "trials": trials,
        "wins": wins,
        "gained": gained,
        "off": document.name in off,
    }
