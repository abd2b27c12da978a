"""Source videos of every rate, by their real stages: what exports, proxies and gold masters carry, and what each list says of them."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import opentimelineio as otio
import pytest
from lxml import etree

from assets.exports import export_due
from assets.gold_master import make_gold_master
from heaters_dagster.domain.cut_list_media import MediaKind
from heaters_dagster.domain.manifest import ExportManifest
from heaters_dagster.domain.source_facts import Origin, SourceFacts
from heaters_dagster.domain.timecode import SourceTime, frames_per_day
from heaters_dagster.registries import CUT_LIST_FORMATS
from heaters_dagster.settings import Settings, load_settings
from resources.clips.cut_list_import import previewed
from resources.clips.cut_list_writer import CutListChoices, gathered_cut_list, write_companion
from resources.media.timecode_reader import tmcd_of
from resources.media.timecode_track import add_timecode
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.facts_store import FactsStore
from resources.postgres.source_video_store import SourceVideo
from tests.media.test_timecode_reader import facts_of
from tests.media_files import barcode_video, barcodes, file_frame_hashes, frame_times
from tests.proxy_files import local_copy, make_proxy_file, stored_video

CUTS = (7, 16)


@dataclass(frozen=True)
class Case:
    """start: the timecode of frame 0, which counts at `counts`. first: of each clip at the rate of the list, counted by hand.

    late: seconds of sound before the picture.
    """

    rate: str
    start: str
    first: tuple[str, str, str]
    counts: str | None = None
    master: bool = False
    late: float = 0.0

    @property
    def clock_rate(self) -> Fraction:
        return Fraction(self.counts or self.rate)

    @property
    def times(self) -> int:
        """Pictures in a number of the timecode."""
        return round(Fraction(self.rate) / self.clock_rate)


CASES = [
    Case("24000/1001", "23:59:59:16", ("23:59:59:16", "23:59:59:23", "00:00:00:08")),
    Case("24", "10:00:00:00", ("10:00:00:00", "10:00:00:07", "10:00:00:16")),
    Case("25", "09:59:59:20", ("09:59:59:20", "10:00:00:02", "10:00:00:11"), master=True),
    Case("25", "10:00:00:00", ("10:00:00:00", "10:00:00:07", "10:00:00:16"), late=1.0, master=True),
    Case("25", "00:00:00:00", ("00:00:00:00", "00:00:00:07", "00:00:00:16"), late=1.0),
    Case("30000/1001", "00:00:59;25", ("00:00:59;25", "00:01:00;04", "00:01:00;13")),
    Case("30000/1001", "00:00:59:25", ("00:00:59:25", "00:01:00:02", "00:01:00:11")),
    Case("30", "10:00:00:29", ("10:00:00:29", "10:00:01:06", "10:00:01:15")),
    Case("50", "10:00:00:45", ("10:00:00:45", "10:00:01:02", "10:00:01:11")),
    Case("60000/1001", "00:00:59;57", ("00:00:59;57", "00:01:00;08", "00:01:00;17")),
    Case("60000/1001", "00:00:59:57", ("00:00:59:57", "00:01:00:04", "00:01:00:13")),
    Case("60", "10:00:00:59", ("10:00:00:59", "10:00:01:06", "10:00:01:15")),
    Case("50", "10:00:00:24", ("10:00:00:48", "10:00:01:05", "10:00:01:14"), counts="25", master=True),
    Case("60000/1001", "00:00:59;29", ("00:00:59;58", "00:01:00;09", "00:01:00;18"), counts="30000/1001", master=True),
    Case("60", "10:00:00:29", ("10:00:00:58", "10:00:01:05", "10:00:01:14"), counts="30"),
    Case("120000/1001", "00:00:59;29", ("00:00:59;116", "00:01:00;11", "00:01:00;20"), counts="30000/1001"),
]  # fmt: skip


def starts_read(text: str, form: str, rate: Fraction) -> list[int]:
    """The count of the first frame of each clip, as a program that Heaters did not write reads it in a list."""
    if form == "fcpxml":
        return [round(Fraction(one.get("start").rstrip("s")) * rate) for one in etree.fromstring(text.encode()).iter("asset-clip")]
    if form == "edl":
        timeline = otio.adapters.read_from_string(text, "cmx_3600", rate=float(rate))
    else:
        timeline = otio.adapters.read_from_string(text, {"ale": "ale", "fcp7xml": "fcp_xml", "otio": "otio_json"}[form])
    clips = list(timeline) if form == "ale" else [one for track in timeline.video_tracks() for one in track.find_clips()]
    return [one.source_range.start_time.to_frames() for one in clips]


def exported(
    source: Path, start: str, counts: Fraction, database: Database, objects: ObjectStore, folder: Path
) -> tuple[SourceVideo, SourceTime, list[str], list[Clip]]:
    """`source` with this timecode as a source video with exported clips: it, its clock, the hashes of all its frames, and the clips."""
    time = SourceFacts(start_timecode=start, timecode_rate=str(counts), reel="A001").source_time(None)
    assert time is not None
    assert add_timecode(source, time)
    facts = facts_of(source)
    assert (facts.start_timecode, Fraction(facts.timecode_rate or 0), facts.reel) == (start, counts, "A001")
    proxy = folder / "timed.mp4"
    proxy.write_bytes(make_proxy_file(source, folder / "proxy.mp4").read_bytes())
    assert add_timecode(proxy, time)
    video = stored_video(source, folder, database=database, objects=objects, cuts=CUTS, proxy=proxy)
    FactsStore(database).put(video.id, facts, Origin.FILE)
    assert len(export_due(video.id, database=database, objects=objects, work=WorkFolder(folder / "work")).made) == 3
    return video, time, list(file_frame_hashes(proxy)), list(ClipStore(database).load_live(video.id))


@pytest.mark.folder
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rate}-{case.start}-{case.counts or 'own'}".replace("/", "_"))
def test_files_and_lists_of_each_rate_say_the_same_frames(
    case: Case, database: Database, object_store: ObjectStore, tmp_path: Path
) -> None:
    rate = Fraction(case.rate)
    source = barcode_video(tmp_path / "film.mov", frames=24, rate=rate, audio=case.late > 0, video_start_seconds=case.late, size=(64, 48))
    video, time, hashes, clips = exported(source, case.start, case.clock_rate, database, object_store, tmp_path)
    work = WorkFolder(tmp_path / "work")
    for clip in clips:
        (export,) = ExportStore(database).of_clips([clip.id])[clip.id]
        manifest = ExportManifest.from_json(export.manifest)
        path = local_copy(object_store, manifest.key, tmp_path)
        with av.open(str(path)) as container:
            assert container.streams.video[0].average_rate == rate
        assert list(file_frame_hashes(path)) == hashes[clip.start_frame : clip.end_frame]
        assert manifest.first_frame_hash == hashes[clip.start_frame]
        carried = tmcd_of(path, 0.0)
        assert carried is not None
        count = time.first_frame + clip.start_frame // case.times
        assert carried.time == SourceTime.from_count(count, time.rate, drop_frame=time.drop_frame)
        assert (manifest.first_timecode, carried.reel) == (carried.time.start, "A001")
    if case.master:
        make_gold_master(video.id, database=database, objects=object_store, work=work, storage_class="STANDARD")
        master = facts_of(local_copy(object_store, f"gold_masters/video_{video.id}_master.mkv", tmp_path))
        assert master.start_timecode == case.first[0], "Matroska says no rate, so whoever reads it counts at that of the picture"
    for kind in [MediaKind.ORIGINAL, MediaKind.PROXY, MediaKind.CLIPS, *([MediaKind.MASTER] if case.master else [])]:
        choices = CutListChoices(media=kind, root="/media")
        gathered = gathered_cut_list(video.id, choices, database=database, settings=load_settings(), objects=object_store)
        assert (gathered.source.frame_rate, gathered.source.drop_frame, gathered.warnings) == (rate, ";" in case.start, ())
        assert (gathered.source.facts.start_timecode is None) is (kind is MediaKind.CLIPS), "a clip does not begin where the film does"
        # The file of a clip that begins between two numbers of the timecode has the earlier one.
        early = [clip.start_frame % case.times if kind is MediaKind.CLIPS else 0 for clip in clips]
        first = time.first_frame * case.times
        wanted = [first + clip.start_frame - less for clip, less in zip(clips, early, strict=True)]
        if not any(early):
            assert tuple(map(gathered.source.written, wanted)) == case.first
        for form in CUT_LIST_FORMATS.built_in:
            if (form == "edl" and rate > 100) or (form == "ale" and (rate > 60 or case.start.startswith("23:"))):
                continue  # digits for 100 frames, a list of rates, and its reader knows no midnight
            (text,) = gathered.written(CUT_LIST_FORMATS.load(form)).texts
            if form == "csv":
                rows = list(csv.DictReader(io.StringIO(text)))
                assert [row["start_timecode"] for row in rows] == list(map(gathered.source.written, wanted)), kind
                assert [int(row["start_frame"]) for row in rows] == [0, *CUTS]
            elif form != "edl" or not case.start.startswith("23:"):  # the reader of EDLs knows none either
                day = frames_per_day(rate, drop_frame=time.drop_frame)
                assert [count % day for count in starts_read(text, form, rate)] == [count % day for count in wanted], (kind, form)
            if form in ("edl", "fcpxml", "otio", "csv"):
                path = tmp_path / f"{kind}.{form}"
                path.write_text(text)
                read = previewed(video.id, path, database=database, objects=object_store, settings=load_settings())
                assert (read.frames, read.notes) == (CUTS, ()), (kind, form)


@pytest.mark.folder
def test_a_variable_rate_keeps_its_frames_and_times_and_its_lists_count_at_a_constant_rate(
    database: Database, object_store: ObjectStore, settings: Settings, tmp_path: Path
) -> None:
    """60, 20, 10 and 15 frames a second in turn, in sixtieths of a second: frame 7 comes 24 of them after the first one, and frame 16 56.

    So they are 12 and 28 numbers later on a clock of 30, and 60 is the lowest rate at which each of these frames has a place of its own.
    """
    seconds = [sum((1, 3, 6, 4)[step % 4] for step in range(frame)) / 60 for frame in range(24)]
    source = barcode_video(tmp_path / "film.mov", frames=24, times=seconds, size=(64, 48))
    video, _, hashes, clips = exported(source, "10:00:00:25", Fraction(30), database, object_store, tmp_path)
    in_files, in_lists = ["10:00:00:25", "10:00:01:07", "10:00:01:23"], ["10:00:00:50", "10:00:01:14", "10:00:01:46"]
    counts = [2_160_050, 2_160_074, 2_160_106]  # ten hours have 2,160,000
    for clip, start in zip(clips, in_files, strict=True):
        (export,) = ExportStore(database).of_clips([clip.id])[clip.id]
        manifest = ExportManifest.from_json(export.manifest)
        path = local_copy(object_store, manifest.key, tmp_path)
        assert list(file_frame_hashes(path)) == hashes[clip.start_frame : clip.end_frame]
        assert frame_times(path) == pytest.approx([one - seconds[clip.start_frame] for one in seconds[clip.start_frame : clip.end_frame]])
        carried = tmcd_of(path, 0.0)
        assert carried is not None
        assert (carried.time.start, carried.time.rate, carried.reel, manifest.first_timecode) == (start, 30, "A001", start)
    rate = Fraction(60)
    for kind in (MediaKind.ORIGINAL, MediaKind.PROXY, MediaKind.CLIPS):
        choices = CutListChoices(media=kind, root="/media")
        gathered = gathered_cut_list(video.id, choices, database=database, settings=load_settings(), objects=object_store)
        (warning,) = gathered.warnings
        assert warning.startswith("film has a variable frame rate: the list counts at the constant rate 60, and an editing program may")
        assert (gathered.source.frame_rate, gathered.source.drop_frame) == (rate, False)
        assert [gathered.source.written(count) for count in counts] == in_lists
        for form in CUT_LIST_FORMATS.built_in:
            (text,) = gathered.written(CUT_LIST_FORMATS.load(form)).texts
            if form == "csv":
                rows = list(csv.DictReader(io.StringIO(text)))
                assert [row["start_timecode"] for row in rows] == in_lists, kind
                assert [int(row["start_frame"]) for row in rows] == [0, *CUTS]
            else:
                assert starts_read(text, form, rate) == counts, (kind, form)
            if form in ("edl", "fcpxml", "otio", "csv"):
                path = tmp_path / f"{kind}.{form}"
                path.write_text(text)
                read = previewed(video.id, path, database=database, objects=object_store, settings=load_settings())
                assert (read.frames, read.notes) == (CUTS, ()), (kind, form)
    companion = tmp_path / "film_constant_rate.mp4"
    assert write_companion(video.id, companion, database=database, settings=settings)
    shown = barcodes(companion)
    choices = CutListChoices(companion=str(companion))
    gathered = gathered_cut_list(video.id, choices, database=database, settings=load_settings(), objects=object_store)
    assert gathered.warnings == ()
    for form in ("edl", "fcpxml", "otio", "fcp7xml"):
        (text,) = gathered.written(CUT_LIST_FORMATS.load(form)).texts
        assert starts_read(text, form, rate) == [0, 24, 56], form
    assert [shown[place] for place in (0, 1, 2, 23, 24, 55, 56)] == [0, 1, 1, 6, 7, 15, 16]
