"""What the service is told: sums by entry, sent in the background, lost rather than waited for."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, replace
from typing import Any

from rewriter.clients.guard import Event
from rewriter.clients.http import Service
from rewriter.errors import RewriterError

MOST = 1000  # different events that wait to be sent


class Feedback:
    """Events that wait. Several of one kind become one with their count and the latest times."""

    def __init__(self, target: str) -> None:
        self.urgent = threading.Event()
        self.dropped = 0
        self._target = target
        self._waiting: dict[tuple[str, str, str], Event] = {}
        self._lock = threading.Lock()

    def add(self, event: Event) -> None:
        """Never blocks on the network. What switches a rewrite off is sent soon, timings with the next poll."""
        self._put(event)
        if event.kind != "timing":
            self.urgent.set()

    def _put(self, event: Event) -> None:
        key = (event.entry, event.kind, event.detail)
        with self._lock:
            before = self._waiting.get(key)
            if before is None and len(self._waiting) >= MOST:
                self.dropped += 1
                return
            self._waiting[key] = replace(event, count=event.count + (before.count if before is not None else 0))

    def send(self, service: Service) -> None:
        """Send what waits. What cannot be sent now is sent later, as far as there is room."""
        with self._lock:
            events, self._waiting = self._waiting, {}
            self.urgent.clear()
        if not events:
            return
        document: dict[str, Any] = {"target": self._target, "events": [asdict(event) for event in events.values()]}
        try:
            answer = service.request(
                "POST", "/v1/feedback", {"Content-Type": "application/json"}, json.dumps(document).encode()
            )
            again = answer.status in (408, 429) or answer.status >= 500
        except RewriterError:
            again = True
        if again:
            for event in events.values():
                self._put(event)
