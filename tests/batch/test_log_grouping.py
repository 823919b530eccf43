"""Templates, kinds, groups and their sums."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pgparse
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp, parse_one

from rewriter.batch.logs import Entry, Groups, group, grouping
from rewriter.batch.logs.distribution import Distribution
from rewriter.batch.logs.grouping import Group, Total
from rewriter.batch.logs.statements import kind
from rewriter.batch.logs.templates import canonical, shape, with_short_lists
from rewriter.errors import UsageError
from rewriter.parse.keys import group_key

START = datetime(2026, 1, 1, tzinfo=UTC)


def entry(statement: str, duration: float | None = 0.001, **fields: object) -> Entry:
    plain = Entry(statement, duration, 1, duration, None, None, None, None, "log", 1)
    return replace(plain, **fields)  # type: ignore[arg-type]


# Templates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "template", "literals"),
    [
        ("select 1, 'a''b', 1.5e3", "select \0, '\0', \0", ("1", "'a''b'", "1.5e3")),
        ("select t1.c2, $1 from x3", "select t1.c2, $1 from x3", ()),
        ("select \"it's 1\", '2'", "select \"it's 1\", '\0'", ("'2'",)),
        ("select E'a\\'b', 2", "select '\0', \0", ("E'a\\'b'", "2")),
        ("select $a$ it's $a$, 2", "select '\0', \0", ("$a$ it's $a$", "2")),
        ("select -- it's 1\n 2 /* 'x */", "select  \n \0  ", ("2",)),
        ("select like'x'", "select like'\0'", ("'x'",)),
        ("select 'never closed", "select '\0'", ("'never closed",)),
    ],
)
def test_templates_have_marks_for_literals(statement: str, template: str, literals: tuple[str, ...]) -> None:
    assert shape(statement, "postgres") == (template, literals)


def test_mysql_quotes_in_its_own_way() -> None:
    assert shape("select \"it's\", `1`, 'a\\'b' # 1", "mysql") == (
        "select '\0', `1`, '\0'  ",
        ('"it\'s"', "'a\\'b'"),
    )


LITERALS = st.sampled_from(["1", "-2", "3.5", "'a'", "'it''s'", "E'\\n'", "$$x$$", "1e5", "$1", "NULL"])
STATEMENTS = st.builds(
    lambda pattern, values: pattern.format(*values),
    st.sampled_from(
        [
            "select {0}, a from t where b = {1}",
            "select a from t where b in ({0}, {1}, {2})",
            "select a from t where b in ({0})",
            "select a from t where b in ({0},{1})",
            "select f({0}, {1}), f({2})",
            "select * from t limit 5 offset 10",
            "select a -- {0}\n from t where x between {1} and {2}",
            'select "q1" from t where b = {0}::int + {1}',
            "values ({0}, {1}), ({2}, {0})",
        ]
    ),
    st.tuples(LITERALS, LITERALS, LITERALS),
)


@given(STATEMENTS)
def test_the_plainest_statement_has_the_same_fingerprint(statement: str) -> None:
    plain = canonical(with_short_lists(shape(statement, "postgres")[0]))
    assert pgparse.fingerprint(plain) == pgparse.fingerprint(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "select interval '1 day', date '2024-01-01', b'1', x'1F', u&'d', E'a' from t",
        "select n::numeric(10, 2), v::varchar(10) from t",
        "select a from t tablesample bernoulli (10) order by 1 limit 5 offset 2",
        "select a from t fetch first 5 rows only",
        "select a[1], a[1:2], j -> 'x', j #>> '{a,b}' from t where a like 'x%' escape '!' and n = 1.5e3",
        "select 'a'\n'b', timestamp(3) with time zone '2024-01-01', float(10) '1', extract(year from d) from t",
    ],
)
def test_literals_of_all_kinds_can_be_made_plain(statement: str) -> None:
    plain = canonical(shape(statement, "postgres")[0])
    assert pgparse.fingerprint(plain) == pgparse.fingerprint(statement)


@pytest.mark.parametrize("dialect", ["postgres", "duckdb", "mysql"])
def test_it_does_not_matter_which_statement_was_seen_first(dialect: str) -> None:
    statements = ["select a - interval '1 day' from t", "select a - interval '2 hours' from t"]
    first, second = (group(map(entry, order), dialect) for order in (statements, statements[::-1]))
    assert first.groups.keys() == second.groups.keys()
    assert len(first.groups) == 1


@pytest.mark.parametrize(
    "statement", ["select '" + "x''" * 200_000, "select /*" + "*" * 300_000, "$a" * 200_000, "1" * 300_000]
)
def test_hostile_statements_take_linear_time(statement: str) -> None:
    for dialect in ("postgres", "mysql", "duckdb"):
        shape(statement, dialect)


@pytest.mark.parametrize(
    ("statement", "wanted"),
    [
        ("select 1;", "SELECT"),
        ("(select 1) union select 2", "SELECT"),
        ("values (1)", "SELECT"),
        ("table t", "SELECT"),
        ("/* hint */ with a as (select 1), b as (select 2) select * from a for update", "SELECT"),
        ("with a as (select 1) insert into t select * from a", "INSERT"),
        ("with a as materialized (delete from t returning *) select * from a", "DELETE"),
        ("with delete as (select 1) select replace(a, b, c) from delete", "SELECT"),
        ("select a into t from b", "SELECT INTO"),
        ("select (select 1 from x), b into t from y", "SELECT INTO"),
        ("update t set a = 1", "UPDATE"),
        ("MERGE into t using s on true when matched then delete", "MERGE"),
        ("explain select 1", "utility"),
        ("begin", "utility"),
        (";", "utility"),
        ("select 1; select 2", "several statements"),
        ("select ';'", "SELECT"),
        ("from t", "SELECT"),
    ],
)
def test_kinds(statement: str, wanted: str) -> None:
    assert kind(shape(statement, "postgres")[0]) == wanted


# Groups ------------------------------------------------------------------------------------------------------------


def test_literals_and_lists_do_not_tell_groups_apart() -> None:
    groups = group(
        [
            entry("select a from t where b in (1, 2)", 0.001, timestamp=START),
            entry("SELECT a FROM t WHERE b IN (1,2,3,4)", 0.005, timestamp=START + timedelta(hours=1)),
            entry("select a from t where b in ($1 /*, ... */)", None, calls=7, total_seconds=0.5),
            entry("select 2", 0.1),
            entry("insert into t values (1)"),
            entry("begin"),
        ],
        "postgres",
    )
    first, second = groups.ranked()
    assert first.key == pgparse.fingerprint("select a from t where b in (1)")
    assert (first.total.calls, first.total.seconds, first.durations.count, first.squashed) == (9, 0.506, 2, 1)
    assert (first.first_seen, first.last_seen) == (START, START + timedelta(hours=1))
    assert first.example is not None
    assert first.example.calls == 7
    assert second.total == Total(1, 1, 100_000_000)
    assert groups.kinds == {"INSERT": Total(1, 1, 1_000_000), "utility": Total(1, 1, 1_000_000)}


def test_samples_are_bound_values_or_the_literals() -> None:
    (bound,) = group(
        [entry("select $1", parameters=("a", None)), entry("select $1", parameters=("b",))], "postgres"
    ).ranked()
    assert sorted(bound.parameters.sets()) == [("a", None), ("b",)]
    (literal,) = group([entry("select 5, 'x'")] * 3, "postgres").ranked()
    assert literal.parameters.sets() == [("5", "'x'")]


def test_samples_are_bounded_and_favour_nobody() -> None:
    entries = [entry(f"select {number}") for number in range(2000)]
    chosen: list[int] = []
    for seed in range(40):
        (one,) = group(entries, "postgres", seed=seed, sample_size=10).ranked()
        sets = one.parameters.sets()
        assert len(sets) == 10
        chosen.extend(int(values[0] or "") for values in sets)
    assert 800 < sum(chosen) / len(chosen) < 1200
    assert len(set(chosen)) > 250


def test_ignored_groups_are_summed_up() -> None:
    key = pgparse.fingerprint("select 1")
    groups = group([entry("select 5", 1.0), entry("select a from t")], "postgres", ignore=[key])
    assert list(groups.ignored.values()) == [Total(1, 1, 1_000_000_000)]
    assert len(groups.groups) == 1


def test_what_cannot_be_parsed_is_a_group_all_the_same() -> None:
    for dialect in ("postgres", "duckdb", "mysql"):
        (one,) = group([entry("select from where 1"), entry("select from where 2")], dialect).ranked()
        assert not one.parsed
        assert one.total.calls == 2


@pytest.mark.parametrize("dialect", ["duckdb", "mysql"])
def test_other_dialects_have_keys_of_their_template(dialect: str) -> None:
    groups = group([entry("select a from t where b = 1"), entry("SELECT a  FROM t WHERE b = 2;")], dialect)
    (one,) = groups.ranked()
    assert one.parsed
    assert one.total.calls == 2


@pytest.mark.parametrize(
    "statement",
    ["select " + "(" * 50_000 + "1" + ")" * 50_000, "select " + "-" * 100_001 + "1", "select 1" + "+1" * 100_000],
)
@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_hostile_nesting_does_not_crash(statement: str, dialect: str) -> None:
    assert sum(one.total.entries for one in group([entry(statement)], dialect).ranked()) == 1


@pytest.mark.parametrize("dialect", ["postgres", "duckdb", "mysql"])
def test_keys_are_those_of_single_queries(dialect: str) -> None:
    statement = "SELECT a, 'x' AS b FROM t WHERE c IN (1, 2) AND d > 1.5 /* hint */ ORDER BY 1 LIMIT 10"
    tree = parse_one(statement, read=dialect)
    assert isinstance(tree, exp.Query)
    assert list(group([entry(statement)], dialect).groups) == [group_key(statement, tree, dialect)]


def test_shapes_without_end_are_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "MAX_GROUPS", 10)
    monkeypatch.setattr(grouping, "MAX_TEMPLATES", 7)
    groups = group([entry(f"select a from t{number}") for number in range(50)] * 2, "postgres")
    assert len(groups.groups) == 10
    assert groups.beyond.entries + sum(one.total.entries for one in groups.ranked()) == 100


def test_each_shape_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    monkeypatch.setattr(pgparse, "fingerprint", lambda text: parsed.append(text) or "key")
    group(
        [entry(f"select {number} where 1 in ({', '.join('1' * (number % 9 + 1))})") for number in range(500)],
        "postgres",
    )
    assert len(parsed) == 1


def test_groups_made_with_other_settings_are_not_merged() -> None:
    with pytest.raises(UsageError):
        Groups("postgres").merge(Groups("duckdb"))


def told(groups: Groups) -> object:
    def of(one: Group) -> object:
        return (
            one.key,
            one.total,
            one.durations,
            one.example,
            one.first_seen,
            one.last_seen,
            one.squashed,
            one.parameters.sets(),
        )

    return [of(one) for one in groups.ranked()], groups.kinds, groups.ignored, groups.beyond, groups.span()


ENTRIES = st.lists(
    st.builds(
        lambda statement, duration, calls, seconds, line, parameters: entry(
            statement,
            duration if calls == 1 else None,
            calls=calls,
            total_seconds=duration,
            timestamp=None if seconds is None else START + timedelta(seconds=seconds),
            line=line,
            parameters=parameters,
        ),
        st.one_of(STATEMENTS, st.sampled_from(["begin", "update t set a = 1", "select from", "select 77"])),
        st.none() | st.floats(0, 1e6),
        st.integers(0, 5),
        st.none() | st.integers(0, 1000),
        st.integers(1, 9),
        st.none() | st.tuples(st.sampled_from(["a", "b", "c", None])),
    ),
    max_size=30,
)


@given(ENTRIES, st.integers(1, 4), st.randoms(use_true_random=False))
def test_workers_together_give_the_same_as_one(entries: list[Entry], workers: int, chance: random.Random) -> None:
    ignore = [pgparse.fingerprint("select 77")]
    whole = group(entries, "postgres", ignore=ignore, sample_size=2)
    shares: list[list[Entry]] = [[] for _ in range(workers)]
    for one in entries:
        chance.choice(shares).append(one)
    together = Groups("postgres", frozenset(ignore), 0, 2)
    for share in shares:
        part = group(share, "postgres", ignore=ignore, sample_size=2)
        together.merge(pickle.loads(pickle.dumps(part)))
    assert told(together) == told(whole)
    sums = [
        *(one.total for one in together.groups.values()),
        *together.kinds.values(),
        *together.ignored.values(),
        together.beyond,
    ]
    assert sum(total.entries for total in sums) == len(entries)
    assert sum(total.calls for total in sums) == sum(one.calls for one in entries)


# Percentiles -------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(1e-6, 1e5), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_percentiles_are_at_most_one_percent_off(durations: list[float], share: float) -> None:
    distribution = Distribution()
    for duration in durations:
        distribution.add(duration)
    exact = sorted(durations)[max(1, -int(-share * len(durations) // 1)) - 1]
    assert distribution.percentile(share) == pytest.approx(exact, rel=0.0105)
    assert distribution.most == max(durations)


def test_without_durations_there_is_no_percentile() -> None:
    assert Distribution().percentile(0.5) is None
    zero = Distribution()
    zero.add(0.0)
    assert zero.percentile(0.5) == 0.0
