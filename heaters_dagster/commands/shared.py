"""What several commands share: the open database, arguments that mean the same everywhere, and how a clip is printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    from resources.reviewer_store import ReviewerStore


def known_id(value: int | Sequence[int] | None) -> Any:
    """An id, or several, that the database can hold. Typer's own limits would print the limits of a bigint into every help text."""
    for one in [value] if isinstance(value, int) else value or ():
        if not 1 <= one <= MAX_ID:
            raise typer.BadParameter(
                f"there is no id {one}: ids are whole numbers from 1 on, as heaters status and heaters clips show them"
            )
    return value


def example(line: str) -> str:
    """What a command's help ends with."""
    return f"Example: heaters {line}"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs; docs/json.md says what is in it.")]
VideoId = Annotated[int, typer.Argument(callback=known_id, metavar="VIDEO", help="Id of the source video, as `heaters status` shows it.")]
VideoIds = Annotated[list[int] | None, typer.Argument(callback=known_id, metavar="VIDEO", help="Only these source videos; else all.")]
OneVideo = Annotated[int | None, typer.Option("--video", callback=known_id, metavar="VIDEO", help="Only this source video.")]
ClipId = Annotated[int, typer.Argument(callback=known_id, metavar="CLIP", help="Clip id, as `heaters clips` shows it.")]
Frame = Annotated[int, typer.Argument(metavar="FRAME", help="Frame number, 0-based: the first frame of the right-hand clip.")]
ClipIds = Annotated[list[int] | None, typer.Argument(callback=known_id, metavar="CLIP", help="Clip ids, as `heaters clips` shows them.")]
Video = Annotated[
    int | None, typer.Option("--video", callback=known_id, metavar="VIDEO", help="All clips of this source video; needs --all.")
]
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


def reviewer_name(reviewers: ReviewerStore, name: str | None) -> str:
    """The name that the ledger gives to a decision of this command; see `ReviewerStore.at_command_line`."""
    given = name or load_settings().reviewer
    reviewer = reviewers.at_command_line(given)
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
    if result.action_id is None:
        terminal.say(f"Nothing to {result.action}: nothing would change.")
    else:
        terminal.say(f"{result.action}: done (action {result.action_id}; {_way_back(result.action)})")
    terminal.show_table("", CLIP_COLUMNS[:7], rows)


def _way_back(action: str) -> str:
    return "do it again with: heaters review redo" if str(action) == "undo" else "undo with: heaters review undo"


def say_next(settings: Settings) -> None:
    """What to do for the work to go on: nothing while `heaters up` runs."""
    from heaters_dagster.up import is_running

    if is_running(settings):
        terminal.say(f"Next: nothing to type, heaters up goes on with it; watch it at {settings.review_url}")
    else:
        terminal.say("Next: heaters process, or heaters up")


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
