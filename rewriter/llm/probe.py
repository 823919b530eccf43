"""What an endpoint can do, found out by asking: once for each endpoint and model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rewriter.errors import BadAnswer, ModelError
from rewriter.llm.answers import read_object
from rewriter.llm.client import Ask, Model
from rewriter.llm.endpoint import Capabilities

_QUESTION = {"role": "user", "content": 'Answer with the JSON object {"ready": true} and nothing else.'}
_SCHEMA = {
    "type": "object",
    "properties": {"ready": {"type": "boolean"}},
    "required": ["ready"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Probed:
    """``findings``: what was tried, in words; whether it is there."""

    capabilities: Capabilities
    findings: tuple[tuple[str, bool], ...]


def probe(model: Model) -> Probed:
    """Raises ModelError when the endpoint does not answer at all."""
    able = Capabilities()
    model.capabilities = able
    plain = model.ask(Ask("probe", (_QUESTION,), most_tokens=64))
    schema = _works(model, Ask("probe", (_QUESTION,), schema=_SCHEMA, most_tokens=64))
    json_schema = schema is not None and model.capabilities.json_schema and _obeyed(schema)
    told = _works(model, Ask("probe", (_QUESTION,), logprobs=2, most_tokens=64))
    logprobs = told is not None and model.capabilities.logprobs
    started = '{"ready": tr'
    going_on = _works(model, Ask("probe", (_QUESTION,), prefix=started, most_tokens=16))
    prefix = going_on is not None and going_on.lstrip().startswith("ue")
    found = replace(model.capabilities, json_schema=json_schema, logprobs=logprobs, prefix=prefix)
    model.capabilities = found
    return Probed(
        found,
        (
            ("answers", bool(plain.text)),
            ("answers by a JSON schema", json_schema),
            ("token probabilities", logprobs),
            ("temperature", found.temperature),
            ("goes on with an answer begun", prefix),
        ),
    )


def _works(model: Model, ask: Ask) -> str | None:
    try:
        reply = model.ask(ask)
    except ModelError:
        return None
    if ask.logprobs and not reply.tokens:
        return None  # accepted and not done
    return reply.text


def _obeyed(text: str) -> bool:
    try:
        return read_object(text) == {"ready": True}
    except BadAnswer:
        return False
