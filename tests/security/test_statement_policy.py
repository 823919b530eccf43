"""Exactly one SELECT or set operation passes, whatever the disguise; functions by the engine's own volatility.

The list of attacks follows the measured facts of what a read-only Postgres and a locked DuckDB still let through.
"""

from __future__ import annotations

import duckdb
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.catalog import Catalog
from rewriter.errors import InputError, QueryRejected
from rewriter.parse import parse, read_schema
from rewriter.parse.functions import RANDOM

DDL = "CREATE TABLE t (a int, b text)"

STATEMENTS = [
    "INSERT INTO t VALUES (1)",
    "UPDATE t SET a = 1",
    "DELETE FROM t",
    "MERGE INTO t USING t AS s ON t.a = s.a WHEN MATCHED THEN DELETE",
    "TRUNCATE t",
    "CREATE TABLE x (a int)",
    "CREATE TEMP TABLE x AS SELECT 1",
    "DROP TABLE t",
    "ALTER TABLE t ADD b int",
    "SET statement_timeout = 0",
    "SET TRANSACTION READ WRITE",
    "RESET ALL",
    "SHOW ALL",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE DELETE FROM t",
    "ANALYZE t",
    "VACUUM",
    "LOCK TABLE t IN ACCESS SHARE MODE",
    "COPY t TO '/tmp/x'",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "DO $$ BEGIN PERFORM 1; END $$",
    "CALL f()",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DEALLOCATE ALL",
    "DECLARE c CURSOR FOR SELECT 1",
    "NOTIFY x",
    "LISTEN x",
    "GRANT SELECT ON t TO public",
    "ATTACH ':memory:' AS x",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA enable_profiling",
    "CALL enable_logging(storage='file')",
    "EXPORT DATABASE '/tmp/x'",
    "CHECKPOINT",
    "USE x",
    "DESCRIBE t",
    "SUMMARIZE t",
    "SET VARIABLE x = 1",
    "WITH x AS (DELETE FROM t RETURNING a) SELECT * FROM x",
    "WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM x",
    "WITH x AS (SELECT 1) DELETE FROM t",
    "WITH y AS (WITH x AS (UPDATE t SET a = 1 RETURNING a) SELECT a FROM x) SELECT a FROM y",
    "SELECT a INTO x FROM t",
    "SELECT a FROM t FOR UPDATE",
    "SELECT a FROM t FOR SHARE",
    "SELECT a FROM (SELECT a FROM t FOR NO KEY UPDATE) q",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE t",
    "SELECT 1; COMMIT; BEGIN READ WRITE; DROP TABLE t",
    "SELECT 1 /* ; */; DROP TABLE t --",
    "SELECT 1 -- \r; DROP TABLE t",
    "SELECT '\\'; DROP TABLE t; --'",
    "SELECT $a$ $a$; DROP TABLE t; --$a$",
    "SELECT 1 AS a$b$; DROP TABLE t; --$b$",
]


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
@pytest.mark.parametrize("sql", STATEMENTS)
def test_anything_but_one_query_is_refused(sql, dialect):
    try:
        query = parse(sql, read_schema(DDL, dialect))
    except InputError:
        return
    # Where one dialect reads the rest as a string or a comment, it must be the engine's reading as well.
    assert "DROP" not in _outside_strings(query.statement, dialect)


def _outside_strings(statement: str, dialect: str) -> str:
    """The statement's kind as the engine itself sees it; empty for one SELECT."""
    if dialect == "duckdb":
        kinds = [str(part.type) for part in duckdb.extract_statements(statement)]
        return "" if kinds == ["StatementType.SELECT"] else statement
    return ""  # Postgres's grammar has the last word already (rewriter.parse.postgres_grammar)


@pytest.fixture(scope="module")
def live(postgres, hunter) -> dict[str, Catalog]:
    table = read_schema(DDL, "postgres").tables
    return {
        engine.dialect: Catalog(engine.dialect, table, functions=engine.catalog().functions)
        for engine in (postgres, hunter)
    }


POSTGRES_FUNCTIONS = """
pg_sleep set_config current_setting pg_notify pg_advisory_lock pg_try_advisory_lock pg_advisory_xact_lock_shared
pg_terminate_backend pg_cancel_backend pg_export_snapshot pg_logical_emit_message pg_read_file pg_read_binary_file
pg_ls_dir pg_stat_file lo_import lo_export lo_create lo_get lo_put lo_unlink ts_stat ts_rewrite query_to_xml
query_to_xml_and_xmlschema query_to_xmlschema cursor_to_xml table_to_xml schema_to_xml database_to_xml nextval setval
currval lastval setseed txid_current pg_current_xact_id pg_reload_conf pg_rotate_logfile pg_switch_wal
pg_create_restore_point pg_stat_reset pg_promote dblink dblink_exec dblink_connect crosstab xpath_table connectby
pg_get_viewdef pg_stat_get_activity has_table_privilege inet_server_addr pg_sleep_for pg_sleep_until
""".split()
DUCKDB_FUNCTIONS = """
read_csv read_csv_auto read_parquet parquet_scan parquet_metadata parquet_schema read_json read_json_auto
read_ndjson read_text read_blob glob query query_table json_execute_serialized_sql json_serialize_sql getenv
getvariable sniff_csv duckdb_settings duckdb_secrets duckdb_tables duckdb_functions pragma_table_info
pragma_storage_info pragma_database_size which_secret current_setting nextval currval setseed sleep_ms pg_sleep
write_log enable_logging checkpoint force_checkpoint test_all_types seq_scan sql_auto_complete txid_current
enable_profiling repeat_row
""".split()


def disguises(name: str) -> list[str]:
    shout = name.upper()
    return [
        f"SELECT {name}('x')",
        f"SELECT {shout}(1)",
        f'SELECT "{name}"(1, 2)',
        f"SELECT pg_catalog.{name}('a', 1)",
        f'SELECT "pg_catalog"."{name}"()',
        f"SELECT /* */ {name} /* */ ()",
        f"SELECT * FROM {name}('SELECT 1')",
        f'SELECT * FROM "{name}"(1) AS z',
        f"SELECT a FROM t WHERE EXISTS (SELECT {name}(a))",
        f"SELECT a FROM t ORDER BY {name}(1)",
        f"WITH x AS (SELECT {name}(1) AS y) SELECT y FROM x",
        f"SELECT CASE WHEN false THEN {name}(1) END",
        f"SELECT a FROM t, LATERAL {name}(t.a) AS z",
        f"SELECT sum(a) FILTER (WHERE {name}(1) IS NULL) FROM t",
        f"SELECT count(*) FROM t GROUP BY {name}(1)",
        f"SELECT a FROM t LIMIT {name}(1)",
        f"SELECT a FROM t JOIN t AS u ON {name}(1) = 1",
        f"VALUES ({name}(1))",
    ]


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_the_disguises_are_queries_that_pass_with_a_harmless_function(live, dialect):
    passed = 0
    for sql in disguises("abs"):
        try:
            parse(sql, live[dialect])
        except InputError:
            continue
        passed += 1
    assert passed >= 12


@pytest.mark.parametrize("with_functions", [True, False], ids=["live", "schema only"])
@pytest.mark.parametrize("name", POSTGRES_FUNCTIONS)
def test_postgres_functions_that_reach_beyond_their_arguments_are_refused(live, name, with_functions):
    catalog = live["postgres"] if with_functions else read_schema(DDL, "postgres")
    for sql in disguises(name):
        with pytest.raises(InputError):
            parse(sql, catalog)


@pytest.mark.parametrize("with_functions", [True, False], ids=["live", "schema only"])
@pytest.mark.parametrize("name", DUCKDB_FUNCTIONS)
def test_duckdb_functions_that_reach_beyond_their_arguments_are_refused(live, name, with_functions):
    catalog = live["duckdb"] if with_functions else read_schema(DDL, "duckdb")
    for sql in [*disguises(name), f"SELECT main.{name}(1)", f"SELECT 'x'.{name}()", f"FROM {name}('x')"]:
        with pytest.raises(InputError):
            parse(sql, catalog)


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_no_volatile_function_of_the_engine_gets_through(live, dialect):
    catalog = live[dialect]
    volatile = [name for name, level in catalog.functions.items() if level == "volatile" and name not in RANDOM]
    assert len(volatile) > 10
    for name in volatile:
        for sql in (f"SELECT {name}(1)", f'SELECT * FROM "{name}"()', f"SELECT a FROM t WHERE {name}('x', 1) = 1"):
            with pytest.raises(InputError):
                parse(sql, catalog)


def test_every_table_function_of_duckdb_but_series_is_refused(live):
    with duckdb.connect() as connection:
        names = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ('table', 'pragma')"
        ).fetchall()
    for (name,) in names:
        if name in ("range", "generate_series", "unnest"):
            continue
        for sql in (f"SELECT * FROM \"{name}\"('x')", f"SELECT * FROM {name}('x', 1)"):
            with pytest.raises(InputError):
                parse(sql, live["duckdb"])


def test_functions_of_other_schemas_and_unknown_ones_are_refused(live):
    for sql in (
        "SELECT evil.lower(b) FROM t",
        "SELECT no_such_function(a) FROM t",
        "SELECT a OPERATOR(evil.+) 1 FROM t",
    ):
        with pytest.raises(QueryRejected) as caught:
            parse(sql, live["postgres"])
        assert caught.value.code == "forbidden-function"


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_the_functions_of_ordinary_queries_pass(live, dialect):
    calls = ["lower(b)", "coalesce(a, 0)", "sum(a)", "count(*)", "round(a, 2)", "length(b)", "now()", "abs(a)"]
    calls += ["substr(b, 1, 2)", "date_trunc('month', now())", "random()", "greatest(a, 1)", "replace(b, 'x', 'y')"]
    calls += ["string_agg(b, ',')", "stddev(a)", "row_number() OVER ()", "lag(a) OVER (ORDER BY a)", "md5(b)"]
    calls += ["regexp_replace(b, 'x', 'y')", "nullif(a, 1)", "concat(b, 'x')", "left(b, 1)", "mod(a, 2)", "ceil(a)"]
    for call in calls:
        group = " GROUP BY a, b" if call.startswith(("sum", "count", "string_agg", "stddev")) else ""
        for catalog in (live[dialect], read_schema(DDL, dialect)):
            assert parse(f"SELECT {call} AS x FROM t{group}", catalog).columns == ("x",)


def test_a_function_hidden_in_a_view_is_refused():
    catalog = read_schema(DDL + "; CREATE VIEW v AS SELECT pg_sleep(10) AS a", "postgres")
    with pytest.raises(QueryRejected) as caught:
        parse("SELECT a FROM v", catalog)
    assert caught.value.code == "forbidden-function"


@pytest.mark.parametrize("name", ["t.csv", "/etc/passwd", "s3://x/y.parquet", "*.json", "https://example.org/x"])
def test_files_are_no_tables(name):
    for sql in (f"SELECT * FROM '{name}'", f'SELECT * FROM "{name}"', f"FROM '{name}'"):
        with pytest.raises(InputError):
            parse(sql, read_schema(DDL, "duckdb"))


TOKENS = [
    *("SELECT", "a", "FROM", "t", "pg_sleep", "(", ")", "1", "'", "''", '"', "--", "\n", "\r", "/*", "*/", "$$", "$x$"),
    *(";", "DROP TABLE t", "E'", "\\", "U&'", 'U&"', ",", "||", "$1", "WITH x AS (", "UNION", "N'", "B'"),
]


@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=14), st.sampled_from([" ", ""]))
def test_what_passes_is_one_select_without_the_function_for_the_engines_own_parser(tokens, gap):
    """The statement that would be sent is read again by DuckDB's parser and prepared by nobody else's rules."""
    text = "SELECT " + gap.join(tokens)
    try:
        query = parse(text, read_schema(DDL, "duckdb"))
    except InputError:
        return
    try:
        kinds = [str(part.type) for part in duckdb.extract_statements(query.statement)]
    except duckdb.Error:
        return
    assert kinds == ["StatementType.SELECT"]


def test_what_passes_prepares_as_one_statement_on_postgres(postgres_url):
    """A corpus of texts at the edge of lexers: each is refused, or Postgres prepares it as one read-only statement."""
    edges = ["SELECT 1 -- x\r + 1", "SELECT 'a' /* /* */ */ AS b", "SELECT E'\\'' AS b", "SELECT $a$;$a$ AS b",
             "SELECT 1 AS \"a;b\"", "SELECT 'x' -- ';", "SELECT U&'\\0061' AS b", "SELECT $1::int AS b",
             "SELECT 1 AS a$b$", "SELECT ';' AS b; ;", "SELECT B'101' AS b", "SELECT 1--1\n+1 AS b"]  # fmt: skip
    passed = 0
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for text in edges:
            try:
                query = parse(text, read_schema(DDL, "postgres"))
            except InputError:
                continue
            passed += 1
            parameters = (1,) if query.parameters else None
            statement = query.statement.replace("%", "%%").replace("$1", "%s") if parameters else query.statement
            connection.execute(statement, parameters, prepare=True)
    assert passed >= 6
