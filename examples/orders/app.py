"""The application: one endpoint over SQLAlchemy, one over psycopg, both slow. It knows nothing of rewrites but that
``create_app`` is handed a client."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
from fastapi import FastAPI
from psycopg.rows import dict_row
from sqlalchemy import (
    Column,
    Date,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    Select,
    Table,
    Text,
    create_engine,
    func,
    select,
)

from rewriter.clients import Client
from rewriter.clients import psycopg as rewriter_psycopg
from rewriter.clients import sqlalchemy as rewriter_sqlalchemy

metadata = MetaData()
customer = Table(
    "customer", metadata, Column("id", Integer, primary_key=True), Column("name", Text), Column("city", Text)
)
purchase = Table(
    "purchase",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("customer_id", ForeignKey("customer.id")),
    Column("city", Text),
    Column("status", Text),
    Column("day", Date),
    Column("total", Numeric(10, 2)),
)

QUIET = """SELECT c.id, c.name FROM customer c
WHERE c.id NOT IN (SELECT p.customer_id FROM purchase p WHERE p.city = c.city AND p.day >= %s)
ORDER BY c.id"""


def large_purchases(status: str, factor: Decimal) -> Select[Any]:
    """Purchases far above what their customer usually spends: the average is taken anew for each row."""
    other = purchase.alias("other")
    usual = select(factor * func.avg(other.c.total)).where(other.c.customer_id == purchase.c.customer_id)
    return (
        select(purchase.c.id, purchase.c.customer_id, purchase.c.total)
        .where(purchase.c.status == status, purchase.c.total > usual.scalar_subquery())
        .order_by(purchase.c.id)
    )


def connect_engine(url: str) -> Engine:
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def create_app(engine: Engine, url: str, client: Client | None = None) -> FastAPI:
    app = FastAPI()
    cursors = psycopg.Cursor
    if client is not None:
        rewriter_sqlalchemy.install(engine, client)
        cursors = rewriter_psycopg.cursor_factory(client)

    @app.get("/purchases/large")
    def large(status: str = "paid", factor: Decimal = Decimal("1.5")) -> list[dict[str, Any]]:
        with engine.connect() as connection:
            return [dict(row) for row in connection.execute(large_purchases(status, factor)).mappings()]

    @app.get("/customers/quiet")
    def quiet(since: date = date(2026, 9, 1)) -> list[dict[str, Any]]:
        """Customers who have bought nothing in their own city since a day."""
        with psycopg.connect(url, cursor_factory=cursors, row_factory=dict_row) as connection:
            return connection.execute(QUIET, (since,)).fetchall()

    @app.get("/rewrites")
    def rewrites() -> dict[str, Any]:
        return client.status() if client is not None else {}

    return app
