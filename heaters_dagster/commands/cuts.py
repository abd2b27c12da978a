"""`heaters cuts ...`: list, add, remove, move or import cuts, and say what they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import (
    As,
    AsJson,
    Frame,
    VideoId,
    chosen_from,
    example,
    opened_database,
    opened_reviews,
    reviewer_name,
    show_result,
)
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.cut_kinds import GIVEN_KINDS, SUDDEN_KINDS, UNKNOWN_KIND, CutKind, Transition
from heaters_dagster.domain.errors import CutError
from heaters_dagster.domain.words import counted
from heaters_dagster.registries import CUT_LIST_FORMATS
from heaters_dagster.settings import load_settings

if TYPE_CHECKING:
    from heaters_dagster.domain.timecode import ClockOfVideo
    from resources.postgres.clip_rows import Clip

app = typer.Typer(no_args_is_help=True, help="Cuts: the places where one clip ends and the next begins, and what they are.")

#: Frames and clips that a message names.
_MOST_FRAMES = 20
#: Built-in formats of cut lists that cannot be read; a test compares it with them, because to import them all takes time.
_ONLY_WRITTEN = ("ale", "fcp7xml")
_COLUMNS = (
    Column("frame", "frame", number=True),
    Column("at", "at", number=True),
    Column("kind", "kind_words"),
    Column("frames of the transition", "range", number=True),
    Column("clip", "reference", number=True),
)


@app.command("list", epilog=example("cuts list 3 --kind dissolve"))
def cuts_list(
    video: VideoId,
    kinds: Annotated[list[CutKind] | None, typer.Option("--kind", help="Only cuts of this kind. Can be given more than once.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the cuts of a source video in order: what each is, and the frames of its transition."""
    from resources.postgres.clip_store import ClipStore
    from resources.postgres.source_clocks import clocks_of

    with opened_database(load_settings(), video) as database:
        clock = clocks_of([video], database=database).get(video)
        rows = [_row(clip, clock) for clip in ClipStore(database).load_live(video)]
    chosen = [row for row in rows if not kinds or row["kind"] in kinds]
    if as_json:
        shown = ("frame", "time_seconds", "timecode", "kind", "first_frame", "last_frame", "clip_id", "clip")
        terminal.show_json([{name: row[name] for name in shown} for row in chosen])
    else:
        timecodes = () if clock is None else (Column("timecode", "timecode", number=True),)
        terminal.show_table("", [*_COLUMNS[:2], *timecodes, *_COLUMNS[2:]], chosen)


def _given_kind(text: str) -> CutKind:
    if text not in GIVEN_KINDS:
        raise typer.BadParameter(f"{text!r} is not one of: {', '.join(GIVEN_KINDS)}")
    return CutKind(text)


@app.command("set", epilog=example("cuts set 3 240 --kind dissolve --first 232 --last 247"))
def cuts_set(
    video: VideoId,
    frame: Frame,
    kind: Annotated[
        CutKind | None,
        typer.Option(
            "--kind",
            parser=_given_kind,
            metavar="KIND",
            autocompletion=lambda incomplete: [kind.value for kind in GIVEN_KINDS if kind.startswith(incomplete)],
            help=f"{', '.join(GIVEN_KINDS)}: what the cut is. Without it: what it was. A hard or jump cut has no transition.",
        ),
    ] = None,
    first: Annotated[int | None, typer.Option("--first", help="First frame of the transition. Without it: as before.")] = None,
    last: Annotated[int | None, typer.Option("--last", help="Last frame of the transition. Without it: as before.")] = None,
    no_range: Annotated[bool, typer.Option("--no-range", help="The transition has no frames of its own.")] = False,
    reviewer: As = None,
    as_json: AsJson = False,
) -> None:
    """Say what the cut at FRAME is, and which frames show both shots, or neither; the cut stays where it is."""
    if no_range and (first is not None or last is not None):
        raise typer.BadParameter("write either --no-range, or --first and --last")
    if kind is None and first is None and last is None and not no_range:
        raise typer.BadParameter("say what changes: --kind, --first, --last or --no-range")
    from resources.postgres.clip_store import ClipStore
    from resources.postgres.review_store import ReviewStore

    with opened_database(load_settings(), video) as database:
        here = next((clip for clip in ClipStore(database).load_live(video) if clip.start_frame == frame), None)
        reviews = ReviewStore(database, lambda source_video_id, frames: [])
        told = _told(None if here is None else here.transition, kind, (first, last), no_range=no_range)
        name = reviewer_name(reviews.reviewers, reviewer)
        seen = None if here is None else here.cut_point_version
        result = reviews.edit_cut(video, frame, told, reviewer=name, expected_version=seen)
        show_result(result, reviews.names, as_json)


@app.command("add", epilog=example("cuts add 3 240"))
def cuts_add(video: VideoId, frame: Frame, reviewer: As = None, as_json: AsJson = False) -> None:
    """Cut a clip in two: FRAME becomes the first frame of the right-hand clip."""
    with opened_reviews(load_settings()) as reviews:
        show_result(reviews.add_cut_point(video, frame, reviewer=reviewer_name(reviews.reviewers, reviewer)), reviews.names, as_json)


@app.command("remove", epilog=example("cuts remove 3 240"))
def cuts_remove(video: VideoId, frame: Frame, reviewer: As = None, as_json: AsJson = False) -> None:
    """Join the two clips that meet at FRAME."""
    with opened_reviews(load_settings()) as reviews:
        show_result(reviews.remove_cut_point(video, frame, reviewer=reviewer_name(reviews.reviewers, reviewer)), reviews.names, as_json)


@app.command("move", epilog=example("cuts move 3 240 244"))
def cuts_move(
    video: VideoId,
    frame: Frame,
    new_frame: Annotated[int, typer.Argument(metavar="NEW_FRAME", help="The new first frame of the right-hand clip.")],
    reviewer: As = None,
    as_json: AsJson = False,
) -> None:
    """Move the cut at FRAME to NEW_FRAME; both neighbours change."""
    with opened_reviews(load_settings()) as reviews:
        show_result(
            reviews.move_cut_point(video, frame, new_frame, reviewer=reviewer_name(reviews.reviewers, reviewer)), reviews.names, as_json
        )


@app.command("import", epilog=example("cuts import 3 harbour.edl --dry-run"))
def cuts_import(
    video: VideoId,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="EDL, FCPXML, OTIO, CSV as `heaters cutlist` writes it, or PySceneDetect's CSV.")
    ],
    form: Annotated[
        str | None,
        chosen_from(CUT_LIST_FORMATS, "--format", otherwise="by the name and the content of the file", leave_out=_ONLY_WRITTEN),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the cuts that are there, and add those of the list.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also when clips with a decision are replaced.")] = False,
    reviewer: As = None,
    as_json: AsJson = False,
) -> None:
    """Take the cuts of a list of another program as those of a source video: one action, which undo takes back.

    Clips begin and end where edits of the list do. Clips that stay the same keep their decisions; the others wait for review.
    """
    from resources.clips.cut_list_import import previewed
    from resources.media.frame_index_reader import FrameIndexes
    from resources.object_store.open import open_object_store
    from resources.postgres.cut_imports import import_cuts
    from resources.postgres.reviewer_store import ReviewerStore

    settings = load_settings()
    with opened_database(settings, video) as database:
        objects = open_object_store(settings)
        seen = previewed(video, file, form=form, keep=keep, database=database, objects=objects, settings=settings)
        action_id = None
        if not dry_run:
            done = import_cuts(
                database,
                video,
                seen.listed,
                frame_times=FrameIndexes(objects).times,
                reviewer=reviewer_name(ReviewerStore(database), reviewer),
                keep=keep,
                force=force,
                details={"file": file.name, "format": seen.form},
            )
            action_id = done.action_id
    decided = [clip.reference for clip in seen.decided]
    told = {
        "source_video_id": video,
        "format": seen.form,
        "cuts": list(seen.frames),
        "added": list(seen.added),
        "removed": list(seen.removed),
        "kept_clips": seen.kept_clips,
        "clips_with_decisions_replaced": decided,
        "notes": list(seen.notes),
        "dry_run": dry_run,
        "action_id": action_id,
    }
    if as_json:
        terminal.show_json(told)
        return
    for note in seen.notes:
        terminal.warn(note)
    terminal.say(
        f"{file.name} ({seen.form}) has {counted(len(seen.frames), 'cut')}: {len(seen.added):,} added, {len(seen.removed):,} removed; "
        f"{counted(seen.kept_clips, 'clip stays as it is', 'clips stay as they are')}."
    )
    for words, frames in (("Added", seen.added), ("Removed", seen.removed)):
        if frames:
            more = f" and {len(frames) - _MOST_FRAMES:,} more; --json has all" if len(frames) > _MOST_FRAMES else ""
            terminal.say(f"{words} at frame {', '.join(map(str, frames[:_MOST_FRAMES]))}{more}")
    if decided:
        some = ", ".join(decided[:_MOST_FRAMES])
        one = len(decided) == 1
        replaced = "would be" if dry_run else "is" if one else "are"
        which = f"{replaced} replaced, and what was decided goes with {'it' if one else 'them'}: {some}"
        terminal.warn(f"{counted(len(decided), 'clip')} with a decision {which}.{' That needs --force.' if dry_run else ''}")
    if dry_run:
        terminal.say("Nothing was changed, because of --dry-run.")
    elif action_id is None:
        terminal.say("Nothing to do: the cuts are these already.")
    else:
        terminal.say(f"Imported (action {action_id}; to undo it: heaters review undo).")


def _row(clip: Clip, clock: ClockOfVideo | None) -> dict[str, Any]:
    """clock: of the source video, None when it has no timecode."""
    told = clip.transition
    frames = None if told is None else told.frames
    return {
        "frame": clip.start_frame,
        "time_seconds": clip.start_time_seconds,
        "timecode": None if clock is None else clock.at(clip.start_time_seconds),
        "at": terminal.clock_time(clip.start_time_seconds),
        "kind": None if told is None else told.kind,
        "kind_words": UNKNOWN_KIND if told is None else told.kind.words,
        "first_frame": None if frames is None else frames[0],
        "last_frame": None if frames is None else frames[1],
        "range": "" if frames is None else f"{frames[0]}..{frames[1]}",
        "clip_id": clip.id,
        "clip": clip.reference,
        "reference": clip.reference,
    }


def _told(was: Transition | None, kind: CutKind | None, frames: Sequence[int | None], *, no_range: bool) -> Transition:
    """What the cut shall be: what it was, with what is given. Raises CutError when that is too little."""
    if was is not None and was.kind == CutKind.END:
        return Transition(CutKind.END)  # the store refuses it, with the frames at which cuts lie
    if kind is None and was is None:
        raise CutError(f"nobody has said what this cut is: add --kind {', '.join(GIVEN_KINDS)}")
    told = kind or (CutKind.HAND if was is None else was.kind)
    keeps = was is not None and not no_range and told not in SUDDEN_KINDS
    before = (was.first_frame, was.last_frame) if was is not None and keeps else (None, None)
    first, last = (old if new is None else new for new, old in zip(frames, before, strict=True))
    if (first is None) != (last is None):
        raise CutError("this cut has no range yet: give both --first and --last")
    return Transition(told, first, last)
