"""Asking a model through Chat Completions, the common ground of OpenAI, vLLM, llama.cpp and Ollama."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import openai
from openai import OpenAI

from rewriter.errors import BadAnswer, ModelRefused, ModelUnreachable
from rewriter.llm.endpoint import Capabilities, Endpoint
from rewriter.llm.exchanges import Exchange, Exchanges, Mode, key_of
from rewriter.llm.purse import Purse
from rewriter.llm.transport import Capped

ATTEMPTS = 4
PATIENCE = (0.5, 1.0, 2.0)  # seconds before each further attempt, times 1 to 1.5
LONGEST_WAIT = 20.0  # seconds that a server's Retry-After may ask for
CHARACTERS_A_TOKEN = 2.5  # a prompt has no more tokens than its characters divided by this
MARGIN = 64  # tokens that a server adds to a prompt

Message = Mapping[str, str]  # role, content


@dataclass(frozen=True)
class Ask:
    """What is asked. ``purpose``: the prompt's name and version. ``schema``: JSON schema of the answer. ``prefix``:
    how the answer begins already. ``logprobs``: how many alternatives to report for each token. ``turn``: which sample
    of the same question."""

    purpose: str
    messages: Sequence[Message]
    schema: Mapping[str, Any] | None = None
    prefix: str = ""
    logprobs: int = 0
    temperature: float = 0.0
    most_tokens: int | None = None
    turn: int = 0


@dataclass(frozen=True)
class Token:
    """One token of an answer: its probability, and the likeliest ones with theirs, likeliest first."""

    text: str
    probability: float
    likeliest: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Reply:
    """An answer. ``complete``: the model ended it by itself. ``recorded``: no model was asked. ``cost`` in US
    dollars."""

    text: str
    complete: bool
    tokens: tuple[Token, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    recorded: bool = False


class Model:
    """A model that can be asked. ``deadline`` (monotonic seconds) bounds all waiting; set it for each job.

    Raises ModelUnreachable (no answer in time), ModelRefused (the endpoint does not accept us), BadAnswer (what it
    answers is no completion) and BudgetExceeded (before anything is sent).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        purse: Purse,
        exchanges: Exchanges,
        mode: Mode = Mode.CACHE,
        capabilities: Capabilities | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.purse = purse
        self.exchanges = exchanges
        self.mode = mode
        self.capabilities = capabilities or Capabilities()
        self.deadline: float | None = None
        self._http = httpx2.Client(transport=Capped(httpx2.HTTPTransport()), follow_redirects=False)
        self._client = OpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.key.get_secret_value() if endpoint.key is not None else "none",
            max_retries=0,
            http_client=self._http,
        )

    def close(self) -> None:
        self._client.close()

    def ask(self, ask: Ask) -> Reply:
        """The model's answer, or the recorded one."""
        while True:
            request = self._request(ask)
            key = key_of(request, ask.turn)
            known = None if self.mode is Mode.LIVE else self.exchanges.find(key)
            if known is not None:
                return replace(_reply(known.response), recorded=True)
            if self.mode is Mode.REPLAY:
                raise ModelUnreachable(
                    f"no recorded answer to this prompt ({ask.purpose})", hint="record it with the endpoint attached"
                )
            lesser = self._downgraded(ask, request, key)
            if isinstance(lesser, Reply):
                return lesser
            self.capabilities = lesser

    def _request(self, ask: Ask) -> dict[str, Any]:
        messages = [dict(message) for message in ask.messages]
        request: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": messages,
            "max_completion_tokens": ask.most_tokens or self.endpoint.most_tokens,
            "stream": False,
        }
        if self.capabilities.temperature:
            request["temperature"] = ask.temperature
        if ask.schema is not None and self.capabilities.json_schema:
            schema = {"name": "answer", "strict": True, "schema": dict(ask.schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        if ask.logprobs and self.capabilities.logprobs:
            request |= {"logprobs": True, "top_logprobs": ask.logprobs}
        if ask.prefix:
            messages.append({"role": "assistant", "content": ask.prefix})
            request |= {"add_generation_prompt": False, "continue_final_message": True}
        return request

    def _downgraded(self, ask: Ask, request: dict[str, Any], key: str) -> Reply | Capabilities:
        """The answer; or what the endpoint can do, when it refused the request for something that can be left out."""
        try:
            return self._answered(ask, request, key)
        except openai.BadRequestError as error:
            said = str(error).lower()
            able = self.capabilities
            if "response_format" in request and ("response_format" in said or "schema" in said):
                return replace(able, json_schema=False)
            if "logprobs" in request and "logprob" in said:
                return replace(able, logprobs=False)
            if "temperature" in request and "temperature" in said:
                return replace(able, temperature=False)
            raise ModelRefused(f"the model's endpoint refused the request ({error.status_code})") from None

    def _answered(self, ask: Ask, request: dict[str, Any], key: str) -> Reply:
        most = int(request["max_completion_tokens"])
        size = sum(len(message["content"]) for message in request["messages"])
        prompt = int(size / CHARACTERS_A_TOKEN) + MARGIN
        worst = self.endpoint.prices.cost(prompt, 0, most)
        last: ModelUnreachable | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                self._wait(attempt, last)
            timeout = self._timeout()
            self.purse.reserve(prompt + most, worst)
            used, cost, started = 0, 0.0, time.monotonic()
            try:
                response = self._sent(request, timeout)
                cost = self._cost(response)
                found = _reply(response, cost)
                used = found.prompt_tokens + found.completion_tokens
                seconds = time.monotonic() - started
                self.exchanges.keep(
                    Exchange(
                        key, self.endpoint.base_url, self.endpoint.model, ask.purpose,
                        request, response, attempt + 1, seconds, cost,
                    )
                )  # fmt: skip
                return found
            except openai.APITimeoutError:
                # It may have been worked on: what it read counts as spent.
                used, cost = prompt, self.endpoint.prices.cost(prompt, 0, 0)
                last = ModelUnreachable(f"the model did not answer within {timeout:.0f} s")
            except openai.APIConnectionError:
                last = ModelUnreachable("the model's endpoint cannot be reached", hint="check its address")
            except openai.BadRequestError:
                raise
            except openai.APIStatusError as error:
                if error.status_code not in (408, 409, 429) and error.status_code < 500:
                    raise ModelRefused(
                        f"the model's endpoint answered {error.status_code}", hint="check key, model and address"
                    ) from None
                last = ModelUnreachable(f"the model's endpoint answered {error.status_code}")
                last.wait = _retry_after(error)
            except (openai.OpenAIError, httpx2.HTTPError, ValueError, TypeError):
                raise BadAnswer("the model's endpoint answered with something that is no completion") from None
            finally:
                self.purse.settle(prompt + most, worst, used_tokens=used, used_cost=cost)
        assert last is not None
        raise last

    def _sent(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        body = dict(request)
        extra = {name: body.pop(name) for name in ("add_generation_prompt", "continue_final_message") if name in body}
        raw = self._client.chat.completions.with_raw_response.create(**body, extra_body=extra or None, timeout=timeout)
        found = raw.http_response.json()
        if not isinstance(found, dict):
            raise BadAnswer("the model's endpoint answered with something that is no completion")
        return found

    def _timeout(self) -> float:
        if self.deadline is None:
            return self.endpoint.timeout
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise ModelUnreachable("the time for the model was up")
        return min(self.endpoint.timeout, left)

    def _wait(self, attempt: int, last: ModelUnreachable | None) -> None:
        seconds = PATIENCE[attempt - 1] * random.uniform(1.0, 1.5)  # noqa: S311 (spreads retries, no secret)
        seconds = max(seconds, min(LONGEST_WAIT, last.wait if last is not None else 0.0))
        if self.deadline is not None and time.monotonic() + seconds > self.deadline:
            raise last or ModelUnreachable("the time for the model was up")
        time.sleep(seconds)

    def _cost(self, response: Mapping[str, Any]) -> float:
        usage = response.get("usage") or {}
        cached = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
        return self.endpoint.prices.cost(
            int(usage.get("prompt_tokens") or 0), cached, int(usage.get("completion_tokens") or 0)
        )


def _reply(response: Mapping[str, Any], cost: float = 0.0) -> Reply:
    """The answer in a response. Raises BadAnswer."""
    try:
        choice = response["choices"][0]
        text = choice["message"].get("content")
        if not isinstance(text, str):
            raise BadAnswer("the model answered without a text")
        usage = response.get("usage") or {}
        listed = (choice.get("logprobs") or {}).get("content") or ()
        return Reply(
            text,
            choice.get("finish_reason") in ("stop", None),
            tuple(map(_token, listed)),
            int(usage.get("prompt_tokens") or 0),
            int(usage.get("completion_tokens") or 0),
            cost,
        )
    except (LookupError, TypeError, AttributeError, ValueError):
        raise BadAnswer("the model's endpoint answered with something that is no completion") from None


def _token(entry: Mapping[str, Any]) -> Token:
    likeliest = tuple((str(one["token"]), math.exp(float(one["logprob"]))) for one in entry.get("top_logprobs") or ())
    return Token(str(entry["token"]), math.exp(float(entry["logprob"])), likeliest)


def _retry_after(error: openai.APIStatusError) -> float:
    try:
        return float(error.response.headers.get("retry-after", 0))
    except ValueError:
        return 0.0
