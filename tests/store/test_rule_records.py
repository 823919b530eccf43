"""Rule documents in the store, and all rules in one list."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from rewriter.candidates.model.knowledge import LearntRule
from rewriter.distill.document import document_path
from rewriter.engines import DuckDB
from rewriter.errors import RuleFileError, UsageError
from rewriter.repository import Repository, taught_name
from rewriter.store import Store
from rules.discovery import discover

(SOUND,) = [document for document in discover() if document.name == "predicate/equal_to_itself"]
(ADVICE,) = [document for document in discover() if document.name == "join/spell_the_join_order"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(Store(f"sqlite:///{tmp_path / 'store.sqlite'}")) as opened:
        yield opened


@pytest.fixture
def repository(store: Store) -> Repository:
    return Repository(store)


def test_what_a_user_adds_is_a_draft_and_is_not_applied(repository: Repository) -> None:
    document = repository.add("mine", SOUND.text.replace("status: draft", "status: stable"), by="ann")
    assert document.name == "own/mine"
    assert document.status == "draft"
    (listed,) = repository.all(origin="user")
    assert (listed.name, listed.status, listed.kind, listed.changed_by) == ("own/mine", "draft", "pattern", "ann")
    assert repository.executable() == ()
    assert repository.document("own/mine").rule == SOUND.rule


def test_a_malformed_document_is_refused_with_its_line(repository: Repository) -> None:
    with pytest.raises(RuleFileError, match=r"own/mine\.md:\d+: the condition"):
        repository.add("mine", SOUND.text.replace("- in a filter", "- on a Monday"))
    assert not repository.all(origin="user")


@pytest.mark.parametrize("name", ["Mine", "../mine", "own/mine/too", "own/mi-ne", "", "own/", SOUND.name, "a" * 130])
def test_names_that_cannot_be(repository: Repository, name: str) -> None:
    with pytest.raises(UsageError):
        repository.add(name, SOUND.text)


def test_a_document_of_the_store_cannot_bring_code() -> None:
    assert not document_path(SOUND.name).exists()
    assert not document_path(SOUND.name).with_suffix(".py").exists()


def test_a_name_is_given_once_and_to_one_tenant(store: Store, repository: Repository) -> None:
    repository.add("mine", SOUND.text)
    with pytest.raises(UsageError, match="already"):
        repository.add("mine", SOUND.text)
    other = Repository(store, "somebody else")
    assert not other.all(origin="user")
    with pytest.raises(UsageError):
        other.retire("own/mine")
    other.add("mine", ADVICE.text)
    assert repository.document("own/mine").pattern is not None
    assert other.document("own/mine").pattern is None


def test_rejected_and_retired_are_kept_with_who_and_why(repository: Repository) -> None:
    repository.add("mine", SOUND.text)
    repository.reject("own/mine", "it gains nothing", by="bob")
    (listed,) = repository.all(status="rejected")
    assert (listed.reason, listed.changed_by) == ("it gains nothing", "bob")
    repository.retire("own/mine", by="ann")
    assert [it.name for it in repository.all(status="retired")] == ["own/mine"]
    with pytest.raises(UsageError, match="the store has no rule"):
        repository.retire(SOUND.name)


def test_all_rules_are_in_one_list_and_are_found_by_words(store: Store, repository: Repository) -> None:
    repository.add("mine", SOUND.text)
    sentence = LearntRule("Join the frobnicated table once instead of twice.", 4, uses=3, wins=2, gained=0.5)
    store.models().learn("rule", sentence.text, asdict(sentence))
    store.add_rule_trials({("own/mine", "postgres", "plain"): (5, 2, 0.75)})
    everything = repository.all()
    assert {it.origin for it in everything} == {"catalogue", "user", "model"}
    assert len(everything) == len(discover()) + 2
    (mine,) = [it for it in everything if it.name == "own/mine"]
    assert (mine.uses, mine.wins, mine.gained) == (5, 2, 0.75)
    (found,) = repository.all(search="frobnicated", most=1)
    assert (found.origin, found.status, found.uses, found.group) == ("model", "draft", 3, 4)
    repository.reject(taught_name(sentence), "nonsense")
    assert [it.name for it in repository.all(status="rejected")] == [taught_name(sentence)]
    with pytest.raises(UsageError):
        repository.all(origin="nowhere")


@pytest.mark.long
def test_what_is_not_approved_by_its_checks_stays_a_draft(repository: Repository, hunter: DuckDB) -> None:
    text = SOUND.text.replace("```sql\n@value IS NOT NULL\n```", "```sql\n@value IS NULL\n```", 1)
    assert text != SOUND.text
    repository.add("wrong", text)
    findings = repository.approve("own/wrong", hunter)
    assert [finding for finding in findings if not finding.ok]
    (listed,) = repository.all(origin="user")
    assert listed.status == "draft"
    assert listed.reason.startswith("line ")
    assert repository.executable() == ()


@pytest.mark.long
def test_what_passes_its_checks_is_applied_until_it_is_edited_or_switched_off(
    repository: Repository, hunter: DuckDB
) -> None:
    repository.add("right", SOUND.text)
    assert all(finding.ok for finding in repository.approve("own/right", hunter, by="ann"))
    (applied,) = repository.executable()
    assert (applied.name, applied.status) == ("own/right", "stable")
    repository.enable("own/right", on=False)
    assert repository.executable() == ()
    repository.enable("own/right", on=True)
    repository.edit("own/right", SOUND.text.replace("## Rule\n\n", "## Rule\n\nNew: "), by="bob")
    assert repository.executable() == ()
    (listed,) = repository.all(origin="user")
    assert (listed.status, listed.changed_by) == ("draft", "bob")
