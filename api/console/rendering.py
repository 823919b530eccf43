"""Pages from templates: one frozen record of context for each template, everything escaped, nothing undefined."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from api.console.assets import address
from api.console.sessions import Session, Visitor, service_of, session_of, token
from rewriter import __version__
from rewriter.report.text import MEANING, visible
from rewriter.report.units import count, duration, ratio

THEME = "rewriter_theme"
MARKED = 20_000  # characters of a statement beyond which its words are not marked: the page would grow tenfold


class View(Protocol):
    """A frozen dataclass: what one template is given, as ``view``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclass(frozen=True)
class Frame:
    """What the frame around every page needs. ``twin``: the same as JSON, below /v1."""

    title: str
    section: str
    twin: str | None
    theme: str | None
    path: str
    visitor: Visitor | None
    csrf: str
    said: str | None
    version: str = __version__


def page(
    request: Request,
    template: str,
    view: View,
    *,
    title: str,
    section: str = "",
    twin: str | None = None,
    status: int = 200,
    session: Session | None = None,
) -> HTMLResponse:
    """A whole page. ``session``: one that was opened by this very request."""
    theme = request.cookies.get(THEME)
    owner = session or session_of(request)
    frame = Frame(
        title=title,
        section=section,
        twin=twin,
        theme=theme if theme in ("light", "dark") else None,
        path=request.url.path,
        visitor=getattr(request.state, "visitor", None),
        csrf=token(service_of(request), owner) if owner is not None else "",
        said=SAID.get(request.query_params.get("said", "")),
    )
    return HTMLResponse(_environment.get_template(template).render(frame=frame, view=view), status)


def part(request: Request, template: str, view: View) -> str:
    """A piece of a page, as text."""
    owner = session_of(request)
    csrf = token(service_of(request), owner) if owner is not None else ""
    visitor = getattr(request.state, "visitor", None)
    return _environment.get_template(template).render(view=view, frame=Fragment(csrf, visitor, request.url.path))


@dataclass(frozen=True)
class Fragment:
    """What a piece of a page knows of its frame."""

    csrf: str
    visitor: Visitor | None
    path: str


# What a page may say at its top after something was done, by the name in its address: never text from there.
SAID = {
    "approved": "Approved. Clients get it with their next snapshot.",
    "rejected": "Rejected.",
    "disabled": "Disabled. No client uses it any more.",
    "waiting": "Back in the queue.",
    "cancelled": "Cancelled. Running work ends at its next step.",
    "retried": "Back in the queue.",
    "revoked": "The key is revoked.",
    "registered": "Registered. Check it to see whether it can be reached.",
    "removed": "Removed.",
    "changed": "Changed.",
    "checked": "Checked: the target answers and its catalog is current.",
    "signed-out": "Signed out.",
    "known": "The same statement was rewritten before, and its evidence holds.",
}


def ago(moment: float | None) -> Markup:
    """``3 min ago`` with the exact moment for those who point at it."""
    if moment is None:
        return Markup('<span class="quiet">never</span>')
    exact = datetime.fromtimestamp(moment, UTC)
    seconds = time.time() - moment
    text = f"in {_span(-seconds)}" if seconds < -1 else "just now" if seconds < 5 else f"{_span(seconds)} ago"
    shown = exact.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact.isoformat(), shown, text)


def _span(seconds: float) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {name}"
    return f"{int(seconds)} s"


def a_day(seconds: float | None) -> str:
    """Seconds saved each day, for people."""
    if seconds is None:
        return "-"
    if not seconds:
        return "0 s"
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:,.1f} d"
    return f"-{duration(-seconds)}" if seconds < 0 else duration(seconds)


@dataclass(frozen=True)
class Brief:
    """What a rewrite's job came to, in short."""

    known: bool
    chosen: bool
    ratio: float | None
    verdict: str | None


def brief(result: Mapping[str, Any] | None) -> Brief:
    found = result or {}
    return Brief(result is not None, bool(found.get("chosen")), found.get("ratio"), found.get("verdict"))


_WORDS = (
    "all and any array as asc between by case cast cross current_date desc distinct else end except exists extract"
    " false filter following for from full group grouping having ilike in inner intersect interval is join lateral left"
    " like limit materialized natural not null nulls offset on or order outer over partition preceding range recursive"
    " right rollup row rows select sets similar some then true unbounded union using values when where window with"
    " within"
)
_SQL = re.compile(
    # What is not closed goes on to the end, so that every start matches and hostile text costs no more than its length.
    r"(?P<comment>--[^\n]*|/\*(?:.*?\*/|.*))|(?P<text>'(?:[^']|'')*(?:'|\Z))|(?P<name>\"(?:[^\"]|\"\")*(?:\"|\Z))"
    rf"|(?P<number>\b\d+(?:\.\d+)?\b)|(?P<word>\b(?:{'|'.join(_WORDS.split())})\b)",
    re.IGNORECASE | re.DOTALL,
)


def sql(text: str) -> Markup:
    """SQL with its words, literals and comments marked. Everything is escaped piece by piece."""
    text, done, pieces = visible(text), 0, []
    if len(text) > MARKED:
        return escape(text)
    for match in _SQL.finditer(text):
        pieces += [escape(text[done : match.start()]), _marked(match)]
        done = match.end()
    return Markup("").join([*pieces, escape(text[done:])])


def _marked(match: re.Match[str]) -> Markup:
    kind = {"comment": "c", "text": "s", "name": "n", "number": "m", "word": "k"}[str(match.lastgroup)]
    return Markup('<span class="q{}">{}</span>').format(kind, match[0])


def short(statement: str, most: int = 120) -> str:
    """A statement on one line."""
    flat = " ".join(statement.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


_environment = Environment(
    loader=PackageLoader("api.console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    # Markup is what templates and our own functions have made; only plain text comes from outside.
    finalize=lambda value: visible(value) if type(value) is str else value,
)
_environment.filters |= {
    "ago": ago,
    "a_day": a_day,
    "brief": brief,
    "duration": duration,
    "ratio": ratio,
    "short": short,
    "sql": sql,
    "meaning": lambda kind: MEANING[kind],
}
_environment.globals |= {"asset": address, "count": count}
