"""The application's tables and data."""

from __future__ import annotations

import psycopg

DDL = """
CREATE TABLE customer (id integer PRIMARY KEY, name text NOT NULL, city text NOT NULL);
CREATE TABLE purchase (
  id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES customer (id), city text NOT NULL,
  status text NOT NULL, day date NOT NULL, total numeric(10, 2) NOT NULL);
"""
FILL = """
INSERT INTO customer SELECT g, 'customer ' || g, 'city ' || g %% 7 FROM generate_series(1, %(customers)s) g;
INSERT INTO purchase
  SELECT g, 1 + g * 7919 %% %(customers)s, 'city ' || g %% 11, (ARRAY['open', 'paid', 'sent'])[1 + g %% 3],
         DATE '2026-01-01' + g %% 300, (g * 31 %% 997) + 0.5
  FROM generate_series(1, %(purchases)s) g;
"""
TABLES = (("public", "customer"), ("public", "purchase"))


def create(url: str, name: str, *, customers: int = 1500, purchases: int = 12_000) -> str:
    """Make the database ``name`` anew on the server at ``url`` (that of its database postgres); its own URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}"')
    target = url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute(DDL)
        with psycopg.ClientCursor(connection) as cursor:
            cursor.execute(FILL, {"customers": customers, "purchases": purchases})
        connection.execute("ANALYZE")
    return target
