"""Proxies, exports and gold masters carry the timecode of their source video, and are otherwise as they were."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from assets.exports import export_due, export_problems
from assets.gold_master import make_gold_master
from assets.proxy_pass import proxy_pass
from heaters_dagster.domain.keys import gold_master_key
from heaters_dagster.domain.manifest import ExportManifest
from heaters_dagster.domain.source_facts import Origin, SourceFacts
from heaters_dagster.domain.timecode import SourceTime
from resources.media.frame_index_reader import read_frame_index
from resources.media.media_probe import probe
from resources.media.timecode_track import add_timecode
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.facts_store import FactsStore
from tests.media.test_timecode_track import ffmpeg_reads, packets, pictures
from tests.media_files import file_frame_hashes
from tests.proxy_files import SOURCES, local_copy, make_proxy_file, stored_video

NTSC = Fraction(30_000, 1001)


@pytest.mark.folder
@pytest.mark.parametrize(
    ("kind", "facts", "starts"),
    [
        (
            "constant",
            SourceFacts(start_timecode="09:59:59:20", timecode_rate="24", reel="A001"),
            ["09:59:59:20", "10:00:00:16", "10:00:01:12"],
        ),
        ("23.976", SourceFacts(start_timecode="23:59:59:00", timecode_rate="24000/1001"), ["23:59:59:00", "23:59:59:20", "00:00:00:16"]),
        ("delayed", SourceFacts(start_timecode="10:00:00:00", timecode_rate="24"), ["10:00:00:00", "10:00:00:20", "10:00:01:16"]),
        ("variable", SourceFacts(start_timecode="00:00:59;00", timecode_rate="30000/1001"), None),
    ],
)
def test_the_files_of_clips_carry_the_timecode_of_their_first_frames(
    kind: str, facts: SourceFacts, starts: list[str] | None, database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    source = SOURCES[kind](tmp_path)
    proxy = tmp_path / "with-timecode.mp4"
    proxy.write_bytes(make_proxy_file(source, tmp_path / "proxy.mp4").read_bytes())
    time = facts.source_time(None)
    assert time is not None
    assert add_timecode(proxy, time)
    video = stored_video(source, tmp_path, database=database, objects=object_store, cuts=(20, 40), proxy=proxy)
    FactsStore(database).put(video.id, facts, Origin.FILE)
    index, work = read_frame_index(proxy), WorkFolder(tmp_path / "work")
    seconds = [(index.pts_of(frame) - index.pts_of(0)) * index.header.time_base for frame in range(len(index))]
    done = export_due(video.id, database=database, objects=object_store, work=work)
    assert not done.failed
    hashes = list(file_frame_hashes(proxy))
    for number, clip in enumerate(ClipStore(database).load_live(video.id)):
        (export,) = ExportStore(database).of_clips([clip.id])[clip.id]
        manifest = ExportManifest.from_json(export.manifest)
        path = local_copy(object_store, manifest.key, tmp_path)
        start = time.at(seconds[clip.start_frame])
        assert starts is None or start == starts[number]
        assert ffmpeg_reads(path) == (start, facts.reel)
        assert (manifest.first_timecode, manifest.last_timecode) == (start, time.at(seconds[clip.end_frame - 1]))
        assert (manifest.timecode_rate, manifest.reel) == (facts.timecode_rate, facts.reel)
        assert list(file_frame_hashes(path)) == hashes[clip.start_frame : clip.end_frame]
        assert export_problems(manifest, objects=object_store, work=work) == []


@pytest.mark.bucket
def test_an_encoded_export_carries_it_too_and_a_source_without_timecode_gives_none(
    database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    source = SOURCES["constant"](tmp_path)
    video = stored_video(source, tmp_path, database=database, objects=object_store, cuts=(20,))
    FactsStore(database).put(video.id, SourceFacts(start_timecode="10:00:00:00"), Origin.FILE)
    clips, exports, work = ClipStore(database), ExportStore(database), WorkFolder(tmp_path / "work")
    first, second = clips.load_live(video.id)
    for clip in (first, second):
        exports.request(clip.id, "delivery")
    while export_due(video.id, database=database, objects=object_store, work=work).made:
        pass
    made = {one.profile: ExportManifest.from_json(one.manifest) for one in exports.of_clips([second.id])[second.id]}
    assert {name: one.first_timecode for name, one in made.items()} == {"stream_copy": "10:00:00:20", "delivery": "10:00:00:20"}
    for one in made.values():
        assert ffmpeg_reads(local_copy(object_store, one.key, tmp_path))[0] == "10:00:00:20"
    plain = stored_video(source, tmp_path, database=database, objects=object_store)
    (manifest,) = export_due(plain.id, database=database, objects=object_store, work=work).made
    with av.open(str(local_copy(object_store, manifest.key, tmp_path))) as container:
        assert [one.type for one in container.streams] == ["video", "audio"]
    assert (manifest.first_timecode, manifest.reel) == (None, None)


def test_a_proxy_with_timecode_has_the_bytes_and_the_index_of_one_without(tmp_path: Path) -> None:
    source = SOURCES["delayed"](tmp_path)
    plain, timed = tmp_path / "plain.mp4", tmp_path / "timed.mp4"
    without = proxy_pass(source, probe(source), plain, detector="content", called="s")
    made = proxy_pass(source, probe(source), timed, detector="content", called="s", clock=SourceTime(107_892, NTSC, True, "A001"))
    assert ffmpeg_reads(timed) == ("01:00:00;00", "A001")
    assert packets(timed) == packets(plain)
    assert pictures(timed) == pictures(plain)
    assert made.index.header == without.index.header
    assert (made.index.byte_offset == without.index.byte_offset).all()
    assert timed.stat().st_size == plain.stat().st_size + 12


@pytest.mark.folder
def test_a_gold_master_carries_it_also_when_a_person_has_corrected_it(
    database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    video = stored_video(SOURCES["constant"](tmp_path), tmp_path, database=database, objects=object_store)
    facts = SourceFacts(start_timecode="10:00:00:00", timecode_rate="24")
    FactsStore(database).put(video.id, facts, Origin.FILE)
    FactsStore(database).put(video.id, replace(facts, start_timecode="11:00:00:00"), Origin.PERSON)
    work = WorkFolder(tmp_path / "work")
    make_gold_master(video.id, database=database, objects=object_store, work=work, storage_class="STANDARD")
    with av.open(str(local_copy(object_store, gold_master_key(video.id), tmp_path))) as container:
        told = {name.lower(): value for name, value in container.metadata.items()}
    assert told["timecode"] == "11:00:00:00"
