"""A schema without a database says that it can run nothing, and does."""

from __future__ import annotations

import pytest

from rewriter.engines import SchemaOnly
from rewriter.engines.base import Capabilities, Limits
from rewriter.errors import UsageError
from rewriter.parse import read_schema


def test_it_has_a_catalog_and_nothing_else() -> None:
    engine = SchemaOnly(read_schema("CREATE TABLE t (a int PRIMARY KEY)", "postgres"))
    assert engine.capabilities == Capabilities(runs=False, explains=False, binds=False, parameters=False)
    assert engine.dialect == "postgres"
    assert engine.catalog().find("t") is not None
    for action in (
        lambda: engine.run("SELECT 1", Limits()),
        lambda: engine.explain("SELECT 1"),
        lambda: engine.bind("SELECT 1"),
        lambda: engine.time("SELECT 1", Limits()),
        lambda: engine.run_on(engine.catalog(), [], [], Limits()),
    ):
        with pytest.raises(UsageError):
            action()
    engine.close()
