"""Prompts: files with a version, in sections by role, whose variables must all be given."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jinja2

_SECTION = re.compile(r"^## (system|user|assistant)[ \t]*$", re.MULTILINE)
_VERSION = re.compile(r"\A---\nversion: (\d+)\n---\n")


class _Files(jinja2.BaseLoader):
    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, None, None]:
        return _text(template), None, None


# What is filled in is SQL for a model, not a page for a browser.
_environment = jinja2.Environment(
    loader=_Files(),
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Filled:
    """A prompt with its variables filled in. ``purpose``: name, version and hash of the file, for the record."""

    purpose: str
    messages: tuple[dict[str, str], ...]


def prompt(name: str, **variables: Any) -> Filled:
    """The messages of the file ``prompts/NAME.md``. A variable that is missing raises jinja2.UndefinedError: that is a
    fault of ours, never of a user."""
    text = _text(name)
    version = _VERSION.match(text)
    assert version is not None, f"the prompt {name} has no version"
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    parts = _SECTION.split(text[version.end() :])[1:]
    messages = tuple(
        # Filled section by section: what a variable holds can never begin a section of its own.
        {"role": role, "content": _environment.from_string(body.strip()).render(**variables)}
        for role, body in zip(parts[::2], parts[1::2], strict=True)
    )
    return Filled(f"{name}/{version.group(1)}-{mark}", messages)


@cache
def _text(name: str) -> str:
    return (resources.files("rewriter.llm") / "prompts" / f"{name}.md").read_text(encoding="utf-8")
