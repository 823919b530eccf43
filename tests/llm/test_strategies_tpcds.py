"""Every strategy end to end on queries of TPC-DS: a real Postgres with a little of its data, a scripted endpoint.

The answers go wrong first, in every way from which a strategy has to come back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest

from rewriter.candidates.base import CandidateSource
from rewriter.candidates.model import Knowledge
from rewriter.engines import Postgres
from rewriter.llm import Redaction
from rewriter.llm.scripted import Line
from rewriter.parse import parse
from rewriter.pipeline import EFFORTS, rewrite
from rewriter.records import Report, VerdictKind
from tests.llm.conftest import Connect, Serve
from tests.llm.test_strategies import BOTTLENECK, GROUPED, accepted, answer, asked, last, sent, words

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

SCALE = 0.03
USELESS = "Give every table a short alias."
SYNTAX, ROWS = "Your rewrite was refused", "Your rewrite is not equivalent"

# The average of a customer's returns for each store or state, once and not for every row.
Q1 = """
WITH customer_total_return AS (
  SELECT sr_customer_sk AS ctr_customer_sk, sr_store_sk AS ctr_store_sk, SUM(sr_return_amt) AS ctr_total_return
  FROM store_returns, date_dim WHERE sr_returned_date_sk = d_date_sk AND d_year = 2000
  GROUP BY sr_customer_sk, sr_store_sk),
usual AS (
  SELECT ctr_store_sk, AVG(ctr_total_return) * 1.2 AS most FROM customer_total_return GROUP BY ctr_store_sk)
SELECT c_customer_id
FROM customer_total_return ctr1 JOIN usual ON usual.ctr_store_sk = ctr1.ctr_store_sk, store, customer
WHERE ctr1.ctr_total_return > usual.most AND s_store_sk = ctr1.ctr_store_sk AND s_state = 'TN'
  AND ctr1.ctr_customer_sk = c_customer_sk
ORDER BY c_customer_id LIMIT 100
"""
Q30 = """
WITH customer_total_return AS (
  SELECT wr_returning_customer_sk AS ctr_customer_sk, ca_state AS ctr_state, SUM(wr_return_amt) AS ctr_total_return
  FROM web_returns, date_dim, customer_address
  WHERE wr_returned_date_sk = d_date_sk AND d_year = 2002 AND wr_returning_addr_sk = ca_address_sk
  GROUP BY wr_returning_customer_sk, ca_state),
usual AS (SELECT ctr_state, AVG(ctr_total_return) * 1.2 AS most FROM customer_total_return GROUP BY ctr_state)
SELECT c_customer_id, c_salutation, c_first_name, c_last_name, c_preferred_cust_flag, c_birth_day, c_birth_month,
  c_birth_year, c_birth_country, c_login, c_email_address, c_last_review_date_sk, ctr_total_return
FROM customer_total_return ctr1 JOIN usual ON usual.ctr_state = ctr1.ctr_state, customer_address, customer
WHERE ctr1.ctr_total_return > usual.most AND ca_address_sk = c_current_addr_sk AND ca_state = 'GA'
  AND ctr1.ctr_customer_sk = c_customer_sk
ORDER BY c_customer_id NULLS FIRST, c_salutation NULLS FIRST, c_first_name NULLS FIRST, c_last_name NULLS FIRST,
  c_preferred_cust_flag NULLS FIRST, c_birth_day NULLS FIRST, c_birth_month NULLS FIRST, c_birth_year NULLS FIRST,
  c_birth_country NULLS FIRST, c_login NULLS FIRST, c_email_address NULLS FIRST, c_last_review_date_sk NULLS FIRST,
  ctr_total_return NULLS FIRST LIMIT 100
"""
REWRITTEN = {"1": Q1, "30": Q30}
Queries = dict[str, str]


@pytest.fixture(scope="module")
def tpcds_texts() -> Queries:
    pytest.importorskip("duckdb_extension_tpcds", reason="needs the extra tpc")
    from tpc.data import query_texts
    from tpc.suites import DS

    return query_texts(DS)


@pytest.fixture(scope="module")
def tpcds(postgres_url: str, tpcds_texts: Queries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    from tpc.load import load
    from tpc.suites import DS

    name = "strategies_tpcds"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    target = postgres_url.replace("/postgres?", f"/{name}?")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REWRITER_CACHE", str(tmp_path_factory.mktemp("tpcds")))
        load(DS, SCALE, target, lambda what, done, total: None)
    engine = Postgres(target)
    yield engine
    engine.close()


Say = Callable[[str, str], str]


@pytest.fixture
def say(tpcds: Postgres, tpcds_texts: Queries) -> Say:
    """The text of a rewrite of a query as a model would say it, that was not told the constants."""

    def said(number: str, sql: str) -> str:
        redaction = Redaction("postgres")
        catalog = tpcds.catalog()
        redaction.sql(parse(tpcds_texts[number], catalog).tree)
        return redaction.sql(parse(sql, catalog).tree, pretty=False)

    return said


def run(tpcds: Postgres, text: str, sources: list[CandidateSource]) -> Report:
    return rewrite(text, tpcds, policy=replace(EFFORTS["quick"], racers=2), sources=sources)


def wrong(good: str) -> str:
    """Every store's customers, not those of the state asked for."""
    return re.sub(r" AND (?:\w+\.)?s_state = :str_\d+", "", good).replace(" JOIN usual", " LEFT JOIN usual")


def broken(good: str) -> str:
    return good.replace("AVG(", "AVERAGE(")


def refuted(report: Report) -> list[str]:
    verdicts = [loser.verdict for loser in report.decision.losers if loser.verdict is not None]
    return [verdict.reason for verdict in verdicts if verdict.kind is VerdictKind.REFUTED]


def test_plain_is_brought_from_an_error_over_a_wrong_rewrite_to_a_right_one(
    tpcds: Postgres, tpcds_texts: Queries, say: Say, serve: Serve, connect: Connect
) -> None:
    good = say("1", Q1)
    assert wrong(good) != good
    server = serve(Line(answer(good), ROWS), Line(answer(wrong(good)), SYNTAX), Line(answer(broken(good))))
    report = run(tpcds, tpcds_texts["1"], asked("plain", connect(server.url)))
    accepted(report)
    assert refuted(report)
    told = [last(request) for request in sent(server)]
    assert [ROWS in one for one in told[:3]] == [False, False, True]
    assert "average" in told[1]  # what the engine's parser says
    assert "store (" in told[2]  # the counterexample's tables
    assert all("'TN'" not in one and "TN" not in one.split() for one in told)


def test_genrewrite_learns_on_one_query_and_brings_it_to_the_next(
    tpcds: Postgres, tpcds_texts: Queries, say: Say, serve: Serve, connect: Connect
) -> None:
    good, other = say("1", Q1), say("30", Q30)
    knowledge = Knowledge()
    same_as_before = say("1", tpcds_texts["1"])
    server = serve(
        Line(answer(other, GROUPED), f"wr_return_amt.*- {re.escape(GROUPED)}|- {re.escape(GROUPED)}.*wr_return_amt"),
        Line(words(choice=1), "same\\s+kind of problem"),
        Line(words(choice=0), "The rule:"),
        BOTTLENECK,
        Line(answer(""), "wr_return_amt"),
        Line(answer(same_as_before, USELESS), f"- {re.escape(USELESS)}"),
        Line(answer(good, GROUPED), f"- {re.escape(GROUPED)}"),
        Line(answer(good, USELESS, GROUPED), ROWS),
        Line(answer(wrong(good), GROUPED), SYNTAX),
        Line(answer(broken(good), GROUPED)),
    )
    model = connect(server.url)
    report = run(tpcds, tpcds_texts["1"], asked("genrewrite", model, knowledge))
    accepted(report)
    assert refuted(report)
    credited = {rule.text: rule.wins for rule in knowledge.rules}
    assert credited == {USELESS: 0, GROUPED: 1}
    (lesson,) = knowledge.lessons
    assert lesson.group == next(rule.group for rule in knowledge.rules if rule.wins)

    before = len(server.requests)
    second = run(tpcds, tpcds_texts["30"], asked("genrewrite", model, knowledge))
    hinted = [last(request) for request in sent(server)[before:] if f"- {GROUPED}" in last(request)]
    assert hinted, "the rule of the first query goes along with the second"
    tried = [second.decision.chosen, *(loser.candidate for loser in second.decision.losers)]
    assert any(one is not None and one.source == "genrewrite" for one in tried)
    assert not refuted(second)
    assert next(rule for rule in knowledge.rules if rule.text == GROUPED).uses > 1


def test_lithe_repairs_then_branches_where_the_model_was_unsure(
    tpcds: Postgres, tpcds_texts: Queries, say: Say, serve: Serve, connect: Connect
) -> None:
    good = say("1", Q1)
    first = "Rewrite this query for PostgreSQL"
    server = serve(
        Line(answer(good, GROUPED), begun=r" JOIN$"),
        Line(answer(wrong(good), GROUPED), begun=r" LEFT$"),
        Line(answer(""), ROWS),
        Line(answer(wrong(good), GROUPED), SYNTAX),
        Line(answer(broken(good), GROUPED), first, times=1),
        Line(answer(wrong(good), GROUPED), first, unsure={"LEFT": {"LEFT": 0.55, "JOIN": 0.45}}),
        Line(answer("")),
    )
    model = connect(server.url)
    model.capabilities = type(model.capabilities)(prefix=True)
    report = run(tpcds, tpcds_texts["1"], asked("lithe", model))
    accepted(report)
    assert report.decision.chosen is not None
    assert report.decision.chosen.source == "lithe"
    assert refuted(report)
    requests = sent(server)
    assert any(SYNTAX in last(request) for request in requests)
    assert any(ROWS in last(request) for request in requests)
    begun = [last(request) for request in requests if request["messages"][-1]["role"] == "assistant"]
    assert {text.rpartition(" ")[2] for text in begun} == {"LEFT", "JOIN"}
    informed = [last(request) for request in requests if "knows and estimates" in last(request)]
    assert len(informed) == 2
    assert all("date_dim where" in text for text in informed)
    assert report.robustness is not None
    assert report.robustness.how == "plan"


def test_llm_r2_applies_a_sequence_and_shows_it_with_the_next_query(
    tpcds: Postgres, tpcds_texts: Queries, serve: Serve, connect: Connect
) -> None:
    sequence = ["nonsense/rule", "subquery/scalar_aggregate_to_join", "join/key_filter_from_dimension"]
    knowledge = Knowledge()
    server = serve(Line(words(analysis="x", rules=sequence)))
    model = connect(server.url)
    report = run(tpcds, tpcds_texts["1"], asked("llm_r2", model, knowledge))
    accepted(report)
    assert report.decision.chosen is not None
    assert report.decision.chosen.rules == tuple(sequence[1:])

    (shown,) = knowledge.demonstrations
    assert shown.rules == tuple(sequence[1:])
    before = len(server.requests)
    run(tpcds, tpcds_texts["30"], asked("llm_r2", model, knowledge))
    assert "times faster" in last(sent(server)[before])
    assert "sr_return_amt" in last(sent(server)[before])
