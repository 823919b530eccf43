"""A catalog of a small shop, an in-memory DuckDB to hunt on, and a helper that holds two texts against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from rewriter.catalog import Catalog
from rewriter.engines import DuckDB, scratch
from rewriter.parse import parse, read_schema
from rewriter.records import Verdict
from rewriter.verify import Verifier

SHOP = """
CREATE TABLE customer (
  id INTEGER PRIMARY KEY, name VARCHAR(20), city VARCHAR, credit DECIMAL(8,2), mail VARCHAR UNIQUE,
  CHECK (credit >= 0));
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customer (id),
  referrer_id INTEGER REFERENCES customer (id),
  day DATE NOT NULL, status VARCHAR NOT NULL CHECK (status IN ('open', 'paid', 'sent')), total DECIMAL(10,2));
CREATE TABLE item (
  order_id INTEGER REFERENCES orders (id), line INTEGER, product VARCHAR, quantity INTEGER, price DECIMAL(8,2),
  PRIMARY KEY (order_id, line), CHECK (quantity BETWEEN 1 AND 9));
CREATE TABLE visit (customer_id INTEGER, page VARCHAR, seconds DOUBLE);
"""

Hold = Callable[..., Verdict]


@pytest.fixture(scope="session")
def shop() -> Catalog:
    return read_schema(SHOP, "duckdb")


@pytest.fixture(scope="session")
def hunter() -> Iterator[DuckDB]:
    engine = scratch()
    yield engine
    engine.close()


@pytest.fixture
def hold(shop: Catalog, hunter: DuckDB) -> Hold:
    """``hold(original, candidate, seconds=..., schema=...)``: the certificate of one pair by tests alone."""

    def run(original: str, candidate: str, *, seconds: float = 2.0, schema: str | None = None) -> Verdict:
        catalog = read_schema(schema, "duckdb") if schema else shop
        first, second = parse(original, catalog), parse(candidate, catalog)
        return Verifier(first, hunter, seed=7, proofs=False).certify(second.stated, seconds=seconds)

    return run
