"""The API's description is complete: clients are made from it, and the fuzzer holds the service to it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving import House


@pytest.fixture(scope="module")
def document(house: House) -> dict[str, Any]:
    found: dict[str, Any] = house.call("GET", "/openapi.json", key=None).json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(document: dict[str, Any]) -> None:
    found = operations(document)
    names = [operation["operationId"] for _, operation in found]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name.islower() for name in names)  # the route's function, and so stable
    for where, operation in found:
        assert operation["description"], where
        assert operation["tags"], where
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (where, parameter["name"])


def test_every_error_is_a_problem(document: dict[str, Any]) -> None:
    for where, operation in operations(document):
        for status, answer in operation["responses"].items():
            assert answer["description"], (where, status)
            if status[0] in "45":
                assert list(answer["content"]) == ["application/problem+json"], (where, status)
        if "/v1/" in where:
            assert {"400", "401", "403", "404", "413", "422", "429", "503"} <= set(operation["responses"]), where
            assert "Retry-After" in operation["responses"]["429"]["headers"]


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    bodies = [operation["requestBody"] for _, operation in operations(document) if "requestBody" in operation]
    assert len(bodies) > 8
    for body in bodies:
        for content in body["content"].values():
            reference = content["schema"].get("$ref")
            if reference is None:
                assert content["example"]
                continue
            schema = schemas[reference.rsplit("/", 1)[1]]
            members = schema["properties"]
            assert any(member.get("examples") for member in members.values()), reference
            assert all(members[name].get("examples") for name in schema.get("required", ())), reference
            assert schema["description"], reference


def test_links_lead_to_operations(document: dict[str, Any]) -> None:
    names = {operation["operationId"] for _, operation in operations(document)}
    links = [
        link
        for _, operation in operations(document)
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(links) > 5
    assert {link["operationId"] for link in links} <= names
