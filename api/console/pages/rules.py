"""Rules: the catalogue with search, one rule's document as a page, the switch for each target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import Markup

from api.console.rendering import page, part
from api.console.sessions import ActingOperator, Viewer
from api.console.views.markdown import rendered
from api.routes import rules as api
from rewriter.errors import NotFound
from rewriter.repository import Repository

router = APIRouter(prefix="/rules")


@dataclass(frozen=True)
class RuleListView:
    """``families``: rules by family, those found by the search."""

    families: dict[str, list[api.RuleView]]
    found: int
    whole: int
    search: str


@dataclass(frozen=True)
class RuleView:
    rule: api.RuleText
    text: Markup
    source: str
    holds: str
    dialects: str
    targets: list[tuple[str, bool]]
    own: bool


@router.get("")
def rules_page(request: Request, visitor: Viewer, search: str = "") -> Response:
    """The whole page, or the list alone for who is typing."""
    known = api.list_rules(visitor.service, visitor.caller)
    words = search.lower().split()
    found = [rule for rule in known if all(word in f"{rule.name} {rule.text}".lower() for word in words)]
    families: dict[str, list[api.RuleView]] = {}
    for rule in found:
        families.setdefault(rule.name.partition("/")[0], []).append(rule)
    view = RuleListView(families, len(found), len(known), search)
    if request.headers.get("hx-request"):
        return HTMLResponse(part(request, "parts/rules.html", view))
    return page(request, "rules.html", view, title="Rules", section="rules", twin="/v1/rules")


@router.get("/{family}/{name}")
def rule_page(family: str, name: str, request: Request, visitor: Viewer) -> Response:
    rule = api.read_rule(family, name, visitor.service, visitor.caller)
    targets = visitor.service.store.targets(visitor.caller.tenant)
    front, text = _parts(rule.document)
    view = RuleView(
        rule=rule,
        text=rendered(text),
        source=front.get("source", ""),
        holds=front.get("equivalence", ""),
        dialects=front.get("dialects", "").strip("[]"),
        targets=[(one.name, rule.name not in targets.rules_off(one.name)) for one in targets.listed()],
        own=Repository(visitor.service.store, visitor.caller.tenant).is_own(rule.name),
    )
    twin = f"/v1/rules/{family}/{name}"
    return page(request, "rule.html", view, title=rule.name, section="rules", twin=twin)


@router.post("/{family}/{name}/switch")
def switch(
    family: str, name: str, visitor: ActingOperator, target: Annotated[str, Form()], on: Annotated[bool, Form()]
) -> Response:
    if visitor.service.store.targets(visitor.caller.tenant).find(target) is None:
        raise NotFound("There is no such target.")
    api.switch_rule(family, name, api.Switch(target=target, enabled=on), visitor.service, visitor.caller)
    return RedirectResponse(f"/console/rules/{family}/{name}?said=changed", 303)


def _parts(document: str) -> tuple[dict[str, str], str]:
    """The front matter's plain lines, and the text after it."""
    if not document.startswith("---\n"):
        return {}, document
    front, _, text = document[4:].partition("\n---\n")
    pairs = (line.partition(":") for line in front.splitlines() if ":" in line and not line.startswith(" "))
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs}, text
