"""Invented rows for the Join Order Benchmark (V. Leis et al., PVLDB 9(3), 2015), whose IMDB data may not be passed on.

References are skewed and texts are the queries' own constants among fillers, so that filters keep some rows and the
planner misjudges joins, as it does on the real data. It is not that data: times on it compare forms of one query, and
say nothing about published figures.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import psycopg
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.errors import TargetError, UsageError
from tpc.data import quoted, workload_texts
from tpc.source import Tell, first_line

ROWS: Mapping[str, int] = {
    "title": 60_000, "cast_info": 400_000, "movie_info": 300_000, "movie_companies": 60_000, "movie_info_idx": 50_000,
    "movie_keyword": 120_000, "name": 80_000, "char_name": 60_000, "person_info": 60_000, "movie_link": 3_000,
    "complete_cast": 6_000, "aka_name": 20_000, "aka_title": 8_000, "company_name": 8_000, "keyword": 10_000,
    "info_type": 113, "kind_type": 7, "company_type": 4, "role_type": 12, "link_type": 18, "comp_cast_type": 4,
}  # fmt: skip
REFERENCES: Mapping[str, str] = {
    "movie_id": "title", "linked_movie_id": "title", "person_id": "name", "person_role_id": "char_name",
    "role_id": "role_type", "company_id": "company_name", "company_type_id": "company_type",
    "info_type_id": "info_type", "keyword_id": "keyword", "kind_id": "kind_type", "link_type_id": "link_type",
    "subject_id": "comp_cast_type", "status_id": "comp_cast_type",
}  # fmt: skip
DIMENSION = 200  # rows; a table with fewer has each known text once
SEED = 0.5  # of Postgres' random()
Constants = Mapping[tuple[str, str], set[str]]


def load_job(folder: Path, target: str, tell: Tell) -> None:
    """Make the tables of ``folder`` (``schema.sql``, ``index.sql``, ``queries/*.sql``) in the Postgres database
    ``target``, with invented rows: all of it or nothing. What is there is not touched. Raises UsageError,
    TargetError."""
    try:
        schema = (folder / "schema.sql").read_text(encoding="utf-8")
        indexes = (folder / "index.sql").read_text(encoding="utf-8")
        tables = _tables(schema)
        constants = _constants(workload_texts(folder / "queries"))
    except OSError as error:
        raise UsageError(f"{folder} is no copy of the benchmark: {error.strerror}") from None
    except SqlglotError:
        raise UsageError(f"the schema or a query in {folder} cannot be read as SQL") from None
    if not tables.keys() <= ROWS.keys():
        raise UsageError(f"the schema in {folder} is not that of the benchmark")
    try:
        with psycopg.connect(target) as connection:
            connection.execute(schema.encode())
            connection.execute(f"SELECT setseed({SEED})".encode())
            for number, (table, columns) in enumerate(tables.items()):
                tell(table, number, len(tables))
                values = ", ".join(_value(table, name, type_, constants) for name, type_ in columns.items())
                rows = f"SELECT {values} FROM generate_series(1, {ROWS[table]}) g"
                connection.execute(f"INSERT INTO {table} {rows}".encode())
            tell("indexes, statistics", len(tables), len(tables))
            connection.execute(indexes.encode())
        with psycopg.connect(target, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
    except psycopg.Error as error:
        hint = "the tables must not be there, and the role must be let to create them"
        raise TargetError(f"loading failed: {first_line(error)}", hint=hint) from None


def _tables(schema: str) -> dict[str, dict[str, str]]:
    """Type by column by table."""
    return {
        create.this.this.name: {
            column.name: column.args["kind"].sql("postgres") for column in create.this.find_all(exp.ColumnDef)
        }
        for create in sqlglot.parse(schema, read="postgres")
        if isinstance(create, exp.Create) and isinstance(create.this, exp.Schema)
    }


def _constants(texts: Mapping[str, str]) -> Constants:
    """The texts that queries compare each column with."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for text in texts.values():
        tree = sqlglot.parse_one(text, read="postgres")
        names = {table.alias_or_name: table.name for table in tree.find_all(exp.Table)}
        for literal in tree.find_all(exp.Literal):
            predicate = literal.find_ancestor(exp.Predicate)
            column = predicate.find(exp.Column) if predicate is not None else None
            if literal.is_string and column is not None and column.table in names:
                found[names[column.table], column.name].add(re.sub("%[%_]*|_+%[%_]*", " x ", literal.this))
    return found


def _value(table: str, column: str, type_: str, constants: Constants) -> str:
    """The expression for a column of row ``g``."""
    size = re.search(r"\((\d+)\)", type_)
    length = int(size.group(1)) if size else 60
    known = sorted({text[:length] for text in constants.get((table, column), ())})
    texts = f"(ARRAY[{', '.join(map(quoted, known))}])"
    if column == "id":
        return "g"
    if column in REFERENCES:
        rows = ROWS[REFERENCES[column]]
        skewed = f"1 + floor({rows} * power(random(), {1.0 if rows < 20 else 2.2}))::int"
        return f"CASE WHEN random() < 0.5 THEN {skewed} END" if column == "person_role_id" else skewed
    if column == "production_year":
        return "CASE WHEN random() < 0.97 THEN 1900 + floor(118 * sqrt(random()))::int END"
    if "INT" in type_.upper():
        return "CASE WHEN random() < 0.6 THEN floor(30 * random() * random())::int END"
    filler = f"left(md5(random()::text), {min(length, 12)})"
    if not known:
        value = filler
    elif ROWS[table] < DIMENSION or table == "keyword":
        value = f"coalesce({texts}[g], left('other ' || g, {length}))"
    else:
        drawn = f"{texts}[1 + floor({len(known)} * power(random(), 1.8))::int]"
        value = f"CASE WHEN random() < 0.35 THEN {drawn} ELSE {filler} END"
        if column == "info":
            value = f"CASE WHEN random() < 0.5 THEN to_char(10 * random(), 'FM90.0') ELSE {value} END"
    return f"CASE WHEN random() < 0.6 THEN {value} END" if column == "note" else value
