"""A run as SARIF 2.1.0, for code scanning: a result for each group that has a faster verified rewrite.

See "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", OASIS Standard; numbers of sections below.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from rewriter import __version__
from rewriter.batch.reporting.record import BatchModel, GroupModel, PlaceModel
from rewriter.batch.reporting.words import flat, level, message

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RULE = "faster-rewrite"


def to_sarif(batch: BatchModel) -> dict[str, Any]:
    """One run (3.14). What could not be read is told as notifications of its invocation (3.20.21)."""
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "rewriter",
                        "semanticVersion": __version__,
                        "rules": [
                            {
                                "id": RULE,
                                "shortDescription": {"text": "There is a faster statement with the same result."},
                                "fullDescription": {
                                    "text": "The statement was rewritten; the rewrite was verified and measured to be "
                                    "faster on the target. Look at its evidence before you use it."
                                },
                                "defaultConfiguration": {"level": "warning"},
                            }
                        ],
                    }
                },
                "invocations": [
                    {
                        "executionSuccessful": not batch.interrupted,
                        "toolExecutionNotifications": _notifications(batch),
                    }
                ],
                "columnKind": "unicodeCodePoints",
                "results": [_result(group) for group in batch.faster],
            }
        ],
    }


def _result(group: GroupModel) -> dict[str, Any]:
    result = group.result
    assert result is not None
    found: dict[str, Any] = {
        "ruleId": RULE,
        "ruleIndex": 0,
        "level": level(group),
        "message": {"text": message(group)},
        "partialFingerprints": {"groupKey/v1": group.key},
        "properties": {
            "group": group.key,
            "calls": group.calls,
            "seconds": group.seconds,
            "verdict": result.verdict.kind if result.verdict is not None else None,
            "rewrite": result.rewrite,
            "sql": result.sql,
            "speedup": result.speedup.model_dump() if result.speedup is not None else None,
        },
    }
    if group.place is not None:
        found["locations"] = [_location(group.place)]
    return found


def _location(place: PlaceModel) -> dict[str, Any]:
    return {
        "physicalLocation": {"artifactLocation": {"uri": uri(place.file)}, "region": {"startLine": max(1, place.line)}}
    }


def uri(file: str) -> str:
    """A file's name as a URI reference (RFC 3986): relative as it was given, absolute with the scheme ``file``."""
    path = PurePath(file)
    name = quote(path.as_posix().encode("utf-8", "surrogateescape"), safe="/")
    return f"file://{name}" if path.is_absolute() else name


def _notifications(batch: BatchModel) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = [
        {
            "level": "warning",
            "message": {"text": f"{part.lines} lines: {part.reason}"},
            "locations": [_location(place) for place in part.places],
        }
        for part in batch.skipped
        if part.kind == "malformed"
    ]
    told += [
        {
            "level": "error",
            "message": {"text": flat(why)},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri(file)}}}],
        }
        for file, why in batch.damaged.items()
    ]
    return told
