"""`heaters review ...`: decide on clips, and take decisions back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.cold_masters import agree_to_approve, agree_to_decision
from heaters_dagster.commands.shared import (
    All,
    As,
    AsJson,
    Clip_,
    Clips,
    OneVideo,
    Video,
    clip_ids,
    example,
    opened_database,
    opened_reviews,
    reviewer_name,
    show_result,
    within,
)
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.clip_names import clips_by_number, clips_in_words
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from resources.postgres.review_store import HistoryEntry

Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask when a gold master costs more than 1 USD to get back from cold storage.")
]

app = typer.Typer(no_args_is_help=True, help="Decide on clips, and take decisions back.")


def _decide(
    action: str, called: list[str] | None, video: int | None, every: bool, reviewer: str | None, as_json: bool, *, yes: bool = False
) -> None:
    if bool(called) == (video is not None):
        raise typer.BadParameter("write clips, or --video VIDEO --all")
    if video is not None and not every:
        raise typer.BadParameter("--video needs --all, which means every waiting clip of that source video")
    settings = load_settings()
    if video is None:
        _decide_named(settings, action, called or [], reviewer, as_json, yes=yes)
        return
    waiting = _waiting(settings, video)
    if not waiting:
        terminal.show_json([]) if as_json else terminal.say(f"No clip of source video {video} waits for review.")
        return
    _ask_before(settings, action, list(waiting), yes=yes)
    with opened_reviews(settings) as reviews:
        decided = reviews.decide_unchanged(ReviewAction(action), waiting, reviewer=reviewer_name(reviews.reviewers, reviewer))
        for told in decided.left_alone.values():
            terminal.warn(f"Left alone: {reviews.names.in_words(told)}")
        if decided.result is not None:
            show_result(decided.result, reviews.names, as_json)
    if decided.result is None:
        terminal.show_json([]) if as_json else terminal.say("Nothing was decided: every clip was changed in the meantime.")


def _ask_before(settings: Settings, action: str, clip_ids: Sequence[int], *, yes: bool) -> None:
    """Before a decision has files made again that need gold masters from cold storage."""
    if action == ReviewAction.APPROVE:
        with opened_database(settings) as database:
            agree_to_approve(clip_ids, settings, database, yes=yes)


def _decide_named(settings: Settings, action: str, called: list[str], reviewer: str | None, as_json: bool, *, yes: bool) -> None:
    """Decide on named clips, and name each decision of a colleague that this changes.

    A decision that arrives at the same moment is kept.
    """
    with opened_reviews(settings) as reviews:
        chosen = clip_ids(reviews.names, called)
        _ask_before(settings, action, chosen, yes=yes)
        me, seen = reviewer_name(reviews.reviewers, reviewer), reviews.verdicts(chosen)
        result = getattr(reviews, action)(
            chosen, reviewer=me, expected_version={clip_id: verdict.version for clip_id, verdict in seen.items()}
        )
        for clip in result.clips:
            verdict = seen.get(clip.id)
            if verdict is not None and verdict.word and verdict.by not in (None, me) and clip.cut_point_version != verdict.version:
                terminal.warn(reviews.names.in_words(f"Clip id:{clip.id} was {verdict.word} by {verdict.by} before."))
        show_result(result, reviews.names, as_json)


def _waiting(settings: Settings, video: int) -> dict[int, int]:
    """Clip id -> version of the clips that wait for review."""
    from resources.postgres.clip_store import ClipStore

    with opened_database(settings, video) as database:
        live = ClipStore(database).load_live(video)
    return {clip.id: clip.cut_point_version for clip in live if clip.state == ClipState.PENDING_REVIEW}


@app.command(epilog=example("review approve 3:14 3:15"))
def approve(
    clips: Clips = None,
    video: Video = None,
    every: All = False,
    yes: Yes = False,
    reviewer: As = None,
    as_json: AsJson = False,
) -> None:
    """Approve clips: they are exported.

    Files that were asked for before are made again. When that needs a gold master that is in cold storage, it says so first, as heaters
    export does.
    """
    _decide("approve", clips, video, every, reviewer, as_json, yes=yes)


@app.command(epilog=example("review skip --video 3 --all"))
def skip(clips: Clips = None, video: Video = None, every: All = False, reviewer: As = None, as_json: AsJson = False) -> None:
    """Skip clips: they are kept, but not exported."""
    _decide("skip", clips, video, every, reviewer, as_json)


@app.command(epilog=example("review archive 3:14"))
def archive(clips: Clips = None, video: Video = None, every: All = False, reviewer: As = None, as_json: AsJson = False) -> None:
    """Archive clips: their files are deleted, their rows are kept."""
    _decide("archive", clips, video, every, reviewer, as_json)


@app.command(epilog=example("review group 3:15"))
def group(clip: Clip_, yes: Yes = False, reviewer: As = None, as_json: AsJson = False) -> None:
    """Group a clip with the one before it: both are approved and belong together. Gold masters in cold storage: as for approve."""
    settings = load_settings()
    with opened_reviews(settings) as reviews:
        chosen, name = clip_ids(reviews.names, [clip])[0], reviewer_name(reviews.reviewers, reviewer)
        with opened_database(settings) as database:
            grouped = reviews.foreseen_group(chosen, reviewer=name)
            agree_to_decision(grouped, settings, database, yes=yes, undone="Nothing was grouped")
        show_result(reviews.group(chosen, reviewer=name), reviews.names, as_json)


@app.command(epilog=example("review undo"))
def undo(yes: Yes = False, reviewer: As = None, as_json: AsJson = False) -> None:
    """Take back your latest decision. Type it again for the decision before, to any depth.

    When files are made again by that and need a gold master that is in cold storage, it says so first, as heaters export does.
    """
    _return(ReviewAction.UNDO, reviewer, as_json, yes=yes)


@app.command(epilog=example("review redo --as Ada"))
def redo(yes: Yes = False, reviewer: As = None, as_json: AsJson = False) -> None:
    """Do again what you last took back. Gold masters in cold storage: as for heaters review undo."""
    _return(ReviewAction.REDO, reviewer, as_json, yes=yes)


def _return(action: ReviewAction, reviewer: str | None, as_json: bool, *, yes: bool) -> None:
    settings = load_settings()
    with opened_reviews(settings) as reviews:
        name = reviewer_name(reviews.reviewers, reviewer)
        target, clips = reviews.foreseen(action, name)
        with opened_database(settings) as database:
            said = "Nothing was taken back" if action is ReviewAction.UNDO else "Nothing was done again"
            agree_to_decision(clips, settings, database, yes=yes, undone=said)
        done = (reviews.undo if action is ReviewAction.UNDO else reviews.redo)(name, action_id=target.id)
        show_result(done, reviews.names, as_json, returned=target.action)


@app.command(epilog=example("review history --video 3 --limit 10"))
def history(
    video: OneVideo = None,
    limit: Annotated[int, typer.Option(callback=within(1, 10_000), help="Number of entries to show.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Show who decided what, and when; newest first."""
    settings = load_settings()
    with opened_reviews(settings) as reviews:
        entries = reviews.history(source_video_id=video, limit=limit)
        known = reviews.names.named({clip_id for entry in entries for clip_id in entry.clip_ids})
        rows = [_row(entry) | {"clip_numbers": [known[clip_id][0] for clip_id in entry.clip_ids]} for entry in entries]
    if not rows and video is not None:
        with opened_database(settings, video):
            pass  # a source video that never existed is an error; a deleted one has a history
    if as_json:
        terminal.show_json(rows)
        return
    for row, entry in zip(rows, entries, strict=True):
        row["done"] = entry.words
        row["video"] = f"{entry.source_video_id}. {entry.source_video_title}"
        named = [known[clip_id] for clip_id in entry.clip_ids]
        is_one_video = {title for _, title in named} == {entry.source_video_title}
        row["clips"] = clips_by_number([number for number, _ in named]) if is_one_video else clips_in_words(named)
        if not (entry.clip_ids or entry.details or entry.target_action_id):
            row["clips"] = "changed nothing"  # an approval of an approved clip, for example: the page's key is kept with it
    columns = [Column("action", "id", True), Column("when", "created_at"), Column("who", "reviewer"), Column("what", "done", wraps=True)]
    terminal.show_table(
        "", [*columns, Column("video", "video", wraps=True), Column("clips", "clips", wraps=True), Column("undone", "undone")], rows
    )


def _row(entry: HistoryEntry) -> dict[str, Any]:
    """An entry that was read whole, so without the counts that stand for snapshots that were not read."""
    only_for_words = {"before_counts", "after_counts", "target_action", "target_details"}
    return {name: value for name, value in asdict(entry).items() if name not in only_for_words}
