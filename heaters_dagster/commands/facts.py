"""What belongs to a source video: show it, change it, take the change back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import As, AsJson, VideoId, example, opened_database, opened_reviews, reviewer_name
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import BadRequestError, NotFoundError, NothingToUndoError
from heaters_dagster.domain.fact_fields import FACT_FIELDS, FIELD_OF, changes_of, subtitles_name
from heaters_dagster.domain.source_facts import SourceFacts, json_of_value
from heaters_dagster.domain.subtitles import AUTOMATIC, MOST_BYTES, NO_LANGUAGE, SUBTITLE
from heaters_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from resources.postgres.database import Database
    from resources.postgres.transcript_store import Transcript
    from resources.sources.file_identity import Wanted
    from resources.sources.given_files import GivenFiles

app = typer.Typer()


Rights = Annotated[
    str | None,
    typer.Option("--rights", metavar="TEXT", help="What may be done with these videos, in your words. Without it: HEATERS_RIGHTS."),
]
Licence = Annotated[str | None, typer.Option("--licence", metavar="TEXT", help="The licence of these videos.")]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TAG", help="Tags of these videos, separated by commas. Can be given several times.")
]
ChaptersAsCuts = Annotated[
    bool, typer.Option("--chapters-as-cuts", help="Clips also begin where chapters begin that the site or the file has.")
]


def with_facts(wanted: Wanted, *, rights: str | None, licence: str | None, tags: list[str] | None, chapters_as_cuts: bool) -> Wanted:
    """The source with what the command says of all its sources, where nothing is said of this one.

    Raises BadRequestError for what is too long.
    """
    texts = {"rights": rights or "", "licence": licence or "", "tags": "\n".join(tags or ())}
    said = wanted.facts.filled_with(SourceFacts(**changes_of(texts, keep_places=False)))
    return replace(wanted, facts=said, chapters_as_cuts=wanted.chapters_as_cuts or chapters_as_cuts)


def _of(name: str, option: str, metavar: str = "TEXT", more: str = "") -> Any:
    """The option that changes a fact."""
    return typer.Option(option, metavar=metavar, help=f"{FIELD_OF[name].help}{more}")


@app.command(epilog=example('facts 3 --licence "CC BY 4.0" --add-tag harbour'))
def facts(
    video: VideoId,
    rights: Annotated[str | None, _of("rights", "--rights")] = None,
    licence: Annotated[str | None, _of("licence", "--licence")] = None,
    external_id: Annotated[str | None, _of("external_id", "--external-id", "ID")] = None,
    site: Annotated[str | None, _of("site", "--site", "NAME")] = None,
    site_id: Annotated[str | None, _of("site_id", "--site-id", "ID")] = None,
    uploader: Annotated[str | None, _of("uploader", "--uploader", "NAME")] = None,
    uploaded_on: Annotated[str | None, _of("uploaded_on", "--uploaded-on", "DAY")] = None,
    page_address: Annotated[str | None, _of("page_address", "--page", "ADDRESS")] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="These tags and no others, separated by commas. Can be given several times."),
    ] = None,
    add_tags: Annotated[list[str] | None, typer.Option("--add-tag", metavar="TAG", help="These tags, too, separated by commas.")] = None,
    remove_tags: Annotated[list[str] | None, typer.Option("--remove-tag", metavar="TAG", help="Not this tag.")] = None,
    camera: Annotated[str | None, _of("camera", "--camera", "NAME")] = None,
    recorded_at: Annotated[str | None, _of("recorded_at", "--recorded-at", "TIME")] = None,
    reel: Annotated[str | None, _of("reel", "--reel", "NAME")] = None,
    start_timecode: Annotated[str | None, _of("start_timecode", "--timecode", "TIMECODE")] = None,
    timecode_rate: Annotated[str | None, _of("timecode_rate", "--timecode-rate", "RATE")] = None,
    place: Annotated[str | None, _of("place", "--place")] = None,
    chapters: Annotated[
        list[str] | None,
        typer.Option("--chapter", metavar="CHAPTER", help="These chapters: start and title, as '1:02:03 The harbour'. One for each."),
    ] = None,
    description: Annotated[str | None, _of("description", "--description")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back your latest change of the facts of this source video.")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Do again what --undo took back last.")] = False,
    set_subtitles: Annotated[
        str | None,
        typer.Option(
            "--set-subtitles",
            metavar="LANGUAGE=FILE",
            help="Make a file (.srt, .vtt, .ass) the subtitles in this language, in place of those that people wrote. As en=harbour.srt.",
        ),
    ] = None,
    remove_subtitles: Annotated[
        str | None,
        typer.Option(
            "--remove-subtitles",
            metavar="LANGUAGE",
            help=f"Take away all subtitles in this language; en:{AUTOMATIC} only those that a machine made, en:{SUBTITLE} only the others.",
        ),
    ] = None,
    thumbnail: Annotated[
        Path | None, typer.Option("--thumbnail", metavar="FILE", help="Make this picture (JPEG, PNG, WebP) the thumbnail.")
    ] = None,
    remove_thumbnail: Annotated[bool, typer.Option("--remove-thumbnail", help="Take the thumbnail away.")] = False,
    subtitles: Annotated[
        str | None,
        typer.Option(
            "--subtitles",
            metavar="LANGUAGE",
            help=f"Print all subtitles in this language with times; {NO_LANGUAGE}: language not said.",
        ),
    ] = None,
    reviewer: As = None,
    as_json: AsJson = False,
) -> None:
    """Show what belongs to a source video, or change it: an empty text removes a fact. What you write is never overwritten by a site."""
    given = {
        "rights": rights, "licence": licence, "external_id": external_id, "site": site, "site_id": site_id, "uploader": uploader,
        "uploaded_on": uploaded_on, "page_address": page_address, "camera": camera, "recorded_at": recorded_at, "place": place,
        "reel": reel, "start_timecode": start_timecode, "timecode_rate": timecode_rate,
        "description": description, "tags": None if tags is None else "\n".join(tags),
        "chapters": None if chapters is None else "\n".join(chapters),
    }  # fmt: skip
    texts = {name: text for name, text in given.items() if text is not None}
    if tags is not None and (add_tags or remove_tags):
        raise typer.BadParameter("--tag gives all tags: leave out --add-tag and --remove-tag")
    changes = bool(texts or add_tags or remove_tags)
    files = (set_subtitles is not None, remove_subtitles is not None, thumbnail is not None, remove_thumbnail)
    if changes + undo + redo + (subtitles is not None) + sum(files) > 1:
        raise typer.BadParameter("change facts, the subtitles or the thumbnail, --undo, --redo or --subtitles: one of them at a time")
    settings = load_settings()
    if undo or redo:
        _return(video, reviewer, undoes=undo)
    with opened_database(settings, video) as database:
        if subtitles is not None:
            _show_lines(database, video, subtitles, as_json)
            return
        if add_tags or remove_tags:
            texts["tags"] = "\n".join(_tags_with(database, video, add_tags or [], remove_tags or []))
        if any(files):
            by = _Giver.of(settings, database, video, reviewer)
            if set_subtitles is not None:
                by.set_subtitles(set_subtitles)
            elif remove_subtitles is not None:
                by.remove_subtitles(remove_subtitles)
            else:
                by.set_thumbnail(thumbnail)
        if changes:
            _change(database, video, changes_of(texts, keep_places=settings.keep_places), reviewer)
        row = facts_row(database, video)
    if as_json:
        terminal.show_json(row["json"])
    else:
        show_facts(row)


def facts_row(database: Database, video: int) -> dict[str, Any]:
    """What `show_facts` shows, and as "json" what programs get."""
    from resources.postgres.facts_store import FactsStore
    from resources.postgres.source_video_store import SourceVideoStore
    from resources.postgres.transcript_store import TranscriptStore

    title = SourceVideoStore(database).load(video).title
    known, origins = FactsStore(database).with_origins(video)
    transcripts = TranscriptStore(database).of_video(video)
    return {
        "id": video,
        "title": title,
        **{field.name: field.text(known) for field in FACT_FIELDS},
        "container_tags": "\n".join(f"{name}: {value}" for name, value in (known.container_tags or {}).items()),
        "subtitles": "\n".join(f"{one.called}: {one.line_count} lines, {one.subtitle_filepath}" for one in transcripts),
        "thumbnail_filepath": known.thumbnail_filepath,
        "chapter_titles": ", ".join(one.title for one in known.chapters),
        "json": {"id": video, "title": title, **facts_json(known, origins, transcripts)},
    }


def facts_json(known: SourceFacts, origins: dict[str, str], transcripts: list[Transcript]) -> dict[str, Any]:
    """Facts for programs, with who said them."""
    values = {name: json_of_value(getattr(known, name)) for name in (*FIELD_OF, "container_tags", "quality", "thumbnail_filepath")}
    subtitles = [_head_json(one) | {"lines": one.line_count, "key": one.subtitle_filepath} for one in transcripts]
    return {"facts": values, "said_by": origins, "subtitles": subtitles}


def _head_json(one: Transcript) -> dict[str, Any]:
    return {"language": one.language, "name": one.name, "kind": one.kind, "origin": one.origin}


def show_facts(row: dict[str, Any]) -> None:
    """row: of `facts_row`."""
    columns = [Column("title", "title", wraps=True)]
    columns += [Column(field.label.lower(), field.name, wraps=True) for field in FACT_FIELDS if not field.is_long]
    columns += [Column("subtitles", "subtitles", wraps=True), Column("thumbnail", "thumbnail_filepath")]
    columns += [Column(field.label.lower(), field.name, wraps=True) for field in FACT_FIELDS if field.is_long]
    terminal.show_record([*columns, Column("tags of the file", "container_tags", wraps=True)], row)
    if not any(row[column.key] for column in columns[1:]):
        terminal.say("Nothing is known of it yet.")


def _change(database: Database, video: int, changes: dict[str, Any], reviewer: str | None) -> None:
    from resources.postgres.fact_edits import edit_facts
    from resources.postgres.reviewer_store import ReviewerStore

    edit_facts(video, changes, reviewer=reviewer_name(ReviewerStore(database), reviewer), database=database)


def _return(video: int, reviewer: str | None, *, undoes: bool) -> None:
    """Undo or redo."""
    with opened_reviews(load_settings(), video) as reviews:
        name = reviewer_name(reviews.reviewers, reviewer)
        own = reviews.history(reviewer=name, source_video_id=video, actions=[ReviewAction.EDIT_FACTS], limit=1000)
        taken_back = [entry.id for entry in takewhile(lambda entry: entry.undone, own)]
        if undoes:
            if len(taken_back) == len(own):
                raise NothingToUndoError(f"nothing to undo: {name} has changed no facts of source video {video} that still stand so")
            reviews.undo(name, action_id=own[len(taken_back)].id)
            return
        undos = reviews.history(reviewer=name, source_video_id=video, actions=[ReviewAction.UNDO], limit=1000)
        latest = next((entry.target_action_id for entry in undos if entry.target_action_id in taken_back), None)
        if latest is None:
            raise NothingToUndoError(f"nothing to redo: the last change of facts of source video {video} by {name} still stands")
        reviews.redo(name, action_id=latest)


@dataclass(frozen=True, slots=True)
class _Giver:
    """Changes subtitles and the thumbnail of a source video in the name of a person."""

    video: int
    reviewer: str
    known: list[Transcript]
    thumbnail_seen: str | None
    files: GivenFiles

    @classmethod
    def of(cls, settings: Settings, database: Database, video: int, reviewer: str | None) -> _Giver:
        from resources.object_store.open import open_object_store
        from resources.postgres.facts_store import FactsStore
        from resources.postgres.reviewer_store import ReviewerStore
        from resources.postgres.transcript_store import TranscriptStore
        from resources.sources.given_files import GivenFiles

        return cls(
            video,
            reviewer_name(ReviewerStore(database), reviewer),
            TranscriptStore(database).of_video(video),
            FactsStore(database).load(video).thumbnail_filepath,
            GivenFiles(database, open_object_store(settings), keep_places=settings.keep_places),
        )

    def set_subtitles(self, given: str) -> None:
        from resources.sources.given_files import checked_language

        language, equals, file = given.partition("=")
        if not equals or not file:
            raise typer.BadParameter("--set-subtitles takes a language and a file, as en=harbour.srt")
        name = subtitles_name(checked_language(language))
        seen = [one.id for one in self.known if subtitles_name(one.language) == name]
        data = _read(Path(file), MOST_BYTES)
        before, action, warnings = self.files.put_subtitles(self.video, language, Path(file).name, data, reviewer=self.reviewer, seen=seen)
        for warning in warnings:
            terminal.warn(f"{Path(file).name}: {warning}.")
        if action is None:
            terminal.warn("Nothing was changed: these are its subtitles already.")
        elif before:
            terminal.warn(f"They are in the place of {', '.join(one.called for one in before)}; --undo brings those back.")

    def remove_subtitles(self, given: str) -> None:
        language, colon, kind = given.partition(":")
        if colon and kind not in (SUBTITLE, AUTOMATIC):
            raise typer.BadParameter(f"--remove-subtitles takes a language, or one with its kind, as en:{AUTOMATIC} or en:{SUBTITLE}")
        chosen = [one for one in _in_language(self.known, self.video, language) if not colon or one.kind == kind]
        if not chosen:
            raise NotFoundError(f"source video {self.video} has no subtitles of the kind {kind} in {language[:40]!r}")
        languages = list(dict.fromkeys(one.language for one in chosen if one.language))
        if len({subtitles_name(one) for one in languages}) > 1:
            raise NotFoundError(f"source video {self.video} has subtitles in {' and '.join(languages)}: name one of them")
        self.files.take_subtitles(self.video, [one.id for one in chosen], reviewer=self.reviewer)

    def set_thumbnail(self, file: Path | None) -> None:
        """None: take it away."""
        from resources.sources.given_files import MOST_THUMBNAIL_BYTES

        if file is None:
            if self.files.take_thumbnail(self.video, reviewer=self.reviewer, seen=self.thumbnail_seen) is None:
                raise NotFoundError(f"source video {self.video} has no thumbnail")
            return
        data = _read(file, MOST_THUMBNAIL_BYTES)
        if self.files.put_thumbnail(self.video, file.name, data, reviewer=self.reviewer, seen=self.thumbnail_seen) is None:
            terminal.warn("Nothing was changed: this is its thumbnail already.")


def _read(file: Path, most_bytes: int) -> bytes:
    """A file, or of a larger one so much that it is seen to be too large."""
    from resources.files.ordinary_file import opened_file

    try:
        with opened_file(file) as opened:
            return opened.read(most_bytes + 1)
    except OSError as error:
        raise BadRequestError(f"{file} cannot be read: {error.strerror}") from error


def _tags_with(database: Database, video: int, added: list[str], removed: list[str]) -> list[str]:
    from resources.postgres.facts_store import FactsStore

    known = FactsStore(database).load(video).tags
    missing = [tag for tag in removed if tag not in known]
    if missing:
        raise NotFoundError(f"source video {video} has no tag {missing[0][:60]!r}; it has: {', '.join(known) or 'none'}")
    return [*(tag for tag in known if tag not in removed), *added]


def _in_language(known: list[Transcript], video: int, language: str) -> list[Transcript]:
    from resources.sources.given_files import in_language

    found = in_language(known, language)
    if not found:
        there = ", ".join(dict.fromkeys(one.language or f"{NO_LANGUAGE} (language not said)" for one in known)) or "none"
        raise NotFoundError(f"source video {video} has no subtitles in {language[:40]!r}; it has: {there}")
    return found


def _show_lines(database: Database, video: int, language: str, as_json: bool) -> None:
    from resources.postgres.transcript_store import TranscriptStore

    store = TranscriptStore(database)
    chosen = [(one, store.lines(one.id)) for one in _in_language(store.of_video(video), video, language)]
    if as_json:
        terminal.show_json([_head_json(one) | {"lines": [asdict(line) for line in lines]} for one, lines in chosen])
        return
    columns = [Column("from", "from", number=True), Column("to", "to", number=True), Column("text", "text", wraps=True)]
    for one, lines in chosen:
        clocks = [(terminal.clock_time(line.start_seconds), terminal.clock_time(line.end_seconds), line.text) for line in lines]
        rows = [{"from": start, "to": end, "text": text} for start, end, text in clocks]
        terminal.show_table(f"{one.called}, kind {one.kind}", columns, rows)
