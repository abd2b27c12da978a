"""Backups: the drill of losing a database, backups and restores that are killed, and places that are refused."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from assets.exports import shows_clip
from heaters_dagster.commands.process_due import process_due
from heaters_dagster.definitions import heaters_definitions
from heaters_dagster.domain.backups import Keep, backup_name
from heaters_dagster.domain.errors import BadRequestError, NotFoundError, PermanentError
from heaters_dagster.domain.states import ClipState
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.object_store.open import open_object_store
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_connections import make_dagster_tables
from resources.orchestrator.dagster_resources import shared_database
from resources.postgres import embedded_postgres
from resources.postgres.clip_counts import count_problems as clip_count_problems
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database, dagster_database_url, open_database
from resources.postgres.making_store import MakingStore
from resources.postgres.migrations import downgrade, known_revisions, upgrade
from resources.postgres.source_video_counts import count_problems as video_count_problems
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.audit import audit, coverage_problems
from resources.upkeep.backup import DAGSTER, HEATERS, lines_of, make_backup, one_moment
from resources.upkeep.backup_check import Checked, check_backup
from resources.upkeep.backup_place import OBJECTS, AboutBackup, BackupPlace
from resources.upkeep.restore import Restored, restore
from tests.killed_steps import deaths
from tests.media_files import make_video
from tests.pipeline_rows import cut_video, exported, reviews

C = ClipState
LEDGER = text("select id, action, reviewer_id, clip_ids, before, after, undone, created_at from review_actions order by id")


def ledger(database: Database) -> list[Any]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(LEDGER)]


def restored(settings: Settings, about: AboutBackup, place: BackupPlace) -> Restored:
    objects = open_object_store(settings)
    shows = partial(shows_clip, objects=objects, work=WorkFolder.of(settings))
    return restore(settings, objects, place, about, make_dagster_tables=make_dagster_tables, shows=shows)


def checked(settings: Settings, about: AboutBackup) -> Checked:
    place = BackupPlace.of(settings)
    return check_backup(settings, open_object_store(settings), place, about, make_dagster_tables=make_dagster_tables)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Settings]:
    """A home with a Postgres of its own, and stages that are as quick as can be."""
    settings = Settings(
        home=tmp_path / "home",
        detector="adaptive",
        embedding_model="no-such-model",
        embedding_fallback=True,
        keyframe_strategy="midpoint",
    )
    yield settings
    embedded_postgres.remove(settings.postgres_folder)


@pytest.mark.slow
def test_the_drill_nothing_older_than_the_backup_is_lost_and_newer_files_are_found_again(embedded: Settings, tmp_path: Path) -> None:
    settings, database = embedded, open_database(embedded)
    objects, place = open_object_store(settings), BackupPlace.of(settings)
    film = SourceVideoStore(database).add(str(make_video(tmp_path / "film.mp4", frames=72, scenes=(24, 48))), "film")
    assert process_due(settings).failures == []
    one, two, three = ClipStore(database).load_live(film.id)
    reviews(database).approve([one.id], reviewer="ada")
    assert process_due(settings).failures == []
    before, runs = ledger(database), open_instance(settings).get_runs_count()

    about = make_backup(settings, database, objects, place)
    assert (about.missing, about.without_checksum) == (0, 0)

    reviews(database).approve([two.id], reviewer="ada")
    reviews(database).add_cut_point(film.id, 60, reviewer="ada")
    left, right = ClipStore(database).load_live(film.id)[2:]
    reviews(database).approve([left.id], reviewer="ada")
    late = SourceVideoStore(database).add(str(make_video(tmp_path / "late.mp4", frames=30)), "late")
    assert process_due(settings).failures == []
    assert ClipStore(database).load(two.id).state is C.EMBEDDED
    made_of_two = objects.get_bytes("final_clips/video_1_clip_002.mp4")

    database.dispose()
    embedded_postgres.remove(settings.postgres_folder)  # the database is lost, what lies beside it is not
    shared_database.cache_clear()  # as in another process
    done = restored(settings, about, place)

    database = open_database(settings)
    assert ledger(database) == before
    assert [(clip.start_frame, clip.end_frame, clip.state) for clip in ClipStore(database).load_live(film.id)] == [
        (0, 24, C.EMBEDDED),
        (24, 48, C.PENDING_REVIEW),
        (48, 72, C.PENDING_REVIEW),
    ]
    assert open_instance(settings).get_runs_count() == runs
    assert (done.problems, done.lost, done.warnings) == ([], [], [])
    found = {one.key: one for one in done.newer}
    assert found["final_clips/video_1_clip_002.mp4"].command == "review approve 1:2"
    assert found[f"final_clips/video_1_clip_{left.sequence:03d}.mp4"].told.endswith("cut the source video again, then approve the clip")
    assert found[f"originals/video_{late.id}.mp4"].command == f"submit {objects.local_path(f'originals/video_{late.id}.mp4')}"
    assert all(found[key].command is None for key in found if key.startswith(("keyframes/", "metadata/", "review_proxies/")))

    # What was decided after the backup is decided again; nothing that is new takes a number or a key of before.
    reviews(database).approve([two.id], reviewer="ada")
    reviews(database).add_cut_point(film.id, 60, reviewer="ada")
    again = ClipStore(database).load_live(film.id)[2:]
    assert min(clip.sequence for clip in again) > max(left.sequence, three.sequence)
    assert min(clip.id for clip in again) > right.id + 999_000
    kept = objects.get_bytes(f"originals/video_{late.id}.mp4")
    resubmitted = SourceVideoStore(database).add(str(objects.local_path(f"originals/video_{late.id}.mp4")), "late")
    assert resubmitted.id == 1001
    assert process_due(settings).failures == []
    assert objects.get_bytes("final_clips/video_1_clip_002.mp4") == made_of_two
    assert objects.get_bytes("originals/video_1001.mp4") == kept
    assert coverage_problems(database) == []
    assert {sentence.partition(" ")[0] for sentence in audit(database, objects)} <= set(found)
    database.dispose()


@contextmanager
def own_postgres(server: str, name: str) -> Iterator[str]:
    """The address of a database without tables, for a role that is no superuser and may make no database."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create role {name} login".encode())
        connection.execute(f"create database {name} owner {name}".encode())
        url = make_url(server).set(database=name)
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as inside:
            inside.execute(b"create extension vector")
        try:
            yield url.update_query_dict({"options": f"-crole={name}"}).render_as_string(hide_password=False)
        finally:
            connection.execute(f"drop database {name} with (force)".encode())
            connection.execute(f"drop role {name}".encode())


MAKES_A_BACKUP = """
from resources.upkeep.backup import DAGSTER, HEATERS, lines_of, make_backup, one_moment
from resources.upkeep.backup_place import BackupPlace

def step(database, objects, settings):
    make_backup(settings, database, objects, BackupPlace.of(settings))
"""
RESTORES = """
from contextlib import suppress
from heaters_dagster.domain.errors import BadRequestError
from resources.orchestrator.dagster_connections import make_dagster_tables
from resources.upkeep.backup_place import BackupPlace
from resources.upkeep.restore import restore

def step(database, objects, settings, name):
    place = BackupPlace.of(settings)
    with suppress(BadRequestError):  # the one before had come to the end of what counts
        restore(settings, objects, place, place.about(name), make_dagster_tables=make_dagster_tables, shows=lambda clip, key: False)
"""


@pytest.mark.slow
def test_killed_at_any_moment_there_is_a_whole_backup_or_none_and_a_whole_database_or_an_empty_one(
    settings: Settings, database: Database, object_store: ObjectStore, postgres_url: str, store_kind: str
) -> None:
    clips = cut_video(database)
    exported(database, clips[0], object_store)
    place = BackupPlace.of(settings)
    for _ in deaths(settings, MAKES_A_BACKUP):
        assert place.names() == []
    (name,) = place.names()
    about = place.about(name)
    assert about.missing == 2  # the rows of this test name an original and a gold master that it never stored

    with own_postgres(postgres_url, f"restored_{store_kind}") as url:
        empty, states = replace(settings, database_url=url), []
        target = Database.connect(url)
        for _ in deaths(empty, RESTORES, name):
            with target.read() as connection:
                there = connection.scalar(text("select to_regclass('review_actions')")) is not None
                states.append(there and bool(connection.scalar(text("select count(*) from review_actions"))))
        assert states == sorted(states)  # empty, then complete
        assert states[0] is False
        assert ledger(target) == ledger(database)
        assert coverage_problems(target) == []
        with pytest.raises(BadRequestError, match=r"the database is not empty, it has rows in .*restored into an empty place only"):
            restored(empty, about, place)
        reviews(target).approve([clips[1].id], reviewer="ada")  # triggers, sequences and rights work as before
        assert len(ledger(target)) == len(ledger(database)) + 1
        target.dispose()


MADE_OF_ORIGINAL = (("review_proxies", "proxy.mp4"), ("gold_masters", "master.mkv"))


@pytest.mark.folder
def test_a_backup_of_an_older_revision_is_migrated_and_a_clip_whose_file_is_lost_is_exported_again(
    settings: Settings, object_store: ObjectStore, postgres_url: str
) -> None:
    place = BackupPlace.of(settings)
    with own_postgres(postgres_url, "older") as older, own_postgres(postgres_url, "newer") as newer:
        of_before, old = replace(settings, database_url=older), Database.connect(older)
        with old.begin() as connection:
            upgrade(connection)
        make_dagster_tables(dagster_database_url(of_before))
        first, second, third = cut_video(old)
        for clip in (first, second, third):
            exported(old, clip, object_store)
        whole, without_original = first.source_video_id, cut_video(old)[0].source_video_id
        for video_id in (whole, without_original):
            keys = {"original_filepath": f"originals/video_{video_id}.mp4", "proxy_filepath": f"review_proxies/video_{video_id}_proxy.mp4"}
            keys["gold_master_filepath"] = f"gold_masters/video_{video_id}_master.mkv"
            SourceVideoStore(old).update(video_id, **keys)
            for key in keys.values():
                object_store.put_bytes(key, key.encode())
        with old.begin() as connection:
            connection.execute(text("insert into alerts (cause, what, words) values ('failed', 'proxy:1', 'it failed')"))
            downgrade(connection, "0040")
        about = make_backup(of_before, old, object_store, place)
        old.dispose()
        gone_since = [f"{kind}/video_{video_id}_{end}" for video_id in (whole, without_original) for kind, end in MADE_OF_ORIGINAL]
        for key in ("final_clips/video_1_clip_001.mp4", f"originals/video_{without_original}.mp4", *gone_since):
            object_store.delete(key)
        done = restored(replace(settings, database_url=newer), about, place)
        assert done.revisions == ("0040", known_revisions()[-1])
        (gone,) = [one for one in done.lost if one.startswith("final_clips/")]
        assert gone.endswith("001.mp4 was there when the backup was made and is gone; a clip that is still approved is exported again")
        assert done.made_again == [first.id]
        told = {one.split(" ")[0]: one.partition(" and is gone")[2] for one in done.lost}
        assert [told[key] for key in gone_since[:2]] == ["; it is made again from the original"] * 2
        restore_it = ": restore it from the versions of the bucket or a copy of the store, or type heaters "
        refetch = f"{restore_it}refetch {without_original}; what is made from it cannot be made again before"
        assert told[f"originals/video_{without_original}.mp4"] == refetch
        assert told[gone_since[2]].startswith(f"{restore_it}retry {without_original}, ")
        now = Database.connect(newer)
        making, videos = MakingStore(now), SourceVideoStore(now)
        again = [
            (making.load(video_id).proxy_is_being_replaced, videos.load(video_id).gold_master_filepath)
            for video_id in (whole, without_original)
        ]
        assert again == [(True, None), (False, gone_since[3])]
        assert [clip.state for clip in ClipStore(now).load_live(first.source_video_id)] == [C.REVIEW_APPROVED, C.EXPORTED, C.EXPORTED]
        with now.read() as connection:
            assert connection.scalar(text("select told_to from alerts")) == []
            assert [*clip_count_problems(connection), *video_count_problems(connection)] == [], "also what no backup of 0040 has"
        now.dispose()


@pytest.mark.slow
@pytest.mark.folder
def test_a_check_proves_a_backup_and_says_what_is_wrong_with_it(
    settings: Settings, database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    clips = cut_video(database)
    exported(database, clips[0], object_store)
    for key in ("originals/test.mp4", "gold_masters/video_1_master.mkv"):
        object_store.put_bytes(key, key.encode())
    place = BackupPlace.of(settings)
    about = make_backup(settings, database, object_store, place)
    good = checked(settings, about)
    assert good.problems == []
    assert (good.objects, good.unread) == (3, 0)
    assert good.rows["heaters"] == about.parts["heaters"].rows > 4
    assert not (settings.home / "backup_check").exists()

    # A checksum that the backup before has is not computed again, and a limit is kept.
    object_store.put_bytes("originals/test.mp4", b"new bytes of another length")
    second = make_backup(settings, database, object_store, place, hashed_bytes=0)
    assert second.without_checksum == 1
    listed = place.get(second, OBJECTS, tmp_path)
    lines = {one.key: one for one in lines_of(listed)}
    assert lines["originals/test.mp4"].sha256 is None
    assert lines["gold_masters/video_1_master.mkv"].sha256 is not None

    object_store.delete("gold_masters/video_1_master.mkv")
    object_store.put_bytes("originals/test.mp4", b"old bytes of another length")
    object_store.put_bytes("final_clips/video_1_clip_001.mp4", b"plic")
    assert checked(settings, second).problems == [
        "final_clips/video_1_clip_001.mp4 is not the object of the backup: its checksum is another one",
        "gold_masters/video_1_master.mkv is not in the object store",
    ]
    rows = settings.home / "backups" / second.name / "rows.zip"
    rows.write_bytes(rows.read_bytes()[:-10])
    (problem,) = checked(settings, second).problems
    assert "rows.zip of backup" in problem
    assert "is damaged: its checksum is wrong" in problem


@pytest.mark.folder
def test_old_backups_and_the_remains_of_killed_ones_are_deleted(settings: Settings, database: Database, object_store: ObjectStore) -> None:
    place = BackupPlace.of(settings)
    about = make_backup(settings, database, object_store, place)
    now = datetime.now(UTC)
    names = [backup_name(now - timedelta(days=day)) for day in (1, 2, 3)]
    for name in names:
        place.put(replace(about, name=name), [])
    half_old, half_new = (backup_name(now - timedelta(hours=hours)) for hours in (30, 1))
    folder = settings.home / "backups"
    for name in (half_old, half_new):
        (folder / name).mkdir()
        (folder / name / "rows.zip").write_bytes(b"half")
    assert place.names() == sorted([*names, about.name])
    assert place.thin_out(Keep(daily=2, weekly=0, monthly=0)) == sorted(names[1:])
    assert place.names() == sorted([names[0], about.name])
    assert not (folder / half_old / "rows.zip").exists()
    assert (folder / half_new / "rows.zip").exists()
    renamed = backup_name(now + timedelta(days=1))
    shutil.copytree(folder / about.name, folder / renamed)
    with pytest.raises(PermanentError, match=f"backup {renamed} in .* it is backup {about.name} in a folder of another name"):
        place.about(renamed)
    with pytest.raises(NotFoundError, match=f"there is no backup '{half_new}'"):
        place.about(half_new)
    (folder / about.name / "about.json").write_text('{"format": 2}')
    with pytest.raises(PermanentError, match="it has format 2, and this Heaters reads format 1"):
        place.about(about.name)


@pytest.mark.folder
def test_the_nightly_job_makes_a_backup_unless_it_is_switched_off(settings: Settings, database: Database) -> None:
    for to, made in (("none", 0), (None, 1)):
        chosen = replace(settings, backup_to=to)
        job = heaters_definitions(chosen).resolve_job_def("backup")
        with open_instance(chosen) as instance:
            assert job.execute_in_process(instance=instance).success
        assert len(BackupPlace.of(settings).names()) == made


@pytest.mark.folder
def test_both_databases_are_read_at_one_moment(settings: Settings, database: Database) -> None:
    with one_moment(settings, database) as connections:
        with database.begin() as other:
            other.execute(text("insert into reviewers (name) values ('late')"))
        writer = Database.connect(dagster_database_url(settings))
        with writer.begin() as other:
            other.execute(text("insert into kvs (key, value) values ('late', '')"))
        assert connections[HEATERS].scalar(text("select count(*) from reviewers")) == 0
        assert connections[DAGSTER].scalar(text("select count(*) from kvs where key = 'late'")) == 0
        writer.dispose()
