"""A run as annotations of GitHub Actions, a line each.

See "Workflow commands for GitHub Actions", "Setting a warning message". Values are escaped as the runner unescapes
them (actions/toolkit, ``command.ts``).
"""

from __future__ import annotations

from rewriter.batch.reporting.record import BatchModel, PlaceModel
from rewriter.batch.reporting.words import flat, level, message, outcome

_COMMANDS = {"warning": "warning", "note": "notice"}


def to_github(batch: BatchModel) -> str:
    """An annotation for each group with a faster rewrite, and a warning for what could not be read."""
    lines = [
        _command(_COMMANDS[level(group)], group.place, outcome(group.result), message(group)) for group in batch.faster
    ]
    for part in batch.skipped:
        if part.kind == "malformed":
            place = part.places[0] if part.places else None
            lines.append(_command("warning", place, "malformed input", f"{part.lines} lines: {part.reason}"))
    lines += [
        _command("error", PlaceModel(file=file, line=1), "unreadable file", why) for file, why in batch.damaged.items()
    ]
    return "".join(f"{line}\n" for line in lines)


def _command(name: str, place: PlaceModel | None, title: str, text: str) -> str:
    where = f"file={_property(place.file)},line={place.line}," if place is not None else ""
    return f"::{name} {where}title={_property(flat(title))}::{_data(flat(text))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
