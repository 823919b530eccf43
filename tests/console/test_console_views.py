"""What pages show, without a page: differences, plans, timings, progress, marked SQL, rule documents."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from api.console.rendering import a_day, ago, short, sql
from api.console.views.difference import Block, difference
from api.console.views.markdown import rendered
from api.console.views.plans import side_by_side
from api.console.views.progress import Progress
from api.console.views.timings import plot
from rewriter.report.model import MeasurementModel, PlanModel, model
from rewriter.store.jobs import JobEventRecord
from tests.console.conftest import example
from tests.examples import HOSTILE


def side(blocks: list[Block], which: str) -> list[str]:
    rows = [getattr(row, which) for block in blocks for row in block.rows]
    return ["".join(text for text, _ in one) for one in rows if one is not None]


def test_a_subquery_that_became_a_cte_is_shown_as_moved_and_not_as_all_new() -> None:
    before = "SELECT o.id FROM orders AS o WHERE o.total > (SELECT AVG(p.total) FROM orders AS p WHERE p.shop = o.shop)"
    after = (
        "WITH a AS (SELECT p.shop, AVG(p.total) AS v FROM orders AS p GROUP BY p.shop) "
        "SELECT o.id FROM orders AS o JOIN a ON a.shop = o.shop WHERE o.total > a.v"
    )
    blocks = {block.heading: block for block in difference(before, after, "postgres")}
    assert list(blocks) == ["WITH a", "SELECT", "FROM", "WHERE"]
    assert blocks["SELECT"].same
    moved = [row for block in blocks.values() for row in block.rows if row.kind == "moved"]
    assert {"".join(t for t, _ in (row.left or row.right or ())).strip() for row in moved} == {"FROM orders AS p"}
    kinds = [row.kind for row in blocks["FROM"].rows]
    assert kinds[0] == "same"
    assert set(kinds[1:]) == {"added"}


def test_layout_and_commas_are_no_difference() -> None:
    blocks = difference("select a,b from t where x=1 and y=2", "SELECT\n a, b\nFROM t WHERE x = 1\nAND y = 2", "duckdb")
    assert all(block.same for block in blocks)
    longer = difference("SELECT a, b FROM t", "SELECT a, b, c FROM t", "duckdb")
    assert [row.kind for row in longer[0].rows] == ["same", "same", "same", "added"]


def test_the_words_that_differ_in_a_line_are_marked() -> None:
    (where,) = [
        b for b in difference("SELECT 1 FROM t WHERE a > 10", "SELECT 1 FROM t WHERE a > 20", "duckdb") if not b.same
    ]
    (row,) = [row for row in where.rows if row.kind == "changed"]
    assert row.left is not None
    assert [text for text, differs in row.left if differs] == ["10"]


@settings(max_examples=40)
@given(st.text(max_size=80), st.text(max_size=80))
def test_any_two_texts_are_shown_whole(one: str, other: str) -> None:
    blocks = difference(one, other, "postgres")
    if [block.heading for block in blocks] == ["Statement"]:
        assert side(blocks, "left") == one.splitlines()
        assert side(blocks, "right") == other.splitlines()


def test_branches_of_a_union_stand_beside_each_other() -> None:
    before = "SELECT a FROM t UNION ALL SELECT b FROM u UNION ALL SELECT c FROM v ORDER BY 1"
    blocks = difference(before, before.replace("FROM u", "FROM w"), "postgres")
    assert [block.heading for block in blocks if not block.same] == ["Branch 2 · FROM"]


@given(st.text())
def test_marked_sql_is_the_text_and_escaped(text: str) -> None:
    from rewriter.report.text import visible

    shown = sql(text)
    assert shown.striptags().split() == escape(visible(text)).striptags().split()
    assert "<script" not in sql(text + HOSTILE)


def test_marking_hostile_sql_takes_no_longer_than_its_length() -> None:
    for text in ("/*" * 9_000, "'" * 19_001, '"a' * 9_000, "/" * 19_000 + "*", "select " * 2_800, "x" * 10**6):
        start = time.perf_counter()
        sql(text)
        assert time.perf_counter() - start < 3


def test_numbers_of_a_day_are_human() -> None:
    assert [a_day(one) for one in (None, 0.0, 7812.0, 345_600.0, -3.0)] == ["-", "0 s", "2 h 10 min", "4.0 d", "-3 s"]
    assert "3 min ago" in ago(time.time() - 200)
    assert short("a\n  b " * 50, 9) == "a b a b …"


def plan(operator: str, cost: float, *children: PlanModel, **detail: str) -> PlanModel:
    return PlanModel(operator=operator, detail=detail, rows=1, cost=cost, children=list(children))


def test_the_node_that_accounts_for_the_difference_is_marked() -> None:
    scan = plan("Seq Scan", 10.0, alias="t")
    slow = plan("Sort", 1000.0, plan("Nested Loop", 990.0, scan, plan("Index Scan", 1.0)))
    fast = plan("Sort", 40.0, plan("Hash Join", 30.0, scan, plan("Hash", 1.0)))
    before, after = side_by_side(slow, fast)
    assert [node.operator for node in before.nodes if node.telling] == ["Nested Loop"]
    assert [node.operator for node in after.nodes if node.telling] == ["Hash Join", "Sort"] or [
        node.operator for node in after.nodes if node.telling
    ] == ["Hash Join"]
    assert [node.depth for node in before.nodes] == [0, 1, 2, 2]
    (alone,) = side_by_side(slow, None)
    assert not any(node.telling for node in alone.nodes)


def test_a_plan_of_a_thousand_levels_is_shown() -> None:
    deep = plan("Leaf", 1.0)
    for _ in range(300):
        deep = plan("Node", 1.0, deep)
    assert len(side_by_side(deep, None)[0].nodes) == 301


def test_runs_are_placed_by_their_time() -> None:
    report = model(example())
    shown = plot(report)
    assert shown is not None
    assert [lane.role for lane in shown.lanes] == ["original", "chosen", "other"]
    original, chosen, other = shown.lanes
    assert max(chosen.dots) < min(original.dots)
    assert other.stopped is not None
    assert max(chosen.dots) < other.stopped < min(original.dots)
    assert shown.logarithmic
    assert all(0 <= place <= 100 for place, _ in shown.ticks)
    even = MeasurementModel(label="original", seconds=[1.0, 1.1], median=1.05, stopped_after=None, error=None, rows=1)
    linear = plot(report.model_copy(update={"measurements": [even], "chosen": None}))
    assert linear is not None
    assert not linear.logarithmic
    assert plot(report.model_copy(update={"measurements": []})) is None


def test_progress_counts_each_candidate_once_and_begins_anew_with_the_worker() -> None:
    def event(number: int, kind: str, **body: object) -> JobEventRecord:
        return JobEventRecord(number, kind, body, 0.0)

    progress = Progress("rewrite")
    progress.add(
        [
            event(1, "queued"),
            event(2, "running", attempt=1),
            event(3, "progress", stage="candidates", message="m", done=3, total=9),
        ]
    )
    refuted = {
        "candidate": "r1",
        "source": "rules",
        "rules": ["a/b"],
        "rejected": True,
        "verdict": "refuted",
        "seconds": 0.1,
    }
    passed = {"candidate": "r2", "source": "rules", "rules": [], "rejected": False, "verdict": "tested", "seconds": 0.3}
    progress.add([event(4, "candidate", **refuted), event(5, "candidate", **passed), event(6, "candidate", **passed)])
    from types import SimpleNamespace

    view = progress.view(SimpleNamespace(kind="rewrite", state="running"))  # type: ignore[arg-type]
    assert [stage.state for stage in view.stages] == ["past", "now", "ahead", "ahead"]
    assert (view.stages[1].done, view.stages[1].total) == (3, 9)
    assert view.counts["passed"] == view.counts["refuted"] == 1
    assert view.fastest == 0.3  # what was refuted is no fastest
    progress.add([event(7, "running", attempt=2)])
    assert not progress.tried


def test_a_rule_document_cannot_bring_markup_of_its_own() -> None:
    links = "[x](javascript:alert(1)) ![y](https://evil.example/p.png)"
    text = f"# A {HOSTILE}\n\n{HOSTILE}\n\n{links}\n\n```sql\nSELECT '{HOSTILE}'\n```\n"
    page = rendered(text)
    assert "<script" not in page
    assert "<img" not in page
    assert 'href="javascript' not in page
    assert '<span class="qk">SELECT</span>' in page
