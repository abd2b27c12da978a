"""Source videos that are the same video: hinted at, submitted again by force, and replaced by another file with their decisions."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image

from heaters_dagster import cli
from heaters_dagster.commands.process_due import process_due
from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import BadRequestError, IllegalTransitionError, NotFoundError, StaleClipError
from heaters_dagster.domain.keys import final_clip_key, looks_key, original_key
from heaters_dagster.domain.quality import Quality
from heaters_dagster.domain.related import Relation
from heaters_dagster.domain.replacement import Fate
from heaters_dagster.domain.source_facts import Origin, SourceFacts
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.subtitles import Line
from heaters_dagster.settings import PROJECT_ROOT, Settings, load_settings
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.related_videos import RelatedVideos
from resources.postgres.replacement_store import ReplacementStore
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.postgres.transcript_store import TranscriptStore
from resources.sources.address_guard import AddressGuard
from resources.sources.given_files import GivenFiles
from resources.sources.submission import submit
from resources.upkeep import replacement
from resources.upkeep.audit import audit
from resources.upkeep.replacement import Comparison
from tests.fake_site import FakeSite, known_to_ytdlp, picture
from tests.killed_steps import deaths
from tests.media_files import ffmpeg, make_video
from tests.pipeline_rows import reviews
from tests.web_server import WebServer, ranged

S, C = SourceVideoState, ClipState
GUARD = AddressGuard()


class Workplace:
    """Source videos of small files, as `heaters process` makes them."""

    def __init__(self, settings: Settings, database: Database, objects: ObjectStore) -> None:
        self.settings, self.database, self.objects = settings, database, objects
        self.videos, self.clips, self.related = SourceVideoStore(database), ClipStore(database), RelatedVideos(database)

    def submitted(self, *paths: Path, force: bool = False) -> list[SourceVideo]:
        again = self.related if force else None
        found = [one.video for one in submit(list(map(str, paths)), self.videos, guard=GUARD, by_force=again)]
        self.process()
        return [self.videos.load(one.id) for one in found if one is not None]

    def process(self) -> None:
        assert process_due(self.settings).failures == []

    def related_ids(self, video: SourceVideo) -> list[tuple[Relation, int]]:
        return [(one.kind, one.other_id) for one in self.related.of([video.id]).get(video.id, [])]

    def compare(self, video: SourceVideo) -> Comparison:
        work = WorkFolder(self.settings.work_folder)
        return replacement.compare(video.id, database=self.database, objects=self.objects, work=work, settings=self.settings)

    def begin(self, video: SourceVideo, path: Path) -> SourceVideo:
        new = replacement.begin_replacement(video.id, str(path), database=self.database, guard=GUARD, reviewer="ada")
        self.process()
        return self.videos.load(new.id)

    def carry_over(self, compared: Comparison, **options: Any) -> replacement.CarriedOver:
        return replacement.carry_over(compared, database=self.database, objects=self.objects, reviewer="ada", **options)

    def live(self, video: SourceVideo) -> list[Clip]:
        return self.clips.load_live(video.id)


@pytest.fixture
def place(settings: Settings, database: Database, object_store: ObjectStore) -> Workplace:
    settings = replace(settings, detector="adaptive", embedder="visual_descriptor", keyframe_strategy="midpoint")
    return Workplace(settings, database, object_store)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three scenes of 24 frames, other files of the same video (smaller, trimmed without loss, with one scene less), and another video."""
    folder = tmp_path_factory.mktemp("files")
    film = make_video(folder / "film.mp4", frames=72, scenes=(24, 48), audio=False)
    lossless = ["-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", "-bf", "0"]

    def made(name: str, *filters: str, codec: Sequence[str] = lossless) -> Path:
        return ffmpeg(["-i", str(film), *(["-vf", ",".join(filters)] if filters else []), *codec], folder / name)

    return {
        "film": film,
        "small": made("small.mp4", "scale=96:72", codec=["-c:v", "libx264", "-crf", "30", "-bf", "0"]),
        "trimmed": made("trimmed.mkv", "trim=start_frame=12", "setpts=PTS-STARTPTS"),
        "without": made("without.mkv", "select='not(between(n,24,47))'", "setpts=N/24/TB"),
        "other": make_video(folder / "other.mp4", frames=72, scenes=(0, 0, 0, 0, 40), audio=False),
    }


def ranges(clips: Sequence[Clip]) -> list[tuple[int, int, str]]:
    return [(clip.start_frame, clip.end_frame, str(clip.state)) for clip in clips]


@pytest.mark.folder
def test_videos_that_may_be_the_same_are_hinted_at_and_those_made_by_force_are_linked(
    place: Workplace, files: dict[str, Path], tmp_path: Path
) -> None:
    film, other, small = place.submitted(files["film"], files["other"], files["small"])
    assert {film.state, other.state, small.state} == {S.SCENES_DETECTED}  # never a refusal
    assert place.related_ids(film) == [(Relation.LOOKS_ALIKE, small.id)]
    assert place.related_ids(small) == [(Relation.LOOKS_ALIKE, film.id)]
    assert place.related_ids(other) == []
    (hint,) = place.related.of([small.id])[small.id]
    same = f"May be the same video as source video {film.id}, {film.title}: same length, and of "
    assert hint.words == same + "the frames that were compared 16 of 16 look alike"
    assert audit(place.database, place.objects) == []

    assert place.related.dismiss(film.id, small.id, reviewer="ada") == 1
    with pytest.raises(NotFoundError, match="there is no hint"):
        place.related.dismiss(film.id, small.id, reviewer="ada")
    taken = place.objects.get_bytes(looks_key(small.id))
    assert taken.startswith(b'{"version": 1, "frame_count": 72, "size": [48, 27]}\n')
    place.related.keep_looks(small.id, looks_filepath=looks_key(small.id), duration_seconds=3.0, frame_seconds=1 / 24, sample=bytes(256))
    assert place.related_ids(film) == place.related_ids(small) == []

    facts = FactsStore(place.database)
    for video in (film, other):
        facts.put(video.id, SourceFacts(site="Tube", site_id="x1"), Origin.SITE)
    assert place.related.hint_at_same_on_site(other.id) == [film.id]
    (hint,) = place.related.of([film.id])[film.id]
    assert (hint.kind, hint.is_newer) == (Relation.SAME_ON_SITE, False)
    assert hint.words.startswith(f"Tube calls it by the same id as source video {other.id}, {other.title}: it may be the same video")
    place.related.dismiss(other.id, film.id, reviewer="ada")

    copy = tmp_path / "copy.mp4"
    copy.write_bytes(files["film"].read_bytes())
    again, third = place.submitted(files["film"], copy, force=True)
    assert len({film.id, again.id, third.id}) == 3
    for one in (again, third):
        assert (one.state, one.forced, one.duplicate_of_id, one.content_sha256) == (S.SCENES_DETECTED, True, None, film.content_sha256)
        assert (Relation.AGAIN, film.id) in place.related_ids(one)
        assert (Relation.LOOKS_ALIKE, film.id) not in place.related_ids(one)  # no hint beside a fact
    assert place.related_ids(film) == [(Relation.AGAIN, again.id), (Relation.AGAIN, third.id)]
    assert {one.id for one in place.submitted(files["film"])} == {film.id}  # without force it is known as before
    place.videos.update(film.id, content_sha256=None)  # as when the first is deleted: then one of the others holds the bytes
    assert place.videos.find_by_hash(str(again.content_sha256)) == place.videos.load(again.id)


def decided(place: Workplace, files: dict[str, Path]) -> SourceVideo:
    """The film with its first clip approved, grouped and exported, the second approved, the third skipped."""
    (film,) = place.submitted(files["film"])
    place.videos.update(film.id, title="Harbour")
    first, second, third = place.live(film)
    people = reviews(place.database)
    people.group(second.id, reviewer="ada")
    people.skip(third.id, reviewer="ada")
    place.process()
    assert [clip.state for clip in place.live(film)] == [C.EMBEDDED, C.EMBEDDED, C.REVIEW_SKIPPED]
    FactsStore(place.database).put(film.id, SourceFacts(rights="training", licence="CC BY"), Origin.PERSON)
    given = GivenFiles(place.database, place.objects, keep_places=False)
    given.put_subtitles(film.id, "en", "quay.srt", b"1\n00:00:00,100 --> 00:00:00,500\nThe quay\n", reviewer="ada")
    drawn = io.BytesIO()
    Image.new("RGB", (32, 18), "red").save(drawn, "PNG")
    given.put_thumbnail(film.id, "still.png", drawn.getvalue(), reviewer="ada", seen=None)
    return place.videos.load(first.source_video_id)


@pytest.mark.slow
@pytest.mark.folder
def test_a_file_with_the_same_frames_takes_over_clips_groups_and_decisions_and_then_the_old_one_goes(
    place: Workplace, files: dict[str, Path]
) -> None:
    film = decided(place, files)
    reviews(place.database).edit_cut(film.id, 24, Transition(CutKind.WIPE), reviewer="ada")
    reviews(place.database).edit_cut(film.id, 48, Transition(CutKind.DISSOLVE, 44, 50), reviewer="ada")
    new = place.begin(film, files["trimmed"])
    assert (new.state, place.live(new), new.gold_master_filepath) == (S.PREPROCESSED, [], None)  # it waits, and nothing is made of it
    with pytest.raises(BadRequestError, match=f"source video {new.id} waits to replace source video {film.id}"):
        place.begin(film, files["without"])
    compared = place.compare(film)
    assert [(one.fate, one.start_frame, one.end_frame) for one in compared.fates] == [
        (Fate.PARTLY, 0, 12), (Fate.MOVED, 12, 36), (Fate.MOVED, 36, 60)
    ]  # fmt: skip
    assert ranges(place.live(film)) == [(0, 24, "embedded"), (24, 48, "embedded"), (48, 72, "review_skipped")]  # to look changes nothing

    done = place.carry_over(compared)
    assert (done.clips, done.kept, done.back) == (3, 2, 1)
    assert ranges(place.live(new)) == [(0, 12, "pending_review"), (12, 36, "review_approved"), (36, 60, "review_skipped")]
    told = [clip.transition for clip in place.live(new)]
    assert told == [Transition(CutKind.END), Transition(CutKind.WIPE), Transition(CutKind.DISSOLVE, 32, 38)]
    assert place.videos.load(film.id).state is S.SCENES_DETECTED  # whole until the new files are made
    assert all(place.objects.info(final_clip_key(film.id, number)) for number in (1, 2))
    place.process()
    with pytest.raises(NotFoundError, match="was deleted"):
        place.videos.load(film.id)
    assert place.objects.info(final_clip_key(film.id, 1)) is None
    assert place.objects.info(original_key(film.id, ".mp4")) is None
    assert [clip.state for clip in place.live(new)] == [C.PENDING_REVIEW, C.EMBEDDED, C.REVIEW_SKIPPED]
    assert place.videos.load(new.id).title == "Harbour"
    facts = FactsStore(place.database).load(new.id)
    assert (facts.rights, facts.licence) == ("training", "CC BY")
    (spoken,) = TranscriptStore(place.database).of_video(new.id)
    assert (spoken.called, TranscriptStore(place.database).lines(spoken.id)) == ("en (quay.srt)", [Line(0.1, 0.5, "The quay")])
    assert facts.thumbnail_filepath is not None
    assert facts.thumbnail_filepath.startswith(f"thumbnails/video_{new.id}_given_")
    assert audit(place.database, place.objects) == []
    (link,) = place.related.of([new.id])[new.id]
    assert link.words == f"Replaces source video {film.id}, Harbour"

    # What went back to review is an action: its undo brings the decision and the group back.
    people = reviews(place.database)
    last = people.history(source_video_id=new.id)[0]
    assert (last.action, last.id) == (ReviewAction.SEND_BACK, done.action_id)
    people.undo("ada", action_id=done.action_id)
    first, second, _ = place.live(new)
    assert (first.state, second.grouped_with_clip_id) == (C.REVIEW_APPROVED, first.id)
    said = people.history(source_video_id=new.id, actions=[ReviewAction.REPLACE])[0].details
    assert (said["replaced"], [fate for _, fate, _, _ in said["fates"]]) == (film.id, ["partly", "moved", "moved"])


@pytest.mark.folder
def test_frames_that_only_look_the_same_keep_their_decisions_when_a_person_trusts_that(place: Workplace, files: dict[str, Path]) -> None:
    (film,) = place.submitted(files["film"])
    for clip in place.live(film):
        reviews(place.database).skip(clip.id, reviewer="ada")
    new = place.begin(film, files["small"])
    compared = place.compare(new)
    assert [(one.fate, one.start_frame) for one in compared.fates] == [(Fate.ALIKE, 0), (Fate.ALIKE, 24), (Fate.ALIKE, 48)]
    assert compared.uncertain == 3
    reviews(place.database).approve(place.live(film)[2].id, reviewer="bea")
    with pytest.raises(StaleClipError, match="was changed since it was compared"):
        place.carry_over(compared, trusts_likeness=True)
    assert ReplacementStore(place.database).waiting(film.id).new_id == new.id
    reviews(place.database).skip(place.live(film)[2].id, reviewer="bea")
    done = place.carry_over(place.compare(new), trusts_likeness=True)
    assert (done.kept, done.back, done.action_id) == (3, 0, None)
    # A colleague still decides on the old one before its files are replaced: then it stays, and says so.
    reviews(place.database).archive(place.live(film)[2].id, reviewer="bea")
    place.process()
    old = place.videos.load(film.id)
    assert old.state is S.SCENES_DETECTED
    assert any("was not deleted" in warning for warning in old.warnings)
    assert [clip.state for clip in place.live(new)] == [C.REVIEW_SKIPPED] * 3


@pytest.mark.folder
def test_a_new_file_can_be_given_up_and_the_same_bytes_replace_nothing(place: Workplace, files: dict[str, Path]) -> None:
    (film,) = place.submitted(files["film"])
    with pytest.raises(NotFoundError, match="no file waits to replace"):
        place.compare(film)
    new = replacement.begin_refetch(film.id, database=place.database, reviewer="ada", max_height=480)
    with pytest.raises(IllegalTransitionError, match="has no proxy yet"):
        place.compare(film)
    assert ReplacementStore(place.database).waiting(film.id).max_height == 480
    place.process()
    with pytest.raises(BadRequestError, match="has the same bytes"):
        place.compare(film)
    before = place.live(film)
    given_up = replacement.give_up(film.id, database=place.database, objects=place.objects, reviewer="ada")
    assert (given_up.new_id, place.live(film)) == (new.id, before)
    assert place.related_ids(film) == []
    with pytest.raises(NotFoundError, match="was deleted"):
        place.videos.load(new.id)


@pytest.mark.folder
def test_the_command_line_shows_what_would_change_then_replaces_and_names_what_belongs_together(
    place: Workplace, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**place.settings.to_environment(), "HEATERS_REVIEWER": "ada", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()

    def heaters(*words: object, code: int = 0) -> str:
        capsys.readouterr()
        assert cli.run([str(word) for word in words]) == code
        told = capsys.readouterr()
        return told.out if "--json" in words else told.out + told.err

    def told_as_json(*words: object) -> Any:
        document = json.loads(heaters(*words, "--json"))
        schema = json.loads((PROJECT_ROOT / "docs" / "json.schema.json").read_text())
        jsonschema.validate(document, {**schema["commands"][str(words[0])], "$defs": schema["$defs"]})
        return document

    (film,) = place.submitted(files["film"])
    reviews(place.database).approve(place.live(film)[0].id, reviewer="ada")
    reviews(place.database).skip(place.live(film)[1].id, reviewer="ada")
    place.process()
    assert "Heaters cannot ask here: add --dry-run" in " ".join(heaters("replace", film.id, files["without"], code=2).split())
    told = told_as_json("replace", film.id, files["without"], "--dry-run")
    assert [(one["fate"], one["new_start_frame"]) for one in told["fates"]] == [("kept", 0), ("gone", None), ("moved", 24)]
    assert (told["replaced"], place.live(film)[0].state) == (False, C.EMBEDDED)
    (one,) = told_as_json("status", film.id)
    assert [(other["id"], other["kind"]) for other in one["related"]] == [(told["new_id"], "replaces")]
    assert "The new file is forgotten" in heaters("replace", film.id, "--give-up")
    assert "no file waits to replace" in " ".join(heaters("replace", film.id, "--yes", code=1).split())
    assert "has the same bytes" in " ".join(heaters("refetch", film.id, "--yes", code=1).split())
    heaters("replace", film.id, "--give-up")
    (again,) = told_as_json("submit", files["film"], "--force")
    assert f"Submitted again by force as source video {again}" in " ".join(heaters("status", film.id).split())
    done = told_as_json("replace", film.id, files["without"], "--yes")
    assert (done["replaced"], done["kept"], done["sent_back"], done["lost"], done["action_id"]) == (True, 1, 0, 1, None)
    # A decision was made on a clip that the new file does not have: the old one stays, and a third may take its place.
    stays = f"Source video {film.id} stays, because 1 decided clip has no counterpart; delete it when you no longer need it."
    place.process()
    assert place.videos.load(film.id).warnings == (f"replaced by source video {done['new_id']}. {stays}",)
    assert [clip.state for clip in place.live(film)] == [C.EMBEDDED, C.REVIEW_SKIPPED, C.PENDING_REVIEW]
    assert ReplacementStore(place.database).open_of_old(film.id) is None
    place.related.keep_looks(again, **_LOOKS)
    place.related.keep_looks(done["new_id"], **_LOOKS)
    assert f"heaters dismiss {again} {done['new_id']}" in heaters("status", again)
    assert told_as_json("dismiss", again, done["new_id"]) == {"id": again, "other_id": done["new_id"], "hints": 1}
    assert "heaters dismiss" not in heaters("status", again)
    load_settings.cache_clear()


BEGINS = """
from resources.postgres.replacement_store import ReplacementStore
from resources.sources.address_guard import AddressGuard
from resources.upkeep.replacement import begin_refetch, begin_replacement

def step(database, objects, settings, old_id, file=None):
    if ReplacementStore(database).open_of_old(old_id) is not None:
        return
    if file is None:
        begin_refetch(old_id, database=database, reviewer="ada", max_height=720)
    else:
        begin_replacement(old_id, file, database=database, guard=AddressGuard(), reviewer="ada")
"""
#: As the command does, and then the clean-up; a lock of the process before may be there for a moment.
CARRIES_OVER = """
import time
from heaters_dagster.domain.errors import BusyError
from resources.object_store.work_folder import WorkFolder
from resources.postgres.replacement_store import ReplacementStore
from resources.upkeep import replacement
from resources.upkeep.source_video_removal import finish_deletion

def step(database, objects, settings, old_id, new_id):
    state = lambda: ReplacementStore(database).of_new(new_id).state
    stored = {"database": database, "objects": objects}
    while state() == "waiting":
        compared = replacement.compare(new_id, work=WorkFolder(settings.work_folder), settings=settings, **stored)
        try:
            replacement.carry_over(compared, reviewer="ada", trusts_likeness=True, **stored)
        except BusyError:
            time.sleep(0.02)
    while state() == "carried" and not replacement.finish_replacement(old_id, **stored):
        time.sleep(0.02)
    finish_deletion(old_id, **stored)
"""


@pytest.mark.slow
@pytest.mark.bucket
def test_a_better_quality_of_a_site_takes_over_the_decisions_and_is_killed_before_each_step(
    settings: Settings, database: Database, object_store: ObjectStore, files: dict[str, Path], tmp_path: Path
) -> None:
    """At every moment one of the two source videos has all clips and decisions, and nothing is taken for a source video like others."""
    settings = replace(
        settings, detector="adaptive", allow_private_addresses=True, download_pause_seconds=0.0, ytdlp_max_height=360, keep_free_mb=0
    )
    place, replacements = Workplace(settings, database, object_store), ReplacementStore(database)
    (tmp_path / "web").mkdir()
    with WebServer(tmp_path / "web").running() as web, known_to_ytdlp():
        web.answers |= {f"/{name}.mp4": ranged(files[name].read_bytes()) for name in ("small", "film")}
        formats = [picture(f"/{name}.mp4", height, sound="mp4a.40.2") for name, height in (("small", 360), ("film", 720))]
        old = place.videos.add(FakeSite(web).add("v1", formats), "v1")
        place.process()
        assert quality(place, old) == 360
        for number in (0, 2):
            reviews(database).skip(place.live(old)[number].id, reviewer="ada")
        decided, title = ranges(place.live(old)), place.videos.load(old.id).title
        assert decided == [(0, 24, "review_skipped"), (24, 48, "pending_review"), (48, 72, "review_skipped")]

        for named in ([str(files["film"])], []):
            for _ in deaths(settings, BEGINS, old.id, *named):
                stands_alone = [video.id for video in place.videos.load_all() if replacements.of_new(video.id) is None]
                assert stands_alone == [old.id]
            if named:
                replacement.give_up(old.id, database=database, objects=object_store, reviewer="ada")
        waiting = replacements.waiting(old.id)
        place.process()
        new = place.videos.load(waiting.new_id)
        assert (new.state, quality(place, new)) == (S.PREPROCESSED, 720)
        assert place.related_ids(new) == [(Relation.REPLACES, old.id)], "no hint beside a fact"

        states = []
        for _ in deaths(settings, CARRIES_OVER, old.id, new.id):
            now = replacements.of_new(new.id)
            assert now is not None
            states.append(now.state)
            assert ranges(place.live(new)) == ([] if now.state == "waiting" else decided)
            assert ranges(place.live(old)) == ([] if now.state == "done" else decided)
        assert states[:3] == ["waiting", "carried", "done"]
    assert [video.id for video in place.videos.load_all()] == [new.id]
    place.process()
    assert ranges(place.live(new)) == decided
    assert audit(database, object_store) == []
    assert place.videos.load(new.id).title == title


def quality(place: Workplace, video: SourceVideo) -> int | None:
    """The height that was taken of what the site offered."""
    found = Quality.from_json(FactsStore(place.database).load(video.id).quality)
    return found.taken.lines if found is not None else None


#: Of a video whose every compared frame is telling.
_LOOKS = {"looks_filepath": "metadata/looks.bin", "duration_seconds": 9.0, "frame_seconds": 0.04, "sample": bytes(range(16)) * 16}
