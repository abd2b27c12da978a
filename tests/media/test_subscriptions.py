"""Subscriptions: what is new is taken once, within the limits, and a failure is said on the subscription and stops nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.errors import BadRequestError, NotFoundError, NotYetError, SiteRefusesError
from heaters_dagster.domain.source_lists import Limits
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.orchestration.jobs import subscribed_lists
from heaters_dagster.orchestration.sensors import due_subscriptions
from heaters_dagster.settings import Settings
from resources.object_store.open import open_object_store
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.site_turns import SiteTurns
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.subscription_store import Subscription, SubscriptionStore
from resources.sources import subscriptions
from resources.sources.submission import submit
from resources.upkeep.source_video_removal import delete_source_video
from tests.pipeline_rows import waiting_transactions
from tests.web_lists import Item, feed, page
from tests.web_server import WebServer, status


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    (tmp_path / "web").mkdir()
    with WebServer(tmp_path / "web").running() as server:
        yield server


@pytest.fixture
def open_settings(settings: Settings) -> Settings:
    """Those with which this machine may be looked at, as often as wanted."""
    return replace(settings, allow_private_addresses=True, download_pause_seconds=0.0)


@pytest.fixture
def store(database: Database) -> SubscriptionStore:
    return SubscriptionStore(database)


def followed(
    address: str, settings: Settings, database: Database, *, limits: Limits = Limits(), only_new: bool = False, rights: str | None = None
) -> Subscription:
    offer = subscriptions.list_to_follow(address, limits, settings=settings, database=database, only_new=only_new)
    return subscriptions.subscribe(
        address, offer, limits, every_seconds=3600, settings=settings, database=database, only_new=only_new, rights=rights
    ).subscription


def titles(database: Database) -> list[str]:
    return [video.title for video in SourceVideoStore(database).load_all()]


def make_due(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("update subscriptions set next_look_at = now() - interval '1 second'"))


def test_what_is_new_is_taken_once_and_within_the_limits(
    web: WebServer, open_settings: Settings, database: Database, store: SubscriptionStore
) -> None:
    old = [Item("/1.mp4", "Talk 1", "10:00"), Item("/2.mp4", "Long talk", "3:00:00")]
    web.answers["/feed.xml"] = feed(old, title="Talks")
    one = followed(f"{web.url}/feed.xml", open_settings, database, limits=Limits(longest_seconds=3600), rights="training")
    assert (one.title, one.told, one.taken_count, one.error) == ("Talks", "1 new video of 2 videos in the list", 1, None)
    assert titles(database) == ["Talk 1"]
    (video,) = SourceVideoStore(database).load_all()
    assert FactsStore(database).load(video.id).rights == "training"
    assert store.due() == []
    assert subscriptions.look_at_due(open_settings, database) == []

    web.answers["/feed.xml"] = feed([Item("/3.mp4", "Talk 3", "5:00"), *old], title="Talks of today")
    make_due(database)
    (looked,) = subscriptions.look_at_due(open_settings, database)
    assert looked.sentence == f"subscription {one.id}, Talks of today: 1 new video of 3 videos in the list"
    assert titles(database) == ["Talk 1", "Talk 3"]
    again = store.load(one.id)
    assert (again.taken_count, again.limits) == (2, Limits(longest_seconds=3600))
    assert again.looked_at is not None
    assert timedelta(minutes=59) < again.next_look_at - datetime.now(UTC) <= timedelta(hours=1)


def test_what_was_deleted_or_has_failed_is_not_taken_again(
    web: WebServer, open_settings: Settings, database: Database, store: SubscriptionStore
) -> None:
    web.answers["/feed.xml"] = feed([Item("/1.mp4", "Gone"), Item("/2.mp4", "Failed")])
    one = followed(f"{web.url}/feed.xml", open_settings, database)
    videos = SourceVideoStore(database)
    gone, failed = videos.load_all()
    delete_source_video(gone.id, reviewer="Ada", database=database, objects=open_object_store(open_settings))
    videos.set_state(failed.id, SourceVideoState.DOWNLOADING)
    videos.record_failure(failed.id, SourceVideoState.DOWNLOAD_FAILED, "it is no video", transient=False)
    subscriptions.look_at_due(open_settings, database, only=[one.id])
    assert [(video.id, video.state) for video in videos.load_all()] == [(failed.id, SourceVideoState.DOWNLOAD_FAILED)]


def test_only_new_takes_nothing_of_what_is_there(web: WebServer, open_settings: Settings, database: Database) -> None:
    web.answers["/page.html"] = page("/1.mp4", "/2.mp4")
    one = followed(f"{web.url}/page.html", open_settings, database, only_new=True, limits=Limits(most=1))
    assert titles(database) == []
    web.answers["/page.html"] = page("/2.mp4", "/1.mp4")
    subscriptions.look_at_due(open_settings, database, only=[one.id])
    assert titles(database) == []
    web.answers["/page.html"] = page("/3.mp4", "/1.mp4", "/2.mp4", title="Films")
    subscriptions.look_at_due(open_settings, database, only=[one.id])
    assert titles(database) == ["Films (1)"]


def test_a_look_that_fails_is_said_comes_again_sooner_and_does_not_stop_the_others(
    web: WebServer, open_settings: Settings, database: Database, store: SubscriptionStore
) -> None:
    for name in ("one", "two"):
        web.answers[f"/{name}.xml"] = feed([Item(f"/{name}.mp4", name), Item(f"/{name}2.mp4", f"{name} 2")])
    one, two = (followed(f"{web.url}/{name}.xml", open_settings, database, only_new=True) for name in ("one", "two"))
    web.answers["/one.xml"] = status(503)
    web.answers["/two.xml"] = feed([Item("/new.mp4", "new"), Item("/two.mp4", "two")])
    waits = []
    for number in (1, 2):
        make_due(database)
        looked = subscriptions.look_at_due(open_settings, database)
        assert [item.subscription.id for item in looked] == [one.id, two.id]
        failed = store.load(one.id)
        assert failed.failed_looks == number
        assert "the server answers 503 at the moment" in (failed.error or "")
        waits.append(round((failed.next_look_at - (failed.looked_at or failed.next_look_at)).total_seconds()))
    assert waits == [900, 1800]
    assert titles(database) == ["new"]
    web.answers["/one.xml"] = feed([Item("/one.mp4", "one"), Item("/one2.mp4", "one 2")])
    make_due(database)
    subscriptions.look_at_due(open_settings, database)
    assert (store.load(one.id).error, store.load(one.id).failed_looks) == (None, 0)


def test_a_site_that_wants_no_requests_is_left_alone_and_a_look_before_its_time_is_put_off(
    web: WebServer, open_settings: Settings, database: Database, store: SubscriptionStore
) -> None:
    web.answers["/feed.xml"] = feed([Item("/1.mp4"), Item("/2.mp4")])
    one = followed(f"{web.url}/feed.xml", open_settings, database, only_new=True, limits=Limits(most=1))
    web.answers["/feed.xml"] = status(429, {"Retry-After": "86400"})
    (failed,) = subscriptions.look_at_due(open_settings, database, only=[one.id])
    assert "the server answers 429 at the moment and asks us to wait until" in (failed.subscription.error or "")
    asked = len(web.requests)
    make_due(database)
    (put_off,) = subscriptions.look_at_due(open_settings, database)
    again = store.load(one.id)
    assert (put_off.is_put_off, again.failed_looks, len(web.requests)) == (True, 1, asked)
    assert put_off.sentence.endswith("UTC (24 hours): its site answers 429")
    assert "feed.xml is not looked at now: it waits until" in put_off.sentence
    assert again.next_look_at - datetime.now(UTC) > timedelta(hours=23)
    with pytest.raises(NotYetError, match="is not looked at now"):
        subscriptions.read_if_list(f"{web.url}/other.xml", settings=open_settings, database=database)
    turns = SiteTurns.from_settings(open_settings, database)
    with database.begin() as connection:
        connection.execute(text("update download_sites set not_before = now()"))
    with turns.list_turn("127.0.0.1", patience_seconds=0), pytest.raises(NotYetError, match=r"1 list of 127\.0\.0\.1 at a time"):
        subscriptions.read_if_list(f"{web.url}/other.xml", settings=open_settings, database=database, patience_seconds=0)
    with pytest.raises(SiteRefusesError):
        subscriptions.read_if_list(f"{web.url}/feed.xml", settings=open_settings, database=database)
    assert turns.held_off("127.0.0.1") is not None


def test_while_one_process_looks_another_does_not(web: WebServer, open_settings: Settings, database: Database) -> None:
    web.answers["/feed.xml"] = feed([Item("/1.mp4"), Item("/2.mp4")])
    one = followed(f"{web.url}/feed.xml", open_settings, database)
    make_due(database)
    with database.stage_lock("subscription", one.id):
        assert subscriptions.look_at_due(open_settings, database) == []
    assert len(subscriptions.look_at_due(open_settings, database)) == 1


def test_whoever_subscribes_and_a_process_that_looks_meanwhile_take_each_video_once(
    web: WebServer, open_settings: Settings, database: Database, store: SubscriptionStore
) -> None:
    web.answers["/feed.xml"] = feed([Item("/1.mp4"), Item("/2.mp4")])
    address = f"{web.url}/feed.xml"
    found: list[Subscription] = []
    subscribing = threading.Thread(target=lambda: found.append(followed(address, open_settings, database)))
    submitting = threading.Thread(
        target=lambda: submit([f"{web.url}/1.mp4"], SourceVideoStore(database), guard=subscriptions.guard_of(open_settings))
    )
    with database.begin() as connection:
        connection.execute(text("lock table source_videos in share mode"))  # nobody can store a source video
        subscribing.start()
        while not store.due() or not waiting_transactions(database):
            assert subscribing.is_alive()
        submitting.start()
        assert subscriptions.look_at_due(open_settings, database) == []  # it is being looked at
        time.sleep(0.3)  # for those that would look before they wait
    for one in (subscribing, submitting):
        one.join()
    assert sorted(video.source for video in SourceVideoStore(database).load_all()) == [f"{web.url}/1.mp4", f"{web.url}/2.mp4"]
    assert found[0].told


def test_a_look_that_was_killed_before_it_was_noted_takes_nothing_twice(
    web: WebServer, open_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.answers["/feed.xml"] = feed([Item("/1.mp4", "One"), Item("/2.mp4", "Two")])

    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(SubscriptionStore, "finish_look", killed)
        with pytest.raises(Killed):
            followed(f"{web.url}/feed.xml", open_settings, database)
    assert len(subscriptions.look_at_due(open_settings, database)) == 1
    assert titles(database) == ["One", "Two"]


def test_what_cannot_be_subscribed_is_refused_in_words(
    web: WebServer, open_settings: Settings, database: Database, store: SubscriptionStore
) -> None:
    web.answers["/feed.xml"] = feed([Item("/1.mp4"), Item("/2.mp4")])
    web.answers["/one.html"] = page("/1.mp4")
    one = followed(f"{web.url}/feed.xml", open_settings, database)
    for address, words in (
        (f"{web.url}/feed.xml", f"is subscribed already, as subscription {one.id}"),
        (f"{web.url}/one.html", "is a single video and no list"),
        ("/films", "cannot be subscribed: give the web address"),
        ("s3://bucket/films/", "cannot be subscribed"),
    ):
        with pytest.raises(BadRequestError, match=words):
            subscriptions.list_to_follow(address, Limits(), settings=open_settings, database=database)
    for seconds in (60, 400 * 86_400):
        with pytest.raises(BadRequestError, match="every 5 minutes at the most"):
            store.add("https://example.org/x", "x", every_seconds=seconds)
    with pytest.raises(BadRequestError, match="has at most 2,000"):
        store.add("https://example.org/" + "x" * 2000, "x", every_seconds=3600)
    store.remove(one.id)
    with pytest.raises(NotFoundError, match=f"there is no subscription {one.id}"):
        store.make_due(one.id)
    assert len(titles(database)) == 2


def test_the_sensor_asks_for_a_run_while_one_is_due_and_none_is_looking_and_the_run_looks(
    web: WebServer, open_settings: Settings, database: Database
) -> None:
    def asked(instance: dg.DagsterInstance) -> bool:
        with dg.build_sensor_context(instance=instance, resources=dagster_resources(open_settings)) as context:
            answer = due_subscriptions(context)
        assert isinstance(answer, dg.RunRequest | dg.SkipReason)
        return isinstance(answer, dg.RunRequest)

    web.answers["/feed.xml"] = feed([Item("/1.mp4", "One"), Item("/2.mp4", "Two")])
    with dg.DagsterInstance.ephemeral() as instance:
        assert not asked(instance)
        followed(f"{web.url}/feed.xml", open_settings, database, only_new=True)
        assert not asked(instance)
        web.answers["/feed.xml"] = feed([Item("/3.mp4", "Three"), Item("/1.mp4", "One")])
        make_due(database)
        assert asked(instance)
        run = instance.create_run_for_job(subscribed_lists, status=dg.DagsterRunStatus.STARTED)
        assert not asked(instance)
        instance.report_run_canceled(run)
        assert asked(instance)
        assert subscribed_lists.execute_in_process(instance=instance, resources=dagster_resources(open_settings)).success
        assert titles(database) == ["Three"]
        assert not asked(instance)


def test_heaters_process_looks_too(web: WebServer, open_settings: Settings, database: Database) -> None:
    web.answers["/feed.xml"] = feed([Item("/1.mp4", "One"), Item("/2.mp4", "Two")])
    followed(f"{web.url}/feed.xml", open_settings, database, only_new=True)
    web.answers["/feed.xml"] = status(404)
    make_due(database)
    said: list[str] = []
    assert process_due(open_settings, say=said.append).runs == ()
    assert len(said) == 1
    assert "there is nothing at" in said[0]
