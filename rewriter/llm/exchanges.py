"""What was said to a model and what it answered, word for word: a record, a cache, and a replay without the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class Mode(StrEnum):
    """Whether recorded answers are used: ``live`` asks always and records, ``cache`` asks only what has not been asked
    before, ``replay`` never asks."""

    LIVE = "live"
    CACHE = "cache"
    REPLAY = "replay"


@dataclass(frozen=True)
class Exchange:
    """One question with its answer. ``request`` is the body exactly as sent, ``response`` as received; ``purpose``
    names the prompt file with its version. ``seconds``: of the attempt that was answered; ``attempts``: with those
    that failed."""

    key: str
    endpoint: str
    model: str
    purpose: str
    request: Mapping[str, Any]
    response: Mapping[str, Any]
    attempts: int
    seconds: float
    cost: float


class Exchanges(Protocol):
    """Where exchanges are kept."""

    def find(self, key: str) -> Exchange | None: ...
    def keep(self, exchange: Exchange) -> None: ...


class InMemory:
    """Exchanges of one process, in the order in which they were made."""

    def __init__(self) -> None:
        self.made: list[Exchange] = []

    def find(self, key: str) -> Exchange | None:
        return next((one for one in reversed(self.made) if one.key == key), None)

    def keep(self, exchange: Exchange) -> None:
        self.made.append(exchange)


def key_of(request: Mapping[str, Any], turn: int) -> str:
    """SHA-256 of a request, as hexadecimal digits; ``turn`` tells apart the same question asked for another sample."""
    text = json.dumps([request, turn], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
