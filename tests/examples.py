"""Fixture: one report with something of everything, made by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from rewriter.parse import parse, read_schema
from rewriter.records import (
    Adequacy,
    Candidate,
    Counterexample,
    Database,
    Decision,
    Loser,
    Measurement,
    Plan,
    Report,
    Result,
    Speedup,
    Step,
    TableRows,
    Verdict,
    VerdictKind,
)

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture
def report() -> Report:
    catalog = read_schema("CREATE TABLE sale (id int PRIMARY KEY, shop text, amount numeric(8, 2))", "postgres")
    query = parse(f"SELECT id FROM sale WHERE shop = '{HOSTILE.replace(chr(39), chr(39) * 2)}' ORDER BY id", catalog)
    step = Step("family/rule_name", "Do the one thing instead of the other.")
    chosen = Candidate(
        "r1", query.tree, query.sql(pretty=True).replace("ORDER BY", "-- faster\nORDER BY"), "rules", (step,)
    )
    wrong = Candidate("r2", query.tree, "SELECT 1 AS id", "rules", (step, step))
    tested = Verdict(
        VerdictKind.TESTED, "tested", "no difference found", Adequacy(1204, 1100), confirmed_on=("DuckDB 1.5",)
    )
    counterexample = Counterexample(
        Database((TableRows("sale", ("id", "shop", "amount"), ((1, HOSTILE, Decimal("1.50")), (2, None, None))),)),
        Result(("id",), ("integer",), ((1,),)),
        Result(("id",), ("integer",), ()),
        {"postgres": "CREATE TABLE sale (id int);", "duckdb": "CREATE TABLE sale (id int);"},
        ("DuckDB 1.5", "PostgreSQL 18.4"),
        "The candidate loses the row.",
    )
    refuted = Verdict(VerdictKind.REFUTED, "tested", "they differ on 2 rows", counterexample=counterexample)
    plan = Plan("Sort", {"sort key": "id"}, 10, 25.5, (Plan("Seq Scan", {"filter": HOSTILE}, 10, 20.0),))
    return Report(
        query=query,
        target="postgresql://db/shop",
        engine="PostgreSQL 18.4",
        decision=Decision(
            chosen,
            "41 times as fast as the original",
            Speedup(41.0, 38.0, 44.0),
            (Loser(wrong, "verify", "they differ on 2 rows", refuted),),
        ),
        verdict=tested,
        original_plan=plan,
        chosen_plan=plan,
        measurements=(
            Measurement("original", (4.1, 4.2, 4.0), rows=5),
            Measurement("r1", (0.1, 0.11, 0.09), rows=5),
            Measurement("r3", (), stopped_after=0.5),
        ),
        candidates=3,
        timings={"parse": 0.01, "candidates": 0.5, "verify": 2.0, "measure": 13.0},
        notes=("a note",),
    )
