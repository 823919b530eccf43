"""Rule documents: reading and validating them. The format is described in CONTRIBUTING.md.

A document has YAML front matter and these sections, in this order::

    ## Rule                            the sentence shown to model and DBA
    ## Why it helps
    ## Precondition
    ## Pattern                         pairs of sql templates and a list of conditions, instead of code (see pattern.py)
    ## Schema                          one sql block of DDL
    ## Rewrites                        pairs of sql blocks, before and after
    ## Leaves alone                    a sentence with the reason, then the sql block; repeated
    ## Wrong without the precondition  sql blocks: INSERTs, before, after (may be missing when there is no precondition)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from rewriter.errors import RuleFileError
from rules.pattern import Pattern, parse_pattern

STATUSES = ("draft", "stable", "retired")
EQUIVALENCES = ("always", "conditional", "advice")
DIALECTS = ("postgres", "duckdb")
SECTIONS = (
    "Rule",
    "Why it helps",
    "Precondition",
    "Pattern",
    "Schema",
    "Rewrites",
    "Leaves alone",
    "Wrong without the precondition",
)


@dataclass(frozen=True)
class VersionBound:
    """One bound on an engine's version, such as ``<18`` or ``>=1.4``; more digits in the version are ignored."""

    operator: str
    version: tuple[int, ...]

    def admits(self, version: Sequence[int]) -> bool:
        given = tuple(version[: len(self.version)])
        return given < self.version if self.operator == "<" else given >= self.version

    def __str__(self) -> str:
        return self.operator + ".".join(map(str, self.version))


@dataclass(frozen=True)
class Pair:
    """A query before and after the rule, as SQL text, with the line of the document where it starts."""

    before: str
    after: str
    line: int


@dataclass(frozen=True)
class Unchanged:
    """A query that the rule must leave as it is, and why."""

    sql: str
    reason: str
    line: int


@dataclass(frozen=True)
class Wrong:
    """Rows and a pair that differs on them: what the rule would do if its precondition were dropped."""

    rows: str
    before: str
    after: str
    line: int


@dataclass(frozen=True, eq=False)
class RuleDocument:
    """One rule. ``name`` is ``family/stem``; ``executable`` says whether code of the same stem stands beside it, or
    a pattern in it.

    ``versions`` bounds, per dialect, the engine versions on which the rule is tried: where the engine does the same by
    itself, it is not. ``seen`` says where a query of the rule's kind was met, when no public workload has one.
    """

    name: str
    path: Path
    text: str
    status: str
    equivalence: str
    dialects: tuple[str, ...]
    source: str
    versions: Mapping[str, tuple[VersionBound, ...]]
    seen: str
    not_exercised: str
    rule: str
    why: str
    precondition: str
    schema: str
    rewrites: tuple[Pair, ...]
    leaves_alone: tuple[Unchanged, ...]
    wrong: tuple[Wrong, ...]
    pattern: Pattern | None
    executable: bool

    @property
    def summary(self) -> str:
        """The first sentence of the rule, on one line."""
        flat = " ".join(self.rule.split())
        return re.split(r"(?<=[.!])\s", flat, maxsplit=1)[0]

    @property
    def family(self) -> str:
        return self.name.partition("/")[0]

    def pays_on(self, dialect: str, version: Sequence[int]) -> bool:
        """Whether the rule is tried on an engine; an unknown version (empty) counts as any."""
        if dialect not in self.dialects:
            return False
        return not version or all(bound.admits(version) for bound in self.versions.get(dialect, ()))


@dataclass(frozen=True)
class _Block:
    """One fenced sql block, the prose before it (since the last block), and its line."""

    sql: str
    prose: str
    line: int


def read_rule(path: Path) -> RuleDocument:
    """The rule document at ``path``. Raises RuleFileError naming file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RuleFileError(f"{path}: cannot be read: {error}") from None
    return parse_rule(text, path)


def parse_rule(text: str, path: Path) -> RuleDocument:
    """The rule document in ``text``; ``path`` gives it its name. Raises RuleFileError naming file and line."""
    front, body, offset = _front_matter(text, path)
    sections = _sections(body, offset, path)
    equivalence = _one_of(front, "equivalence", EQUIVALENCES, path)
    dialects = front.get("dialects")
    if not isinstance(dialects, list) or not dialects or any(entry not in DIALECTS for entry in dialects):
        raise RuleFileError(f"{path}:1: dialects must be a list out of {', '.join(DIALECTS)}")
    source = front.get("source")
    if not isinstance(source, str) or not source.strip():
        raise RuleFileError(f"{path}:1: source is missing", hint="name the paper, documentation or system")
    schema = _blocks(sections, "Schema", path)
    pattern = _pattern(sections, path)
    coded = path.with_suffix(".py").is_file()
    if coded and pattern is not None:
        raise RuleFileError(f"{path}: the rule has both code and a pattern", hint="keep one of them")
    document = RuleDocument(
        name=f"{path.parent.name}/{path.stem}",
        path=path,
        text=text,
        status=_one_of(front, "status", STATUSES, path),
        equivalence=equivalence,
        dialects=tuple(dialects),
        source=source.strip(),
        versions=_versions(front.get("versions", {}), tuple(dialects), path),
        seen=_optional_text(front, "seen", path),
        not_exercised=_optional_text(front, "not_exercised", path),
        rule=_prose(sections, "Rule", path),
        why=_prose(sections, "Why it helps", path),
        precondition=_prose(sections, "Precondition", path),
        schema="\n".join(block.sql for block in schema),
        rewrites=tuple(_pairs(sections, path)),
        leaves_alone=tuple(
            Unchanged(block.sql, " ".join(block.prose.split()), block.line)
            for block in _blocks(sections, "Leaves alone", path)
        ),
        wrong=tuple(_wrongs(sections, path)),
        pattern=pattern,
        executable=coded or pattern is not None,
    )
    _check(document)
    return document


def _front_matter(text: str, path: Path) -> tuple[dict[str, object], str, int]:
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    if match is None:
        raise RuleFileError(f"{path}:1: no front matter", hint="begin with --- status: ... ---")
    try:
        front = yaml.safe_load(match.group(1))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise RuleFileError(f"{path}:{(mark.line + 2) if mark else 1}: the front matter is no YAML") from None
    if not isinstance(front, dict):
        raise RuleFileError(f"{path}:1: the front matter must be a mapping")
    return front, text[match.end() :], match.group(0).count("\n")


def _one_of(front: dict[str, object], key: str, allowed: tuple[str, ...], path: Path) -> str:
    value = front.get(key)
    if value not in allowed:
        raise RuleFileError(f"{path}:1: {key} must be one of {', '.join(allowed)}, not {value!r}")
    return str(value)


def _optional_text(front: dict[str, object], key: str, path: Path) -> str:
    value = front.get(key, "")
    if not isinstance(value, str):
        raise RuleFileError(f"{path}:1: {key} must be text")
    return value.strip()


def _versions(value: object, dialects: tuple[str, ...], path: Path) -> dict[str, tuple[VersionBound, ...]]:
    """``{postgres: ">=14, <18"}`` as bounds per dialect."""
    if not isinstance(value, dict) or any(dialect not in dialects for dialect in value):
        raise RuleFileError(f"{path}:1: versions must map dialects of the rule to bounds such as '<18'")
    found = {}
    for dialect, text in value.items():
        bounds = [re.fullmatch(r"(<|>=)\s*(\d+(?:\.\d+)*)", part.strip()) for part in str(text).split(",")]
        if not all(bounds):
            raise RuleFileError(f"{path}:1: the bounds {text!r} cannot be read", hint="write '<18' or '>=14, <18'")
        found[dialect] = tuple(
            VersionBound(bound.group(1), tuple(map(int, bound.group(2).split(".")))) for bound in bounds if bound
        )
    return found


def _sections(body: str, offset: int, path: Path) -> dict[str, tuple[str, int]]:
    """Section title to (text, number of its first line)."""
    found: dict[str, tuple[str, int]] = {}
    title, start = "", 0
    lines: list[str] = []
    fenced = False
    for number, line in enumerate(body.splitlines(), start=offset + 1):
        if line.startswith("```"):
            fenced = not fenced
        if line.startswith("## ") and not fenced:
            if title:
                found[title] = ("\n".join(lines), start)
            title, start, lines = line[3:].strip(), number + 1, []
            if title not in SECTIONS:
                raise RuleFileError(f"{path}:{number}: unknown section {title!r}", hint=f"use: {', '.join(SECTIONS)}")
            if title in found:
                raise RuleFileError(f"{path}:{number}: the section {title!r} stands twice")
            if found and SECTIONS.index(title) < max(SECTIONS.index(earlier) for earlier in found):
                raise RuleFileError(f"{path}:{number}: the section {title!r} is out of order")
        elif title:
            lines.append(line)
    if fenced:
        raise RuleFileError(f"{path}: a ``` block is not closed")
    if title:
        found[title] = ("\n".join(lines), start)
    for required in SECTIONS[:3]:
        if required not in found:
            raise RuleFileError(f"{path}: the section {required!r} is missing")
    return found


def _prose(sections: dict[str, tuple[str, int]], title: str, path: Path) -> str:
    text, line = sections[title]
    if not text.strip():
        raise RuleFileError(f"{path}:{line}: the section {title!r} is empty")
    return text.strip()


def _blocks(sections: dict[str, tuple[str, int]], title: str, path: Path) -> list[_Block]:
    if title not in sections:
        return []
    text, start = sections[title]
    blocks: list[_Block] = []
    prose: list[str] = []
    sql: list[str] | None = None
    at = start
    for number, line in enumerate(text.splitlines(), start=start):
        if sql is None and line.startswith("```"):
            if line.strip() != "```sql":
                raise RuleFileError(f"{path}:{number}: only ```sql blocks are read")
            sql, at = [], number
        elif sql is not None and line.startswith("```"):
            blocks.append(_Block("\n".join(sql).strip().rstrip(";"), "\n".join(prose).strip(), at))
            sql, prose = None, []
        elif sql is not None:
            sql.append(line)
        else:
            prose.append(line)
    return blocks


def _pairs(sections: dict[str, tuple[str, int]], path: Path) -> Iterator[Pair]:
    blocks = _blocks(sections, "Rewrites", path)
    if len(blocks) % 2:
        raise RuleFileError(f"{path}:{blocks[-1].line}: a before has no after")
    for before, after in zip(blocks[::2], blocks[1::2], strict=True):
        yield Pair(before.sql, after.sql, before.line)


def _wrongs(sections: dict[str, tuple[str, int]], path: Path) -> Iterator[Wrong]:
    blocks = _blocks(sections, "Wrong without the precondition", path)
    if len(blocks) % 3:
        raise RuleFileError(f"{path}:{blocks[-1].line}: three blocks are needed: rows, before, after")
    for rows, before, after in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
        yield Wrong(rows.sql, before.sql, after.sql, rows.line)


def _pattern(sections: dict[str, tuple[str, int]], path: Path) -> Pattern | None:
    """The templates and the conditions (lines that begin with a dash) of the section."""
    if "Pattern" not in sections:
        return None
    blocks = [(block.sql, block.line + 1) for block in _blocks(sections, "Pattern", path)]
    text, start = sections["Pattern"]
    bullets: list[tuple[str, int]] = []
    fenced = False
    for number, line in enumerate(text.splitlines(), start=start):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and line.startswith("- "):
            bullets.append((line[2:].strip(), number))
        elif not fenced and line.startswith("  ") and bullets:
            bullets[-1] = (f"{bullets[-1][0]} {line.strip()}", bullets[-1][1])
    return parse_pattern(blocks, bullets, path)


def _check(document: RuleDocument) -> None:
    """What goes together: code needs examples, advice has none, a condition is shown to be needed."""
    path = document.path
    if document.equivalence == "advice" and document.executable:
        raise RuleFileError(f"{path}:1: advice has no code")
    if document.executable and not (document.schema and document.rewrites and document.leaves_alone):
        raise RuleFileError(f"{path}: an executable rule needs Schema, Rewrites and Leaves alone")
    if document.equivalence == "conditional" and document.executable and not document.wrong:
        raise RuleFileError(f"{path}: a conditional rule needs the section {SECTIONS[-1]!r}")
    for case in document.leaves_alone:
        if not case.reason:
            raise RuleFileError(f"{path}:{case.line}: the reason is missing", hint="write a sentence before the block")
