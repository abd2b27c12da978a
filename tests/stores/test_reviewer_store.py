from concurrent.futures import ThreadPoolExecutor

import pytest

from heaters_dagster.domain.errors import BadRequestError, NotFoundError
from resources.postgres.database import Database
from resources.postgres.reviewer_store import ReviewerStore


def test_a_name_is_one_reviewer_however_often_it_comes(database: Database) -> None:
    store = ReviewerStore(database)
    first = store.named("Ann")
    again = store.named("  Ann ")
    assert (again.id, again.name, again.oidc_subject) == (first.id, "Ann", None)
    assert again.last_seen_at > first.last_seen_at
    assert store.load(first.id) == again


def test_a_new_name_that_comes_twice_at_once_is_one_reviewer(database: Database) -> None:
    store = ReviewerStore(database)
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda n: store.named(f"r{n % 2}").id, range(16)))
    assert len(ids) == 2
    assert [reviewer.name for reviewer in store.load_all()] == ["r0", "r1"]


def test_who_signs_in_is_known_by_subject_not_by_name(database: Database) -> None:
    store = ReviewerStore(database)
    ann = store.signed_in(oidc_subject="https://id.example|1", name="Ann")
    other = store.signed_in(oidc_subject="https://id.example|2", name="Ann")
    assert (ann.name, other.name) == ("Ann", "Ann (2)")
    assert store.signed_in(oidc_subject="https://id.example|1", name="Ann Lee").id == ann.id
    assert store.load(ann.id).name == "Ann", "the ledger is read by it"


def test_nobody_signs_in_as_a_name_that_was_chosen_on_trust_or_the_other_way_round(database: Database) -> None:
    store = ReviewerStore(database)
    trusted = store.named("Ben")
    assert store.signed_in(oidc_subject="s", name="Ben").id != trusted.id
    with pytest.raises(BadRequestError, match=r"'Ben \(2\)' belongs to somebody who signs in"):
        store.named("Ben (2)")


def test_the_command_line_has_reviewers_of_its_own_once_somebody_signs_in(database: Database) -> None:
    store = ReviewerStore(database)
    assert store.at_command_line("Ann").id == store.named("Ann").id, "nobody proves a name anywhere"
    grace = store.signed_in(oidc_subject="s", name="Grace")
    for given in ("Grace", " Grace ", "Grace (command line)"):
        acting = store.at_command_line(given)
        assert (acting.name, acting.oidc_subject) == ("Grace (command line)", None)
        assert acting.id != grace.id
    assert store.at_command_line("Ann").name == "Ann (command line)"


@pytest.mark.parametrize("claimed", ["Grace (command line)", "Grace  (Command Line) "])
def test_nobody_in_a_browser_takes_a_name_of_the_command_line(database: Database, claimed: str) -> None:
    store = ReviewerStore(database)
    assert store.signed_in(oidc_subject="s", name=claimed).name.endswith(", signed in")
    assert store.at_command_line("Grace").oidc_subject is None
    with pytest.raises(BadRequestError, match="reserved for decisions on the command line"):
        store.named(claimed)


def test_a_reviewer_needs_a_name(database: Database) -> None:
    store = ReviewerStore(database)
    with pytest.raises(BadRequestError, match="1 to 80"):
        store.named(" ")
    with pytest.raises(NotFoundError, match="no reviewer 7"):
        store.load(7)
