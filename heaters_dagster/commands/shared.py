"""What several commands share: the open database, arguments that mean the same everywhere, and how a clip is printed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heaters_dagster import terminal
from heaters_dagster.domain.review_queue import MAX_ID
from heaters_dagster.settings import Settings, load_settings
from heaters_dagster.terminal import Column

if TYPE_CHECKING:
    from resources.clip_store import Clip
    from resources.database import Database
    from resources.review_store import ReviewResult, ReviewStore

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
VideoId = Annotated[int, typer.Argument(max=MAX_ID, metavar="VIDEO", help="Id of the source video, as `heaters status` shows it.")]
Frame = Annotated[int, typer.Argument(metavar="FRAME", help="Frame number, 0-based: the first frame of the right-hand clip.")]
ClipIds = Annotated[list[int] | None, typer.Argument(max=MAX_ID, metavar="CLIP...", help="Clip ids, as `heaters clips` shows them.")]
Video = Annotated[int | None, typer.Option("--video", max=MAX_ID, help="All clips of this source video; needs --all.")]
All = Annotated[bool, typer.Option("--all", help="Every clip of --video that waits for review.")]
As = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Decide as this reviewer; else HEATERS_REVIEWER, else your user name.")
]

CLIP_FIELDS = (
    "id",
    "source_video_id",
    "sequence",
    "start_frame",
    "end_frame",
    "start_time_seconds",
    "end_time_seconds",
    "state",
    "confidence",
    "clip_filepath",
    "grouped_with_clip_id",
    "export_profile",
    "error",
)
CLIP_COLUMNS = (
    Column("id", "id", number=True),
    Column("nnn", "sequence", number=True),
    Column("frames", "frames", number=True),
    Column("from", "from", number=True),
    Column("to", "to", number=True),
    Column("state", "state"),
    Column("confidence", "confidence", number=True),
    Column("file", "clip_filepath"),
    Column("error", "error", wraps=True),
)


@contextmanager
def opened_database(settings: Settings, video: int | None = None) -> Iterator[Database]:
    """The open database. Raises NotFoundError when `video` is given and there is no such source video."""
    from resources.database import open_database
    from resources.source_video_store import SourceVideoStore

    database = open_database(settings)
    try:
        if video is not None:
            SourceVideoStore(database).load(video)
        yield database
    finally:
        database.dispose()


@contextmanager
def opened_reviews(settings: Settings, video: int | None = None) -> Iterator[ReviewStore]:
    from resources.frame_index_reader import FrameIndexes
    from resources.object_store.open import open_object_store
    from resources.review_store import ReviewStore

    with opened_database(settings, video) as database:
        yield ReviewStore(database, FrameIndexes(open_object_store(settings)).times)


def reviewer_name(reviews: ReviewStore, name: str | None) -> str:
    """The name that a decision of this command stands under; see `ReviewerStore.at_command_line`."""
    given = name or load_settings().reviewer
    reviewer = reviews.reviewers.at_command_line(given)
    if reviewer.name != " ".join(given.split()):
        terminal.warn(f"Reviewers sign in here: decisions of the command line stand under the name {reviewer.name!r}.")
    return reviewer.name


def show_result(result: ReviewResult, as_json: bool) -> None:
    rows = [clip_row(clip) for clip in result.clips]
    if as_json:
        terminal.show_json(
            {
                "action_id": result.action_id,
                "action": str(result.action),
                "clips": [{name: row[name] for name in CLIP_FIELDS} for row in rows],
            }
        )
        return
    terminal.say(f"{result.action}: done (action {result.action_id}; undo with: heaters review undo)")
    terminal.show_table("", CLIP_COLUMNS[:7], rows)


def show_clips(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        terminal.show_json([{name: row[name] for name in CLIP_FIELDS} for row in rows])
    else:
        terminal.show_table("", CLIP_COLUMNS, rows)


def clip_row(clip: Clip) -> dict[str, Any]:
    row = asdict(clip)
    row["state"] = str(clip.state)
    row["frames"] = f"{clip.start_frame}..{clip.end_frame - 1}"
    row["from"], row["to"] = terminal.clock_time(clip.start_time_seconds), terminal.clock_time(clip.end_time_seconds)
    return row
