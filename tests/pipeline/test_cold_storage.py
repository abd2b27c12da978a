"""A gold master in cold storage is waited for, in words with a time and a price; the export goes on by itself when it is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.keys import gold_master_key
from heaters_dagster.settings import Settings
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.master_restores import MasterRestores
from resources.postgres.source_video_store import SourceVideoStore
from tests.buckets import Answer, Asked, BucketServer, refusal, standing_between
from tests.media_files import make_video
from tests.pipeline_rows import reviews


@pytest.mark.folder
def test_an_export_waits_for_a_master_on_its_way_and_asks_again_when_the_copy_has_ended(
    settings: Settings, database: Database, buckets: BucketServer, tmp_path: Path
) -> None:
    """moto brings an object back at once; what stands before it says that it is on its way until it is told that it is there."""
    videos, clips, exports, restores = SourceVideoStore(database), ClipStore(database), ExportStore(database), MasterRestores(database)
    film = make_video(tmp_path / "film.mp4", frames=24, scenes=(12,))
    with standing_between(buckets) as between:
        settings = replace(
            settings,
            bucket=buckets.new_bucket(),
            s3_endpoint_url=between.url,
            detector="adaptive",
            embedder="visual_descriptor",
            keyframe_strategy="midpoint",
            restore_tier="Bulk",
            restore_days=3,
        )
        state = "ended"

        def before(asked: Asked) -> Asked | Answer:
            if state != "there" and asked.method == "GET" and "/gold_masters/" in asked.path:
                return refusal(403, "InvalidObjectState")
            return asked

        def after(asked: Asked, answer: Answer) -> Answer:
            if asked.method != "HEAD" or "/gold_masters/" not in asked.path or state == "there":
                return answer
            kept = tuple(one for one in answer.headers if one[0].lower() != "x-amz-restore")
            return replace(answer, headers=(*kept, *((("x-amz-restore", 'ongoing-request="true"'),) if state == "ongoing" else ())))

        between.before, between.after = before, after
        video = videos.add(str(film), "film")
        assert process_due(settings).failures == []
        first, second = clips.load_live(video.id)
        reviews(database).approve([first.id, second.id], reviewer="ada")
        assert process_due(settings).failures == []

        def asked_back() -> list[bytes]:
            return [asked.body for asked in between.asked if asked.method == "POST" and "restore" in asked.path]

        def made(clip_id: int) -> list[str]:
            return [one.profile for one in exports.of_clips([clip_id])[clip_id] if one.key is not None]

        exports.request(first.id, "gold_master")
        assert process_due(settings).failures == []
        (request,) = asked_back()
        assert b"<Tier>Bulk</Tier>" in request
        assert b"<Days>3</Days>" in request
        state = "ongoing"
        restore = restores.load()[video.id]
        assert (restore.expected_at - restore.asked_at).total_seconds() == 12 * 3600
        assert restore.words.startswith("the gold master is in cold storage: asked for 20")
        assert restore.words.endswith("(0.0 GB, about 0.01 USD)")
        assert [clip.id for clip in clips.waiting_for_gold_master()] == [first.id]
        looked_again(database)
        assert process_due(settings).runs == (), "nothing is begun while it is on its way"
        assert made(first.id) == ["stream_copy"]
        assert clips.load(first.id).attempts == 0
        state = "there"
        looked_again(database)
        assert process_due(settings).failures == []
        assert sorted(made(first.id)) == ["gold_master", "stream_copy"]
        assert restores.load() == {}

        state = "ended"
        before_that = len(asked_back())
        exports.request(second.id, "gold_master")
        assert process_due(settings).failures == []
        assert len(asked_back()) == before_that + 1
        assert restores.load().keys() == {video.id}
        state = "there"
        looked_again(database)
        assert process_due(settings).failures == []
        assert sorted(made(second.id)) == ["gold_master", "stream_copy"]
        assert buckets.client.head_object(Bucket=settings.bucket, Key=gold_master_key(video.id))["StorageClass"] == "GLACIER"


def looked_again(database: Database) -> None:
    """The last look was a while ago."""
    with database.begin() as connection:
        connection.execute(text("update master_restores set looked_at = looked_at - interval '1 hour'"))
