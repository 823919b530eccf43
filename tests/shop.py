"""Fixtures: a small shop on a real Postgres, slow enough that a rewrite pays."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from rewriter.engines import Postgres

DDL = """
CREATE TABLE shop (id integer PRIMARY KEY, city text NOT NULL);
CREATE TABLE sale (
  id integer PRIMARY KEY, shop_id integer REFERENCES shop (id), amount numeric(8, 2) NOT NULL, day date);
INSERT INTO shop SELECT g, 'city ' || g % 5 FROM generate_series(1, 200) g;
INSERT INTO sale
  SELECT g, 1 + g % 200, g % 97, DATE '2024-01-01' + g % 300 FROM generate_series(1, 6000) g;
ANALYZE;
"""
SLOW = "SELECT s.id FROM sale s WHERE s.amount > (SELECT 1.2 * avg(t.amount) FROM sale t WHERE t.shop_id = s.shop_id)"


@pytest.fixture(scope="session")
def shop_url(postgres_url: str) -> str:
    name = f"shop_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    target = postgres_url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute(DDL)
    return target


@pytest.fixture(scope="session")
def shop(shop_url: str) -> Iterator[Postgres]:
    engine = Postgres(shop_url)
    yield engine
    engine.close()
