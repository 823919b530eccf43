"""Every part of the pages on one page, with made-up content: to see that they fit, in both themes."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from api.console.rendering import page
from api.console.sessions import Viewer
from api.console.views.difference import Block, difference

router = APIRouter()

BEFORE = "SELECT o.id FROM orders AS o WHERE o.total > (SELECT AVG(p.total) FROM orders AS p WHERE p.shop = o.shop)"
AFTER = (
    "WITH average AS (SELECT p.shop, AVG(p.total) AS value FROM orders AS p GROUP BY p.shop) "
    "SELECT o.id FROM orders AS o JOIN average ON average.shop = o.shop WHERE o.total > average.value"
)


@dataclass(frozen=True)
class PatternsView:
    verdicts: tuple[str, ...]
    states: tuple[str, ...]
    blocks: list[Block]
    hostile: str


@router.get("/patterns")
def patterns_page(request: Request, visitor: Viewer) -> Response:  # noqa: ARG001 (whoever has signed in)
    view = PatternsView(
        verdicts=("proved", "bounded", "tested", "refuted", "unknown"),
        states=("queued", "running", "done", "failed", "cancelled", "dead"),
        blocks=difference(BEFORE, AFTER, "postgres"),
        hostile="<script>alert('x')</script> \u202e reversed \x07",
    )
    return page(request, "patterns.html", view, title="Patterns")
