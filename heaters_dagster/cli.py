"""`heaters ...`: thin. Each command gathers its arguments, calls the layer that does the work, and prints the outcome.

Exit codes: 0 done, 1 work failed, 2 wrong usage. Heavy modules are imported where they are used: `heaters --help` answers at once.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version as package_version
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heaters_dagster import terminal
from heaters_dagster.domain.errors import HeatersError, SettingsError
from heaters_dagster.domain.manifest import EXPORT_PROFILES
from heaters_dagster.domain.review_queue import MAX_ID
from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import DETECTORS, Settings, load_settings
from heaters_dagster.terminal import Column

if TYPE_CHECKING:
    from resources.clip_store import Clip
    from resources.database import Database
    from resources.review_store import ReviewResult, ReviewStore
    from resources.source_video_store import SourceVideo

app = typer.Typer(
    name="heaters",
    help="Turn long videos into reviewed, frame-exact, searchable clips.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cuts_app = typer.Typer(no_args_is_help=True, help="Move the places where one clip ends and the next begins.")
review_app = typer.Typer(no_args_is_help=True, help="Decide on clips, and take decisions back.")
app.add_typer(cuts_app, name="cuts")
app.add_typer(review_app, name="review")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
VideoId = Annotated[int, typer.Argument(max=MAX_ID, metavar="VIDEO", help="Id of the source video, as `heaters status` shows it.")]
Frame = Annotated[int, typer.Argument(metavar="FRAME", help="Frame number, 0-based: the first frame of the right-hand clip.")]
ClipIds = Annotated[list[int] | None, typer.Argument(max=MAX_ID, metavar="CLIP...", help="Clip ids, as `heaters clips` shows them.")]
Video = Annotated[int | None, typer.Option("--video", max=MAX_ID, help="All clips of this source video; needs --all.")]
All = Annotated[bool, typer.Option("--all", help="Every clip of --video that waits for review.")]
As = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Decide as this reviewer; else HEATERS_REVIEWER, else your user name.")
]

_CLIP_FIELDS = (
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
_CLIP_COLUMNS = (
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


def main() -> None:
    """The `heaters` program: run a command, turn errors into a line or two and an exit code."""
    # A caller that closed them wants to hear nothing; Python has None in their places.
    sys.stdout, sys.stderr = sys.stdout or StringIO(), sys.stderr or StringIO()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    warnings.filterwarnings("ignore", category=Warning, module=r"dagster\..*")  # previews that we chose; no news to an operator
    logging.getLogger().addFilter(_worth_saying)
    try:
        app(args=list(arguments))
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0 if done.code is None else 1
    except SettingsError as error:
        terminal.complain(str(error))
        return 2
    except HeatersError as error:
        terminal.complain(str(error))
        return 1
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        terminal.complain(told)
        return 1
    return 0


def _worth_saying(record: logging.LogRecord) -> bool:
    """Not the four lines of dagster-postgres at each of its tries to reach a database that is down: the error at the end says it."""
    return not record.getMessage().startswith("Retrying failed database")


def _told(error: Exception) -> str | None:
    """In words, what went wrong outside Heaters: files, the database, Dagster. None for a defect of ours: its traceback is needed."""
    package, lines = type(error).__module__.partition(".")[0], str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, (OSError, UnicodeError)):
        return reason
    if package in {"sqlalchemy", "psycopg", "psycopg2", "dagster_postgres"}:
        return f"the database cannot be used: {reason}. heaters doctor looks at it; then the same command carries on"
    if package.startswith("dagster"):
        return f"Dagster: {reason}. heaters doctor looks at its database; then the same command carries on"
    return None


@contextmanager
def _database(settings: Settings, video: int | None = None) -> Iterator[Database]:
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
def _reviews(settings: Settings, video: int | None = None) -> Iterator[ReviewStore]:
    from resources.frame_index_reader import FrameIndexes
    from resources.object_store.open import open_object_store
    from resources.review_store import ReviewStore

    with _database(settings, video) as database:
        yield ReviewStore(database, FrameIndexes(open_object_store(settings)).times)


@app.command()
def version() -> None:
    """Print the version."""
    terminal.say(package_version("heaters"))


@app.command()
def up(
    open_browser: Annotated[bool, typer.Option("--open", help="Open the review app in a browser.")] = False,
) -> None:
    """Run everything: Postgres, Dagster with its sensors and schedules, and the review app. Ctrl-C ends all of it."""
    from heaters_dagster.supervisor import run_everything

    raise typer.Exit(run_everything(load_settings(), open_browser=open_browser))


@app.command()
def down() -> None:
    """Stop the embedded Postgres. Data is kept."""
    from heaters_dagster.supervisor import is_running
    from resources.embedded_postgres import stop

    settings = load_settings()
    if settings.database_url:
        terminal.say("HEATERS_DATABASE_URL is set: that server is not ours to stop.")
    elif is_running(settings):
        terminal.complain("heaters up runs and would start Postgres again: end that with Ctrl-C, and Postgres stops with it")
        raise typer.Exit(1)
    elif stop(settings.postgres_folder):
        terminal.say("The embedded Postgres has stopped. Its data is kept.")
    else:
        terminal.say("The embedded Postgres was not running.")


@app.command()
def submit(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Files, folders, web addresses or s3:// addresses.")],
    as_json: AsJson = False,
) -> None:
    """Submit source videos. They are processed by `heaters process`, or by the sensors while `heaters up` runs."""
    from heaters_dagster.instance import prepare_dagster_home
    from heaters_dagster.processing import register_partitions
    from resources.address_guard import AddressGuard
    from resources.source_video_store import SourceVideoStore
    from resources.submission import submit as submit_sources

    settings = load_settings()
    guard = AddressGuard(allow_private=settings.allow_private_addresses)
    prepare_dagster_home(settings)  # a HEATERS_HOME that cannot be used is found before there are rows
    with _database(settings) as database:
        submissions = submit_sources(sources, SourceVideoStore(database), guard=guard)
    ids = list(dict.fromkeys(item.video.id for item in submissions if item.video is not None))
    register_partitions(settings, ids)
    if as_json:
        terminal.show_json(ids)
    for item in submissions:
        if item.refused:
            terminal.complain(item.told)
        elif not as_json:
            terminal.say(item.told)
    if any(item.refused for item in submissions):
        raise typer.Exit(1)
    if not as_json:
        terminal.say("Next: heaters process, or heaters up")


@app.command()
def process(
    videos: Annotated[
        list[int] | None, typer.Argument(max=MAX_ID, metavar="VIDEO...", help="Only these source videos; else all that is due.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Do all that is due, here and now, with progress bars: fetch, proxy, cuts, gold master, exports, keyframes, embeddings, clean-up."""
    from heaters_dagster.processing import RunDone, process_due

    def tell(run: RunDone) -> None:
        if not as_json:
            terminal.say(run.sentence)

    try:
        with terminal.bars() as report:
            outcome = process_due(load_settings(), only=videos or None, report=report, say=terminal.warn, ended=tell)
    except KeyboardInterrupt:
        terminal.warn("interrupted; what was in hand is due again: heaters process, or heaters up")
        raise
    if as_json:
        terminal.show_json([asdict(done) for done in outcome.runs])
    else:
        terminal.say(outcome.sentence)
    for failure in outcome.failures:
        terminal.complain(failure)
    if outcome.failures:
        raise typer.Exit(1)


@app.command()
def status(as_json: AsJson = False) -> None:
    """List the source videos: state, clips by state, errors."""
    from resources.clip_store import ClipStore
    from resources.source_video_store import SourceVideoStore

    with _database(load_settings()) as database:
        videos = SourceVideoStore(database).load_all()
        counts = ClipStore(database).counts_by_state()
    rows = [_video_row(video, counts.get(video.id, {})) for video in videos]
    if as_json:
        terminal.show_json(rows)
        return
    if not rows:
        terminal.say("No source videos yet. Submit one: heaters submit PATH-OR-ADDRESS")
        return
    columns = [
        Column("id", "id", True),
        Column("title", "title", wraps=True),
        Column("state", "state"),
        Column("frames", "frame_count", True),
    ]
    columns += [
        Column("length", "length", True),
        Column("clips", "clip_summary", wraps=True),
        Column("gold master", "master", wraps=True),
        Column("error", "error", wraps=True),
    ]
    terminal.show_table("", columns, rows)
    for video in videos:
        for warning in video.warnings:
            terminal.warn(f"{video.id}: {warning}")


@app.command()
def clips(video: VideoId, as_json: AsJson = False) -> None:
    """List the clips of a source video in order."""
    from resources.clip_store import ClipStore
    from resources.source_video_store import SourceVideoStore

    with _database(load_settings()) as database:
        source = SourceVideoStore(database).load(video)
        rows = [_clip_row(clip) for clip in ClipStore(database).load_live(video)]
    if as_json:
        terminal.show_json([{name: row[name] for name in _CLIP_FIELDS} for row in rows])
    else:
        terminal.show_table(f"{source.title} ({source.state})", _CLIP_COLUMNS, rows)


@app.command()
def recut(
    video: VideoId,
    detector: Annotated[
        str | None, typer.Option(help=f"{', '.join(DETECTORS)}; else the one that made the present cuts, whatever the settings say.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Score above which a boundary is cut; else the detector's default.")] = None,
    min_clip_frames: Annotated[int | None, typer.Option(help="Shorter clips are joined to a neighbour.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also when review has begun: the decisions on the old clips are retired.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cut a source video again from its stored scores: milliseconds, no decode (but for scores of another --detector, the first time)."""
    if detector is not None and detector not in DETECTORS:
        raise typer.BadParameter(f"--detector {detector}: write one of {', '.join(DETECTORS)}")
    from assets.virtual_clips import recut as recut_video
    from resources.object_store.open import open_object_store

    settings = load_settings()
    with _database(settings) as database, terminal.bars() as report:
        made = recut_video(
            video,
            database=database,
            objects=open_object_store(settings),
            settings=settings,
            detector=detector,
            threshold=threshold,
            min_clip_frames=min_clip_frames,
            force=force,
            report=report,
        )
        rows = [_clip_row(clip) for clip in made]
    if as_json:
        terminal.show_json([{name: row[name] for name in _CLIP_FIELDS} for row in rows])
    else:
        terminal.show_table("", _CLIP_COLUMNS, rows)


@app.command()
def retry(
    videos: Annotated[
        list[int] | None, typer.Argument(max=MAX_ID, metavar="VIDEO...", help="Source videos; else everything that failed.")
    ] = None,
    clip_ids: Annotated[
        list[int] | None, typer.Option("--clip", max=MAX_ID, metavar="CLIP", help="This clip; may be given several times.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put failed source videos, clips and gold masters back before the stage that failed. Then: heaters process."""
    from heaters_dagster.processing import retry_failed

    with _database(load_settings()) as database:
        retried = retry_failed(database, videos=videos or (), clips=clip_ids or ())
    if as_json:
        terminal.show_json(retried)
    elif retried:
        for sentence in retried:
            terminal.say(sentence)
        terminal.say("Next: heaters process, or heaters up")
    else:
        terminal.say("Nothing has failed.")


@app.command()
def search(
    words: Annotated[str | None, typer.Argument(metavar="WORDS", help="What the clip shows.")] = None,
    like: Annotated[int | None, typer.Option("--like", max=MAX_ID, metavar="CLIP", help="Clips like this one.")] = None,
    video: Annotated[int | None, typer.Option("--video", max=MAX_ID, help="Only in this source video.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many clips.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Find clips by words, or by likeness to a clip."""
    words = (words or "").strip()
    if bool(words) == (like is not None):
        raise typer.BadParameter("give either WORDS or --like CLIP")
    from resources.clip_search import ClipSearch

    settings = load_settings()
    with _database(settings, video) as database:
        finder = ClipSearch(database, settings)
        found = (
            finder.by_words(words, limit=limit, source_video_id=video)
            if like is None
            else finder.like(like, limit=limit, source_video_id=video)
        )
    if found.note:
        terminal.warn(found.note)
    if as_json:
        terminal.show_json([asdict(hit) | {"model": found.model} for hit in found.hits])
        return
    columns = [
        Column("score", "score", True),
        Column("clip", "clip_id", True),
        Column("video", "title", wraps=True),
        Column("from", "from", True),
    ]
    rows = [asdict(hit) | {"from": terminal.clock_time(hit.start_time_seconds)} for hit in found.hits]
    terminal.show_table("", [*columns, Column("file", "clip_filepath")], rows)


@app.command()
def cutlist(
    video: VideoId,
    form: Annotated[str, typer.Option("--format", help="csv, edl, fcpxml or otio.")] = "csv",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead of standard output.")] = None,
) -> None:
    """Write the cut list of a source video for an editing program."""
    from heaters_dagster.domain.cut_lists import CUT_LIST_FORMATS
    from resources.cut_list_writer import stored_cut_list

    if form not in CUT_LIST_FORMATS:
        raise typer.BadParameter(f"--format {form}: write one of {', '.join(CUT_LIST_FORMATS)}")
    settings = load_settings()
    with _database(settings) as database:
        text = stored_cut_list(video, form, database=database, settings=settings)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text)
        terminal.say(f"Wrote {output}")


@app.command()
def export(
    clip_ids: Annotated[list[int], typer.Argument(max=MAX_ID, metavar="CLIP...", help="Approved clips.")],
    profile: Annotated[
        str, typer.Option(help="stream_copy (exact, large), delivery (small) or gold_master (from the archive).")
    ] = "stream_copy",
    as_json: AsJson = False,
) -> None:
    """Ask for approved clips to be exported again with another profile. Then: heaters process."""
    if profile not in EXPORT_PROFILES:
        raise typer.BadParameter(f"--profile {profile}: write one of {', '.join(EXPORT_PROFILES)}")
    from resources.clip_store import ClipStore

    with _database(load_settings()) as database:
        rows = [_clip_row(ClipStore(database).request_export(clip_id, profile)) for clip_id in clip_ids]
    _show_clips(rows, as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this machine and this installation: programs, database, store, model, settings, data that disagrees."""
    from heaters_dagster.doctor import checked

    findings = checked(load_settings())
    if as_json:
        terminal.show_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "[green]ok[/green]  " if finding.ok else "[red]FAIL[/red]" if finding.needed else "[yellow]note[/yellow]"
            terminal.out.print(f"{mark} {finding.what}: ", end="")
            terminal.say(finding.told)
    if any(finding.needed and not finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command()
def demo(
    video: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A video of your own; else the sample.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """The main job on one video, start to end: proxy, cuts, approval, gold master, exports, keyframes, embeddings, search.

    At a terminal it then offers to start everything, so that the rest can be reviewed.
    """
    from heaters_dagster.demo import run_demo

    code = run_demo(load_settings(), video)
    if code == 0 and sys.stdin.isatty() and terminal.out.is_terminal and typer.confirm("Start it now?", default=True):
        up(open_browser=False)
    raise typer.Exit(code)


@cuts_app.command("add")
def cuts_add(video: VideoId, frame: Frame, reviewer: As = None, as_json: AsJson = False) -> None:
    """Cut a clip in two: FRAME becomes the first frame of the right-hand clip."""
    with _reviews(load_settings()) as reviews:
        _show_result(reviews.add_cut_point(video, frame, reviewer=_reviewer(reviewer)), as_json)


@cuts_app.command("remove")
def cuts_remove(video: VideoId, frame: Frame, reviewer: As = None, as_json: AsJson = False) -> None:
    """Join the two clips that meet at FRAME."""
    with _reviews(load_settings()) as reviews:
        _show_result(reviews.remove_cut_point(video, frame, reviewer=_reviewer(reviewer)), as_json)


@cuts_app.command("move")
def cuts_move(
    video: VideoId,
    frame: Frame,
    new_frame: Annotated[int, typer.Argument(metavar="NEW_FRAME", help="Where the right-hand clip shall begin.")],
    reviewer: As = None,
    as_json: AsJson = False,
) -> None:
    """Move the cut at FRAME to NEW_FRAME; both neighbours change."""
    with _reviews(load_settings()) as reviews:
        _show_result(reviews.move_cut_point(video, frame, new_frame, reviewer=_reviewer(reviewer)), as_json)


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
    with _reviews(settings) as reviews:
        _show_result(getattr(reviews, action)(clip_ids, reviewer=_reviewer(reviewer)), as_json)


def _pending(settings: Settings, video: int) -> list[int]:
    from resources.clip_store import ClipStore

    with _database(settings, video) as database:
        return [clip.id for clip in ClipStore(database).load_live(video) if clip.state == ClipState.PENDING_REVIEW]


@review_app.command()
def approve(clip_ids: ClipIds = None, video: Video = None, every: All = False, reviewer: As = None, as_json: AsJson = False) -> None:
    """Approve clips: they are exported."""
    _decide("approve", clip_ids, video, every, reviewer, as_json)


@review_app.command()
def skip(clip_ids: ClipIds = None, video: Video = None, every: All = False, reviewer: As = None, as_json: AsJson = False) -> None:
    """Skip clips: kept as they are, not exported."""
    _decide("skip", clip_ids, video, every, reviewer, as_json)


@review_app.command()
def archive(clip_ids: ClipIds = None, video: Video = None, every: All = False, reviewer: As = None, as_json: AsJson = False) -> None:
    """Archive clips: their files are deleted, their rows are kept."""
    _decide("archive", clip_ids, video, every, reviewer, as_json)


@review_app.command()
def group(clip_id: Annotated[int, typer.Argument(max=MAX_ID, metavar="CLIP")], reviewer: As = None, as_json: AsJson = False) -> None:
    """Group a clip with the one before it: both are approved and belong together."""
    with _reviews(load_settings()) as reviews:
        _show_result(reviews.group(clip_id, reviewer=_reviewer(reviewer)), as_json)


@review_app.command()
def undo(reviewer: As = None, as_json: AsJson = False) -> None:
    """Take back your latest decision; again for the one before it, to any depth."""
    with _reviews(load_settings()) as reviews:
        _show_result(reviews.undo(reviewer=_reviewer(reviewer)), as_json)


@review_app.command()
def redo(reviewer: As = None, as_json: AsJson = False) -> None:
    """Do again what you last took back."""
    with _reviews(load_settings()) as reviews:
        _show_result(reviews.redo(reviewer=_reviewer(reviewer)), as_json)


@review_app.command()
def history(
    video: Annotated[int | None, typer.Option("--video", max=MAX_ID, help="Only this source video.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 30,
    as_json: AsJson = False,
) -> None:
    """Who decided what, when; newest first."""
    with _reviews(load_settings(), video) as reviews:
        rows = [asdict(entry) for entry in reviews.history(source_video_id=video, limit=limit)]
    if as_json:
        terminal.show_json(rows)
        return
    columns = [Column("id", "id", True), Column("when", "created_at"), Column("who", "reviewer"), Column("action", "action")]
    terminal.show_table(
        "", [*columns, Column("video", "source_video_id", True), Column("clips", "clip_ids", wraps=True), Column("undone", "undone")], rows
    )


def _reviewer(name: str | None) -> str:
    return name or load_settings().reviewer


def _show_result(result: ReviewResult, as_json: bool) -> None:
    rows = [_clip_row(clip) for clip in result.clips]
    if as_json:
        terminal.show_json(
            {
                "action_id": result.action_id,
                "action": str(result.action),
                "clips": [{name: row[name] for name in _CLIP_FIELDS} for row in rows],
            }
        )
        return
    terminal.say(f"{result.action}: done (action {result.action_id}; undo with: heaters review undo)")
    terminal.show_table("", _CLIP_COLUMNS[:7], rows)


def _show_clips(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        terminal.show_json([{name: row[name] for name in _CLIP_FIELDS} for row in rows])
    else:
        terminal.show_table("", _CLIP_COLUMNS, rows)


def _clip_row(clip: Clip) -> dict[str, Any]:
    row = asdict(clip)
    row["state"] = str(clip.state)
    row["frames"] = f"{clip.start_frame}..{clip.end_frame - 1}"
    row["from"], row["to"] = terminal.clock_time(clip.start_time_seconds), terminal.clock_time(clip.end_time_seconds)
    return row


def _video_row(video: SourceVideo, counts: Mapping[ClipState, int]) -> dict[str, Any]:
    return {
        "id": video.id,
        "source": video.source,
        "title": video.title,
        "state": str(video.state),
        "frame_count": video.frame_count,
        "duration_seconds": video.duration_seconds,
        "length": terminal.clock_time(video.duration_seconds),
        "error": video.error,
        "warnings": list(video.warnings),
        "clips": {str(state): count for state, count in counts.items()},
        "clip_summary": ", ".join(f"{count} {state}" for state, count in sorted(counts.items())),
        "gold_master_filepath": video.gold_master_filepath,
        "master": "kept" if video.gold_master_filepath else (video.gold_master_error or ""),
        "duplicate_of_id": video.duplicate_of_id,
    }
