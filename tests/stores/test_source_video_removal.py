"""A source video is deleted with everything; who did it, and what was decided on it, stays."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest

from assets.archived_clips import archived_clips
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.due import wanted_runs
from heaters_dagster.domain.errors import BadRequestError, BusyError, NotFoundError, NothingToUndoError
from heaters_dagster.domain.keys import frame_index_key, gold_master_key, original_key, proxy_key, scenes_key
from heaters_dagster.domain.review_queue import QueueFilter
from heaters_dagster.domain.stages import EMBEDDINGS, KEYFRAMES, Job
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.object_store.local import LocalObjectStore
from resources.postgres import replacement_store
from resources.postgres.clip_lookup import ClipLookup
from resources.postgres.clip_store import Clip, ClipStore, MadeObject
from resources.postgres.database import Database
from resources.postgres.due_facts import load_video_facts
from resources.postgres.embedding_store import EmbeddingStore
from resources.postgres.replacement_store import ReplacementStore
from resources.postgres.review_queue_store import ReviewQueueStore
from resources.postgres.row_locks import known_reviewer
from resources.postgres.source_video_lists import SourceVideoLists
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.audit import coverage_problems, orphan_objects
from resources.upkeep.replacement import finish_replacement
from resources.upkeep.source_video_removal import delete_source_video, is_deleted, rename_source_video
from tests.pipeline_rows import cut_video, exported, reviews
from tests.warm_process import ran

_FILES = {
    "proxy_filepath": proxy_key,
    "frame_index_filepath": frame_index_key,
    "scenes_filepath": scenes_key,
    "gold_master_filepath": gold_master_key,
}


def with_everything(database: Database, objects: ObjectStore) -> list[Clip]:
    """The clips of a source video with all its objects, decisions, a file that was exported and a vector."""
    clips = cut_video(database)
    source_video_id, videos = clips[0].source_video_id, SourceVideoStore(database)
    columns = {name: key(source_video_id) for name, key in _FILES.items()} | {"original_filepath": original_key(source_video_id, ".mp4")}
    for key in columns.values():
        objects.put_bytes(key, b"x")
    videos.update(source_video_id, **columns, content_sha256=f"{source_video_id:064x}", original_bytes=1)
    clip = exported(database, clips[0], objects)
    store = ClipStore(database)
    store.claim(clip.id, KEYFRAMES, [f"keyframes/video_{source_video_id}_clip_001_mid.jpg"])
    objects.put_bytes(f"keyframes/video_{source_video_id}_clip_001_mid.jpg", b"x")
    store.finish(clip.id, KEYFRAMES, clip.cut_point_version, [MadeObject(f"keyframes/video_{source_video_id}_clip_001_mid.jpg", 1, {})])
    store.claim(clip.id, EMBEDDINGS)
    vector = np.ones(8, np.float32) / np.sqrt(np.float32(8))
    assert EmbeddingStore(database).finish_embedding(clip.id, version=clip.cut_point_version, model="m", strategy="s", vector=vector)
    return store.load_live(source_video_id)


def keys_of(objects: ObjectStore, source_video_id: int) -> set[str]:
    return {info.key for info in objects.list() if f"video_{source_video_id}." in info.key or f"video_{source_video_id}_" in info.key}


def test_a_deleted_source_video_takes_no_name(database: Database, object_store: ObjectStore) -> None:
    doomed, kept = cut_video(database), cut_video(database)
    for clip in (doomed[0], kept[0]):
        rename_source_video(clip.source_video_id, "Harbour", reviewer="grace", database=database)
    names = ClipLookup(database)
    with pytest.raises(BadRequestError, match="Harbour may mean"):
        names.id_of("1 of Harbour")
    delete_source_video(doomed[0].source_video_id, reviewer="grace", database=database, objects=object_store)
    assert names.id_of("1 of Harbour") == kept[0].id
    delete_source_video(kept[0].source_video_id, reviewer="grace", database=database, objects=object_store)
    with pytest.raises(BadRequestError, match="Harbour may mean"):
        names.id_of("1 of Harbour")


def test_everything_of_it_is_gone_and_what_people_did_stays(database: Database, object_store: ObjectStore) -> None:
    doomed, kept = with_everything(database, object_store), with_everything(database, object_store)
    source_video_id, other_id = doomed[0].source_video_id, kept[0].source_video_id
    for _ in range(8):
        cut_video(database)  # video_10 begins as video_1 does
    object_store.put_bytes(proxy_key(10), b"x")
    object_store.put_bytes(f"originals/video_{source_video_id}0.mp4", b"x")
    others = keys_of(object_store, other_id)
    several = reviews(database).skip([doomed[1].id, kept[1].id], reviewer="ada")
    title = SourceVideoStore(database).load(source_video_id).title

    gone = delete_source_video(source_video_id, reviewer="grace", database=database, objects=object_store)

    assert (gone.title, gone.clips) == (title, 3)
    assert len(gone.objects) == 7
    assert keys_of(object_store, source_video_id) == set()
    assert keys_of(object_store, other_id) == others
    assert object_store.info(proxy_key(10)) is not None
    assert object_store.info(f"originals/video_{source_video_id}0.mp4") is not None
    videos, clips = SourceVideoStore(database), ClipStore(database)
    with pytest.raises(
        NotFoundError, match=rf"source video {source_video_id} \({title}\) was deleted; heaters review history says by whom"
    ):
        videos.load(source_video_id)
    assert source_video_id not in {video.id for video in videos.load_all()}
    lists = SourceVideoLists(database)
    assert lists.counts().total == 9
    assert source_video_id not in {listed.video.id for listed in lists.newest(limit=100)}
    assert source_video_id not in {one.id for one in lists.all_overviews()}
    assert source_video_id not in {**lists.titles(limit=100), **lists.titles_of([source_video_id])}
    assert SourceVideoState.DELETED not in lists.counts().by_state
    assert videos.of_source("/films/test.mp4")[0].id != source_video_id, "the same path can be submitted again"
    assert videos.find_by_hash(f"{source_video_id:064x}") is None, "the same bytes can come in again"
    assert clips.load_live(source_video_id) == []
    assert source_video_id not in clips.counts_by_state()
    assert source_video_id not in {item.clip.source_video_id for item in ReviewQueueStore(database).page(QueueFilter(), limit=100)}
    assert EmbeddingStore(database).models() == {"m": 1}
    assert coverage_problems(database, source_video_id) == []
    assert orphan_objects(database, object_store) == [f"originals/video_{source_video_id}0.mp4", proxy_key(10)]
    assert source_video_id not in {video.id for video in load_video_facts(database)}
    history = reviews(database).history(source_video_id=source_video_id)
    assert [entry.action for entry in history] == [ReviewAction.DELETE, ReviewAction.SKIP, ReviewAction.APPROVE]
    assert (history[0].reviewer, history[0].source_video_title, history[0].details["title"]) == ("grace", title, title)
    assert set(history[0].before) == {str(clip.id) for clip in doomed}
    # What was done to clips of both stays in the history of the other, and is passed over by undo.
    assert several.action_id in {entry.id for entry in reviews(database).history(source_video_id=other_id)}
    for clip in clips.load_live(other_id):
        assert clip.is_live
    with pytest.raises(NothingToUndoError):
        reviews(database).undo("grace")
    assert delete_source_video(source_video_id, reviewer="grace", database=database, objects=object_store).objects == ()
    assert len(reviews(database).history(reviewer="grace")) == 1


def test_nothing_waits_for_a_deleted_source_video_and_what_it_has_replaced_stays(database: Database, object_store: ObjectStore) -> None:
    store, videos = ReplacementStore(database), SourceVideoStore(database)

    def begin(old_id: int, new_id: int, state: str) -> None:
        with database.begin() as connection:
            replacement_store.begin(connection, old_id, new_id, reviewer_id=known_reviewer(connection, "ada"))
            replacement_store.set_state(connection, new_id, state)

    def begun(state: str = "waiting") -> tuple[int, int]:
        old_id, new_id = cut_video(database)[0].source_video_id, videos.add("/better.mov", "better", forced=True).id
        begin(old_id, new_id, state)
        return old_id, new_id

    def delete(source_video_id: int) -> None:
        delete_source_video(source_video_id, reviewer="grace", database=database, objects=object_store)

    old_id, new_id = begun()
    delete(new_id)
    assert store.open_of_old(old_id) is None  # so another file can replace it

    old_id, new_id = begun()
    delete(old_id)
    (fact,) = [one for one in load_video_facts(database) if one.id == new_id]
    assert not fact.waits_to_replace  # it is processed like any other source video

    old_id, new_id = begun("carried")
    goes = store.to_finish(old_id)
    delete(new_id)
    assert not finish_replacement(old_id, database=database, objects=object_store)
    with pytest.raises(NotFoundError, match="is not taking the place of another one any more"):
        delete_source_video(old_id, reviewer="ada", database=database, objects=object_store, replaced=goes)  # it was found just before
    assert not is_deleted(old_id, database=database)

    newest_id = videos.add("/best.mov", "best", forced=True).id
    old_id, new_id = begun("carried")
    begin(new_id, newest_id, "carried")
    for _ in range(2):  # also when a deletion goes on that was cut off
        delete(new_id)
        newest = store.of_new(newest_id)
        assert newest is not None
        assert newest.state == "done"
        assert store.to_finish(old_id) is not None, "the newest has the decisions of both"


def test_it_waits_for_nobody_who_is_at_work_on_it(database: Database, object_store: ObjectStore) -> None:
    source_video_id = with_everything(database, object_store)[0].source_video_id
    with database.stage_lock("exports", source_video_id), pytest.raises(BusyError, match=f"working on source video {source_video_id}"):
        delete_source_video(source_video_id, reviewer="grace", database=database, objects=object_store)
    assert not is_deleted(source_video_id, database=database)
    with pytest.raises(NotFoundError, match="no source video 77"):
        delete_source_video(77, reviewer="grace", database=database, objects=object_store)


@pytest.mark.parametrize("state", [one for one in SourceVideoState if one is not SourceVideoState.DELETED])
def test_it_can_be_deleted_in_every_state(database: Database, object_store: ObjectStore, a_source_video, state: SourceVideoState) -> None:  # type: ignore[no-untyped-def]
    video = a_source_video(state=state)
    delete_source_video(video.id, reviewer="grace", database=database, objects=object_store)
    assert is_deleted(video.id, database=database)
    assert SourceVideoStore(database).load_all() == []


KILLED = """
import json, os, signal, sys
from pathlib import Path
from resources.postgres.database import Database
from resources.object_store.local import LocalObjectStore
from resources.upkeep.source_video_removal import delete_source_video
url, folder, video, deletes = json.loads(sys.argv[1])

class Dying(LocalObjectStore):
    left = deletes

    def delete(self, key):
        if not Dying.left:
            os.kill(os.getpid(), signal.SIGKILL)
        Dying.left -= 1
        return super().delete(key)

delete_source_video(video, reviewer="grace", database=Database.connect(url), objects=Dying(Path(folder)))
"""


@pytest.mark.parametrize("deletes", [0, 3])
def test_a_deletion_that_was_killed_is_finished_by_the_clean_up(
    database: Database, object_store: LocalObjectStore, settings: Settings, deletes: int
) -> None:
    import dagster as dg

    from heaters_dagster.partitions import source_video_partitions
    from resources.orchestrator.dagster_resources import dagster_resources

    source_video_id = with_everything(database, object_store)[0].source_video_id
    arguments = json.dumps([database.url, str(object_store.folder), source_video_id, deletes])
    assert ran(KILLED, arguments).returncode == -signal.SIGKILL
    assert is_deleted(source_video_id, database=database)
    assert len(keys_of(object_store, source_video_id)) == 7 - deletes
    (run,) = wanted_runs(load_video_facts(database), frozenset())
    assert (run.job, run.partition_key) == (Job.CLEAN_UP, str(source_video_id))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(source_video_partitions.name), [str(source_video_id)])
        upstream = dg.AssetSpec("virtual_clips", partitions_def=source_video_partitions)
        assert dg.materialize(
            [upstream, archived_clips], partition_key=str(source_video_id), instance=instance, resources=dagster_resources(settings)
        ).success
    assert keys_of(object_store, source_video_id) == set()
    assert load_video_facts(database) == []


def test_a_title_is_changed_with_a_name_in_the_history_and_review_has_not_begun(database: Database) -> None:
    source_video_id = cut_video(database)[0].source_video_id
    named = rename_source_video(source_video_id, "  Harbour\nat night ", reviewer="grace", database=database)
    assert named.title == "Harbour at night"
    rename_source_video(source_video_id, "Harbour at night", reviewer="grace", database=database)
    (entry,) = reviews(database).history(source_video_id=source_video_id)
    assert (entry.action, entry.reviewer, entry.details) == (
        ReviewAction.RENAME,
        "grace",
        {"title_before": "test", "title": "Harbour at night"},
    )
    assert not ClipStore(database).review_has_begun(source_video_id)
    with pytest.raises(NothingToUndoError, match="nothing to undo"):
        reviews(database).undo("grace")
    with pytest.raises(NothingToUndoError, match="a new title is final"):
        reviews(database).undo("grace", action_id=entry.id)
    with pytest.raises(BadRequestError, match="at least one visible character"):
        rename_source_video(source_video_id, " \u202e ", reviewer="grace", database=database)
    assert {clip.state for clip in ClipStore(database).load_live(source_video_id)} == {ClipState.PENDING_REVIEW}
