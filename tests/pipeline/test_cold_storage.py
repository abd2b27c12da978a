"""A gold master in cold storage is waited for, in words with a time and a price; the export goes on by itself when it is there."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import UTC
from fractions import Fraction
from pathlib import Path

import pytest
from sqlalchemy import text

from heaters_dagster import cli
from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.cut_list_media import MediaKind
from heaters_dagster.domain.keys import gold_master_key
from heaters_dagster.domain.states import ClipState
from heaters_dagster.domain.timecode import SourceTime
from heaters_dagster.settings import Settings, load_settings
from resources.clips.cut_list_writer import CutListChoices, GatheredCutList, gathered_cut_list
from resources.media.timecode_track import add_timecode
from resources.object_store.open import open_object_store
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.master_restores import MasterRestores
from resources.postgres.reviewer_store import ReviewerStore
from resources.postgres.source_video_store import SourceVideoStore
from review_app.service import actions
from review_app.service.links import Session, open_links
from review_app.service.review_desk import ReviewDesk
from tests.buckets import Answer, Asked, BucketServer, refusal, standing_between
from tests.media_files import make_video
from tests.pipeline_rows import reviews
from tests.streamlit_pages import button, page, told


@pytest.mark.folder
def test_an_export_waits_for_a_master_on_its_way_and_asks_again_when_the_copy_has_ended(
    settings: Settings, database: Database, buckets: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto brings an object back at once; what stands before it says that it is on its way until it is told that it is there.

    The page says what that costs before it asks, and so does the command line. Where nobody is there to agree, the files wait.
    """
    videos, clips, exports, restores = SourceVideoStore(database), ClipStore(database), ExportStore(database), MasterRestores(database)
    film = make_video(tmp_path / "film.mp4", frames=24, scenes=(12,))
    assert add_timecode(film, SourceTime.from_count(10 * 3600 * 24, Fraction(24)))
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
        state, cold = "ended", ["/gold_masters/"]
        heads: dict[str, str] = {}  # in place of the server's

        def before(asked: Asked) -> Asked | Answer:
            if state != "there" and asked.method == "GET" and any(folder in asked.path for folder in cold):
                return refusal(403, "InvalidObjectState")
            return asked

        def after(asked: Asked, answer: Answer) -> Answer:
            if asked.method != "HEAD" or "/gold_masters/" not in asked.path or state == "there":
                return answer
            kept = tuple(one for one in answer.headers if one[0].lower() not in {"x-amz-restore", *heads})
            kept += tuple(heads.items())
            return replace(answer, headers=(*kept, *((("x-amz-restore", 'ongoing-request="true"'),) if state == "ongoing" else ())))

        between.before, between.after = before, after
        video = videos.add(str(film), "film")
        assert process_due(settings).failures == []
        first, second = clips.load_live(video.id)
        reviews(database).approve([first.id, second.id], reviewer="ada")
        assert process_due(settings).failures == []

        def in_list(media: MediaKind) -> GatheredCutList:
            objects = open_object_store(settings)
            return gathered_cut_list(video.id, CutListChoices(media=media), database=database, settings=settings, objects=objects)

        master = in_list(MediaKind.MASTER)
        assert master.source.media.first_frame == 10 * 3600 * 24, "an editing program looks for it at its own timecode"
        assert "The gold master of film cannot be read now" in master.warnings[0]
        assert in_list(MediaKind.PROXY).warnings == ()
        exported = in_list(MediaKind.CLIPS).source.clip_media
        assert [exported[clip.id].first_frame for clip in (first, second)] == [10 * 3600 * 24, 10 * 3600 * 24 + 12]
        cold.append("/final_clips/")
        assert in_list(MediaKind.CLIPS).source.clip_media == exported
        cold.pop()

        def asked_back() -> list[bytes]:
            return [asked.body for asked in between.asked if asked.method == "POST" and "restore" in asked.path]

        def made(clip_id: int) -> list[str]:
            return [one.profile for one in exports.of_clips([clip_id])[clip_id] if one.key is not None]

        desk = ReviewDesk(settings=settings, database=database, objects=open_object_store(settings), links=open_links(settings))
        app = page("videos", desk)
        app.session_state[f"exports-{video.id}"] = True
        app.run()

        def make_files(*then: str) -> str:
            app.selectbox(key=f"exports-{video.id}-profile").set_value("gold_master")
            app.text_input(key=f"exports-{video.id}-numbers").set_value("1")
            for label in ("Make files", *then):
                button(app, label)
            return told(app).replace("\\", "")

        offer = "the gold master is in cold storage (GLACIER). It comes back within 12 hours of the request (tier Bulk)"
        assert f"For files with gold_master: {offer}, and its 0.0 GB cost about 0.01 USD" in make_files()
        assert "cold storage" not in make_files("Leave it there")
        assert process_due(settings).runs == (), "nothing was asked for"
        assert "1 file asked for with gold_master." in make_files("Get it back")
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
        app.run()
        sentence = "The gold master is in cold storage: asked for 20"
        assert f"as soon as it is there: clip 1. {sentence}" in told(app).replace("\\", "")
        assert f"expected by {restore.expected_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" in told(app).replace("\\", "")
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
        expensive = 0.023 * 3 / 30 * 500
        for name, value in settings.to_environment().items():
            monkeypatch.setenv(name, value)
        load_settings.cache_clear()
        heads["content-length"] = str(500 << 30)
        code, said = heaters("export", f"{video.id}:2", "--profile", "gold_master")
        assert (code, len(exports.of_clips([second.id])[second.id])) == (2, 1)
        assert "film: the gold master is in cold storage (GLACIER)" in said
        assert "so Heaters cannot ask: add --yes" in said
        assert f"about {expensive:.2f} USD. Nothing was asked for" in said
        code, said = heaters("export", f"{video.id}:2", "--profile", "gold_master", "--yes")
        assert code == 0, said
        heads.clear()
        load_settings.cache_clear()
        assert process_due(settings).failures == []
        assert len(asked_back()) == before_that + 1
        assert restores.load().keys() == {video.id}
        state = "there"
        looked_again(database)
        assert process_due(settings).failures == []
        assert sorted(made(second.id)) == ["gold_master", "stream_copy"]
        assert buckets.client.head_object(Bucket=settings.bucket, Key=gold_master_key(video.id))["StorageClass"] == "GLACIER"

        state = "ended"
        heads["content-length"] = str(500 << 30)
        assert heaters("review", "skip", f"{video.id}:2")[0] == 0
        code, said = heaters("review", "approve", f"{video.id}:2")
        assert (code, clips.load(second.id).state) == (2, ClipState.REVIEW_SKIPPED)
        lies_cold = "the gold master is in cold storage (GLACIER)"
        assert f"film: {lies_cold}" in said
        assert f"about {expensive:.2f} USD. Nothing was approved" in said
        code, said = heaters("review", "approve", f"{video.id}:2", "--yes")
        assert (code, clips.load(second.id).state) == (0, ClipState.REVIEW_APPROVED), said

        assert heaters("review", "undo")[0] == 0, "a clip that is skipped needs no gold master"
        code, said = heaters("review", "redo")
        assert (code, clips.load(second.id).state) == (2, ClipState.REVIEW_SKIPPED)
        assert f"film: {lies_cold}" in said
        assert f"about {expensive:.2f} USD. Nothing was done again" in said
        code, said = heaters("review", "redo", "--yes")
        assert (code, clips.load(second.id).state) == (0, ClipState.REVIEW_APPROVED), said
        assert heaters("review", "skip", f"{video.id}:2")[0] == 0
        code, said = heaters("review", "undo")
        assert (code, clips.load(second.id).state) == (2, ClipState.REVIEW_SKIPPED)
        assert f"about {expensive:.2f} USD. Nothing was taken back" in said

        with database.begin() as connection:  # as it is when its approval was taken back
            connection.execute(text("update clips set state = 'pending_review' where id = :id"), {"id": second.id})
        code, said = heaters("review", "group", f"{video.id}:2")
        assert (code, clips.load(second.id).state) == (2, ClipState.PENDING_REVIEW), said
        assert f"film: {lies_cold}" in said
        assert f"about {expensive:.2f} USD. Nothing was grouped" in said
        code, said = heaters("review", "group", f"{video.id}:2", "--yes")
        assert (code, clips.load(second.id).state) == (0, ClipState.REVIEW_APPROVED), said

        # Nobody has agreed to what follows: a person who takes back a decision on the page, and another version of the profile.
        with database.begin() as connection:
            connection.execute(text("delete from restore_agreements"))
            connection.execute(text("update clip_exports set made_with = 'older' where profile = 'gold_master'"))
        ada = ReviewerStore(database).named("Ada")
        reviews(database).skip([second.id], reviewer="Ada")
        reviews(database).approve([second.id], reviewer="Ada")
        reviews(database).undo("Ada")
        done = actions.redo(desk, Session(ada.id, ada.name), seen=0)
        assert done.ok
        assert f"For files that are made again {lies_cold}" in done.told
        assert f"cost about {expensive:.2f} USD" in done.told
        with database.begin() as connection:
            connection.execute(text("delete from restore_agreements"))
        before_that = len(asked_back())
        outcome = process_due(load_settings())
        assert outcome.failures == []
        (said,) = outcome.for_a_word
        assert said.startswith(f"source video {video.id}, film: {lies_cold}")
        assert f"about {expensive:.2f} USD" in said
        assert f"Nobody has agreed to that yet, so it is not asked for: heaters retry {video.id} asks" in said
        waiting = clips.waiting_for_gold_master()
        assert [clip.id for clip in waiting] == [first.id, second.id], "one for the decision, one for the version"
        assert process_due(load_settings()).runs == (), "nothing is begun while nobody has agreed"
        assert (len(asked_back()), restores.load(), {clip.attempts for clip in waiting}) == (before_that, {}, {0})
        for words in (["status"], ["status", str(video.id)]):
            assert f"Nobody has agreed to that yet, so it is not asked for: heaters retry {video.id} asks" in heaters(*words)[1]
        code, said = heaters("retry", str(video.id))
        assert code == 0
        assert f"add --yes to spend about {expensive:.2f} USD. It stays there until then" in said
        app.run()
        assert "Nobody has agreed to that yet, so it is not asked for." in told(app).replace("\\", "")
        button(app, "Get the gold master back")
        assert "The gold master is asked for now." in told(app).replace("\\", "")
        assert process_due(load_settings()).failures == []
        assert len(asked_back()) == before_that + 1
        assert restores.load().keys() == {video.id}


def heaters(*words: str) -> tuple[int, str]:
    """(exit code, what it says), of a command that nobody can answer."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = cli.run(list(words))
    return code, " ".join((out.getvalue() + err.getvalue()).split())


def looked_again(database: Database) -> None:
    """The last look was a while ago."""
    with database.begin() as connection:
        connection.execute(text("update master_restores set looked_at = looked_at - interval '1 hour'"))
