"""Uploaded logs: kept until their batch has ended, because they hold people's literals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rewriter.settings import Settings


def upload_path(settings: Settings, name: str) -> Path:
    return settings.state_directory / "uploads" / name


def discard(settings: Settings, request: Mapping[str, Any]) -> None:
    """Remove the log that a job's request names, if it names one."""
    name = request.get("upload")
    if name:
        upload_path(settings, str(name)).unlink(missing_ok=True)
