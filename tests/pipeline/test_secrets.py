"""A secret leaves the settings only to be used: each has a marked value here, and nothing that is kept or shown holds a mark."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from heaters_dagster.commands.process_due import process_due
from heaters_dagster.definitions import heaters_definitions
from heaters_dagster.domain.states import ClipState
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.orchestration.jobs import ASSET_JOBS, MAINTENANCE_JOBS, web_sites_check
from heaters_dagster.settings import Settings, secret_setting_names
from resources.orchestrator.dagster_storage import opened_with
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database, dagster_database_url
from resources.postgres.source_video_store import SourceVideoStore
from resources.sources.site_access import SiteAccess
from tests.media_files import make_video
from tests.pipeline_rows import reviews
from tests.web_server import Handler, WebServer, status

MARK = "M4rked0"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A marked value for every secret setting."""
    url = make_url(settings.database_url or "").set(password=f"{MARK}password")
    marked = {"database_url": url.render_as_string(hide_password=False)}
    for spec in fields(Settings):
        if spec.metadata["secret"]:
            marked.setdefault(spec.name, f"{MARK}{spec.name}-of-links")
    found = replace(
        settings, **marked, detector="adaptive", embedding_model="no-such-model", embedding_fallback=True, keyframe_strategy="midpoint",
        allow_private_addresses=True,
    )  # type: ignore[arg-type]  # fmt: skip
    environment = found.to_environment()
    assert all(MARK in environment[name] for name in secret_setting_names())
    return found


def rows_with(mark: str, url: str) -> set[str]:
    """`table.column` of everything in the database that holds the mark, packed or not."""
    found = set()
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        columns = connection.execute(
            "select table_schema, table_name, column_name from information_schema.columns"
            " where table_schema not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert {"snapshots", "event_logs", "runs"} <= {table for _, table, _ in columns}
        for schema, table, column in columns:
            for (value,) in connection.execute(f'select "{column}" from "{schema}"."{table}"'.encode()):
                text = unpacked(value) if isinstance(value, bytes) else str(value)
                if mark in text:
                    found.add(f"{table}.{column}")
    return found


def unpacked(value: bytes) -> str:
    with suppress(zlib.error):
        value = zlib.decompress(value)
    return value.decode(errors="replace")


def files_with(mark: str, folder: Path) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file() and mark.encode() in path.read_bytes():
                found.append(str(path))
    return found


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """The command lines of all processes that run within this block, as `ps` shows them to every account of the machine."""
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for entry in Path("/proc").iterdir():
                with suppress(OSError):
                    if entry.name.isdigit():
                        seen.add((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            time.sleep(0.02)

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield seen
    finally:
        done.set()
        watch.join()


@pytest.mark.slow
def test_no_record_no_log_and_no_process_list_holds_a_secret(
    settings: Settings, database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = replace(settings, cookies_files_named=(f"127.0.0.1={tmp_path / 'cookies.txt'}",))
    videos, clips = SourceVideoStore(database), ClipStore(database)
    video = videos.add(str(make_video(tmp_path / "film.mp4", frames=48, scenes=(24,))), "film")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "broken.mp4").write_bytes((tmp_path / "film.mp4").read_bytes()[:2000])
    with WebServer(tmp_path / "served").running() as web:
        for name in ("broken.mp4", "missing.mp4"):
            videos.add(f"{web.url}/{name}?token={MARK}token".replace("://", f"://ada:{MARK}password@"), name)
        videos.add(f"http://ada:{MARK}password@127.0.0.1:9/film.mp4?sig={MARK}sig", "nobody answers")
        asked: list[str] = []

        def refuse(handler: Handler) -> None:
            asked.append(str(handler.headers))
            status(403, {"Set-Cookie": f"session={MARK}cookie-renewed; Path=/"})(handler)

        web.answers["/private.mp4"] = refuse
        videos.add(f"{web.url}/private.mp4", "for those who sign in")
        videos.add("http://films.test/film.mp4", "by a proxy")
        access = SiteAccess(database, settings)
        (tmp_path / "cookies.txt").write_text(f"127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\t{MARK}cookie\n")
        access.set_headers("127.0.0.1", [f"X-Key: {MARK}header"], by="ada")
        access.set_proxy("films.test", web.url.replace("://", f"://ada:{MARK}proxy@"), by="ada")
        with command_lines() as seen:
            outcome = process_due(settings)
            assert len(outcome.failures) == 5, outcome
            assert all(f"session={MARK}cookie" in one and f"X-Key: {MARK}header" in one for one in asked)
            assert asked
            assert f"{MARK}cookie-renewed" in access.load().cookies["127.0.0.1"]
            assert "http://films.test/film.mp4" in web.requests
            first, second = clips.load_live(video.id)
            reviews(database).approve([first.id], reviewer="ada")
            assert process_due(settings, only=[video.id]).failures == []
            reviews(database).archive([first.id, second.id], reviewer="ada")
            assert process_due(settings, only=[video.id]).failures == []
            definitions = heaters_definitions(settings)
            with open_instance(settings) as instance:
                for job in MAINTENANCE_JOBS:
                    may_warn = job is web_sites_check  # of a yt-dlp that has become old
                    done = definitions.resolve_job_def(job.name).execute_in_process(instance=instance, raise_on_error=not may_warn)
                    assert done.success or may_warn
                ran = {record.dagster_run.job_name for record in instance.get_run_records()}
                assert ran == {*ASSET_JOBS, *(job.name for job in MAINTENANCE_JOBS)}
                assert any("ffmpeg" in line for line in seen)
                assert MARK not in repr(instance.get_ref())
                with opened_with(settings):
                    assert MARK not in instance.info_str()
    assert clips.load(first.id).state is ClipState.REVIEW_ARCHIVED
    assert not [line for line in seen if MARK in line]
    assert rows_with(MARK, settings.database_url or "") == {"source_videos.source"}  # where it is used
    assert rows_with(MARK, dagster_database_url(settings)) <= {"source_videos.source"}
    (tmp_path / "cookies.txt").unlink()
    assert files_with(MARK, settings.home) == []
    assert MARK not in "".join(capfd.readouterr())
