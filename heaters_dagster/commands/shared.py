"""Used by several commands: the open database, arguments that mean the same everywhere, and how a clip is printed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heaters_dagster.commands import completion, terminal
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.clip_names import clips_in_words, parsed_clip_id, parsed_clip_name
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.export_profile import ExportState
from heaters_dagster.domain.reasons import shared_reasons
from heaters_dagster.domain.review_queue import MAX_ID
from heaters_dagster.domain.run_leases import SCHEDULER
from heaters_dagster.domain.timecode import ClipTimecodes
from heaters_dagster.domain.words import action_words, clip_state_words, counted
from heaters_dagster.registries import Registry
from heaters_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from resources.postgres.clip_lookup import ClipLookup
    from resources.postgres.clip_store import Clip
    from resources.postgres.database import Database
    from resources.postgres.export_store import ClipExport
    from resources.postgres.review_store import ReviewResult, ReviewStore
    from resources.postgres.reviewer_store import ReviewerStore


#: Of the clips of one decision, so many are listed for people.
_MOST_ROWS = 100


def id_of(what: str, command: str) -> Callable[..., Any]:
    """A callback for an id, or several, that the database can hold. command: shows the ids of `what`.

    Typer's own limits would print the limits of a bigint into every help text.
    """

    def known(value: int | Sequence[int] | None) -> Any:
        for one in [value] if isinstance(value, int) else value or ():
            if not 1 <= one <= MAX_ID:
                raise typer.BadParameter(f"there is no {what} {one}: write its number, as {command} shows it")
        return value

    return known


known_id = id_of("source video", "heaters status")


def within(least: int, most: int | None = None) -> Callable[..., Any]:
    """A callback for a whole number from `least` to `most`, with a sentence of ours for others."""
    words = f"of {least:,} or more" if most is None else f"from {least:,} to {most:,}"

    def checked(value: int | None) -> int | None:
        if value is not None and not (least <= value and (most is None or value <= most)):
            raise typer.BadParameter(f"write a whole number {words}, not {value:,}")
        return value

    return checked


def clip_called(ctx: typer.Context, value: str | Sequence[str] | None) -> Any:
    """The name of a clip, or several names: see `clip_ids`. Only the form is checked here; the database knows whether the clip exists."""
    if ctx.resilient_parsing:  # a shell asks for completions
        return value
    for one in [value] if isinstance(value, str) else value or ():
        number = one.strip()
        if parsed_clip_id(one) is None and parsed_clip_name(one) is None and not (number.isascii() and number.isdigit()):
            raise typer.BadParameter(
                f"{one[:60]!r} is no clip: write 3:14 for clip 14 of source video 3, as heaters clips 3 shows it; or '14 of Harbour'"
            )
        if number.isascii() and number.isdigit() and not 1 <= int(number) <= MAX_ID:
            raise typer.BadParameter(f"there is no clip id:{number}; write 3:14 for clip 14 of source video 3")
    return value


def clip_ids(names: ClipLookup, called: Sequence[str]) -> list[int]:
    """Ids of the clips with these names: `3:14`, `14 of Harbour`, the name of a file, `id:812`; a whole number is an id.

    Raises NotFoundError; BadRequestError when a name may mean several clips.
    """
    return [int(one) if one.strip().isdigit() else names.id_of(one) for one in called]


def example(line: str) -> str:
    """The last line of a command's help."""
    return f"Example: heaters {line}"


def chosen_from(
    registry: Registry[Any], option: str, *, otherwise: str = "", told: Callable[[str], str] = str, leave_out: Collection[str] = ()
) -> Any:
    """An option that takes a name of `registry`.

    Its help lists the built-in names; installed packages are searched only when their name is used. otherwise: what the help says about
    leaving the option out. told: how the help calls a name. leave_out: names that are not offered, because the command cannot use them.
    """

    def known(ctx: typer.Context, value: str | None) -> str | None:
        if value is not None and not ctx.resilient_parsing and value not in registry:
            raise typer.BadParameter(registry.unknown(value))
        return value

    def offered(incomplete: str) -> list[str]:
        return [name for name in registry.names if name.startswith(incomplete) and name not in leave_out]

    more = "; or one that an installed package adds"
    without = f". Without it: {otherwise}" if otherwise else ""
    names = ", ".join(told(name) for name in registry.built_in if name not in leave_out)
    return typer.Option(option, callback=known, autocompletion=offered, metavar="NAME", help=f"{names}{more}{without}.")


_CLIP_HELP = "3:14 is clip 14 of source video 3, as `heaters clips 3` shows it; or '14 of Harbour', or an id from --json"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs. docs/json.md describes it.")]
VideoId = Annotated[
    int,
    typer.Argument(
        callback=known_id,
        autocompletion=completion.source_videos,
        metavar="VIDEO",
        help="Number of the source video, as `heaters status` shows it.",
    ),
]
VideoIds = Annotated[
    list[int] | None,
    typer.Argument(
        callback=known_id, autocompletion=completion.source_videos, metavar="VIDEO", help="Only these source videos. Without any: all."
    ),
]
OneVideo = Annotated[
    int | None,
    typer.Option("--video", callback=known_id, autocompletion=completion.source_videos, metavar="VIDEO", help="Only this source video."),
]
Clip_ = Annotated[str, typer.Argument(callback=clip_called, autocompletion=completion.clips, metavar="CLIP", help=f"Clip: {_CLIP_HELP}.")]
Frame = Annotated[int, typer.Argument(metavar="FRAME", help="Frame number, 0-based: the first frame of the right-hand clip.")]
Clips = Annotated[
    list[str] | None, typer.Argument(callback=clip_called, autocompletion=completion.clips, metavar="CLIP", help=f"Clips: {_CLIP_HELP}.")
]
Video = Annotated[
    int | None,
    typer.Option(
        "--video",
        callback=known_id,
        autocompletion=completion.source_videos,
        metavar="VIDEO",
        help="The waiting clips of this source video; needs --all.",
    ),
]
All = Annotated[bool, typer.Option("--all", help="Decide on every clip of --video that waits for review.")]
As = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Decide as this reviewer. Without it: HEATERS_REVIEWER, or your user name.")
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
    "cut_kind",
    "cut_first_frame",
    "cut_last_frame",
    "clip_filepath",
    "grouped_with_clip_id",
    "export_profile",
    "error",
)
CLIP_COLUMNS = (
    Column("clip", "reference", number=True),
    Column("frames", "frames", number=True),
    Column("from", "from", number=True),
    Column("to", "to", number=True),
    Column("state", "state_words", wraps=True),
    Column("confidence", "confidence", number=True),
    Column("file", "files"),
    Column("error", "error_words", wraps=True),
)


TIMECODE_COLUMNS = (Column("first timecode", "first_timecode", number=True), Column("last timecode", "last_timecode", number=True))


@contextmanager
def opened_database(settings: Settings, video: int | None = None) -> Iterator[Database]:
    """The open database. Raises NotFoundError when `video` is given and there is no such source video.

    Errors that are raised while it is open name clips and states in the words of people.
    """
    from resources.postgres.clip_lookup import ClipLookup
    from resources.postgres.database import open_database
    from resources.postgres.source_video_store import SourceVideoStore

    database = open_database(settings)
    try:
        if video is not None:
            SourceVideoStore(database).load(video)
        yield database
    except HeatersError as error:
        names = ClipLookup(database)
        error.args = tuple(names.in_words(one) if isinstance(one, str) else one for one in error.args)
        raise
    finally:
        database.dispose()


@contextmanager
def opened_reviews(settings: Settings, video: int | None = None) -> Iterator[ReviewStore]:
    from resources.media.frame_index_reader import FrameIndexes
    from resources.object_store.open import open_object_store
    from resources.postgres.review_store import ReviewStore

    with opened_database(settings, video) as database:
        yield ReviewStore(database, FrameIndexes(open_object_store(settings)).times)


def reviewer_name(reviewers: ReviewerStore, name: str | None) -> str:
    """The name under which the ledger stores a decision of this command; see `ReviewerStore.at_command_line`."""
    given = name or load_settings().reviewer
    reviewer = reviewers.at_command_line(given)
    if reviewer.name != " ".join(given.split()):
        terminal.warn(f"Reviewers sign in here, so decisions of the command line are stored under the name {reviewer.name!r}.")
    return reviewer.name


def show_result(result: ReviewResult, names: ClipLookup, as_json: bool, *, returned: ReviewAction | None = None) -> None:
    """returned: what an undo undid or a redo redid."""
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
        terminal.say(f"{action_words(result.action, returned)}: nothing to do, the clips are in this state already.")
    else:
        shown = [clip.id for clip in result.clips if clip.is_live]
        known = names.named(shown)
        what = f"{action_words(result.action, returned)}: {clips_in_words(known[clip_id] for clip_id in shown) or 'done'}"
        terminal.say(f"{what} (action {result.action_id}; {_way_back(result.action)})")
    terminal.show_table("", CLIP_COLUMNS[:6], rows[:_MOST_ROWS])
    if len(rows) > _MOST_ROWS:
        terminal.say(f"and {len(rows) - _MOST_ROWS:,} more; --json has all")


def _way_back(action: str) -> str:
    return "to do it again: heaters review redo" if str(action) == "undo" else "to undo it: heaters review undo"


def say_next(settings: Settings) -> None:
    """Say what the user has to type so that the work goes on: nothing while `heaters up` runs, here or on another machine."""
    from heaters_dagster.commands.up.held import running_at

    if (address := running_at(settings)) is not None:
        terminal.say(f"Next: nothing to type. heaters up goes on with the work; watch it at {address}")
    elif (host := _scheduling_host(settings)) is not None:
        terminal.say(f"Next: nothing to type. {host} does the scheduling, so the work goes on; watch it with heaters status")
    elif settings.broker_url is not None:
        terminal.say("Next: heaters up, on the machine that is to give the work to the workers; no machine does that now")
    else:
        terminal.say("Next: heaters process, or heaters up")


def _scheduling_host(settings: Settings) -> str | None:
    """The machine whose daemon looks for work in this database now."""
    from resources.files.this_process import process_is_gone
    from resources.postgres.run_leases import RunLeases

    with opened_database(settings) as database:
        lease = RunLeases(database, seconds=settings.run_lease_seconds).load([SCHEDULER]).get(SCHEDULER)
    if lease is None:
        return None
    is_gone = lease.host == database.host and process_is_gone(lease.process)
    return None if lease.is_over(process_is_gone=is_gone) else lease.host


def show_clips(rows: list[dict[str, Any]], as_json: bool, *, title: str = "", more: Sequence[Column] = ()) -> None:
    """rows: of `exported_row`. more: columns after those of every clip. Timecodes have columns when there are any. Why several clips
    failed is said once, above the table.
    """
    if as_json:
        terminal.show_json([{name: row[name] for name in (*CLIP_FIELDS, "first_timecode", "last_timecode", "exports")} for row in rows])
        return
    shared = shared_reasons({row["id"]: [reason for _, reason in row["reasons"]] for row in rows})
    for row in rows:
        told = [f"{profile}{'the reason above' if reason in shared else reason}" for profile, reason in row["reasons"] if reason]
        row["error_words"] = "\n".join(told) or None
    for reason, ids in shared.items():
        terminal.say(f"The same reason for {counted(len(ids), 'clip')}: {reason}")
    place, others = CLIP_COLUMNS[:4], CLIP_COLUMNS[4:]
    timecodes = TIMECODE_COLUMNS if any(row["first_timecode"] for row in rows) else ()
    terminal.show_table(title, [*place, *timecodes, *others, *more], rows)


def timecodes_by_index(clips: Sequence[Clip], database: Database, settings: Settings) -> Mapping[int, ClipTimecodes]:
    """Clip id -> source timecodes of its first and last frame, of those that have some."""
    from resources.clips.source_times import timecodes_of
    from resources.media.frame_index_reader import FrameIndexes
    from resources.object_store.open import open_object_store
    from resources.postgres.source_clocks import clocks_of

    clocks = clocks_of({clip.source_video_id for clip in clips}, database=database)
    return timecodes_of(clips, clocks, FrameIndexes(open_object_store(settings))) if clocks else {}


def exported_row(clip: Clip, exports: Sequence[ClipExport], timecodes: ClipTimecodes | None) -> dict[str, Any]:
    """As `clip_row`, with all exports of the clip: those that are made, and those asked for beside the first one. timecodes: in the source
    video.
    """
    row = clip_row(clip)
    row["first_timecode"], row["last_timecode"] = (timecodes.first, timecodes.last) if timecodes is not None else (None, None)
    others = [one for one in exports if one.key != clip.clip_filepath or one.key is None]
    open_ones = [one for one in others if one.profile != clip.export_profile and one.state is not ExportState.DONE]
    made = [one for one in others if one.has_file]
    row["files"] = "\n".join([*filter(None, [clip.clip_filepath]), *(str(one.key) for one in made)]) or None
    row["reasons"] = [("", clip.error), *((f"{one.profile}: ", one.error) for one in open_ones)]
    row["exports"] = [
        {
            "profile": one.profile,
            "state": str(one.state),
            "key": one.key if one.has_file else None,
            "byte_size": one.byte_size,
            "error": one.error,
        }
        for one in exports
        if one.has_file or one in open_ones
    ]
    return row


def clip_row(clip: Clip) -> dict[str, Any]:
    row = asdict(clip)
    # What a change of cuts or its undo has replaced is archived in the database, but nobody has archived it.
    row["state_words"] = clip_state_words(clip.state) if clip.is_live else "replaced"
    row["state"], row["reference"] = str(clip.state), clip.reference
    row["files"], row["error_words"] = clip.clip_filepath, clip.error
    row["frames"] = f"{clip.start_frame}..{clip.end_frame - 1}"
    row["from"], row["to"] = terminal.clock_time(clip.start_time_seconds), terminal.clock_time(clip.end_time_seconds)
    return row
