"""With several machines, files of the command line go into the bucket first, and work goes on without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from assets.source_video import fetch_source_video
from heaters_dagster.domain.progress import Progress
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.settings import Settings, child_environment
from resources.object_store.open import open_object_store
from resources.object_store.work_folder import WorkFolder
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.transcript_store import TranscriptStore
from resources.sources.address_guard import AddressGuard
from resources.sources.downloader import Downloader
from resources.sources.kept_files import keeper_of
from resources.sources.submission import submit
from tests.buckets import BucketServer, standing_between
from tests.media_files import make_video
from tests.warm_process import ran


class CutOffError(Exception):
    pass


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
    (row,) = videos.load_all()
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
    assert list(objects.list("uploads/")) == []
    assert keeper_of(replace(here, machines=1), videos) is None, "one machine reads the file where it lies"
