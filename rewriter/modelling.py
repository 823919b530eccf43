"""A language model with its settings, budget, record and knowledge put together, for command line and service."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rewriter.candidates.base import CandidateSource
from rewriter.candidates.model import Demonstration, Knowledge, Terms, strategies
from rewriter.candidates.model.knowledge import Learnt, LearntRule, Lesson
from rewriter.candidates.model.selector import packaged, read_selector
from rewriter.errors import ModelError, StoreError, UsageError
from rewriter.llm import Account, Capabilities, Endpoint, Exchange, Limit, Model, Prices, Purse
from rewriter.llm.exchanges import Mode
from rewriter.llm.probe import Probed, probe
from rewriter.settings import Settings
from rewriter.store import ModelRecords, Store


class StoredExchanges:
    """Exchanges in the store. An answer that cannot be kept is used all the same."""

    def __init__(self, records: ModelRecords) -> None:
        self._records = records

    def find(self, key: str) -> Exchange | None:
        found = self._records.exchange(key)
        return None if found is None else Exchange(**found)

    def keep(self, exchange: Exchange) -> None:
        with contextlib.suppress(StoreError):
            self._records.add_exchange(asdict(exchange))


_KNOWN = frozenset(field.name for field in fields(Capabilities))


def endpoint_of(settings: Settings) -> Endpoint | None:
    """The endpoint that the settings name; None: no model. Raises UsageError."""
    if settings.model is None:
        return None
    if settings.model_url is None:
        raise UsageError("a model is named and no endpoint", hint="set REWRITER_MODEL_URL or pass --base-url")
    try:
        prices = Prices(*map(float, settings.model_prices.split(",")))
    except (TypeError, ValueError):
        raise UsageError("unusable setting: REWRITER_MODEL_PRICES", hint="three numbers, such as 2.5,1.25,10") from None
    return Endpoint(settings.model_url, settings.model, settings.model_key, prices, settings.model_timeout)


@dataclass(frozen=True)
class Payer:
    """On whose account a model is asked, beside that of the day."""

    tenant: str
    account: Account


@contextlib.contextmanager
def opened(
    settings: Settings, mode: Mode = Mode.CACHE, payer: Payer | None = None
) -> Iterator[tuple[Model, ModelRecords]]:
    """The model of the settings, with the budget of one query, of the day and of a payer, and its part of the store.
    Raises UsageError, StoreError."""
    endpoint = endpoint_of(settings)
    if endpoint is None:
        raise UsageError("no model", hint="pass --model NAME or set REWRITER_MODEL")
    with contextlib.closing(Store(settings.store_url)) as store:
        records = store.models(tenant=payer.tenant) if payer is not None else store.models()
        limits = {"query": Limit(settings.model_tokens, settings.model_cost)}
        day = Limit(settings.model_day_tokens, settings.model_day_cost)
        accounts = [Account("day", day, records.reserve, records.spend)]
        if payer is not None:
            accounts.append(payer.account)
        known = records.capabilities(endpoint.base_url, endpoint.model)
        able = Capabilities(**{name: there for name, there in known.items() if name in _KNOWN}) if known else None
        model = Model(endpoint, Purse(limits, accounts), StoredExchanges(records), mode, able)
        try:
            yield model, records
        finally:
            model.close()


def probed(settings: Settings) -> Probed:
    """Ask the endpoint what it can do, and remember it. Raises ModelError."""
    with opened(settings, Mode.LIVE) as (model, records):
        found = probe(model)
        _remember(records, model.endpoint, found.capabilities)
    return found


def _remember(records: ModelRecords, endpoint: Endpoint, able: Capabilities) -> None:
    records.keep_capabilities(endpoint.base_url, endpoint.model, asdict(able))


@contextlib.contextmanager
def model_sources(
    names: Sequence[str],
    settings: Settings,
    told: Callable[[str], None],
    mode: Mode = Mode.CACHE,
    payer: Payer | None = None,
) -> Iterator[list[CandidateSource]]:
    """The strategies with these names, all under one budget. ``told`` hears why the model could not be used. An
    endpoint that was never probed is probed first. Raises UsageError, StoreError."""
    with opened(settings, mode, payer) as (model, records):
        terms = Terms(model, settings.model_mask_names, settings.model_seconds, told)
        knowledge = knowledge_of(records)
        own = settings.model_selector
        knowledge.selector = read_selector(own) if own is not None else packaged()
        sources = strategies(names, terms, knowledge)
        if mode is not Mode.REPLAY and records.capabilities(model.endpoint.base_url, model.endpoint.model) is None:
            try:
                _remember(records, model.endpoint, probe(model).capabilities)
            except ModelError as error:
                terms.fell_silent(error)
        yield sources


def knowledge_of(records: ModelRecords) -> Knowledge:
    """All that was learnt, and whatever is learnt from now on kept as well."""
    knowledge = Knowledge()
    for kind, body in records.knowledge():
        match kind:
            case "rule":
                knowledge.rules.append(LearntRule(**body))
            case "lesson":
                knowledge.lessons.append(Lesson(**body))
            case "demonstration":
                knowledge.demonstrations.append(Demonstration.of(body))

    def keep(what: Learnt) -> None:
        with contextlib.suppress(StoreError):
            records.learn(*_row(what))

    knowledge.learnt = keep
    return knowledge


def _row(what: Learnt) -> tuple[str, str, Mapping[str, Any]]:
    if isinstance(what, LearntRule):
        return "rule", what.text, asdict(what)
    if isinstance(what, Lesson):
        return "lesson", f"{what.group} {what.bottleneck}", asdict(what)
    return "demonstration", what.sql, what.body
