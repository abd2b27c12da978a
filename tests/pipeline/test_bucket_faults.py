"""Each way in which a bucket can fail, in words; none costs a row a try, and work goes on by itself when the cause is gone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.errors import HeatersError, PlaceError, StoreRefusedError, StoreUnavailableError
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.settings import Settings
from resources.object_store import probe, s3
from resources.object_store.probe import raise_fault_of_the_place
from resources.object_store.s3 import S3ObjectStore
from resources.object_store.s3_client import s3_client
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.store_pauses import StorePauses
from tests.buckets import Answer, Asked, Between, BucketServer, refusal, standing_between
from tests.media_files import make_video
from tests.pipeline_rows import reviews


@pytest.fixture
def between(buckets: BucketServer) -> Iterator[Between]:
    with standing_between(buckets) as server:
        yield server


@pytest.fixture
def soon_tired(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients wait a moment where they wait minutes: how long is no matter here."""
    monkeypatch.setattr(probe, "_GOOD_SECONDS", 0.0)
    monkeypatch.setattr(probe, "_BAD_SECONDS", 0.0)
    monkeypatch.setattr(s3, "s3_client", lambda bucket, url, attempts, **more: s3_client(bucket, url, 1, timeout_seconds=0.5))


CLOCK = "the clock of this machine differs too much from the server's"
PROBLEM = "the store has a problem at the moment: because"
CREDENTIALS = "the server does not accept the credentials"
FAULTS: dict[str, tuple[Answer | None, type[HeatersError], str]] = {
    "500": (refusal(500, "InternalError"), StoreUnavailableError, PROBLEM),
    "503": (refusal(503, "ServiceUnavailable"), StoreUnavailableError, PROBLEM),
    "throttled": (refusal(503, "SlowDown"), StoreUnavailableError, PROBLEM),
    "a body that is none": (Answer(502, (), b"<html>Bad Gateway"), StoreUnavailableError, "the store has a problem at the moment"),
    "reset": (None, StoreUnavailableError, "the store cannot be reached"),
    "wrong key": (refusal(403, "InvalidAccessKeyId"), StoreRefusedError, f"{CREDENTIALS} (InvalidAccessKeyId). Renew them"),
    "wrong secret": (refusal(403, "SignatureDoesNotMatch"), StoreRefusedError, CREDENTIALS),
    "expired": (refusal(400, "ExpiredToken"), StoreRefusedError, f"{CREDENTIALS} (ExpiredToken). Renew them"),
    "denied": (refusal(403, "AccessDenied"), StoreRefusedError, "access denied. Give these credentials the right"),
    "no bucket": (refusal(404, "NoSuchBucket"), StoreRefusedError, "there is no bucket"),
    "clock": (refusal(403, "RequestTimeTooSkewed"), StoreUnavailableError, CLOCK),
    "region": (refusal(400, "AuthorizationHeaderMalformed"), StoreRefusedError, "is in another region"),
}


@pytest.mark.folder
@pytest.mark.usefixtures("soon_tired")
def test_each_fault_is_said_in_words_and_told_apart_from_a_fault_of_one_object(buckets: BucketServer, between: Between) -> None:
    """Whatever call meets it first: also a question about an object, whose refusal has no words."""
    bucket = buckets.new_bucket()
    for name, (answer, kind, words) in FAULTS.items():
        between.before = lambda asked, answer=answer: answer  # type: ignore[misc]
        store = S3ObjectStore(bucket, endpoint_url=between.url)
        with pytest.raises(kind) as raised:
            store.check()
        assert words in str(raised.value), name
        calls: list[Callable[[], Any]] = [
            lambda store=store: store.get_bytes("metadata/video_1_scenes.json"),
            lambda store=store: store.get_range("metadata/video_1_scenes.json", 0, 0),
            lambda store=store: store.put_bytes("metadata/video_1_scenes.json", b"{}"),
        ]
        for call in calls:
            with pytest.raises(HeatersError) as met:
                call()
            with pytest.raises(PlaceError) as place:
                raise_fault_of_the_place(met.value, store)
            assert words in str(place.value), name
    between.before = lambda asked: asked
    S3ObjectStore(bucket, endpoint_url=between.url).check()


@pytest.mark.folder
@pytest.mark.usefixtures("soon_tired")
def test_a_server_that_is_slow_and_one_that_takes_no_connections_are_given_up(between: Between) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:  # it takes connections and says nothing
        slow = S3ObjectStore("b", endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StoreUnavailableError, match="the store cannot be reached: Read timeout"):
            slow.check()
        address = silent.getsockname()[1]
    with pytest.raises(StoreUnavailableError, match="the store cannot be reached: Could not connect"):
        S3ObjectStore("b", endpoint_url=f"http://127.0.0.1:{address}").check()


@pytest.mark.folder
@pytest.mark.usefixtures("soon_tired")
def test_faults_in_every_stage_cost_no_try_and_work_goes_on_by_itself(
    settings: Settings, database: Database, buckets: BucketServer, between: Between, tmp_path: Path
) -> None:
    """The whole bucket fails, or only what a stage writes, as when S3 throttles a prefix: a test of the store then works."""
    settings = replace(
        settings,
        bucket=buckets.new_bucket(),
        s3_endpoint_url=between.url,
        detector="adaptive",
        embedder="visual_descriptor",
        keyframe_strategy="midpoint",
    )
    videos, clips, pauses = SourceVideoStore(database), ClipStore(database), StorePauses(database)
    video = videos.add(str(make_video(tmp_path / "film.mp4", frames=24, scenes=(12,))), "film")

    def failing(prefix: str, answer: Answer | None, *, everything: bool) -> None:
        begun = False

        def before(asked: Asked) -> Asked | Answer | None:
            nonlocal begun
            begun = begun or (f"/{prefix}/" in asked.path and asked.method == "PUT")
            return answer if begun and (everything or f"/{prefix}/" in asked.path) else asked

        between.before = before

    def runs_into(told: str) -> None:
        outcome = process_due(settings)
        assert outcome.failures == []
        assert outcome.problem is not None
        assert told in outcome.problem
        assert outcome.held_up
        row = videos.load(video.id)
        assert (row.attempts, row.error, row.gold_master_attempts, row.gold_master_error) == (0, None, 0, None)
        assert {(clip.attempts, clip.error) for clip in clips.load_live(video.id)} <= {(0, None)}
        assert process_due(settings).runs == (), "nothing is begun while it lasts"
        between.before = lambda asked: asked

    failing("originals", FAULTS["expired"][0], everything=True)
    runs_into("Renew them")
    failing("originals", FAULTS["throttled"][0], everything=False)
    runs_into(f"{PROBLEM}. Nothing is begun before")
    assert f"{PROBLEM}. Nothing is begun before" in str(pauses.problem(settings.object_bucket))
    over(database)
    failing("review_proxies", FAULTS["reset"][0], everything=False)
    runs_into("the store cannot be reached")
    over(database)
    failing("gold_masters", FAULTS["no bucket"][0], everything=True)
    runs_into("there is no bucket")
    assert process_due(settings).failures == []
    reviews(database).approve([clip.id for clip in clips.load_live(video.id)], reviewer="ada")
    failing("final_clips", FAULTS["500"][0], everything=False)
    runs_into(PROBLEM)
    over(database)
    failing("keyframes", FAULTS["clock"][0], everything=True)
    runs_into(CLOCK)
    assert process_due(settings).failures == []
    assert videos.load(video.id).state is SourceVideoState.SCENES_DETECTED
    assert {clip.state for clip in clips.load_live(video.id)} == {ClipState.EMBEDDED}
    assert buckets.client.list_multipart_uploads(Bucket=settings.bucket).get("Uploads", []) == []


def over(database: Database) -> None:
    """The pause has passed."""
    with database.begin() as connection:
        connection.execute(text("update store_pauses set until = now()"))


@pytest.mark.folder
def test_pauses_get_longer_and_a_long_quiet_time_makes_them_short_again(database: Database) -> None:
    pauses = StorePauses(database)
    assert pauses.problem("footage") is None

    def seconds() -> int:
        with database.read() as connection:
            return round(connection.execute(text("select extract(epoch from until - failed_at) from store_pauses")).scalar_one())

    lasting = []
    for _ in range(7):
        told = pauses.begin("footage", "throttled.")
        assert told == pauses.problem("footage")
        assert told.startswith("throttled. Nothing is begun before ")
        lasting.append(seconds())
        over(database)
    assert lasting == [30, 60, 120, 240, 480, 600, 600]
    pauses.begin("footage", "throttled")
    pauses.begin("footage", "throttled")
    assert seconds() <= 600, "faults of other stages during a pause do not lengthen it"
    with database.begin() as connection:
        connection.execute(text("update store_pauses set until = now(), failed_at = now() - interval '1 hour'"))
    pauses.begin("footage", "throttled")
    assert seconds() == 30
    assert pauses.problem("another") is None
    assert pauses.problem(None) is None
