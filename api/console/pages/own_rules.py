"""Rules of one's own: written with a live look at the document's form, checked by a worker, approved, put away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError

from api.console.rendering import page, part
from api.console.sessions import ActingOperator, Operator, Viewer, Visitor
from api.routes import rules as api
from rewriter.distill.document import document_path
from rewriter.errors import InputError
from rewriter.repository import Repository
from rewriter.store.jobs import Filter, JobRecord
from rules.rulefile import parse_rule

router = APIRouter(prefix="/rules")

EXAMPLE = "predicate/negated_comparison"  # what a new document starts from
RECENT = 100  # checks among which a rule's latest is looked for

Document = Annotated[str, Form(max_length=2 * api.LONGEST)]


@dataclass(frozen=True)
class EditorView:
    """``rule``: None for a new one. ``name`` and ``text`` as typed; ``check``: the latest one of the rule."""

    rule: api.RuleText | None
    name: str
    text: str
    wrong: str
    hint: str
    check: JobRecord | None


@dataclass(frozen=True)
class CheckView:
    name: str
    check: JobRecord | None


@dataclass(frozen=True)
class FormView:
    """Whether a document has the form of one, and what is wrong with it otherwise."""

    wrong: str
    hint: str


@router.get("/new")
def new_page(request: Request, visitor: Operator, like: str = EXAMPLE) -> Response:
    known = _repository(visitor).document(like)
    return _editor(request, None, "own/", known.text, visitor)


@router.post("/new")
def create(
    request: Request, visitor: ActingOperator, name: Annotated[str, Form(max_length=200)] = "", text: Document = ""
) -> Response:
    text = _plain(text)
    try:
        made = api.create_rule(api.NewRule(name=name, document=text), visitor.service, visitor.caller, Response())
    except ValidationError:
        hint = "family/name, in small letters, digits and underscores, such as own/no_empty_text."
        return _editor(request, None, name, text, visitor, "The name or the document cannot be used.", hint)
    except InputError as error:
        return _editor(request, None, name, text, visitor, error.message, error.hint)
    return RedirectResponse(f"/console/rules/{made.name}/edit?said=changed", 303)


@router.post("/form")
def look_at_form(request: Request, visitor: ActingOperator, text: Document = "") -> Response:  # noqa: ARG001
    """While somebody is typing: does the document have the form of one?"""
    path = document_path("own/draft")
    try:
        parse_rule(_plain(text), path)
    except InputError as error:
        message = error.message.replace(str(path), "The document")
        return HTMLResponse(part(request, "parts/rule_form.html", FormView(message, error.hint)))
    return HTMLResponse(part(request, "parts/rule_form.html", FormView("", "")))


@router.get("/{family}/{name}/edit")
def edit_page(family: str, name: str, request: Request, visitor: Operator) -> Response:
    rule = _own(visitor, family, name)
    return _editor(request, rule, rule.name, rule.document, visitor)


@router.post("/{family}/{name}/edit")
def save(
    family: str,
    name: str,
    request: Request,
    visitor: ActingOperator,
    text: Document = "",
    then: Annotated[Literal["", "check", "approve"], Form()] = "",
) -> Response:
    """Save, and have it checked where ``then`` says so. Text that did not change stays as it was approved."""
    rule, text = _own(visitor, family, name), _plain(text)
    if text != rule.document:
        try:
            api.edit_rule(family, name, api.Edit(document=text), visitor.service, visitor.caller)
        except ValidationError:
            return _editor(request, rule, rule.name, text, visitor, "The document is empty or too long.", "")
        except InputError as error:
            return _editor(request, rule, rule.name, text, visitor, error.message, error.hint)
    if then:
        api.check_rule(family, name, visitor.service, visitor.caller, Response(), approve=then == "approve")
    return RedirectResponse(f"/console/rules/{rule.name}/edit?said=changed#check", 303)


@router.post("/{family}/{name}/decide")
def decide(
    family: str,
    name: str,
    visitor: ActingOperator,
    status: Annotated[Literal["rejected", "retired"], Form()],
    reason: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    body = api.Verdict(status=status, reason=reason)
    rule = api.decide_rule(family, name, body, visitor.service, visitor.caller)
    return RedirectResponse(f"/console/rules/{rule.name}?said=changed", 303)


@router.get("/{family}/{name}/check")
def check_part(family: str, name: str, request: Request, visitor: Viewer) -> Response:
    """The latest check as a piece of the page, which asks for itself until it has ended."""
    rule = _own(visitor, family, name)
    return HTMLResponse(part(request, "parts/rule_check.html", CheckView(rule.name, _latest(visitor, rule.name))))


def _editor(
    request: Request,
    rule: api.RuleText | None,
    name: str,
    text: str,
    visitor: Visitor,
    wrong: str = "",
    hint: str = "",
) -> Response:
    check = _latest(visitor, rule.name) if rule is not None else None
    view = EditorView(rule, name, text, wrong, hint, check)
    title = f"Edit {rule.name}" if rule is not None else "A new rule"
    twin = f"/v1/rules/{rule.name}" if rule is not None else "/v1/rules"
    status = 422 if wrong else 200
    return page(request, "rule_editor.html", view, title=title, section="rules", twin=twin, status=status)


def _own(visitor: Visitor, family: str, name: str) -> api.RuleText:
    """Raises NotFound, UsageError for a rule of the catalogue."""
    api.own_rule(visitor.service, visitor.caller, family, name)
    return api.read_rule(family, name, visitor.service, visitor.caller)


def _latest(visitor: Visitor, name: str) -> JobRecord | None:
    jobs = visitor.service.store.jobs(visitor.caller.tenant).listed(Filter(api.KIND, limit=RECENT))
    return next((job for job in jobs if job.request.get("name") == name), None)


def _repository(visitor: Visitor) -> Repository:
    return Repository(visitor.service.store, visitor.caller.tenant)


def _plain(text: str) -> str:
    """Forms send lines that end as those of the network do."""
    return text.replace("\r\n", "\n")
