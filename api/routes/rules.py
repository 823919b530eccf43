"""Rules: what the service knows, which rules a target uses, and the rules that users and rewrites add."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import Caller, Operator, Viewer
from api.context import Service, TheService
from api.problems import ANSWERS
from api.submitting import submit
from api.wire import JobView, job_view
from rewriter.errors import NotFound, UsageError
from rewriter.repository import Listed, Repository
from rewriter.service.orders import Name, RuleOrder
from rewriter.service.targets import found

router = APIRouter(prefix="/v1", tags=["rules"], responses=ANSWERS)

KIND = "rule"
LONGEST = 65_536  # characters of a document

Status = Literal["draft", "stable", "retired", "rejected"]
Origin = Literal["catalogue", "user", "model", "distilled"]
DocumentText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST,
        description="the whole document, as Markdown; see CONTRIBUTING.md",
        examples=["---\nstatus: draft\n..."],
    ),
]


class RuleView(BaseModel):
    """A rule in short."""

    name: str = Field(examples=["subquery/in_to_exists"])
    text: str = Field(description="the rule in a sentence")
    origin: Origin
    status: Status
    kind: str = Field(description="executable, pattern, or advice (for models only)")
    uses: int = Field(description="single runs after this rule's step")
    wins: int = Field(description="of these, clearly faster than before it")
    gained: float = Field(description="orders of magnitude of time that the wins gained, in all")
    group: int | None = Field(None, description="rules that say the same have the same number")
    ratio: float | None = Field(None, description="times faster the rewrites were that it was learnt from")
    enabled: bool = Field(True, description="switched on for all targets")
    reason: str = Field("", description="what the last check or person said")
    off: bool = Field(False, description="switched off for the target asked about")


class RuleText(RuleView):
    """A rule with its document."""

    document: str = Field(description="the whole document, as Markdown")


class NewRule(BaseModel):
    """A rule to be kept as a draft."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)?$", max_length=128, examples=["own/no_empty_text"])
    document: DocumentText


class Edit(BaseModel):
    """Another text for a rule of one's own."""

    model_config = ConfigDict(extra="forbid")

    document: DocumentText


class Verdict(BaseModel):
    """What a person decides about a rule of one's own. ``stable`` comes by a check that approves."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["rejected", "retired"] = Field(examples=["retired"])
    reason: str = Field("", max_length=2000)


class Switch(BaseModel):
    """A rule on or off for a target."""

    model_config = ConfigDict(extra="forbid")

    target: Name
    enabled: bool = Field(examples=[False])


@router.get("/rules")
def list_rules(
    service: TheService,
    caller: Viewer,
    target: Annotated[str | None, Query(max_length=64, description="tell which rules are off for this target")] = None,
    search: Annotated[str | None, Query(max_length=200, description="words; the most alike come first")] = None,
    origin: Annotated[Origin | None, Query(description="only rules of this origin")] = None,
    status: Annotated[Status | None, Query(description="only rules of this status")] = None,
) -> list[RuleView]:
    """All rules with what each was worth so far: of the catalogue, of users, learnt from rewrites and models."""
    off = service.store.targets(caller.tenant).rules_off(target) if target is not None else frozenset()
    listed = _repository(service, caller).all(search=search, origin=origin, status=status)
    return [_view(one, off) for one in listed]


@router.post("/rules", status_code=201)
def create_rule(body: NewRule, service: TheService, caller: Operator, response: Response) -> RuleText:
    """Keep a rule document as a draft. It is applied once a check has approved it."""
    repository = _repository(service, caller)
    document = repository.add(body.name, body.document, by=caller.actor)
    service.store.access().note(caller.tenant, caller.actor, "rule.create", document.name)
    response.headers["Location"] = f"/v1/rules/{document.name}"
    return _text(repository, document.name)


@router.get("/rules/{family}/{rule}")
def read_rule(family: str, rule: str, service: TheService, caller: Viewer) -> RuleText:
    """One rule with its document."""
    return _text(_repository(service, caller), f"{family}/{rule}")


@router.put("/rules/{family}/{rule}")
def edit_rule(family: str, rule: str, body: Edit, service: TheService, caller: Operator) -> RuleText:
    """Put another text in the place of a rule of one's own; it is a draft from then on."""
    repository, name = own_rule(service, caller, family, rule)
    repository.edit(name, body.document, by=caller.actor)
    service.store.access().note(caller.tenant, caller.actor, "rule.edit", name)
    return _text(repository, name)


@router.post("/rules/{family}/{rule}/checks", status_code=202)
def check_rule(
    family: str,
    rule: str,
    service: TheService,
    caller: Operator,
    response: Response,
    approve: Annotated[bool, Query(description="make it stable when every check passes")] = False,
) -> JobView:
    """Have everything checked that has to hold of a rule of one's own: its examples, that they are equivalent, that it
    leaves alone what it must, and its uses on generated schemas. Takes minutes."""
    _, name = own_rule(service, caller, family, rule)
    order = RuleOrder(name=name, approve=approve)
    job, _ = submit(service, caller, KIND, None, order, None, fresh=True)
    response.headers["Location"] = f"/v1/rule-checks/{job.id}"
    return job_view(job)


@router.get("/rule-checks/{identifier}")
def read_rule_check(identifier: str, service: TheService, caller: Viewer) -> JobView:
    """A check, with its findings once it is done."""
    job = service.store.jobs(caller.tenant).find(identifier)
    if job is None or job.kind != KIND:
        raise NotFound("there is no such check")
    return job_view(job)


@router.put("/rules/{family}/{rule}/status")
def decide_rule(family: str, rule: str, body: Verdict, service: TheService, caller: Operator) -> RuleText:
    """Reject a rule of one's own, or retire it: it is no longer applied."""
    repository, name = own_rule(service, caller, family, rule)
    decide = repository.reject if body.status == "rejected" else repository.retire
    decide(name, body.reason, by=caller.actor)
    detail = {"status": body.status, "reason": body.reason}
    service.store.access().note(caller.tenant, caller.actor, "rule.decide", name, detail)
    return _text(repository, name)


@router.put("/rules/{family}/{rule}/switch")
def switch_rule(family: str, rule: str, body: Switch, service: TheService, caller: Operator) -> RuleView:
    """Switch a rule off, or on again, for a target."""
    known = _found(_repository(service, caller), f"{family}/{rule}")
    found(service.store, caller.tenant, body.target)
    targets = service.store.targets(caller.tenant)
    targets.switch_rule(body.target, known.name, caller.actor, enabled=body.enabled)
    return _view(known, targets.rules_off(body.target))


def _repository(service: Service, caller: Caller) -> Repository:
    return Repository(service.store, caller.tenant)


def own_rule(service: Service, caller: Caller, family: str, rule: str) -> tuple[Repository, str]:
    """Raises NotFound, and UsageError for a rule of the catalogue, which is changed in its file."""
    repository, name = _repository(service, caller), f"{family}/{rule}"
    known = _found(repository, name)
    if not repository.is_own(name):
        raise UsageError(f"this rule is of the {known.origin} and is not changed here")
    return repository, name


def _found(repository: Repository, name: str) -> Listed:
    known = next((one for one in repository.all() if one.name == name), None)
    if known is None:
        raise NotFound("there is no such rule")
    return known


def _text(repository: Repository, name: str) -> RuleText:
    known = _found(repository, name)
    return RuleText(**_fields(known), document=repository.document(known.name).text)


def _view(known: Listed, off: frozenset[str]) -> RuleView:
    return RuleView.model_validate({**_fields(known), "off": known.name in off})


def _fields(known: Listed) -> dict[str, object]:
    fields = asdict(known)
    fields.pop("changed_by")
    return fields
