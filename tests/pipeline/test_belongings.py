"""What belongs to a video comes in with it: facts, subtitles with times, chapters, a thumbnail; and no place unless a setting says so."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image
from sqlalchemy import text

from assets.exports import export_due
from assets.gold_master import make_gold_master
from assets.made_with import code_version
from assets.source_video import fetch_source_video
from heaters_dagster.domain.errors import DuplicateSourceError
from heaters_dagster.domain.kept_tags import CameraKept, KeptTags
from heaters_dagster.domain.keys import gold_master_key
from heaters_dagster.domain.source_facts import Chapter, Origin, SourceFacts
from heaters_dagster.domain.subtitles import Line
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.facts_store import FactsStore
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.postgres.transcript_store import TranscriptStore
from resources.sources.address_guard import AddressGuard
from resources.sources.belongings import WhatIsKept
from resources.sources.downloader import Downloader
from resources.sources.fetched import Fetched
from resources.upkeep.audit import audit
from resources.upkeep.source_video_removal import delete_source_video
from tests.buckets import BucketServer
from tests.fake_site import FakeSite, known_to_ytdlp
from tests.fake_site import picture as format_of
from tests.media_files import ffmpeg, make_video
from tests.proxy_files import stored_video
from tests.web_server import WebServer, file, status
from tests.web_server import text as page

POSITION = "+52.5163+013.3779/"
SUBTITLES = """1
00:00:00,100 --> 00:00:00,600
The harbour

2
00:00:00,600 --> 00:00:00,900
GPS(13.3779,52.5163,34)

3
00:00:00,900 --> 00:00:09,000
ends too late

4
00:00:07,000 --> 00:00:09,000
never shown
"""
METADATA = f""";FFMETADATA1
title=A day out
com.apple.quicktime.make=Acme
com.apple.quicktime.model=Acme X1
com.apple.quicktime.creationdate=2024-05-30T14:30:00+0200
com.apple.quicktime.location.ISO6709={POSITION}
com.acme.camera.SerialNumber=SN-77-4411
com.acme.about=<Device><SerialNo>SN-77-4411</SerialNo></Device>
[CHAPTER]
TIMEBASE=1/1000
START=0
END=500
title=Begin
[CHAPTER]
TIMEBASE=1/1000
START=500
END=1000
title=The pier
"""


@pytest.fixture(scope="module")
def telephone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of video with tags, a place, chapters and subtitles, as telephones and editing programs write them; and a place in the data
    of its pictures.
    """
    folder = tmp_path_factory.mktemp("telephone")
    (folder / "lines.srt").write_text(SUBTITLES)
    (folder / "about.txt").write_text(METADATA)
    video = make_video(folder / "plain.mp4", frames=24)
    inputs = ["-i", str(video), "-i", str(folder / "lines.srt"), "-f", "ffmetadata", "-i", str(folder / "about.txt")]
    mapped = ["-map", "0", "-map", "1", "-map_metadata", "2", "-map_chapters", "2", "-c", "copy", "-c:s", "mov_text"]
    mapped += ["-bsf:v", f"h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+GPS {POSITION}"]
    return ffmpeg([*inputs, *mapped, "-metadata:s:s:0", "language=eng", "-movflags", "use_metadata_tags"], folder / "IMG_1.mov")


class Ingest:
    def __init__(self, database: Database, settings: Settings, objects: ObjectStore) -> None:
        self.database, self.objects, self.work = database, objects, WorkFolder(settings.work_folder)
        self.videos, self.facts, self.transcripts = SourceVideoStore(database), FactsStore(database), TranscriptStore(database)
        self.downloader = Downloader(guard=AddressGuard(allow_private=True), timeout_seconds=5, retries=0)

    def fetch(self, source: object, kept: WhatIsKept = WhatIsKept(), *, again: SourceVideo | None = None) -> SourceVideo:
        video = again or self.videos.add(str(source), "IMG 1")
        return fetch_source_video(video.id, videos=self.videos, objects=self.objects, work=self.work, downloader=self.downloader, kept=kept)

    def keys(self, prefix: str) -> list[str]:
        return [info.key for info in self.objects.list(prefix)]

    def everything(self) -> str:
        """All rows of all tables, and all objects but originals."""
        with self.database.read() as connection:
            tables = connection.scalars(text("select quote_ident(tablename) from pg_tables where schemaname = 'public'")).all()
            rows = [str(row) for table in tables for row in connection.scalars(text(f"select t::text from {table} as t"))]
        stored = [
            self.objects.get_bytes(info.key).decode("latin-1") for info in self.objects.list() if not info.key.startswith("originals/")
        ]
        return "\n".join([*rows, *stored])


@pytest.fixture
def ingest(database: Database, settings: Settings, object_store: ObjectStore) -> Ingest:
    return Ingest(database, settings, object_store)


def test_a_file_says_what_it_is_but_not_where_it_was_filmed(ingest: Ingest, telephone: Path) -> None:
    video = ingest.fetch(telephone, WhatIsKept(rights="training only"))
    facts, origins = ingest.facts.with_origins(video.id)
    assert (facts.camera, facts.recorded_at) == ("Acme X1", datetime(2024, 5, 30, 12, 30, tzinfo=UTC))
    assert facts.chapters == (Chapter("Begin", 0.0, 0.5), Chapter("The pier", 0.5, 1.0))
    assert (facts.rights, facts.place, facts.site) == ("training only", None, None)
    assert facts.container_tags is not None
    assert facts.container_tags["title"] == "A day out"
    assert set(origins.values()) == {"file"}

    (transcript,) = ingest.transcripts.of_video(video.id)
    assert (transcript.kind, transcript.origin, transcript.language, transcript.line_count) == ("subtitle", "file", "eng", 2)
    length = video.duration_seconds
    assert ingest.transcripts.lines(transcript.id) == [Line(0.1, 0.6, "The harbour"), Line(0.9, length, "ends too late")]
    assert transcript.subtitle_filepath == f"subtitles/video_{video.id}_01_eng.vtt"
    assert b"The harbour" in ingest.objects.get_bytes(transcript.subtitle_filepath)
    assert any("1 line of 3 of the subtitles in eng would begin after the end" in one for one in video.warnings)
    assert "1 line of its subtitles says where it was filmed, and such lines are left out without HEATERS_KEEP_PLACES" in video.warnings

    gold = {"database": ingest.database, "objects": ingest.objects, "work": ingest.work, "storage_class": "STANDARD"}
    make_gold_master(video.id, **gold)
    for trace in ("52.5163", "13.3779", "SN-77-4411"):
        assert trace not in ingest.everything()
    assert audit(ingest.database, ingest.objects) == []

    second = ingest.videos.add(str(telephone), "the same file")
    with pytest.raises(DuplicateSourceError):
        ingest.fetch(telephone, again=second)
    assert ingest.keys("subtitles/") == [transcript.subtitle_filepath]
    ingest.objects.delete(transcript.subtitle_filepath)
    assert audit(ingest.database, ingest.objects) == [
        f"{transcript.subtitle_filepath} of source video {video.id} is gone from the store: restore it from the versions of the bucket or "
        "a copy of the store"
    ]

    delete_source_video(video.id, reviewer="ada", database=ingest.database, objects=ingest.objects)
    assert ingest.facts.load(video.id) == SourceFacts()
    assert ingest.transcripts.of_video(video.id) == []
    assert ingest.keys("") == []


@pytest.mark.folder
def test_where_it_was_filmed_is_kept_when_the_setting_says_so(ingest: Ingest, telephone: Path, settings: Settings, tmp_path: Path) -> None:
    video = ingest.fetch(telephone, WhatIsKept(KeptTags(places=True)))
    assert ingest.facts.load(video.id).place == POSITION
    (transcript,) = ingest.transcripts.of_video(video.id)
    assert [line.text for line in ingest.transcripts.lines(transcript.id)] == ["The harbour", "GPS(13.3779,52.5163,34)", "ends too late"]
    gold = {"database": ingest.database, "objects": ingest.objects, "work": ingest.work, "storage_class": "STANDARD"}
    # With the setting changed, the master is another one.
    for changed in ({"keep_places": True}, {"keep_camera": "all"}, {}, {"keep_camera": "none"}):
        chosen = replace(settings, **changed)
        made_with = code_version("gold_master", chosen)
        for is_made in (True, False):
            made = make_gold_master(video.id, **gold, kept=chosen.kept_tags, made_with=made_with)
            assert (made.proven is not None) == is_made
        ingest.objects.get_file(gold_master_key(video.id), tmp_path / "master.mkv")
        with av.open(str(tmp_path / "master.mkv")) as master:
            told = " ".join(master.metadata.values())
        traces = ("52.5163", "SN-77-4411", "Acme", "2024-05-30")
        kept = (chosen.keep_places, chosen.keep_camera == "all", chosen.keep_camera != "none", chosen.keep_camera != "none")
        assert tuple(trace in told for trace in traces) == kept, changed
        assert "A day out" in told


@pytest.mark.folder
def test_no_file_that_is_made_says_more_of_the_camera_than_is_kept(ingest: Ingest, telephone: Path, tmp_path: Path) -> None:
    video = ingest.fetch(telephone, WhatIsKept(KeptTags(camera=CameraKept.NONE)))
    facts = ingest.facts.load(video.id)
    assert (facts.camera, facts.recorded_at, facts.place) == (None, None, None)
    assert (facts.container_tags or {})["title"] == "A day out"
    everything = ingest.everything()
    assert [trace for trace in ("Acme", "2024-05-30", "SN-77-4411", "52.5163") if trace in everything] == []
    whole = stored_video(telephone, tmp_path, database=ingest.database, objects=ingest.objects, cuts=(12,))
    first, _ = ClipStore(ingest.database).load_live(whole.id)
    ExportStore(ingest.database).request(first.id, "delivery")
    make_gold_master(whole.id, database=ingest.database, objects=ingest.objects, work=ingest.work, storage_class="STANDARD")
    while export_due(whole.id, database=ingest.database, objects=ingest.objects, work=ingest.work).made:
        pass
    assert len(ingest.keys("final_clips/")) == 3
    everything = ingest.everything()
    assert [trace for trace in ("52.5163", "13.3779", "SN-77-4411") if trace in everything] == []
    ingest.facts.put(video.id, SourceFacts(camera="Acme X1"), Origin.PERSON)
    assert ingest.facts.load(video.id).camera == "Acme X1", "what a person says is kept"


BESIDE = {
    "film.srt": SUBTITLES,
    "film.de.VTT": "WEBVTT\n\n00:00.100 --> 00:00.500\nDer Hafen\n",
    "film.en.srt": "no lines with times",
    "film.part2.srt": SUBTITLES,
    "film.part2.mp4": "another video",
    "film2.srt": SUBTITLES,
    "below/film.fr.srt": SUBTITLES,
}


@pytest.mark.folder
@pytest.mark.parametrize("is_object", [False, True])
def test_subtitle_files_beside_a_video_come_in_with_it(
    ingest: Ingest, telephone: Path, tmp_path: Path, buckets: BucketServer, is_object: bool
) -> None:
    plain = telephone.with_name("plain.mp4").read_bytes()
    files = {"film.mp4": plain} | {name: content.encode() for name, content in BESIDE.items()}
    source = str(tmp_path / "in/film.mp4")
    if is_object:
        bucket = buckets.new_bucket()
        for name, content in files.items():
            buckets.client.put_object(Bucket=bucket, Key=f"day 1/{name}", Body=content)
        ingest.downloader.s3_endpoint_url, source = buckets.url, f"s3://{bucket}/day 1/film.mp4"
    else:
        for name, content in files.items():
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    video = ingest.fetch(source)
    said = [(one.language, one.kind, one.origin, one.subtitle_filepath) for one in ingest.transcripts.of_video(video.id)]
    key = f"subtitles/video_{video.id}"
    assert said == [("de", "subtitle", "beside", f"{key}_01_de.vtt"), (None, "subtitle", "beside", f"{key}_02_und.vtt")]
    german, plain_lines = ([line.text for line in ingest.transcripts.lines(one.id)] for one in ingest.transcripts.of_video(video.id))
    assert (german, plain_lines) == (["Der Hafen"], ["The harbour", "ends too late"])
    assert ingest.objects.get_bytes(f"{key}_01_de.vtt") == BESIDE["film.de.VTT"].encode(), "the file as it was"
    assert video.warnings[0] == "the subtitle file film.en.srt could not be kept: it holds no lines with times"
    assert [warning.partition(" says where")[0] for warning in video.warnings[1:2]] == ["1 line of its subtitles"]
    assert "1 line of 3 of the subtitles in a language that is not said would begin after the end" in video.warnings[2]
    assert "52.5163" not in ingest.everything()


@pytest.mark.folder
def test_a_subtitle_file_that_cannot_be_taken_is_told_or_tried_again(ingest: Ingest, tmp_path: Path) -> None:
    place, work = tmp_path / "place", tmp_path / "into"
    place.mkdir()
    film = place / "film.mp4"
    film.write_bytes(b"video")
    (tmp_path / "secret.srt").write_text(SUBTITLES)
    (place / "film.fr.srt").symlink_to(tmp_path / "secret.srt")
    with (place / "film.srt").open("wb") as large:
        large.truncate((10 << 20) + 1)

    def fetched(name: str, **options: Any) -> Fetched:
        (work / name).mkdir(parents=True)
        return ingest.downloader.fetch(str(film), work / name, **options)

    confined = fetched("confined", confined_to=str(place))
    assert confined.subtitles == (), "a link leads out of the folder that a browser may name"
    assert len(confined.warnings) == 2
    assert confined.warnings[1] == (
        "the subtitle file film.srt could not be kept: it has 10,485,761 bytes, and subtitles have at most 10 MiB"
    )
    assert [one.language for one in fetched("free").subtitles] == ["fr"], "the command line may follow it"
    (place / "film.fr.srt").unlink()
    (place / "film.fr.srt").mkdir()
    assert "film.fr.srt is a folder" in fetched("again").warnings[0]


def picture() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (2000, 1000), (200, 30, 30)).save(data, "PNG")
    return data.getvalue()


PAGE = """<html><head><title>A day out</title><meta property="og:image" content="{url}/thumb.png">
<meta property="og:description" content="Two boats"></head><body><video src="/clip.mp4">
<track kind="subtitles" src="/en.vtt" srclang="en" label="English"><track kind="subtitles" src="/de.vtt" srclang="de">
</video></body></html>"""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    folder = tmp_path / "web"
    folder.mkdir()
    make_video(folder / "clip.mp4", frames=24)
    with WebServer(folder).running() as server:
        server.answers["/day"] = page(PAGE.format(url=server.url), "text/html")
        server.answers["/en.vtt"] = page("WEBVTT\n\n00:00.100 --> 00:00.500\nThe harbour\n", "text/vtt")
        server.answers["/de.vtt"] = page("WEBVTT\n\n00:00.100 --> 00:00.500\nDer Hafen\n", "text/vtt")
        server.answers["/thumb.png"] = file(picture(), "image/png")
        yield server


@pytest.mark.folder
def test_a_page_gives_its_subtitles_and_its_thumbnail(ingest: Ingest, web: WebServer) -> None:
    video = ingest.fetch(f"{web.url}/day")
    facts, origins = ingest.facts.with_origins(video.id)
    assert (facts.page_address, facts.description) == (f"{web.url}/day", "Two boats")
    assert (facts.site, facts.site_id) == ("127.0.0.1", None), "a page that no extractor knows has no id of its own"
    assert origins["description"] == "site"
    assert facts.thumbnail_filepath == f"thumbnails/video_{video.id}.jpg"
    with Image.open(io.BytesIO(ingest.objects.get_bytes(facts.thumbnail_filepath))) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (1280, 640))
    said = {one.language: ingest.transcripts.lines(one.id)[0].text for one in ingest.transcripts.of_video(video.id)}
    assert said == {"en": "The harbour", "de": "Der Hafen"}
    assert video.warnings == ()
    assert audit(ingest.database, ingest.objects) == []


MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="Deutsch",LANGUAGE="de",DEFAULT=YES,URI="de.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=300000,RESOLUTION=160x120,CODECS="avc1.42c00b",SUBTITLES="s"
picture.m3u8
"""
PLAYLIST = """#EXTM3U
#EXT-X-TARGETDURATION:1
#EXT-X-PLAYLIST-TYPE:VOD
#EXTINF:0.5,
de_0.vtt
#EXTINF:0.5,
de_1.vtt
#EXT-X-ENDLIST
"""
SEGMENT = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:126000,LOCAL:00:00:00.000\n\n"


@pytest.mark.folder
def test_the_subtitles_of_a_stream_come_in_segments(ingest: Ingest, web: WebServer) -> None:
    segments = ["-hls_time", "9", "-hls_playlist_type", "vod", "-hls_segment_filename", str(web.folder / "picture_%d.ts")]
    ffmpeg(["-i", str(web.folder / "clip.mp4"), "-map", "0:v", "-c", "copy", "-f", "hls", *segments], web.folder / "picture.m3u8")
    web.answers["/master.m3u8"] = page(MASTER, "application/vnd.apple.mpegurl")
    web.answers["/de.m3u8"] = page(PLAYLIST, "application/vnd.apple.mpegurl")
    over_the_edge = "00:00.300 --> 00:00.700\nlegt ab\n"  # a line that is heard in both segments stands in both
    web.answers["/de_0.vtt"] = page(f"{SEGMENT}00:00.100 --> 00:00.250\nDie Fähre\n\n{over_the_edge}", "text/vtt; charset=utf-8")
    web.answers["/de_1.vtt"] = page(f"{SEGMENT}{over_the_edge}\n00:00.750 --> 00:00.900\nvom Hafen\n", "text/vtt; charset=utf-8")
    video = ingest.fetch(f"{web.url}/master.m3u8")
    assert video.warnings == ()
    (transcript,) = ingest.transcripts.of_video(video.id)
    assert (transcript.origin, transcript.language, transcript.kind) == ("site", "de", "subtitle")
    lines = [Line(0.1, 0.25, "Die Fähre"), Line(0.3, 0.7, "legt ab"), Line(0.75, 0.9, "vom Hafen")]
    assert ingest.transcripts.lines(transcript.id) == lines
    assert video.warnings == ()


@pytest.mark.folder
def test_what_a_machine_of_the_site_has_made_is_kept_only_when_the_setting_says_so(ingest: Ingest, web: WebServer) -> None:
    def offered(path: str) -> list[dict[str, str]]:
        return [{"ext": "json3", "url": f"{web.url}/never"}, {"ext": "vtt", "url": f"{web.url}{path}"}]

    captions = {"de": offered("/never"), "en-orig": offered("/heard.vtt"), "en": offered("/never"), "fr": offered("/never")}
    web.answers["/heard.vtt"] = page("WEBVTT\n\n00:00.100 --> 00:00.500\nthe harbor\n", "text/vtt")
    site, formats = FakeSite(web), [format_of("/clip.mp4", 120)]
    with known_to_ytdlp():
        address = site.add("v1", formats, subtitles={"en": offered("/en.vtt")}, automatic_captions=captions)
        first = ingest.fetch(address)
        ingest.downloader.automatic_captions = True
        web.answers["/clip.mp4"] = file((web.folder / "clip.mp4").read_bytes() + b"\0", "video/mp4")
        second = ingest.fetch(site.add("v2", formats, subtitles={"en": offered("/en.vtt")}, automatic_captions=captions))
    kinds = {one.id: [(two.kind, two.called) for two in ingest.transcripts.of_video(one.id)] for one in (first, second)}
    assert kinds == {
        first.id: [("subtitle", "en")],
        second.id: [("subtitle", "en"), ("automatic", "en (made by a machine)")],
    }
    assert "/never" not in web.requests
    assert [one.text for one in ingest.transcripts.lines(ingest.transcripts.of_video(second.id)[1].id)] == ["the harbor"]
    assert audit(ingest.database, ingest.objects) == []


@pytest.mark.folder
def test_what_cannot_be_had_is_a_warning_and_the_video_is_there(ingest: Ingest, web: WebServer) -> None:
    web.answers["/en.vtt"] = status(404)
    web.answers["/de.vtt"] = page("<html>sign in</html>", "text/html")
    web.answers["/thumb.png"] = file(b"<svg onload=alert(1)>", "image/svg+xml")
    video = ingest.fetch(f"{web.url}/day")
    assert video.original_filepath is not None
    told = " ".join(video.warnings)
    for words in ("the subtitles in en could not be kept", "the subtitles in de could not be kept: they hold no lines", "the thumbnail"):
        assert words in told
    assert ingest.keys("subtitles/") == ingest.keys("thumbnails/") == []


@pytest.mark.folder
def test_fetched_again_what_a_person_or_a_list_said_stays(ingest: Ingest, web: WebServer) -> None:
    video = ingest.videos.add(f"{web.url}/day", "day")
    ingest.facts.put(video.id, SourceFacts(description="by a list"), Origin.SUBMISSION)
    ingest.fetch("", again=video)
    facts = ingest.facts.load(video.id)
    assert (facts.description, facts.page_address) == ("by a list", f"{web.url}/day")
