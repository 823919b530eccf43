"""A scripted endpoint on loopback, and a model that talks to it over real HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from rewriter.llm import Endpoint, InMemory, Limit, Model, Prices, Purse, client
from rewriter.llm.exchanges import Mode
from rewriter.llm.scripted import Line, ScriptedServer

Serve = Callable[..., ScriptedServer]
Connect = Callable[..., Model]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[ScriptedServer] = []

    def start(*lines: Line, refuses: tuple[str, ...] = ()) -> ScriptedServer:
        running.append(ScriptedServer(lines, refuses=refuses))
        return running[-1]

    yield start
    for server in running:
        server.close()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """``connect(url, tokens=, cost=, prices=, timeout=, mode=, exchanges=)``."""
    monkeypatch.setattr(client, "PATIENCE", (0.01, 0.01, 0.01))
    made: list[Model] = []

    def open_model(
        url: str,
        *,
        tokens: int | None = 1_000_000,
        cost: float | None = None,
        prices: Prices | None = None,
        timeout: float = 5.0,
        mode: Mode = Mode.CACHE,
        exchanges: InMemory | None = None,
    ) -> Model:
        endpoint = Endpoint(url, "scripted", SecretStr("key-of-ours"), prices or Prices(), timeout, most_tokens=500)
        store = exchanges if exchanges is not None else InMemory()
        made.append(Model(endpoint, Purse({"query": Limit(tokens, cost)}), store, mode))
        return made[-1]

    yield open_model
    for model in made:
        model.close()
