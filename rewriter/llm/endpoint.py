"""A model behind an OpenAI-compatible endpoint: where it is, what it costs, what it can do."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens. Zeros for a model of one's own: then only the limit on tokens bounds the
    work."""

    prompt: float = 0.0
    cached: float = 0.0
    completion: float = 0.0

    def cost(self, prompt: int, cached: int, completion: int) -> float:
        """US dollars; ``cached`` tokens are part of the ``prompt`` tokens."""
        return ((prompt - cached) * self.prompt + cached * self.cached + completion * self.completion) / 1e6


@dataclass(frozen=True)
class Capabilities:
    """What an endpoint does with one model. What is not known counts as there, and is found out by being refused."""

    json_schema: bool = True
    logprobs: bool = True
    temperature: bool = True
    prefix: bool = False


@dataclass(frozen=True)
class Endpoint:
    """``timeout``: seconds for one answer. ``most_tokens``: of one answer."""

    base_url: str
    model: str
    key: SecretStr | None = None
    prices: Prices = Prices()
    timeout: float = 180.0
    most_tokens: int = 16_000
