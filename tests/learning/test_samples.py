"""Samples in files, and made from a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rewriter.cli import app
from rewriter.engines import DuckDB, Postgres, scratch
from rewriter.errors import UsageError
from rewriter.learning.collecting import Spending, collect
from rewriter.learning.samples import Found, read_samples, template_of
from tests.learning.toy import samples
from tests.shop import SLOW

OTHER = (
    "SELECT s.day FROM sale s JOIN shop p ON p.id = s.shop_id"
    " WHERE s.amount < (SELECT 0.9 * avg(t.amount) FROM sale t WHERE t.shop_id = s.shop_id)"
)
LITTLE = Spending(search=1.0, candidates=4, timeout=3.0, race=0.5)


@pytest.mark.parametrize(("name", "template"), [("14", "14"), ("33c", "33"), ("q07_2", "q07"), ("report", "report")])
def test_templates_by_name(name: str, template: str) -> None:
    assert template_of(name) == template


def test_samples_are_read_back_and_added_up(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    one, two = samples(2)
    later = one.body | {"ratios": [[["toy/new"], 2.0]]}

    lines = [json.dumps(body) for body in (one.body, two.body, later)]
    file.write_text("\n".join(lines) + '\n{"kind": "sam')
    read = read_samples([file])
    assert list(read.samples) == [one.key, two.key]
    assert read.samples[two.key] == two
    assert read.samples[one.key].ratios == {**one.ratios, ("toy/new",): 2.0}


def test_a_broken_file_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text('{"kind": "nothing"}\n{}\n{}\n')
    with pytest.raises(UsageError, match="line 1"):
        read_samples([file])
    with pytest.raises(UsageError):
        read_samples([tmp_path / "absent"])


def found(name: str, *sequences: tuple[str, ...]) -> str:
    return json.dumps(Found(f"shop/{name}", f"shop/{template_of(name)}", "here", sequences).body) + "\n"


@pytest.fixture
def hunter() -> Iterator[DuckDB]:
    engine = scratch()
    yield engine
    engine.close()


def test_what_paid_for_one_query_is_measured_on_every_other(shop: Postgres, hunter: DuckDB, tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    texts = {"1": SLOW, "2a": OTHER, "3": "SELECT s.id FROM shop s"}
    joined, nothing = ("subquery/scalar_aggregate_to_join",), ("subquery/in_to_exists",)
    file.write_text(found("1", joined) + found("2a", nothing) + found("3"))
    known = collect(texts, "shop", shop, hunter, "here", file, LITTLE)
    assert known.samples == read_samples([file]).samples
    one, two, three = (known.samples[f"shop/{name}", "here"] for name in texts)
    assert two.template == "shop/2"
    for sample in (one, two):
        assert sample.ratios[joined] > 1.5
        assert sample.ratios[nothing] == 1.0
        assert joined[0] in sample.applies
    assert set(three.ratios.values()) == {1.0}
    assert not any(word in file.read_text() for word in ("avg", "amount", "shop_id"))

    before = file.read_text()
    collect(texts, "shop", shop, hunter, "here", file, LITTLE)
    assert file.read_text() == before
    # A sequence that is found later is measured on those that are there already, and nothing else is.
    file.write_text(before + found("4", ("subquery/scalar_aggregate_to_window",)))
    collect({"1": SLOW}, "shop", shop, hunter, "here", file, LITTLE)
    (added,) = file.read_text().splitlines()[len(before.splitlines()) + 1 :]
    assert [rules for rules, _ in json.loads(added)["ratios"]] == [["subquery/scalar_aggregate_to_window"]]


@pytest.mark.slow
def test_a_search_finds_the_sequences_to_measure(shop: Postgres, hunter: DuckDB, tmp_path: Path) -> None:
    known = collect({"1": SLOW}, "shop", shop, hunter, "here", tmp_path / "samples.jsonl", LITTLE)
    assert any("subquery/scalar_aggregate_to_join" in rules for rules in known.sequences)
    assert max(known.samples["shop/1", "here"].ratios.values()) > 1.5


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    arguments = ["llm", "selector", "collect", str(tmp_path), "--target", "duckdb://:memory:", "--out", "x"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "no .sql file" in done.stderr
