"""The search: what it proposes, in which order, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable

from rewriter.candidates import Experience, Record, RuleSearch
from rewriter.candidates.base import Budget, Depth, Proposal
from rewriter.candidates.experience import shape_of
from rewriter.parse import parse, read_schema
from rewriter.records import Candidate, Feedback, Plan, Query
from rules.facts import Facts

CATALOG = read_schema(
    "CREATE TABLE shop (id int PRIMARY KEY, city text); "
    "CREATE TABLE sale (id int PRIMARY KEY, shop_id int REFERENCES shop, amount int NOT NULL, day int);",
    "postgres",
)
QUERY = parse(
    "SELECT s.city, (SELECT MAX(t.amount) FROM sale t WHERE t.day = 1) AS most, COUNT(*) AS n FROM sale a, shop s "
    "WHERE a.shop_id = s.id AND s.city = 'Oslo' AND a.amount > (SELECT AVG(b.amount) FROM sale b WHERE b.shop_id = "
    "a.shop_id) GROUP BY s.city",
    CATALOG,
)
Answer = Callable[[Candidate], Feedback]


def plan(candidate: Candidate, cost: float = 100.0) -> Plan:
    return Plan(candidate.sql, cost=cost)


def driven(
    answer: Answer,
    *,
    original: Feedback,
    search: RuleSearch | None = None,
    budget: Budget | None = None,
    query: Query = QUERY,
) -> list[Proposal]:
    """All proposals of a search that gets ``answer``."""
    source = search or RuleSearch()
    generator = source.candidates(query, Facts(CATALOG), budget or Budget(30.0, 12), original)
    proposals: list[Proposal] = []
    try:
        proposal = next(generator)
        while True:
            proposals.append(proposal)
            proposal = generator.send(answer(proposal.candidate))
    except StopIteration:
        return proposals


def tried(proposals: list[Proposal]) -> list[Candidate]:
    return [proposal.candidate for proposal in proposals if proposal.depth is Depth.TIME]


def test_every_candidate_is_asked_about_its_plan_first_and_no_tree_comes_twice() -> None:
    proposals = driven(lambda it: Feedback(plan=plan(it), seconds=1.0), original=Feedback(seconds=1.0))
    asked = [entry.candidate.sql for entry in proposals if entry.depth is Depth.PLAN]
    assert len(asked) == len(set(asked)) > 3
    assert QUERY.sql(pretty=True) not in asked
    assert {candidate.sql for candidate in tried(proposals)} <= set(asked)


def test_what_was_faster_is_expanded_before_its_siblings_are_tried() -> None:
    def answer(candidate: Candidate) -> Feedback:
        quick = "subquery/scalar_aggregate_to_join" in candidate.rules
        return Feedback(plan=plan(candidate), seconds=0.1 if quick else 1.0)

    order = tried(driven(answer, original=Feedback(seconds=1.0), budget=Budget(30.0, 30)))
    first = next(n for n, it in enumerate(order) if it.rules == ("subquery/scalar_aggregate_to_join",))
    assert len(order[first + 1].rules) == 2
    assert order[first + 1].rules[0] == "subquery/scalar_aggregate_to_join"


def test_a_plan_that_is_known_already_is_not_run_again() -> None:
    same = Plan("Seq Scan", cost=5.0)
    proposals = driven(lambda _: Feedback(plan=same), original=Feedback(plan=same, seconds=1.0))
    assert proposals
    assert not tried(proposals)


def test_the_hopeless_are_dropped_and_the_merely_dear_are_not() -> None:
    def priced(cost: float) -> list[Candidate]:
        return tried(
            driven(
                lambda it: Feedback(plan=plan(it, cost), seconds=1.0),
                original=Feedback(plan=Plan("original", cost=1.0), seconds=1.0),
            )
        )

    assert priced(1000.0)
    assert not priced(1e9)


def test_the_rejected_are_not_pursued() -> None:
    proposals = driven(lambda _: Feedback(rejected="does not bind"), original=Feedback(seconds=1.0))
    assert {len(entry.candidate.steps) for entry in proposals} == {1}


def test_the_budget_holds() -> None:
    few = driven(
        lambda it: Feedback(plan=plan(it), seconds=1.0), original=Feedback(seconds=1.0), budget=Budget(30.0, 2)
    )
    assert len(tried(few)) == 2
    plans = driven(lambda it: Feedback(plan=plan(it)), original=Feedback(), budget=Budget(30.0, 9, plans=3))
    assert len([entry for entry in plans if entry.depth is Depth.PLAN]) == 3


def test_without_times_the_search_goes_by_cost() -> None:
    proposals = driven(lambda it: Feedback(plan=plan(it, 10.0)), original=Feedback(plan=Plan("original", cost=99.0)))
    assert tried(proposals)


def test_what_paid_before_is_tried_first() -> None:
    rule, shape = "subquery/scalar_aggregate_to_join", shape_of(QUERY.tree)
    experience = Experience({(rule, "postgres", shape): Record(10, 10, 20.0)})
    proposals = driven(
        lambda it: Feedback(plan=plan(it), seconds=1.0), original=Feedback(seconds=1.0), search=RuleSearch(experience)
    )
    assert tried(proposals)[0].rules == (rule,)
    assert experience.fresh[rule, "postgres", shape].trials >= 1


def test_experience_of_the_same_shape_counts_more_than_that_of_others() -> None:
    experience = Experience(
        {("r", "postgres", "cte"): Record(6, 6, 3.0), ("r", "postgres", "plain"): Record(6, 0, 0.0)}
    )
    here, elsewhere, unseen = (experience.promise("r", "postgres", shape) for shape in ("cte", "plain", "set"))
    assert here > unseen > elsewhere > 0
    assert experience.promise("r", "duckdb", "cte") == experience.promise("never seen", "duckdb", "cte")


def test_a_rule_is_tried_on_all_branches_at_once() -> None:
    branch = (
        "SELECT a.amount FROM sale a WHERE a.day = {} AND a.shop_id IN (SELECT s.id FROM shop s WHERE s.city > 'O')"
    )
    query = parse(" UNION ALL ".join(branch.format(day) for day in (1, 2, 3)), CATALOG)
    proposals = driven(lambda it: Feedback(plan=plan(it), seconds=1.0), original=Feedback(seconds=1.0), query=query)
    rule = "subquery/in_to_hashed_filter"
    (whole,) = {
        entry.candidate.id: entry.candidate for entry in proposals if entry.candidate.rules == (rule,) * 3
    }.values()
    assert [step.sql.count("IS TRUE") for step in whole.steps] == [1, 2, 3]
