"""`heaters review ...`: decide on clips, and take decisions back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from heaters_dagster import terminal
from heaters_dagster.commands.shared import All, As, AsJson, ClipIds, Video, opened_database, opened_reviews, reviewer_name, show_result
from heaters_dagster.domain.review_queue import MAX_ID
from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import Settings, load_settings
from heaters_dagster.terminal import Column

app = typer.Typer(no_args_is_help=True, help="Decide on clips, and take decisions back.")


def _decide(action: str, clip_ids: list[int] | None, video: int | None, every: bool, reviewer: str | None, as_json: bool) -> None:
    if bool(clip_ids) == (video is not None):
        raise typer.BadParameter("give clip ids, or --video ID --all")
    if video is not None and not every:
        raise typer.BadParameter("--video needs --all: every clip of it that waits for review")
    settings = load_settings()
    if video is not None:
        clip_ids = _pending(settings, video)
        if not clip_ids:
            terminal.show_json([]) if as_json else terminal.say(f"No clip of source video {video} waits for review.")
            return
    with opened_reviews(settings) as reviews:
        show_result(getattr(reviews, action)(clip_ids, reviewer=reviewer_name(reviewer)), as_json)


def _pending(settings: Settings, video: int) -> list[int]:
    from resources.clip_store import ClipStore

    with opened_database(settings, video) as database:
        return [clip.id for clip in ClipStore(database).load_live(video) if clip.state == ClipState.PENDING_REVIEW]


@app.command()
def approve(clip_ids: ClipIds = None, video: Video = None, every: All = False, reviewer: As = None, as_json: AsJson = False) -> None:
    """Approve clips: they are exported."""
    _decide("approve", clip_ids, video, every, reviewer, as_json)


@app.command()
def skip(clip_ids: ClipIds = None, video: Video = None, every: All = False, reviewer: As = None, as_json: AsJson = False) -> None:
    """Skip clips: kept as they are, not exported."""
    _decide("skip", clip_ids, video, every, reviewer, as_json)


@app.command()
def archive(clip_ids: ClipIds = None, video: Video = None, every: All = False, reviewer: As = None, as_json: AsJson = False) -> None:
    """Archive clips: their files are deleted, their rows are kept."""
    _decide("archive", clip_ids, video, every, reviewer, as_json)


@app.command()
def group(clip_id: Annotated[int, typer.Argument(max=MAX_ID, metavar="CLIP")], reviewer: As = None, as_json: AsJson = False) -> None:
    """Group a clip with the one before it: both are approved and belong together."""
    with opened_reviews(load_settings()) as reviews:
        show_result(reviews.group(clip_id, reviewer=reviewer_name(reviewer)), as_json)


@app.command()
def undo(reviewer: As = None, as_json: AsJson = False) -> None:
    """Take back your latest decision; again for the one before it, to any depth."""
    with opened_reviews(load_settings()) as reviews:
        show_result(reviews.undo(reviewer=reviewer_name(reviewer)), as_json)


@app.command()
def redo(reviewer: As = None, as_json: AsJson = False) -> None:
    """Do again what you last took back."""
    with opened_reviews(load_settings()) as reviews:
        show_result(reviews.redo(reviewer=reviewer_name(reviewer)), as_json)


@app.command()
def history(
    video: Annotated[int | None, typer.Option("--video", max=MAX_ID, help="Only this source video.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 30,
    as_json: AsJson = False,
) -> None:
    """Who decided what, when; newest first."""
    with opened_reviews(load_settings(), video) as reviews:
        rows = [asdict(entry) for entry in reviews.history(source_video_id=video, limit=limit)]
    if as_json:
        terminal.show_json(rows)
        return
    columns = [Column("id", "id", True), Column("when", "created_at"), Column("who", "reviewer"), Column("action", "action")]
    terminal.show_table(
        "", [*columns, Column("video", "source_video_id", True), Column("clips", "clip_ids", wraps=True), Column("undone", "undone")], rows
    )
