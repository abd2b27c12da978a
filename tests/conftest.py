"""What most tests share: a Postgres for this session, a database for every test, settings and an object store in a temp folder.

Tests with xdist share one server. The controlling process makes its folder, stops the server and removes the folder at the end;
what a killed session left behind is removed by the next one.
"""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Protocol

import hypothesis
import psycopg
import pytest
from playwright.sync_api import Browser
from sqlalchemy.engine import make_url

from heaters_dagster.domain.keys import final_clip_key, keyframe_key
from heaters_dagster.domain.stages import CLIP_STAGES, EXPORTS, KEYFRAMES, with_states
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.transitions import CLIP_TRANSITIONS, SOURCE_VIDEO_RETRY, SOURCE_VIDEO_TRANSITIONS
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.object_store.open import open_object_store
from resources.postgres import embedded_postgres
from resources.postgres.clip_store import Clip, ClipStore, MadeObject, NewClip
from resources.postgres.database import Database, dagster_database_url
from resources.postgres.migrations import migrate
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from tests.buckets import BucketServer, bucket_server
from tests.chromium import started_chromium
from tests.made_once import SESSION_FOLDER

TEMPLATE = "heaters_template"

# How fast a machine is decides nothing here.
hypothesis.settings.register_profile("heaters", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("heaters")

_session_lock = pytest.StashKey[int]()
_numbers = count()
_emptied_databases: list[str] = []
_new_schema: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # Started in the background of a shell: children would inherit it, and Dagster would copy it to SIGTERM.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):
        return
    # What is compiled is kept, whatever the shell says: else each worker and each program of a test compiles all of the sources again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    _sweep_killed_sessions()
    folder = tempfile.mkdtemp(prefix="heaters-tests-")
    os.chmod(folder, 0o711)  # as root the server runs as another user
    config.stash[_session_lock] = _locked(Path(folder))
    os.environ[SESSION_FOLDER] = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    folder = Path(os.environ.pop(SESSION_FOLDER))
    embedded_postgres.remove(folder / "postgres")
    shutil.rmtree(folder, ignore_errors=True)
    os.close(config.stash[_session_lock])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first, then the groups, which one worker does alone, so that at the end no worker is alone with one."""
    items.sort(key=lambda item: 0 if item.get_closest_marker("slow") else 1 if item.get_closest_marker("xdist_group") else 2)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is loaded by now stays: to look through it all again at each garbage collection, and Streamlit orders one a page, is in vain."""
    gc.collect()
    gc.freeze()


def _locked(folder: Path) -> int:
    lock = os.open(folder / "session.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _sweep_killed_sessions() -> None:
    for folder in Path(tempfile.gettempdir()).glob("heaters-tests-*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime < 60:
                continue  # perhaps just made and not locked yet
            lock = _locked(folder)
            embedded_postgres.remove(folder / "postgres")
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests of this process; each opens a context of its own in it."""
    with started_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """URL of the database `postgres` of a server that runs for this test session; `heaters_template` in it is empty and migrated.

    It has Dagster's tables too, which take Dagster most of a second to make.
    """
    url = embedded_postgres.ensure_running(Path(os.environ[SESSION_FOLDER]) / "postgres", durable=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(1)")  # of the workers one makes the template
        if connection.execute("select from pg_database where datname = %s", (TEMPLATE,)).fetchone() is None:
            connection.execute(f"create database {TEMPLATE}_new")
            database = Database.connect(_url_of(url, f"{TEMPLATE}_new"))
            migrate(database)
            database.dispose()
            from resources.orchestrator.dagster_connections import close_kept_connections, open_dagster_storage  # loads Dagster

            open_dagster_storage(dagster_database_url(Settings(database_url=database.url)))
            close_kept_connections()
            connection.execute(f"alter database {TEMPLATE}_new rename to {TEMPLATE}")
    return url


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    """A migrated database without a row in it, only for this test."""
    name = _emptied_databases.pop() if _emptied_databases else _new_database(postgres_url)
    database = Database.connect(_url_of(postgres_url, name))
    yield database
    database.dispose()
    if _emptied(_url_of(postgres_url, name)):
        _emptied_databases.append(name)
    else:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)".encode())


def _new_database(server: str) -> str:
    name = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name} template {TEMPLATE}".encode())
    if not _new_schema:
        with psycopg.connect(_url_of(server, name)) as connection:
            _new_schema.append(_schema(connection))
    return name


def _emptied(url: str) -> bool:
    """Make the database of a finished test as good as new, which is cheaper than a new one; False when the test changed its schema."""
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_END_OTHER_SESSIONS)
            if _schema(connection) != _new_schema[0]:
                return False
            # As a replica this session fires no triggers: those that keep the ledger from being emptied are for everybody else.
            connection.execute(b"set session_replication_role = replica")
            connection.execute(_TRUNCATE)
    except psycopg.Error:
        return False
    return True


def _schema(connection: psycopg.Connection[Any]) -> str:
    """A fingerprint of everything that a migration makes. A database made from a template has its object ids, too."""
    row = connection.execute(_SCHEMA).fetchone()
    return str(row and row[0])


_END_OTHER_SESSIONS = b"""
select pg_terminate_backend(pid, 5000) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""
#: Only what a test has filled, and what refers to it: to empty a table costs some milliseconds, whether there is a row in it or not.
_TRUNCATE = b"""
do $$
declare
    name text;
    is_filled boolean;
    filled text[];
begin
    for name in
        select format('%I.%I', schemaname, tablename) from pg_tables
        where schemaname in ('public', 'dagster')
        and tablename not in ('alembic_version', 'schema_compatibility', 'secondary_indexes', 'instance_info')
    loop
        execute 'select exists (select from ' || name || ')' into is_filled;
        if is_filled then filled := filled || name; end if;
    end loop;
    if filled is not null then execute 'truncate ' || array_to_string(filled, ', ') || ' restart identity cascade'; end if;
    perform setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
        from pg_sequences where schemaname in ('public', 'dagster') and last_value is not null;
end $$
"""
_SCHEMA = b"""
select md5(string_agg(what, ' ' order by what)) from (
    select concat_ws(' ', 'column', attrelid, attname, atttypid, atttypmod, attnotnull, attisdropped) as what
        from pg_attribute where attrelid >= 16384
    union all select concat_ws(' ', 'relation', oid, relname, relpersistence) from pg_class where oid >= 16384
    union all select concat_ws(' ', 'constraint', oid, conname, condeferrable, condeferred) from pg_constraint where oid >= 16384
    union all select concat_ws(' ', 'trigger', oid, tgname, tgenabled) from pg_trigger
    union all select concat_ws(' ', 'function', oid, xmin) from pg_proc where oid >= 16384
    union all select concat_ws(' ', 'schema', nspname) from pg_namespace where nspname !~ '^pg_'
    union all select concat_ws(' ', 'revision', version_num) from alembic_version
) as parts
"""


@pytest.fixture(scope="session")
def buckets() -> Iterator[BucketServer]:
    """One S3 server for all tests of this process."""
    with bucket_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3_endpoint(buckets: BucketServer) -> str:
    """The address of that server; credentials for it are in the environment."""
    return buckets.url


@pytest.fixture
def store_kind() -> str:
    """Where objects lie: "folder", or "bucket" too where a test file asks for both."""
    return "folder"


@pytest.fixture
def settings(tmp_path: Path, database: Database, store_kind: str, request: pytest.FixtureRequest) -> Settings:
    """Settings of a fresh home, with the test's own database and object store; nothing of the environment."""
    settings = Settings(home=tmp_path, database_url=database.url)
    if store_kind == "folder":
        return settings
    server: BucketServer = request.getfixturevalue("buckets")
    return replace(settings, bucket=server.new_bucket(), s3_endpoint_url=server.url)


@pytest.fixture
def object_store(settings: Settings) -> ObjectStore:
    """The empty object store of `settings`."""
    return open_object_store(settings)


class ASourceVideo(Protocol):
    def __call__(
        self, *, state: SourceVideoState = ..., frame_count: int = ..., cuts: Sequence[int] = ..., frame_rate: float = ..., **columns: Any
    ) -> SourceVideo: ...


class SomeClips(Protocol):
    def __call__(
        self, *cuts: int, frame_count: int = ..., state: ClipState = ..., source_video_id: int | None = ..., frame_rate: float = ...
    ) -> list[Clip]: ...


@pytest.fixture
def a_source_video(database: Database) -> ASourceVideo:
    """Make a source video and lead it to a state along legal transitions: `a_source_video(state=..., frame_count=100, cuts=(30, 60))`.

    `scenes_detected` gives it the clips between the cuts, by default one of all its frames.
    """

    def make(
        *,
        state: SourceVideoState = SourceVideoState.NEW,
        frame_count: int = 100,
        cuts: Sequence[int] = (),
        frame_rate: float = 25.0,
        source: str = "/videos/holiday.mp4",
        title: str = "Holiday",
        **columns: Any,
    ) -> SourceVideo:
        videos = SourceVideoStore(database)
        video = videos.add(source, title)
        if columns:
            videos.update(video.id, **columns)
        for step in _path(SourceVideoState.NEW, state, SOURCE_VIDEO_TRANSITIONS):
            if step == SourceVideoState.SCENES_DETECTED:
                edges = [0, *cuts, frame_count]
                new = [
                    NewClip(start_frame=start, end_frame=end, start_time_seconds=start / frame_rate, end_time_seconds=end / frame_rate)
                    for start, end in pairwise(edges)
                ]
                ClipStore(database).replace_cuts(video.id, new, frame_count)
            elif step in SOURCE_VIDEO_RETRY:
                videos.record_failure(video.id, step, "made to fail", transient=False)
            else:
                videos.set_state(video.id, step)
        return videos.load(video.id)

    return make


@pytest.fixture
def some_clips(database: Database, a_source_video: ASourceVideo) -> SomeClips:
    """The clips of a new source video with these cuts, all in one state: `some_clips(30, 60, frame_count=100, state=...)` makes three.

    With `source_video_id` those of a source video that is there already. Files are only rows: no object is stored.
    """

    def make(
        *cuts: int,
        frame_count: int = 100,
        state: ClipState = ClipState.PENDING_REVIEW,
        source_video_id: int | None = None,
        frame_rate: float = 25.0,
    ) -> list[Clip]:
        clips = ClipStore(database)
        if source_video_id is None:
            video = a_source_video(state=SourceVideoState.SCENES_DETECTED, frame_count=frame_count, cuts=cuts, frame_rate=frame_rate)
            source_video_id = video.id
        for clip in clips.load_live(source_video_id):
            for step in _path(clip.state, state, CLIP_TRANSITIONS):
                _lead_clip(clips, clip, step)
        return clips.load_live(source_video_id)

    return make


FAILS = {stage.steps.failed: stage for stage in with_states(CLIP_STAGES)}


def _lead_clip(clips: ClipStore, clip: Clip, step: ClipState) -> None:
    export = final_clip_key(clip.source_video_id, clip.sequence)
    keyframe = keyframe_key(clip.source_video_id, clip.sequence, "mid")
    match step:
        case ClipState.EXPORTING:
            assert clips.claim(clip.id, EXPORTS, [export])
        case ClipState.EXPORTED:
            assert clips.finish(clip.id, EXPORTS, clip.cut_point_version, [MadeObject(export, 1000, {})])
        case ClipState.KEYFRAMING:
            assert clips.claim(clip.id, KEYFRAMES, [keyframe])
        case ClipState.KEYFRAMED:
            assert clips.finish(clip.id, KEYFRAMES, clip.cut_point_version, [MadeObject(keyframe, 100, {})])
        case ClipState.EXPORT_FAILED | ClipState.KEYFRAME_FAILED | ClipState.EMBEDDING_FAILED:
            assert clips.fail(clip.id, FAILS[step], "made to fail", transient=False)
        case _:
            clips.advance(clip.id, step, clips.load(clip.id).state)


def _path(start: Any, goal: Any, transitions: Mapping[Any, frozenset[Any]]) -> list[Any]:
    """The shortest legal way from one state to another, without the start."""
    ways = [[start]]
    seen = {start}
    for way in ways:
        if way[-1] == goal:
            return way[1:]
        for following in sorted(transitions[way[-1]] - seen):
            seen.add(following)
            ways.append([*way, following])
    raise AssertionError(f"no way from {start} to {goal}")


def _url_of(server: str, name: str) -> str:
    return make_url(server).set(database=name).render_as_string(hide_password=False)
