"""The OpenAPI description, completed with what holds for all routes: the form of errors, headers, common parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from api.problems import MEDIA

PARAMETERS = {
    "identifier": "id of the thing, as the answer that made it told",
    "name": "name of a registered target",
    "target": "name of a registered target",
    "family": "the rule's family, the first part of its name",
    "rule": "the second part of the rule's name",
    "state": "only those in this state",
    "batch": "only those of the batch with this id",
    "cursor": "where to go on: `next` of the page before",
    "limit": "items on a page",
    "dialect": "of the statements in the log",
    "top": "groups to rewrite",
    "effort": "how long to search, verify and time",
    "if-none-match": "the ETag of the snapshot that the client has",
}
HEADERS = {
    "RateLimit": "what is left of the key's rate: r requests for the next t seconds",
    "RateLimit-Policy": "the key's rate: q requests in w seconds",
    "Retry-After": "seconds to wait",
    "WWW-Authenticate": "how to show who one is",
}


def complete(app: FastAPI) -> None:
    """Let ``app`` describe itself completely. Call it once, after all routes are there."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            for item in document["paths"].values():
                for operation in item.values():
                    _operation(operation)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _operation(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        parameter.setdefault("description", PARAMETERS.get(parameter["name"], ""))
    limited = "429" in operation["responses"]
    for status, answer in operation["responses"].items():
        names = ["RateLimit", "RateLimit-Policy"] if limited and status not in ("400", "401", "413") else []
        names += {"401": ["WWW-Authenticate"], "429": ["Retry-After"]}.get(status, [])
        if names:
            answer.setdefault("headers", {}).update(_headers(names))
        if status.startswith(("4", "5")):
            answer["content"] = {MEDIA: answer["content"][MEDIA]}


def _headers(names: list[str]) -> Mapping[str, Any]:
    return {name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in names}
