"""Rule documents as HTML. Raw HTML in them is text, links lead nowhere but to the web, pictures are left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from api.console.rendering import sql


def _fence(tokens: Sequence[Token], index: int, *_: Any) -> str:
    return str(Markup('<pre class="code" tabindex="0"><code>{}</code></pre>\n').format(sql(tokens[index].content)))


_markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
_markdown.add_render_rule("fence", lambda _, tokens, index, *rest: _fence(tokens, index, *rest))
_markdown.validateLink = lambda url: url.startswith(("https://", "http://"))  # type: ignore[method-assign]


def rendered(text: str) -> Markup:
    """Everything that is not Markdown's own is escaped by the renderer."""
    return Markup(_markdown.render(text))  # noqa: S704 (raw HTML is off)
