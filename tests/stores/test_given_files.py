"""People give a source video subtitles and a thumbnail, or take them away; every change is one action, undone and done again."""

from __future__ import annotations

import io
import json
import signal

import pytest
from PIL import Image

from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import BadRequestError, InvalidMediaError, NotFoundError, StaleClipError
from heaters_dagster.domain.fact_fields import change_words
from heaters_dagster.domain.keys import thumbnail_key
from heaters_dagster.domain.source_facts import Origin, SourceFacts
from heaters_dagster.domain.subtitles import AUTOMATIC, MOST_BYTES, Line, SubtitleFile
from resources.object_store.interface import ObjectStore
from resources.object_store.local import LocalObjectStore
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.source_video_lists import SourceVideoLists
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.transcript_store import TranscriptStore
from resources.sources.given_files import GivenFiles
from resources.upkeep.audit import audit, orphan_objects
from resources.upkeep.source_video_removal import delete_source_video
from tests.pipeline_rows import cut_video, reviews
from tests.warm_process import ran


def srt(*texts: str) -> bytes:
    return "\n".join(f"{number}\n00:00:0{number}.000 --> 00:00:0{number}.500\n{text}\n" for number, text in enumerate(texts)).encode()


def picture(form: str, colour: str) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (64, 36), colour).save(written, form)
    return written.getvalue()


class AVideo:
    """A cut source video that a site gave English subtitles, captions of a machine and a thumbnail."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self.database, self.objects = database, objects
        self.id = cut_video(database)[0].source_video_id
        objects.put_bytes("originals/test.mp4", b"x")
        SourceVideoStore(database).update(self.id, duration_seconds=3.0, gold_master_filepath=None, gold_master_attempts=9)
        self.given, self.transcripts = GivenFiles(database, objects, keep_places=False), TranscriptStore(database)
        self.of_site = [
            (f"subtitles/video_{self.id}_01_en.vtt", SubtitleFile("site", "en", "English", ".vtt", b"1", (Line(0, 1, "harbour"),))),
            (f"subtitles/video_{self.id}_02_en.vtt", SubtitleFile("site", "en", None, ".vtt", b"2", (Line(0, 1, "harpoon"),), AUTOMATIC)),
        ]
        for key, file in self.of_site:
            objects.put_bytes(key, file.data)
        self.transcripts.replace_subtitles(self.id, self.of_site)
        objects.put_bytes(thumbnail_key(self.id), b"site")
        FactsStore(database).put(self.id, SourceFacts(thumbnail_filepath=thumbnail_key(self.id)), Origin.SITE)

    def put(self, language: str, name: str, data: bytes, reviewer: str = "ada", seen: list[int] | None = None) -> int:
        action = self.given.put_subtitles(self.id, language, name, data, reviewer=reviewer, seen=seen)[1]
        assert action is not None
        return action

    def called(self) -> list[str]:
        return [one.called for one in self.transcripts.of_video(self.id)]

    def texts(self, language: str) -> list[str]:
        known = [one for one in self.transcripts.of_video(self.id) if one.language == language and one.kind != AUTOMATIC]
        return [line.text for one in known for line in self.transcripts.lines(one.id)]

    def is_found(self, word: str) -> bool:
        return any(one.video.id == self.id for one in SourceVideoLists(self.database).newest(text=word, limit=10))

    def thumbnail(self) -> str | None:
        return FactsStore(self.database).load(self.id).thumbnail_filepath

    def problems(self) -> list[str]:
        return [told for told in audit(self.database, self.objects) if "originals/test" not in told and "proxy" not in told]


@pytest.fixture
def video(database: Database, object_store: ObjectStore) -> AVideo:
    return AVideo(database, object_store)


@pytest.mark.parametrize("store_kind", ["folder", "bucket"])
def test_subtitles_are_replaced_and_taken_away_and_come_back_to_any_depth(video: AVideo) -> None:
    desk, before, machine = reviews(video.database), ["en (English)", "en (made by a machine)"], "en (made by a machine)"
    states = [before]
    actions = [video.put("EN", "quay.srt", srt("first quay", "second"))]
    states.append([machine, "EN (quay.srt)"])
    assert (video.texts("EN"), video.is_found("quay"), video.is_found("harbour")) == (["first quay", "second"], True, False)
    actions.append(video.put("en", "pier.vtt", b"WEBVTT\n\n00:01.000 --> 00:02.000\npier\n\n00:09.000 --> 00:10.000\ntoo late\n"))
    states.append([machine, "en (pier.vtt)"])
    assert video.texts("en") == ["pier"]
    actions.append(video.put("de", "kai.srt", srt("Kai")))
    states.append([machine, "en (pier.vtt)", "de (kai.srt)"])
    english = [one.id for one in video.transcripts.of_video(video.id) if one.language == "en"]
    actions.append(video.given.take_subtitles(video.id, english, reviewer="ada"))
    states.append(["de (kai.srt)"])
    assert (video.called(), video.is_found("pier"), video.is_found("harpoon")) == (states[-1], False, False)
    entries = {entry.id: entry for entry in desk.history(source_video_id=video.id)}
    assert {(one.action, one.reviewer) for one in entries.values()} == {(ReviewAction.EDIT_FACTS, "ada")}
    sides = [change_words(entries[actions[0]].details["facts"][side]["values"]) for side in ("before", "after")]
    assert sides == ["subtitles in en: en (English), en (made by a machine)", "subtitles in en: en (made by a machine), EN (quay.srt)"]
    for _ in range(2):
        for number in (3, 2, 1, 0):
            desk.undo("ada", action_id=actions[number])
            assert video.called() == states[number]
        assert (video.is_found("harbour"), video.is_found("quay"), video.problems()) == (True, False, [])
        for number in range(4):
            desk.redo("ada", action_id=actions[number])
            assert sorted(video.called()) == sorted(states[number + 1])
    assert video.given.put_subtitles(video.id, "de", "again.srt", srt("Kai"), reviewer="grace")[1] is None
    gone = delete_source_video(video.id, reviewer="ada", database=video.database, objects=video.objects)
    assert sum("given" in key for key in gone.objects) == 3
    assert (list(video.objects.list("subtitles/")), video.transcripts.keys(video.id)) == ([], set())
    with pytest.raises(NotFoundError, match="was deleted"):
        video.put("en", "quay.srt", srt("quay"))
    assert list(video.objects.list("subtitles/")) == []


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_thumbnail_is_set_taken_away_and_comes_back(video: AVideo, form: str) -> None:
    desk, of_site = reviews(video.database), thumbnail_key(video.id)
    first = video.given.put_thumbnail(video.id, "a.jpg", picture(form, "red"), reviewer="ada", seen=of_site)
    red = video.thumbnail()
    assert red is not None
    with Image.open(io.BytesIO(video.objects.get_bytes(red))) as shown:
        assert (shown.format, shown.size) == ("JPEG", (64, 36))
    with pytest.raises(StaleClipError, match=r"ada has changed the same facts meanwhile, to thumbnail: video_\d+_given"):
        video.given.put_thumbnail(video.id, "b.jpg", picture(form, "blue"), reviewer="grace", seen=of_site)
    second = video.given.take_thumbnail(video.id, reviewer="ada", seen=red)
    assert (video.thumbnail(), video.problems()) == (None, [])
    FactsStore(video.database).put(video.id, SourceFacts(thumbnail_filepath=of_site), Origin.SITE)
    assert video.thumbnail() is None, "fetched again, what a person took away stays away"
    desk.undo("ada", action_id=second)
    assert video.thumbnail() == red
    desk.undo("ada", action_id=first)
    assert (video.thumbnail(), video.problems()) == (of_site, [])
    desk.redo("ada", action_id=first)
    assert (video.thumbnail(), video.problems()) == (red, [])
    delete_source_video(video.id, reviewer="ada", database=video.database, objects=video.objects)
    assert list(video.objects.list("thumbnails/")) == []


def test_what_a_colleague_changed_meanwhile_is_not_overwritten_unseen(video: AVideo) -> None:
    seen = [one.id for one in video.transcripts.of_video(video.id)]
    action = video.put("en", "quay.srt", srt("quay"), reviewer="grace", seen=seen)
    with pytest.raises(StaleClipError, match=r"grace has changed the same facts meanwhile, to subtitles in en: .*en \(quay.srt\)"):
        video.put("en", "pier.srt", srt("pier"), seen=seen)
    with pytest.raises(StaleClipError, match="somebody has taken these subtitles away"):
        video.given.take_subtitles(video.id, seen, reviewer="ada")
    assert orphan_objects(video.database, video.objects) == []
    video.put("de", "kai.srt", srt("Kai"), reviewer="ada")
    reviews(video.database).undo("grace", action_id=action)  # another language is another fact
    assert video.called() == ["en (English)", "en (made by a machine)", "de (kai.srt)"]
    video.put("en", "pier.srt", srt("pier"))
    with pytest.raises(StaleClipError, match=r"cannot redo action \d+: ada has changed subtitles in en since"):
        reviews(video.database).redo("grace", action_id=action)


def test_fetched_again_what_people_changed_stays_as_it_is(video: AVideo) -> None:
    video.put("en", "quay.srt", srt("quay"))
    german = (f"subtitles/video_{video.id}_03_de.vtt", SubtitleFile("site", "de", None, ".vtt", b"3", (Line(0, 1, "Hafen"),)))
    video.transcripts.replace_subtitles(video.id, [*video.of_site, german])
    assert video.called() == ["en (made by a machine)", "en (quay.srt)", "de"]
    video.transcripts.replace_subtitles(video.id, [])
    assert video.called() == ["en (made by a machine)", "en (quay.srt)"]


def test_what_is_no_subtitle_file_or_picture_is_refused_with_the_reason(video: AVideo) -> None:
    for language, name, data, why in [
        ("en", "a.txt", srt("a"), "a.txt is no subtitle file that can be read: its name ends with one of .ass, .srt, .ssa, .vtt"),
        ("en", "a.srt", b"nothing", "a.srt has no lines with times"),
        ("en", "a.srt", b"x" * (MOST_BYTES + 1), "a.srt is larger than 10 MiB"),
        ("en", "a.srt", b"1\n00:00:07,000 --> 00:00:08,000\nlate\n", "a.srt is not kept: all its lines would begin after the end"),
        ("en", "a.srt", srt("GPS(13.3779,52.5163,34)"), "a.srt is not kept: only positions"),
        ("../x", "a.srt", srt("a"), "'../x' is no language"),
    ]:
        with pytest.raises(BadRequestError, match=why.replace(".", r"\.")):
            video.put(language, name, data)
    with pytest.raises(InvalidMediaError, match=r"a\.png is no picture"):
        video.given.put_thumbnail(video.id, "a.png", b"<svg>", reviewer="ada", seen=thumbnail_key(video.id))
    new = SourceVideoStore(video.database).add("/b.mp4", "b")
    with pytest.raises(BadRequestError, match=f"source video {new.id} is not fetched yet"):
        video.given.put_subtitles(new.id, "en", "a.srt", srt("a"), reviewer="ada")
    assert (video.problems(), video.called()) == ([], ["en (English)", "en (made by a machine)"])


KILLED = """
import json, os, signal, sys
from pathlib import Path
from resources.object_store.local import LocalObjectStore
from resources.postgres.database import Database
from resources.sources.given_files import GivenFiles

class Dying(LocalObjectStore):
    def put_bytes(self, key, data, **more):
        super().put_bytes(key, data, **more)
        os.kill(os.getpid(), signal.SIGKILL)

url, folder, video, data = json.loads(sys.argv[1])
given = GivenFiles(Database.connect(url), Dying(Path(folder)), keep_places=False)
given.put_subtitles(video, "en", "quay.srt", data.encode(), reviewer="ada")
"""


def test_killed_after_the_object_was_stored_nothing_has_changed_and_the_next_change_clears_it_away(
    video: AVideo, object_store: LocalObjectStore
) -> None:
    assert (
        ran(KILLED, json.dumps([video.database.url, str(object_store.folder), video.id, srt("quay").decode()])).returncode
        == -signal.SIGKILL
    )
    assert (len(orphan_objects(video.database, video.objects)), video.texts("en")) == (1, ["harbour"])
    video.put("de", "kai.srt", srt("Kai"))
    assert video.problems() == []
