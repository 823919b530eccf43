"""Rule documents as HTML. Raw HTML in them is text, links lead nowhere but to the web, pictures are left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
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
    """Everything that is not Markdown's own is escaped by the renderer. Blocks that follow each other stand in pairs,
    before and after."""
    tokens = list(_paired(_markdown.parse(text)))
    return Markup(_markdown.renderer.render(tokens, _markdown.options, {}))  # noqa: S704 (raw HTML is off)


def _paired(tokens: Sequence[Token]) -> Iterator[Token]:
    for fences, run in groupby(tokens, lambda token: token.type == "fence"):
        blocks = list(run)
        if not fences:
            yield from blocks
            continue
        # An odd one in front is what a pair is about: rows.
        yield from blocks[: len(blocks) % 2]
        for place in range(len(blocks) % 2, len(blocks), 2):
            yield Token("html_block", "", 0, content='<div class="pair">\n')
            yield from blocks[place : place + 2]
            yield Token("html_block", "", 0, content="</div>\n")
