"""Catalogs from DDL text and from the schema format of query-pair files."""

from __future__ import annotations

import json

import pytest

from rewriter.catalog import Column, ForeignKey
from rewriter.errors import RewriterError, SchemaError
from rewriter.parse import catalog_of, parse, read_schema

DUMP = r"""
--
-- PostgreSQL database dump
--
\restrict abc
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
CREATE TYPE public.mood AS ENUM ('sad', 'it''s; fine');
CREATE FUNCTION public.f() RETURNS int LANGUAGE plpgsql AS $_$ BEGIN CREATE TABLE evil (a int); RETURN 1; END $_$;
-- rows orders 1_500_000
CREATE TABLE public.orders (
    id bigint NOT NULL,
    customer integer,
    "Note" text DEFAULT ';'::text,
    total numeric(12,2) DEFAULT 0 NOT NULL,
    placed timestamp without time zone,
    state public.mood,
    CONSTRAINT positive CHECK ((total >= (0)::numeric))
);
COMMENT ON TABLE public.orders IS 'CREATE TABLE nonsense (a int);';
CREATE TABLE public.customers (
    id integer NOT NULL,
    email text,
    code character varying(10) NOT NULL
);
COPY public.customers (id, email, code) FROM stdin;
1	it's; "strange	x
\.
INSERT INTO public.customers VALUES (2, 'b', 'c');
CREATE VIEW public.big AS
 SELECT id AS number, sum(total) AS total FROM public.orders GROUP BY id;
CREATE MATERIALIZED VIEW public.stale AS SELECT id FROM public.orders WITH NO DATA;
ALTER TABLE ONLY public.orders ADD CONSTRAINT orders_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.customers ADD CONSTRAINT customers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.customers ADD CONSTRAINT customers_code_key UNIQUE (code);
CREATE UNIQUE INDEX customers_email ON public.customers USING btree (email);
CREATE UNIQUE INDEX customers_lower ON public.customers USING btree (lower(email));
CREATE UNIQUE INDEX orders_open ON public.orders USING btree (customer) WHERE (total > 0);
CREATE INDEX orders_customer ON public.orders USING btree (customer);
ALTER TABLE ONLY public.orders
    ADD CONSTRAINT fk FOREIGN KEY (customer) REFERENCES public.customers(id) ON DELETE CASCADE;
ALTER TABLE public.orders ADD CONSTRAINT fk2 FOREIGN KEY (id) REFERENCES public.customers(id) NOT VALID;
GRANT SELECT ON TABLE public.orders TO reader;
\unrestrict abc
"""


def test_a_schema_dump_is_read_as_it_is():
    catalog = read_schema(DUMP, "postgres", {"customers": 7})
    assert {table.name for table in catalog.tables} == {"orders", "customers", "big", "stale"}
    assert catalog.search_path == ("public",)
    orders = catalog.find("orders")
    assert orders is not None
    assert orders.schema == "public"
    assert [column.name for column in orders.columns] == ["id", "customer", "Note", "total", "placed", "state"]
    assert [column.nullable for column in orders.columns] == [False, True, True, False, True, True]
    assert orders.primary_key == ("id",)
    assert orders.unique == ()  # a partial index promises nothing about all rows
    assert orders.foreign_keys == (ForeignKey(("customer",), "customers", ("id",), "public"),)
    assert len(orders.checks) == 1
    assert orders.rows == 1_500_000
    customers = catalog.find("customers")
    assert customers is not None
    assert set(customers.unique) == {("code",), ("email",)}
    assert customers.rows == 7


def test_views_have_the_columns_and_types_of_their_select():
    catalog = read_schema(DUMP, "postgres")
    big = catalog.find("big")
    assert big is not None
    assert big.is_view
    assert [column.name for column in big.columns] == ["number", "total"]
    assert big.columns[0].type.lower() == "bigint"
    assert parse("SELECT number FROM big", catalog).columns == ("number",)


def test_a_materialized_view_is_a_table_because_it_may_be_out_of_date():
    stale = read_schema(DUMP, "postgres").find("stale")
    assert stale is not None
    assert not stale.is_view
    assert [column.name for column in stale.columns] == ["id"]


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_constraints_in_columns_and_tables(dialect):
    catalog = read_schema(
        "CREATE TABLE p (a int PRIMARY KEY, b int UNIQUE NOT NULL, c int CHECK (c > 0));"
        "CREATE TABLE c (x int REFERENCES p, y int, z int, PRIMARY KEY (y, z), UNIQUE (x, z),"
        " FOREIGN KEY (y) REFERENCES p (b), FOREIGN KEY (z) REFERENCES nowhere (q));",
        dialect,
    )
    parent, child = catalog.find("p"), catalog.find("c")
    assert parent is not None
    assert child is not None
    assert parent.primary_key == ("a",)
    assert parent.unique == (("b",),)
    assert [column.nullable for column in parent.columns] == [False, False, True]
    assert parent.checks == ("c > 0",)
    assert child.primary_key == ("y", "z")
    assert child.unique == (("x", "z"),)
    assert child.foreign_keys == (ForeignKey(("x",), "p", ("a",)), ForeignKey(("y",), "p", ("b",)))
    assert [column.nullable for column in child.columns] == [True, False, False]


def test_keys_do_not_hold_over_inheriting_tables():
    catalog = read_schema("CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE c (b int) INHERITS (p);", "postgres")
    parent, child = catalog.find("p"), catalog.find("c")
    assert parent is not None
    assert child is not None
    assert parent.primary_key == ()
    assert [column.name for column in child.columns] == ["a", "b"]


def test_names_are_kept_as_the_engine_keeps_them():
    ddl = 'CREATE TABLE Plain (A int, "B c" int); CREATE TABLE "Quoted" (a int); CREATE UNIQUE INDEX i ON "Quoted" (A);'
    postgres, duck = read_schema(ddl, "postgres"), read_schema(ddl, "duckdb")
    assert [table.name for table in postgres.tables] == ["plain", "Quoted"]
    assert postgres.tables[0].columns[1].name == "B c"
    assert postgres.tables[1].unique == (("a",),)
    assert [table.name for table in duck.tables] == ["plain", "quoted"]
    assert duck.tables[1].unique == (("a",),)


def test_schemas_tell_tables_apart():
    catalog = read_schema("CREATE TABLE s.t (a int); CREATE TABLE public.t (b int);", "postgres")
    assert parse("SELECT * FROM t", catalog).columns == ("b",)
    assert parse("SELECT * FROM s.t", catalog).columns == ("a",)
    assert "s.t" in parse("SELECT a FROM s.t", catalog).sql()


@pytest.mark.parametrize("ddl", ["", "SELECT 1", "CREATE TABLE", "CREATE TABLE t (", "CREATE TABLE t AS SELECT 1 AS a"])
def test_what_cannot_be_read_says_so(ddl):
    with pytest.raises(SchemaError) as caught:
        read_schema(ddl, "postgres")
    assert caught.value.hint


def test_the_schema_of_a_pair():
    catalog = catalog_of(
        [
            {
                "table": "Emp",
                "columns": [
                    {"name": "Id", "type": "INTEGER", "nullable": True},
                    {"name": "Dept", "type": "INTEGER", "nullable": True},
                ],
                "pk": ["Id"],
                "fks": [{"cols": ["Dept"], "ref_table": "Dept", "ref_cols": ["No"]}],
                "unique": [["Dept"]],
                "checks": ["dept > 0"],
            }
        ],
        "duckdb",
    )
    (table,) = catalog.tables
    assert table.name == "emp"
    assert table.columns == (Column("id", "INTEGER", False), Column("dept", "INTEGER", True))
    assert table.foreign_keys == (ForeignKey(("dept",), "dept", ("no",)),)
    assert table.unique == (("dept",),)
    with pytest.raises(SchemaError):
        catalog_of([{"columns": []}], "duckdb")


def test_every_schema_and_nearly_every_query_of_the_shared_pairs_is_read(shared):
    read = refused = 0
    for path in sorted((shared / "pairs").glob("*.jsonl")):
        for number, line in enumerate(path.read_text().splitlines()):
            if number % 97:
                continue
            pair = json.loads(line)
            catalog = catalog_of(pair["schema"], "duckdb")
            for key in ("q1", "q2"):
                if pair[key] and pair.get(f"duckdb_binds_{key}"):
                    try:
                        parse(pair[key], catalog)
                        read += 1
                    except RewriterError:
                        refused += 1
    assert read > 100
    assert refused <= read // 100
