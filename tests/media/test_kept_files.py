"""With several machines, files of the command line go into the bucket first, and work goes on without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from assets.source_video import fetch_source_video
from heaters_dagster.domain.progress import Progress
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.settings import Settings, child_environment
from resources.object_store.open import open_object_store
from resources.object_store.work_folder import WorkFolder
from resources.postgres.database import Database
from resources.postgres.reviewer_store import ReviewerStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.transcript_store import TranscriptStore
from resources.sources.address_guard import AddressGuard
from resources.sources.downloader import Downloader
from resources.sources.kept_files import keeper_of
from resources.sources.look_beside import LookBeside
from resources.sources.submission import submit
from resources.sources.watched_places import PlaceLook, Watcher
from review_app.service import actions, submissions
from review_app.service.links import Session, open_links
from review_app.service.review_desk import ReviewDesk
from tests.buckets import BucketServer, standing_between
from tests.media_files import make_video
from tests.pipeline_rows import cut_video
from tests.warm_process import ran


class CutOffError(Exception):
    pass


def several(settings: Settings, buckets: BucketServer, **changes: Any) -> Settings:
    return replace(settings, bucket=buckets.new_bucket(), s3_endpoint_url=buckets.url, machines=2, **changes)


def uploads_of(settings: Settings) -> dict[str, bytes]:
    """Suffix -> bytes of what lies in the bucket."""
    objects = open_object_store(settings)
    return {one.key.partition(".")[2]: objects.get_bytes(one.key) for one in objects.list("uploads/")}


def test_a_path_that_is_typed_on_the_page_is_sent_too_and_no_link_beside_it_is_followed(
    settings: Settings, database: Database, buckets: BucketServer, tmp_path: Path
) -> None:
    secret, shared = tmp_path / "secret", tmp_path / "shared"
    shared.mkdir()
    secret.write_text("1\n00:00:00,000 --> 00:00:00,400\nof another user\n")
    film = make_video(shared / "film.mp4", frames=12)
    (shared / "film.de.srt").symlink_to(secret)
    (shared / "film.en.srt").write_text("1\n00:00:00,000 --> 00:00:00,400\nGood day\n")
    here = several(settings, buckets, review_host="0.0.0.0", submit_folders=(str(shared),))
    desk = ReviewDesk(settings=here, database=database, objects=open_object_store(here), links=open_links(here))
    assert submissions.submit_sources(desk, str(film)).ok
    (row,) = desk.videos.load_all()
    assert (row.source.partition("/uploads/")[0], row.confined_to, row.title) == (f"s3://{here.bucket}", None, "film")
    assert uploads_of(here) == {"mp4": film.read_bytes(), "en.srt": (shared / "film.en.srt").read_bytes()}

    better = make_video(shared / "better.mp4", frames=13)
    old = cut_video(database)[0].source_video_id
    ada = ReviewerStore(database).named("Ada")
    said = actions.replace_file(desk, Session(ada.id, ada.name), old, str(better))
    assert said.ok, said
    assert desk.videos.load_all()[-1].source.startswith(f"s3://{here.bucket}/uploads/")

    assert "no such file in a folder that HEATERS_SUBMIT_FOLDERS names" in submissions.submit_sources(desk, str(secret)).refused
    desk.settings = several(settings, buckets)
    refused = submissions.submit_sources(desk, f"{tmp_path}/elsewhere.mp4").refused
    assert refused == f"there is no file or folder {tmp_path}/elsewhere.mp4 on this machine"


def test_files_of_a_watched_folder_are_sent_and_a_look_that_takes_long_holds_nobody_up(
    settings: Settings, database: Database, buckets: BucketServer, tmp_path: Path
) -> None:
    film = make_video(tmp_path / "film.mp4", frames=12)
    here = several(settings, buckets, watch=(str(tmp_path),), watch_seconds=1, watch_then="move")
    watcher, beside, goes_on = Watcher(here, database), LookBeside(), Event()

    def slow() -> list[PlaceLook]:
        assert goes_on.wait(60)
        return watcher.look(at_once=True)

    assert watcher.sends_files
    watcher.look(at_once=True)
    assert [beside.look(slow, patience_seconds=0.05) for _ in range(2)] == [None, None]
    goes_on.set()
    found = beside.look(slow, patience_seconds=60)
    assert found is not None
    (row,) = SourceVideoStore(database).load_all()
    assert (found[0].taken, row.source.partition("/uploads/")[0]) == ([row.id], f"s3://{here.bucket}")
    assert uploads_of(here) == {"mp4": film.read_bytes()}

    def broken() -> list[PlaceLook]:
        raise CutOffError

    for _ in range(2):
        with pytest.raises(CutOffError):
            beside.look(broken, patience_seconds=60)


def test_a_submitted_file_need_not_lie_on_the_machine_that_works_on_it(
    settings: Settings, database: Database, buckets: BucketServer, tmp_path: Path
) -> None:
    videos = SourceVideoStore(database)
    film = make_video(tmp_path / "Harbour day.mp4", frames=12)
    with film.open("ab") as file:  # three parts
        file.write((40_000_000).to_bytes(4, "big") + b"free" + bytes(39_999_992))
    (tmp_path / "Harbour day.de.srt").write_text("1\n00:00:00,000 --> 00:00:00,400\nGuten Tag\n")

    def cut_off(progress: Progress) -> None:
        raise CutOffError

    with standing_between(buckets) as between:
        here = replace(settings, home=tmp_path / "here", bucket=buckets.new_bucket(), s3_endpoint_url=between.url, machines=2)
        with pytest.raises(CutOffError):
            submit([str(film)], videos, guard=AddressGuard(), keep=keeper_of(here, videos, cut_off))
        assert videos.load_all() == []
        for told in ("Submitted as source video", "is already source video"):
            done = ran("from heaters_dagster.cli import main; main()", "submit", str(film), environment=child_environment(here))
            assert (done.returncode, told in done.stdout) == (0, True), done.stdout + done.stderr
        assert between.operations().count("CreateMultipartUpload") == 1, "it went on with the parts that were there"
        more = tmp_path / "more"
        more.mkdir()
        for number in range(3):
            make_video(more / f"{number}.mp4", frames=12 + number)
        before = between.operations()
        submit([str(more)], videos, guard=AddressGuard(), keep=keeper_of(here, videos))
        asked = between.operations()[len(before) :]
        listed = [asked.count(one) for one in ("GetObject", "PutObject")]
        assert listed == [2, 3], "what is there, and what was begun, is listed once for all of them"
    row, *_ = videos.load_all()
    assert (row.title, row.source.partition("/uploads/")[0]) == ("Harbour day", f"s3://{here.bucket}")
    film.unlink()
    there = replace(here, home=tmp_path / "there", s3_endpoint_url=buckets.url)
    objects = open_object_store(there)
    fetched = fetch_source_video(
        row.id, videos=videos, objects=objects, work=WorkFolder.of(there), downloader=Downloader.from_settings(there),
        uploads_bucket=there.object_bucket,
    )  # fmt: skip
    assert (fetched.state, fetched.title) == (SourceVideoState.DOWNLOADED, "Harbour day")
    assert [one.language for one in TranscriptStore(database).of_video(row.id)] == ["de"]
    assert len(list(objects.list("uploads/"))) == 3, "those of the other three"
    assert keeper_of(replace(here, machines=1), videos) is None, "one machine reads the file where it lies"
