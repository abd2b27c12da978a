"""What a run reads from a bucket: nothing that it has at hand, and of a proxy only what it needs."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.exports import export_due
from assets.gold_master import make_gold_master
from assets.proxy import compare_proxy_with_original, make_proxy
from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.keys import gold_master_key, original_key, proxy_key
from heaters_dagster.settings import Settings
from resources.media.ffmpeg import ffmpeg_path
from resources.media.frame_index_reader import FrameIndexes, read_frame_index
from resources.media.progressive_mp4 import ProgressiveMp4Writer
from resources.media.proxy_bytes import RangeFile, open_proxy
from resources.media.proxy_tables import remote_tables
from resources.media.remuxer import ProxyReader, remux
from resources.object_store.open import shared_object_store
from resources.object_store.s3 import S3ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from tests.buckets import Answer, Asked, BucketServer, standing_between
from tests.media_files import ffmpeg, make_video
from tests.pipeline_rows import reviews
from tests.proxy_files import make_proxy_file, stored_video

pytestmark = pytest.mark.bucket


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Key -> how often it was fetched as a whole."""
    counted: Counter[str] = Counter()
    fetch = S3ObjectStore.get_file

    def counting(store: S3ObjectStore, key: str, path: Path, **how: Any) -> None:
        counted[key] += 1
        fetch(store, key, path, **how)

    monkeypatch.setattr(S3ObjectStore, "get_file", counting)
    return counted


def test_an_original_is_fetched_once_by_another_machine_and_never_where_it_was_ingested(
    settings: Settings, database: Database, tmp_path: Path, fetched: Counter[str]
) -> None:
    settings = replace(settings, detector="adaptive", embedding_model="no-such-model", embedding_fallback=True)
    video = SourceVideoStore(database).add(str(make_video(tmp_path / "film.mp4", frames=48, scenes=(24,))), "film")
    assert process_due(settings).failures == []
    videos = SourceVideoStore(database)
    assert videos.load(video.id).gold_master_filepath == gold_master_key(video.id)
    assert fetched == {}
    assert list(settings.work_folder.iterdir()) == []
    elsewhere = replace(settings, home=tmp_path / "another machine")
    objects, work = shared_object_store(settings), WorkFolder.of(elsewhere)
    objects.delete(proxy_key(video.id))
    objects.delete(gold_master_key(video.id))
    make_proxy(video.id, videos=videos, objects=objects, work=work, detector="adaptive")
    assert compare_proxy_with_original(video.id, videos=videos, objects=objects, work=work).same
    make_gold_master(video.id, database=database, objects=objects, work=work, storage_class="STANDARD")
    assert fetched == {original_key(video.id, ".mp4"): 1}
    assert list(work.root.iterdir()) == []


def test_what_a_run_has_at_hand_is_not_read_again(
    settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file to vectors. What is still read of a whole object is what a check proves of it, and the scores that cut the clips."""
    settings = replace(settings, detector="adaptive", embedding_model="no-such-model", embedding_fallback=True)
    video = SourceVideoStore(database).add(str(make_video(tmp_path / "film.mp4", frames=48, scenes=(24,))), "film")
    read: Counter[str] = Counter()
    for name in ("get_bytes", "get_file"):
        method = getattr(S3ObjectStore, name)

        def counting(store: S3ObjectStore, key: str, *rest: Any, method: Any = method, **how: Any) -> Any:
            read[next((what for what in ("scenes", "looks") if what in key), key.partition("/")[0])] += 1
            return method(store, key, *rest, **how)

        monkeypatch.setattr(S3ObjectStore, name, counting)
    assert process_due(settings).failures == []
    # For the cuts; and the frame index for each of the two checks that prove it.
    assert read == {"scenes": 1, "metadata": 2}
    clips = ClipStore(database).load_live(video.id)
    assert len(clips) == 2
    reviews(database).approve([clip.id for clip in clips], reviewer="ada")
    read.clear()
    assert process_due(settings).failures == []
    assert {clip.state for clip in ClipStore(database).load_live(video.id)} == {"embedded"}
    assert read == {"final_clips": 2}  # the check reads what was published


def test_a_long_clip_is_read_about_once(settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the proxy: the clip, its headers, and the two frames that prove the file. Of the exported clip: its stills."""
    from assets.keyframes import keyframe_due

    noise = ["-f", "lavfi", "-i", "testsrc2=s=640x480:r=25:d=8,noise=alls=60:allf=t", "-f", "lavfi", "-i", "sine=d=8"]
    source = ffmpeg([*noise, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"], tmp_path / "noise.mp4")
    objects = shared_object_store(settings)
    video = stored_video(source, tmp_path, database=database, objects=objects, cuts=(20, 190), approved=False)
    clip = ClipStore(database).load_live(video.id)[1]
    reviews(database).approve([clip.id], reviewer="ada")
    read: Counter[str] = Counter()
    for name in ("get_range", "get_bytes", "get_file"):
        method = getattr(S3ObjectStore, name)

        def counting(store: S3ObjectStore, key: str, *rest: Any, method: Any = method, **how: Any) -> Any:
            data = method(store, key, *rest, **how)
            read[key.partition("/")[0]] += rest[0].stat().st_size if data is None else len(data)
            return data

        monkeypatch.setattr(S3ObjectStore, name, counting)
    done: Any = export_due(video.id, database=database, objects=objects, work=WorkFolder(settings.work_folder))
    (manifest,) = done.made
    assert manifest.byte_size > 20_000_000
    assert read["review_proxies"] < 1.2 * manifest.byte_size
    assert read["final_clips"] == 0
    read.clear()
    strategy = {"strategy": settings.keyframe_strategy, "percentages": settings.keyframe_percentages}
    stills = keyframe_due(video.id, database=database, objects=objects, **strategy).made
    assert len(stills) == len(settings.keyframe_percentages)
    assert set(read) == {"final_clips"}
    assert read["final_clips"] < 0.1 * manifest.byte_size


def long_proxy(short: Path, path: Path, *, times: int) -> Path:
    """A proxy that shows a short one so many times, with the header that the pipeline writes."""
    writer = ProgressiveMp4Writer(path, reserve_bytes=1 << 12)
    fragments = "+empty_moov+default_base_moof+frag_discont+frag_keyframe+skip_trailer"
    command = [ffmpeg_path(), "-v", "error", "-stream_loop", str(times - 1), "-i", str(short), "-c", "copy"]
    command += ["-movflags", fragments, "-min_frag_duration", "500000", "-f", "mp4", "pipe:1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        writer.read(process.stdout)
    writer.finish()
    return path


def test_an_export_reads_its_clip_and_little_more_of_a_proxy_of_any_length(
    settings: Settings, database: Database, tmp_path: Path, buckets: BucketServer
) -> None:
    """All that a real server sends of the proxy. The header of the long one has more than twice the bytes that may be read."""
    blank = ["-f", "lavfi", "-i", "color=gray:s=32x32:r=24:d=20", "-f", "lavfi", "-i", "anullsrc=r=48000:cl=mono:d=20"]
    source = ffmpeg([*blank, "-t", "20", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"], tmp_path / "gray.mp4")
    short = make_proxy_file(source, tmp_path / "short.mp4")
    long = long_proxy(short, tmp_path / "long.mp4", times=360)
    assert long.read_bytes().index(b"mdat") > 2 << 20
    with standing_between(buckets) as between:
        sent: Counter[str] = Counter()

        def counted(asked: Asked, answer: Answer) -> Answer:
            if asked.operation == "GetObject" and "/review_proxies/" in asked.path:
                sent[asked.path.rpartition("/")[2]] += len(answer.body)
            return answer

        between.after = counted
        objects = shared_object_store(replace(settings, s3_endpoint_url=between.url))
        reads: list[int] = []
        for proxy in (short, long):
            middle = len(read_frame_index(proxy)) // 2
            cuts = (middle, middle + 50, middle + 52)
            video = stored_video(source, tmp_path, database=database, objects=objects, cuts=cuts, approved=False, proxy=proxy)
            clips = ClipStore(database).load_live(video.id)[1:3]
            reviews(database).approve([clip.id for clip in clips], reviewer="ada")
            done: Any = export_due(video.id, database=database, objects=objects, work=WorkFolder.of(settings))
            assert [manifest.frame_count for manifest in done.made] == [50, 2]
            name = proxy_key(video.id).rpartition("/")[2]
            assert sent[name] <= 1.2 * sum(manifest.byte_size for manifest in done.made) + 1_000_000
            many = sent[name]
            reads.append(many)
            # Both clips come from one opened proxy: of the second one nothing but its own bytes and rows of tables was read.
            sent.clear()
            with ProxyReader(open_proxy(objects, proxy_key(video.id))) as reader:
                index = FrameIndexes(objects).slice(video.id, middle, middle + 51)
                remux(reader, index, start_frame=middle, end_frame=middle + 50, path=tmp_path / "one.mp4", title="one")
            assert many < sent[name] + 1.2 * done.made[1].byte_size + 50_000
    # The table of chunks of two hours alone has 173 kB.
    assert reads[1] - reads[0] < 100_000
    data = long.read_bytes()
    found = remote_tables(RangeFile(lambda start, end: data[start:end], len(data)))
    sound = found.audio if found is not None else None
    assert sound is not None
    places = [0, 1, 1023, sound.count // 3, sound.count - 60]
    by_marks = [sound.packets(first, first + 50) for first in places]
    assert sound._has_marks
    sound.__dict__["_marks"] = (1, np.zeros(1, np.int64))
    for first, marked in zip(places, by_marks, strict=True):
        whole = sound.packets(first, first + 50)
        assert (marked.byte_offset.tolist(), marked.byte_size.tolist()) == (whole.byte_offset.tolist(), whole.byte_size.tolist())
