"""What belongs to source videos: who is believed, and what is kept of what a stranger wrote."""

from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path

import pytest
from sqlalchemy import text

from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import BadRequestError, NothingToUndoError, PermanentError, StaleClipError
from heaters_dagster.domain.review_queue import QueueFilter
from heaters_dagster.domain.source_facts import LINE_CHARACTERS, Chapter, Origin, SourceFacts
from heaters_dagster.domain.states import ClipState
from heaters_dagster.domain.subtitles import Line, SubtitleFile
from heaters_dagster.domain.timecode import SourceTime
from resources.object_store.local import LocalObjectStore
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.fact_edits import edit_facts
from resources.postgres.facts_store import FactsStore
from resources.postgres.review_queue_store import ReviewQueueStore
from resources.postgres.source_video_lists import SourceVideoLists
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.transcript_store import TranscriptStore
from resources.sources.address_guard import AddressGuard
from resources.sources.file_identity import Wanted
from resources.sources.submission import submit
from resources.upkeep.source_video_removal import delete_source_video
from tests.pipeline_rows import cut_video, reviews

EVERYTHING = SourceFacts(
    site="Example",
    site_id="x1",
    uploader="A channel",
    uploaded_on=date(2025, 3, 1),
    page_address="https://example.org/x1",
    licence="CC BY 4.0",
    description="Two\nlines",
    tags=("sea", "night"),
    chapters=(Chapter("Begin", 0.0, 5.5), Chapter("End", 5.5)),
    rights="training",
    external_id="A-17",
    thumbnail_filepath="metadata/video_1_thumbnail.jpg",
    camera="Maker Model",
    recorded_at=datetime(2025, 2, 28, 12, tzinfo=UTC),
    place="+52.5+13.4/",
    container_tags={"encoder": "Lavf"},
    start_timecode="10:00:00;00",
    timecode_rate="30000/1001",
    reel="A001",
    quality={"offered": 2160},
)


def test_all_facts_come_back_as_they_were_put(database: Database) -> None:
    video, store = SourceVideoStore(database).add("https://example.org/x1", "x1"), FactsStore(database)
    assert store.load(video.id) == SourceFacts()
    assert store.put(video.id, EVERYTHING, Origin.SITE) == EVERYTHING
    assert store.load_all([video.id, video.id + 1]) == {video.id: EVERYTHING}


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (Origin.PERSON, Origin.SITE, "first"),
        (Origin.SUBMISSION, Origin.SITE, "first"),
        (Origin.SITE, Origin.FILE, "first"),
        (Origin.SITE, Origin.SITE, "second"),
        (Origin.FILE, Origin.SITE, "second"),
        (Origin.SUBMISSION, Origin.PERSON, "second"),
    ],
)
def test_a_fact_is_replaced_only_by_one_who_is_believed_as_much(database: Database, first: Origin, second: Origin, kept: str) -> None:
    video, store = SourceVideoStore(database).add("/a.mp4", "a"), FactsStore(database)
    store.put(video.id, SourceFacts(licence="first"), first)
    found = store.put(video.id, SourceFacts(licence="second", uploader="somebody"), second)
    assert (found.licence, found.uploader) == (kept, "somebody")


def test_what_a_stranger_wrote_has_no_control_characters_and_an_end() -> None:
    facts = SourceFacts(
        uploader="a\x00b\u202ec" + "x" * 2 * LINE_CHARACTERS, description="one\r\ntwo\x1b[31m", tags=("a\n", "a", "\x07"), site_id=" \t "
    )
    cleaned = facts.cleaned()
    assert cleaned.uploader is not None
    assert (cleaned.uploader[:5], len(cleaned.uploader)) == ("a b c", LINE_CHARACTERS)
    assert (cleaned.description, cleaned.tags, cleaned.site_id) == ("one\ntwo [31m", ("a",), None)


def test_what_a_submitter_says_is_stored_with_the_row(database: Database) -> None:
    videos, guard = SourceVideoStore(database), AddressGuard(allow_private=True)
    said = SourceFacts(licence="CC0", external_id="A-1", tags=("sea",))
    first, second = submit(
        [Wanted("https://example.org/a.mp4", "The harbour", said, chapters_as_cuts=True), "https://example.org/b.mp4"], videos, guard=guard
    )
    assert first.video is not None
    assert second.video is not None
    assert (first.video.title, first.video.chapters_as_cuts) == ("The harbour", True)
    assert (second.video.title, second.video.chapters_as_cuts) == ("b", False)
    assert FactsStore(database).load_all([first.video.id, second.video.id]) == {first.video.id: said}


# people change facts


def a_known_video(database: Database) -> tuple[int, FactsStore]:
    (clip, *_) = cut_video(database)
    store = FactsStore(database)
    store.put(clip.source_video_id, EVERYTHING, Origin.SITE)
    return clip.source_video_id, store


def test_a_change_is_in_the_ledger_and_is_not_overwritten_by_a_site(database: Database) -> None:
    video, store = a_known_video(database)
    changes = {"licence": "CC0", "tags": ("sea", "pier"), "description": None, "site": "Example"}
    facts, action = edit_facts(video, changes, reviewer="ada", database=database)
    assert facts == replace(EVERYTHING, licence="CC0", tags=("sea", "pier"), description=None)
    (entry,) = reviews(database).history(source_video_id=video)
    assert (entry.id, entry.action, entry.reviewer) == (action, ReviewAction.EDIT_FACTS, "ada")
    told = entry.details["facts"]
    assert told["before"]["values"] == {"licence": "CC BY 4.0", "tags": ["sea", "night"], "description": "Two\nlines"}
    assert told["after"]["values"] == {"licence": "CC0", "tags": ["sea", "pier"], "description": None}
    store.put(video, replace(EVERYTHING, uploader="renamed"), Origin.SITE)
    assert store.load(video) == replace(facts, uploader="renamed"), "what a person removed stays removed, too"
    assert edit_facts(video, {"licence": "CC0"}, reviewer="grace", database=database)[1] is None
    assert not ClipStore(database).review_has_begun(video)


def test_a_timecode_is_corrected_taken_back_and_refused_where_there_is_none(database: Database) -> None:
    video, store = a_known_video(database)
    _, action = edit_facts(video, {"start_timecode": "09:59:50:00", "timecode_rate": "25"}, reviewer="ada", database=database)
    assert store.load(video).source_time(None) == SourceTime((10 * 3600 - 10) * 25, Fraction(25), False, "A001")
    with pytest.raises(BadRequestError, match="drop-frame"):
        edit_facts(video, {"start_timecode": "09:59:50;00"}, reviewer="ada", database=database)
    assert action is not None
    reviews(database).undo("ada", action_id=action)
    assert store.load(video).source_time(None) == SourceTime(1_078_920, Fraction(30_000, 1001), True, "A001")


def test_a_change_is_taken_back_and_done_again_by_its_author(database: Database) -> None:
    video, store = a_known_video(database)
    chapters = (Chapter("All of it", 1 / 3),)
    changed, first = edit_facts(video, {"licence": None, "chapters": chapters}, reviewer="ada", database=database)
    desk = reviews(database)
    with pytest.raises(PermanentError, match="was done by ada, and only its author can undo"):
        desk.undo("grace", action_id=first)
    done = desk.undo("ada", action_id=first, request_key="k")
    assert desk.undo("ada", action_id=first, request_key="k") == replace(done, replayed=True)
    assert store.load(video) == EVERYTHING
    assert store.with_origins(video)[1]["licence"] == "site", "the site may say it anew"
    with pytest.raises(NothingToUndoError, match="is already undone"):
        desk.undo("ada", action_id=first)
    desk.redo("ada", action_id=first)
    assert store.load(video) == changed
    assert not ClipStore(database).review_has_begun(video), "nor is an undo of facts a review"
    edit_facts(video, {"licence": "by grace"}, reviewer="grace", database=database)
    with pytest.raises(StaleClipError, match="grace has changed licence since"):
        desk.undo("ada", action_id=first)
    with pytest.raises(NothingToUndoError, match="no decision that still stands"):
        desk.undo("ada")  # the key of Review never takes back what the page does not show


def test_changes_of_facts_are_among_the_latest_that_history_takes_back_and_does_again(database: Database, tmp_path: Path) -> None:
    video, store = a_known_video(database)
    desk, clips = reviews(database), ClipStore(database)
    clip = clips.load_live(video)[0]
    edit_facts(video, {"licence": "CC0"}, reviewer="ada", database=database)
    desk.approve(clip.id, reviewer="ada")
    edit_facts(video, {"licence": "CC BY"}, reviewer="ada", database=database)

    def now() -> tuple[str | None, ClipState]:
        return store.load(video).licence, clips.load(clip.id).state

    steps = [now()]
    for _ in range(3):
        desk.undo("ada", with_facts=True)
        steps.append(now())
    first = EVERYTHING.licence
    pending, approved = ClipState.PENDING_REVIEW, ClipState.REVIEW_APPROVED
    assert steps == [("CC BY", approved), ("CC0", approved), ("CC0", pending), (first, pending)]
    with pytest.raises(NothingToUndoError):
        desk.undo("ada", with_facts=True)
    again = []
    for _ in range(3):
        desk.redo("ada", with_facts=True)
        again.append(now())
    assert again == steps[2::-1]
    with pytest.raises(NothingToUndoError):
        desk.redo("ada", with_facts=True)
    desk.undo("ada", with_facts=True)
    edit_facts(video, {"camera": "new"}, reviewer="ada", database=database)
    with pytest.raises(NothingToUndoError, match="since your last new decision"):
        desk.redo("ada", with_facts=True)
    objects = LocalObjectStore(tmp_path / "objects", work_folder=tmp_path / "work")
    delete_source_video(video, reviewer="bob", database=database, objects=objects)
    with pytest.raises(NothingToUndoError, match="no decision that still stands"):
        desk.undo("ada", with_facts=True)  # what was said of a deleted video is nothing that one could take back


# found by words


def test_facts_and_subtitles_find_the_video(database: Database) -> None:
    video, store = a_known_video(database)
    other = cut_video(database)[0].source_video_id
    store.put(other, SourceFacts(uploader="Somebody else"), Origin.SITE)
    lines = (Line(0.0, 1.0, "Die Fähre legt ab"), Line(1.0, 2.0, "夜の港"))
    TranscriptStore(database).replace_subtitles(
        video, [("subtitles/video_1_01_de.vtt", SubtitleFile("site", "de", None, ".vtt", b"", lines))]
    )
    lists, queue = SourceVideoLists(database), ReviewQueueStore(database)

    def found(words: str) -> set[int]:
        listed = {one.video.id for one in lists.newest(text=words, limit=10)}
        clips = {one.clip.source_video_id for one in queue.page(QueueFilter(text=words), limit=10)}
        assert listed == set(lists.titles(text=words, limit=10)) == clips
        assert lists.counts(text=words).total == len(listed)
        return listed

    facts = ["channel", "CHANN", "A-17", "CC BY 4.0", "begin", "night sea", "maker", "lavf", "x1"]
    for words in (*facts, "fähre", "FÄHRE legt", "港", "夜の港"):
        assert found(words) == {video}, words
    assert found("somebody") == {other}
    for words in ("nothing of it", "annel", "legt hafen", "title start_seconds", "%", "' or 1=1 --", "\\", "!!!", "zz:*&b"):
        assert found(words) == set(), words
    assert found("") == {video, other}
    edit_facts(video, {"uploader": None}, reviewer="ada", database=database)
    assert found("channel") == set()


def test_words_are_looked_up_in_an_index_however_frequent_they_are(database: Database) -> None:
    """Postgres does not know what it costs to unpack a transcript: without the function it reads all of them for a frequent word."""
    with database.begin() as connection:
        body = str(connection.scalar(text("select prosrc from pg_proc where proname = 'heaters_videos_with_word'")))
        settings = connection.scalar(text("select proconfig from pg_proc where proname = 'heaters_videos_with_word'"))
        connection.execute(text("set local enable_seqscan = off"))
        plan = "\n".join(connection.scalars(text("explain " + body.replace("(word)", "('harbour')"))))
    assert settings == ["enable_seqscan=off"]
    assert "source_video_facts_words_idx" in plan
    assert "transcripts_words_idx" in plan


def test_what_a_list_says_of_a_known_source_video_is_added_where_nobody_said_it(database: Database) -> None:
    videos, store, guard = SourceVideoStore(database), FactsStore(database), AddressGuard(allow_private=True)
    address = "https://example.org/a.mp4"
    (first,) = submit([address], videos, guard=guard)
    assert first.video is not None
    store.put(first.video.id, SourceFacts(licence="All rights reserved"), Origin.PERSON)
    said = SourceFacts(licence="CC0", external_id="A-1")
    (again,) = submit([Wanted(address, "Another title", said)], videos, guard=guard)
    assert again.told == f"{address} is already source video {first.video.id}, waiting to be fetched: what is new of it is kept: own id"
    assert store.load(first.video.id) == SourceFacts(licence="All rights reserved", external_id="A-1")
    (once_more,) = submit([Wanted(address, facts=said)], videos, guard=guard)
    assert once_more.told.endswith("waiting to be fetched: nothing to do")


def test_what_was_said_of_a_duplicate_is_kept_with_the_first(database: Database) -> None:
    videos, store = SourceVideoStore(database), FactsStore(database)
    first, second = videos.add("/a.mp4", "a"), videos.add("https://example.org/b.mp4", "b")
    store.put(first.id, SourceFacts(licence="CC BY 4.0", camera="Maker"), Origin.FILE)
    store.put(first.id, SourceFacts(rights="training"), Origin.SUBMISSION)
    store.put(second.id, SourceFacts(licence="CC0", external_id="A-1", rights="nothing"), Origin.SUBMISSION)
    store.put(second.id, SourceFacts(uploader="a channel"), Origin.SITE)
    videos.mark_duplicate(second.id, first.id)
    assert store.load(first.id) == SourceFacts(licence="CC0", camera="Maker", rights="training", external_id="A-1")


def test_what_is_said_of_a_source_twice_in_one_submission_is_all_kept(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"a video, perhaps")
    said = Wanted(str(path), facts=SourceFacts(licence="CC0", external_id="A-1"))
    again = Wanted(str(path), "The harbour", SourceFacts(licence="another", rights="training"))
    (taken,) = submit([str(tmp_path), said, again], SourceVideoStore(database), guard=AddressGuard())
    assert taken.video is not None
    assert taken.video.title == "The harbour"
    assert FactsStore(database).load(taken.video.id) == SourceFacts(licence="CC0", external_id="A-1", rights="training")


def test_an_address_whose_bytes_were_those_of_another_is_not_taken_again(database: Database) -> None:
    videos, guard = SourceVideoStore(database), AddressGuard(allow_private=True)
    first, second = videos.add("/a.mp4", "a"), videos.add("https://example.org/b.mp4", "b")
    videos.mark_duplicate(second.id, first.id)
    (again,) = submit([Wanted(second.source, facts=SourceFacts(licence="CC0"))], videos, guard=guard)
    assert again.video is not None
    assert again.video.id == first.id
    assert FactsStore(database).load(first.id).licence == "CC0"
