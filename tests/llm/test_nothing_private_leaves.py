"""All bytes that any strategy sends for TPC-DS queries with planted secrets: none of these is among them."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import duckdb
import pytest
from sqlglot import exp

from rewriter.candidates.base import Budget, Depth, Proposal
from rewriter.candidates.model import STRATEGIES, Knowledge, Terms, strategies
from rewriter.catalog import Catalog, Column, Table
from rewriter.llm.scripted import Line
from rewriter.parse import parse
from rewriter.records import (
    Counterexample,
    Database,
    Feedback,
    Plan,
    Query,
    Result,
    TableRows,
    Verdict,
    VerdictKind,
)
from rules.facts import Facts
from tests.llm.conftest import Connect, Serve

Suite = list[Query]
SECRET_TEXT, SECRET_NUMBER = "planted-secret", 990077
PLAN = Plan(
    "Seq Scan",
    {
        "relation name": "store_sales",
        "filter": f"((ss_item_sk > {SECRET_NUMBER}) AND (s_name = '{SECRET_TEXT}'::text) AND (x = '{SECRET_TEXT} 2'))",
        "output": SECRET_TEXT,
    },
    rows=float(SECRET_NUMBER),
    cost=float(SECRET_NUMBER),
)


def planted(text: str, catalog: Catalog) -> Query:
    """The query with a secret in every literal that is no date, interval or structure."""
    tree = parse(text, catalog).tree.copy()
    for number, literal in enumerate(list(tree.find_all(exp.Literal))):
        if isinstance(literal.parent, (exp.Cast, exp.Interval, exp.Limit, exp.Offset, exp.Ordered, exp.Substring)):
            continue
        if literal.is_string:
            literal.set("this", f"{SECRET_TEXT} {number}")
        elif literal.name.isdigit() and int(literal.name) > 9:
            literal.set("this", str(SECRET_NUMBER * 100 + number))
    sql = tree.sql(dialect="postgres")
    return parse(f"/* {SECRET_TEXT} */ {sql} -- {SECRET_TEXT}", catalog)


@pytest.fixture(scope="module")
def suite() -> Suite:
    """The 99 queries of TPC-DS with secrets in them."""
    extension = pytest.importorskip("duckdb_extension_tpcds", reason="needs the extra tpc")
    with duckdb.connect() as connection:
        (library,) = Path(extension.__file__).parent.rglob("*.duckdb_extension")
        connection.execute(f"LOAD '{library}'")
        connection.execute("CALL dsdgen(sf = 0)")
        texts = [text for (text,) in connection.execute("SELECT query FROM tpcds_queries()").fetchall()]
        columns: dict[str, list[Column]] = defaultdict(list)
        for table, name, type_ in connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY column_index"
        ).fetchall():
            columns[table].append(Column(name, type_))
    catalog = Catalog("postgres", tuple(Table(name, tuple(entries)) for name, entries in columns.items()))
    return [planted(text, catalog) for text in texts]


def counterexample(query: Query) -> Counterexample:
    table = TableRows("store", ("s_store_sk", "s_name"), ((SECRET_NUMBER * 100, f"{SECRET_TEXT} 1"),))
    made_up = [literal.name for literal in query.tree.find_all(exp.Literal)]
    rows = tuple((text,) for text in made_up)
    result = Result(("a",), ("text",), rows)
    return Counterexample(
        Database((table,)), result, result, {}, ("DuckDB",), f"It is '{made_up[0] if made_up else ''}'."
    )


def drive(name: str, query: Query, terms: Terms) -> int:
    """Run a strategy to its end: refuse its first proposals in every way, then accept."""
    knowledge = Knowledge()
    (source,) = strategies([name], terms, knowledge)
    original = Feedback(plan=PLAN, seconds=2.0)
    generator = source.candidates(query, Facts(query.catalog), Budget(30.0), original)
    proposals = 0
    refuted = Verdict(VerdictKind.REFUTED, "tested", "different", counterexample=counterexample(query))
    literal = next((one.name for one in query.tree.find_all(exp.Literal) if SECRET_TEXT in one.name), "x")
    answers = [
        Feedback(rejected=f"invalid input syntax near '{literal}'"),
        Feedback(rejected="different", verdict=refuted),
    ]
    feedback: Feedback | None = None
    while True:
        try:
            proposal: Proposal = next(generator) if feedback is None else generator.send(feedback)
        except StopIteration:
            return proposals
        proposals += 1
        failed = Feedback(rejected=f"it failed on the value '{SECRET_TEXT}' of row {SECRET_NUMBER}")
        if proposals <= len(answers):
            feedback = answers[proposals - 1]
        elif proposal.depth is Depth.TIME and proposals % 2:
            feedback = failed
        else:
            feedback = Feedback(plan=PLAN, seconds=0.1)


def check(name: str, queries: list[Query], serve: Serve, connect: Connect, *, masked: bool) -> None:
    rewritten = json.dumps({"analysis": "x", "rules": ["a rule", "another"], "sql": "SELECT %said% AS a"})
    server = serve(Line(rewritten, "Answer with one JSON object and nothing else:\n{.analysis"), Line('{"choice": 1}'))
    model = connect(server.url, tokens=None)
    proposals = sum(drive(name, query, Terms(model, masked)) for query in queries)
    assert proposals or name == "llm_r2"
    assert len(server.requests) >= len(queries)
    for raw in server.requests:
        body = "\n".join(message["content"] for message in json.loads(raw)["messages"])
        for secret in (SECRET_TEXT, str(SECRET_NUMBER)):
            at = body.find(secret)
            assert at < 0, body[max(0, at - 200) : at + 60]
        if masked:
            assert "store_sales" not in body
            assert "ss_item_sk" not in body


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_few_queries(name: str, suite: Suite, serve: Serve, connect: Connect) -> None:
    check(name, [suite[0], suite[12]], serve, connect, masked=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_whole_suite(name: str, suite: Suite, serve: Serve, connect: Connect) -> None:
    # lithe asks twenty times for a query: a third of them keeps the run short
    check(name, suite[::3] if name == "lithe" else suite, serve, connect, masked=name == "genrewrite")
