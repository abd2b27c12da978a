"""Source videos: see how they stand, retry what failed, cut them again, rename and delete them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heaters_dagster.commands import completion, terminal
from heaters_dagster.commands.cold_masters import agree_to_retry
from heaters_dagster.commands.facts import facts_row
from heaters_dagster.commands.shared import (
    CLIP_COLUMNS,
    CLIP_FIELDS,
    As,
    AsJson,
    VideoId,
    chosen_from,
    clip_called,
    clip_ids,
    clip_row,
    example,
    known_id,
    opened_database,
    reviewer_name,
    say_next,
    within,
)
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.fact_fields import FACT_FIELDS
from heaters_dagster.domain.failing_starts import FailingStarts, held_up
from heaters_dagster.domain.progress import in_words, progress_in
from heaters_dagster.domain.proxy_pieces import one_piece_words
from heaters_dagster.domain.quality import Quality
from heaters_dagster.domain.related import Relation, told_once
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.stages import GOLD_MASTER, Job
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.words import clip_state_words, counted, video_state_words, without_state_names
from heaters_dagster.registries import DETECTORS
from heaters_dagster.settings import load_settings

if TYPE_CHECKING:
    from resources.postgres.database import Database
    from resources.postgres.source_video_lists import VideoOverview

app = typer.Typer()

#: Up to this many failures, `heaters retry` without arguments does not ask.
_MANY = 10
#: Source videos that one sentence names.
_NAMED = 10


@app.command(epilog=example("status 3"))
def status(
    video: Annotated[
        int | None,
        typer.Argument(
            callback=known_id,
            autocompletion=completion.source_videos,
            metavar="VIDEO",
            help="All about this source video. Without it: a list of all.",
        ),
    ] = None,
    most: Annotated[int, typer.Option(callback=within(1, 100_000), help="Number of lines at most; --json has all.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the source videos: state, clips by state, errors. When there are more than --most: first the failed ones, then the newest."""
    from resources.files.price_table import restore_terms
    from resources.object_store.probe import place_problem
    from resources.postgres.clip_store import ClipStore
    from resources.postgres.failing_starts import load_failing_starts
    from resources.postgres.master_restores import MasterRestores
    from resources.postgres.source_video_lists import SourceVideoLists
    from resources.postgres.store_pauses import StorePauses
    from resources.postgres.watched_store import WatchedStore
    from resources.sources.submit_places import watched_names
    from resources.upkeep.cold_masters import unanswered

    settings = load_settings()
    with opened_database(settings) as database:
        lists, failing = SourceVideoLists(database), load_failing_starts(settings)
        if video is not None:
            found, facts = lists.overview_of(video), facts_row(database, video)
            row = _row_in_words(found, failing)
            terminal.show_json([_video_row(found, failing) | {"known": facts["json"]}]) if as_json else _show_one(facts | row)
            for waits in () if as_json else unanswered(database, restore_terms(settings), [video]).values():
                terminal.warn(f"Files wait: {waits.waits}")
            return
        if as_json:
            terminal.show_json_list(_video_row(one, failing) for one in lists.all_overviews())
            return
        shown = lists.overview(most=most)
        rows = [_row_in_words(one, failing) for one in shown]
        related_words = told_once({one.id: one.related for one in shown})
        standing = {one.id: [in_words(told) for told in one.progress.values() if told.stands_still] for one in shown}
        counts = lists.counts()
        waiting = ClipStore(database).count_waiting_for_gold_master()
        unread = WatchedStore(database).problems(watched_names(settings))
        restores, unsaid = MasterRestores(database).load(), unanswered(database, restore_terms(settings))
        pause = StorePauses(database).problem(settings.object_bucket)
    for place in unread:
        terminal.warn(place)
    if not rows:
        terminal.say("No source videos yet. Submit one: heaters submit PATH-OR-ADDRESS")
        return
    columns = [
        Column("id", "id", True),
        Column("title", "title", wraps=True),
        Column("state", "state", wraps=True),
        Column("frames", "frame_count", True),
    ]
    columns += [
        Column("length", "length", True),
        *_timecode_columns(rows),
        Column("clips", "clip_summary", wraps=True),
        Column("gold master", "master", wraps=True),
        Column("error", "error", wraps=True),
    ]
    terminal.show_table("", columns, rows)
    if counts.total > len(rows):
        all_of_them = f"{counted(counts.total, 'source video')} ({counts.words})"
        terminal.say(f"{len(rows)} of {all_of_them}. More: heaters status --most {counts.total}, or --json")
    if problem := place_problem(settings) or pause:
        terminal.complain(f"All work waits, because nothing can be stored: {problem}")
    for one in failing.values():
        terminal.complain(settings.without_secrets(one.sentence))
    for row in rows:
        if count := waiting.get(row["id"]):
            restore, offer = restores.get(row["id"]), unsaid.get(row["id"])
            when = f"is back; {restore.words}" if restore is not None else f"is back; {offer.waits}" if offer is not None else "is made"
            terminal.say(
                f"source video {row['id']}: {counted(count, 'approved clip is', 'approved clips are')} exported as soon as "
                f"the gold master {when}"
            )
        for warning in (*standing[row["id"]], *related_words.get(row["id"], ())):
            terminal.warn(f"source video {row['id']}: {warning}")
    if noted := [row["id"] for row in rows if row["warnings"]]:
        several = f"Source videos {', '.join(map(str, noted[:_NAMED]))}{' and others' if len(noted) > _NAMED else ''} have"
        terminal.say(f"{several if len(noted) > 1 else f'Source video {noted[0]} has'} notes: heaters status {noted[0]} shows them.")


@app.command(epilog=example("recut 3 --threshold 0.4"))
def recut(
    video: VideoId,
    detector: Annotated[
        str | None, chosen_from(DETECTORS, "--detector", otherwise="the one that made the present cuts, whatever the settings say")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Score above which a boundary is cut. Without it: the detector's default.")
    ] = None,
    min_clip_frames: Annotated[
        int | None, typer.Option(callback=within(1, 100_000), help="Shorter clips are joined to a neighbour.")
    ] = None,
    chapters_as_cuts: Annotated[
        bool | None,
        typer.Option("--chapters-as-cuts/--no-chapters-as-cuts", help="Whether chapters begin clips, from now on. Without it: as before."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Cut even when review has begun. It retires the decisions; heaters review undo brings them back."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Cut a source video again from its stored scores, in milliseconds.

    The first time with another --detector, the proxy is decoded for new scores.

    A recut of clips that nobody has decided on is no decision, so heaters review undo does not take it back: recut with the old values.
    """
    from assets.virtual_clips import recut as recut_video
    from resources.object_store.open import open_object_store
    from resources.postgres.clip_store import ClipStore
    from resources.postgres.source_video_lists import SourceVideoLists

    settings = load_settings()
    with opened_database(settings) as database, terminal.bars() as report:
        clips = ClipStore(database)
        before = {clip.id for clip in clips.load_live(video)} if force and clips.review_has_begun(video) else set()
        made = recut_video(
            video,
            database=database,
            objects=open_object_store(settings),
            settings=settings,
            detector=detector,
            threshold=threshold,
            min_clip_frames=min_clip_frames,
            chapters_as_cuts=chapters_as_cuts,
            force=force,
            report=report,
        )
        rows = [clip_row(clip) for clip in made]
        uncut = SourceVideoLists(database).overview_of(video).uncut
    if as_json:
        terminal.show_json([{name: row[name] for name in CLIP_FIELDS} for row in rows])
    else:
        terminal.show_table("", CLIP_COLUMNS, rows)
        if before - {clip.id for clip in made}:
            terminal.say("Decisions that this has retired: heaters review undo brings them back.")
    if uncut is not None:
        terminal.warn(f"source video {video}: {uncut}")


@app.command(epilog=example('rename 3 "Harbour at night"'))
def rename(
    video: VideoId,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="The new title, in quotes when it has spaces.")],
    reviewer: As = None,
    as_json: AsJson = False,
) -> None:
    """Give a source video another title. The history keeps the old one."""
    from resources.postgres.reviewer_store import ReviewerStore
    from resources.upkeep.source_video_removal import rename_source_video

    with opened_database(load_settings(), video) as database:
        named = rename_source_video(video, title, reviewer=reviewer_name(ReviewerStore(database), reviewer), database=database)
    if as_json:
        terminal.show_json({"id": named.id, "title": named.title})
    else:
        terminal.say(f"Source video {named.id} is now called {named.title}.")


@app.command(epilog=example("dismiss 7 3"))
def dismiss(
    video: VideoId,
    other: Annotated[
        int,
        typer.Argument(
            callback=known_id, autocompletion=completion.source_videos, metavar="OTHER", help="The source video that the hint names."
        ),
    ],
    reviewer: As = None,
    as_json: AsJson = False,
) -> None:
    """Say that two source videos are not the same, or may both stay: the hint on them is not shown any more."""
    from resources.postgres.related_videos import RelatedVideos
    from resources.postgres.reviewer_store import ReviewerStore

    with opened_database(load_settings(), video) as database:
        name = reviewer_name(ReviewerStore(database), reviewer)
        count = RelatedVideos(database).dismiss(video, other, reviewer=name)
    if as_json:
        terminal.show_json({"id": video, "other_id": other, "hints": count})
    else:
        terminal.say(f"Source videos {video} and {other} are no longer said to be the same.")


@app.command(epilog=example("delete 3"))
def delete(
    video: VideoId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. Needed in scripts, where nobody can answer.")] = False,
    reviewer: As = None,
    as_json: AsJson = False,
) -> None:
    """Delete a source video with everything: its files, clips, exports and vectors. It cannot be taken back; the history stays."""
    from heaters_dagster.orchestration.instance import forget_partition
    from resources.object_store.open import open_object_store
    from resources.postgres.clip_store import ClipStore
    from resources.postgres.reviewer_store import ReviewerStore
    from resources.postgres.source_video_store import SourceVideoStore
    from resources.upkeep.source_video_removal import delete_source_video, is_deleted

    settings = load_settings()
    with opened_database(settings) as database:
        if not yes and not is_deleted(video, database=database):
            if not sys.stdin.isatty():
                raise typer.BadParameter(
                    "this is not a terminal, so Heaters cannot ask: add --yes to delete the source video with everything"
                )
            title = SourceVideoStore(database).load(video).title
            count = sum(ClipStore(database).counts_by_state(video).get(video, {}).values())
            typer.confirm(f"Delete source video {video}, {title}, with {counted(count, 'clip')} and all files?", abort=True)
            if typer.prompt("It cannot be taken back. Type the title to delete it").strip() != title:
                terminal.complain("that is not the title: nothing was deleted")
                raise typer.Exit(1)
        name = reviewer_name(ReviewerStore(database), reviewer)
        gone = delete_source_video(video, reviewer=name, database=database, objects=open_object_store(settings))
    forget_partition(settings, video)
    if as_json:
        terminal.show_json({"id": video, "title": gone.title, "clips": gone.clips, "objects": list(gone.objects)})
    else:
        terminal.say(
            f"Deleted source video {video}, {gone.title}: {counted(gone.clips, 'clip')}, {counted(len(gone.objects), 'file')}. Its "
            "history stays."
        )


@app.command(epilog=example("retry 3 4"))
def retry(
    videos: Annotated[
        list[int] | None,
        typer.Argument(
            callback=known_id,
            autocompletion=completion.source_videos,
            metavar="VIDEO",
            help="Source videos. Without any: everything that failed.",
        ),
    ] = None,
    clips: Annotated[
        list[str] | None,
        typer.Option(
            "--clip",
            callback=clip_called,
            autocompletion=completion.clips,
            metavar="CLIP",
            help="This clip, as 3:14 or by id. Can be given several times.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, even for many, or when a gold master costs more than 1 USD to get back.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put failed source videos, clips and gold masters back before what failed; of named ones also what is gone from the store.

    When files of named source videos need a gold master that is in cold storage, it says so, as heaters export does, and asks for it when
    you agree.
    """
    from resources.object_store.open import open_object_store
    from resources.postgres.clip_lookup import ClipLookup
    from resources.upkeep.retries import retry_failed

    settings = load_settings()
    with opened_database(settings) as database:
        if not (videos or clips or yes):
            _ask_for_many(database)
        if videos:
            agree_to_retry(videos, settings, database, yes=yes)
        objects = open_object_store(settings) if videos else None
        retried = retry_failed(database, videos=videos or (), clips=clip_ids(ClipLookup(database), clips or ()), objects=objects)
    if as_json:
        terminal.show_json(retried)
    elif retried:
        for sentence in retried:
            terminal.say(sentence)
        say_next(settings)
    else:
        terminal.say("Nothing has failed, and nothing is gone from the store." if videos else "Nothing has failed.")


def _timecode_columns(rows: Sequence[dict[str, Any]]) -> list[Column]:
    """Of what a camera or tape says, as far as any source video of the list has it."""
    named = (Column("start timecode", "start_timecode", True), Column("reel", "reel", wraps=True))
    return [column for column in named if any(row[column.key] for row in rows)]


def _show_one(row: dict[str, Any]) -> None:
    headings = {"id": "id", "title": "title", "source": "source", "state": "state", "error": "error", "length": "length"}
    headings |= {"frame_count": "frames", "clip_summary": "clips", "master": "gold master", "working": "now", "one_piece_words": "pieces"}
    headings |= {"duplicate_of_id": "same bytes as", "quality_words": "quality"}
    headings |= {field.name: field.label.lower() for field in FACT_FIELDS if not field.is_long}
    headings |= {"subtitles": "subtitles", "chapter_titles": "chapters", "description": "description"}
    headings |= {"thumbnail_filepath": "thumbnail", "container_tags": "tags of the file"}
    terminal.show_record([Column(heading, key, wraps=True) for key, heading in headings.items()], row)
    for sentence in row["failing_starts"]:
        terminal.complain(sentence)
    for warning in (*row["warnings"], *(one["told"] for one in row["related"])):
        terminal.warn(f"Note: {warning}")
    for one in row["related"]:
        if Relation(one["kind"]).is_hint:
            terminal.say(f"When that is of no use: heaters dismiss {row['id']} {one['id']}")


def _ask_for_many(database: Database) -> None:
    """Ask before many rows are tried again. Raises typer.Exit when the answer is no."""
    from resources.postgres.backlog import failed_count, load_backlog

    failed = [group for group in load_backlog(database) if group.failed]
    if failed_count(failed) <= _MANY:
        return
    told = ", ".join(f"{group.counted} ({group.words})" for group in failed)
    if not (sys.stdin.isatty() and terminal.err.is_terminal):
        raise typer.BadParameter(f"this would try {told} again: name those that you want, or add --yes for all")
    if not typer.confirm(f"Try {told} again?", err=True):
        raise typer.Exit(1)


def _video_row(video: VideoOverview, failing: Mapping[Job, FailingStarts]) -> dict[str, Any]:
    lacks_master = not (video.gold_master_filepath or video.gold_master_error)
    return {
        "id": video.id,
        "source": without_access(video.source),
        "title": video.title,
        "state": str(video.state),
        "frame_count": video.frame_count,
        "duration_seconds": video.duration_seconds,
        "length": terminal.clock_time(video.duration_seconds),
        "start_timecode": video.start_timecode,
        "reel": video.reel,
        "error": video.error,
        "clip_errors": [{"error": one.reason, "clips": one.clips} for one in video.clip_failures],
        "warnings": video.notes,
        "clips": {str(state): count for state, count in video.clips.items()},
        "clip_summary": ", ".join(f"{count} {what}" for what, count in (*sorted(video.clips.items()), *video.beside.items())),
        "gold_master_filepath": video.gold_master_filepath,
        "master": "kept" if video.gold_master_filepath else (video.gold_master_error or ""),
        "waits": "; ".join(dict.fromkeys(wait.words for wait in video.waits.values())),
        "failing_starts": [one.sentence for one in held_up(video.state, video.clips, lacks_master=lacks_master, failing=failing)],
        "working": "; ".join(map(in_words, video.progress.values())),
        "progress": {asset: asdict(told) for asset, told in video.progress.items()},
        "duplicate_of_id": video.duplicate_of_id,
        "site_waits": video.site_waits,
        "quality": video.quality,
        "related": [{"id": one.other_id, "kind": str(one.kind), "is_newer": one.is_newer, "told": one.words} for one in video.related],
        "one_piece": video.one_piece,
        "known": None,
    }


def _row_in_words(video: VideoOverview, failing: Mapping[Job, FailingStarts]) -> dict[str, Any]:
    """The row for people: states in words. Errors are those of the source video and of its clips."""
    from resources.postgres.clip_failures import failures_words

    states = [f"{video.clips[state]} {clip_state_words(state)}" for state in ClipState if video.clips.get(state)]
    clips = ", ".join([*states, *(f"{count} {what}" for what, count in video.beside.items())])
    error = without_state_names("; ".join(filter(None, (video.error, failures_words(video.clip_failures)))))
    others = [wait.words for asset, wait in video.waits.items() if asset != GOLD_MASTER.asset]
    quality = Quality.from_json(video.quality)
    own, of_master = progress_in(video.state, video.progress), video.progress.get(GOLD_MASTER.asset)
    turn = own.part if own is not None and own.is_waiting else ""
    master = video.waits[GOLD_MASTER.asset].words if GOLD_MASTER.asset in video.waits else ""
    if of_master is not None and of_master.is_waiting:
        master = of_master.part
    state = video_state_words(video.state)
    if video.state is SourceVideoState.PREPROCESSED:
        replaced = (f"waits for a word from you: heaters replace {one.other_id}" for one in video.related if one.waits_for_word)
        state = next(replaced, state)
    return _video_row(video, failing) | {
        "state": "; ".join(filter(None, (state, turn, video.site_waits, *others[:1]))),
        "clip_summary": clips,
        "error": error,
        "quality_words": quality.words if quality is not None else "",
        "one_piece_words": one_piece_words(video.one_piece) if video.one_piece is not None else "",
        **({"master": master} if master else {}),
    }
