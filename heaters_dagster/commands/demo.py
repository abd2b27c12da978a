"""`heaters demo`: takes the samples, or one given video, through the whole pipeline, from file to searchable clips."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

from rich.panel import Panel

from heaters_dagster.commands import terminal
from heaters_dagster.commands.process_due import Outcome, process_due
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.clip_names import reference
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import ModelUnavailableError, NotFoundError, SourceNotFoundError
from heaters_dagster.domain.stages import EMBEDDINGS, states_from
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.words import counted, video_state_words
from heaters_dagster.orchestration.instance import register_partitions
from heaters_dagster.settings import PROJECT_ROOT, Settings
from resources.clips.clip_search import ClipSearch
from resources.media.frame_index_reader import FrameIndexes
from resources.models.embedder import chosen_embedder
from resources.object_store.open import open_object_store
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database, open_database
from resources.postgres.review_store import ReviewStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.sources.address_guard import AddressGuard
from resources.sources.kept_files import keeper_of
from resources.sources.submission import submit

SAMPLES = PROJECT_ROOT / "samples"
_REVIEWER = "demo"


def run_demo(settings: Settings, video: Path | None) -> int:
    """Run the demo and print its results; returns the exit code.

    All clips of the first video are approved, so it goes through all stages. The second sample is left for the user to review.
    """
    sources = [str(video)] if video is not None else [str(path) for path in _samples()]
    with_fallback = replace(settings, embedding_fallback=True)
    terminal.say("Starting Postgres ...")
    database = open_database(settings)
    try:
        videos, guard = SourceVideoStore(database), AddressGuard(allow_private=settings.allow_private_addresses)
        submissions = submit(sources, videos, guard=guard, keep=keeper_of(settings, videos))
        if refused := [item.told for item in submissions if item.refused]:
            return _failed(refused)
        ids = list(dict.fromkeys(item.video.id for item in submissions if item.video is not None))
        register_partitions(settings, ids)
        _step(f"1. {counted(len(ids), 'source video')}: fetch, proxy with frame index and scene scores, virtual clips, gold master")
        failed = _process(with_fallback, ids)
        first = SourceVideoStore(database).load(ids[0])
        if first.state is not SourceVideoState.SCENES_DETECTED:
            return _failed(
                failed or [f"{first.title}: {first.error or video_state_words(first.state)}. To try again: heaters retry {first.id}"]
            )
        _step("2. Approve every clip of the first source video, as a reviewer does in the browser")
        _approve(ids[0], database, settings)
        _step("3. Export by stream copy, keyframes, embeddings")
        _say_which_model(settings)
        failed += _process(with_fallback, ids)
        _show(ids, database, settings)
    finally:
        database.dispose()
    return _failed(failed)


def _failed(reasons: list[str]) -> int:
    for reason in reasons:
        terminal.complain(reason)
    return 1 if reasons else 0


def _samples() -> list[Path]:
    found = sorted(SAMPLES.glob("*.mp4"), reverse=True)
    if not found:
        raise SourceNotFoundError(f"there are no sample videos in {SAMPLES}: use a video of your own: heaters demo FILE")
    return found


def _process(settings: Settings, ids: list[int]) -> list[str]:
    with terminal.bars() as report:
        outcome: Outcome = process_due(settings, only=ids, report=report, say=terminal.warn)
    for run in outcome.runs:
        terminal.say(f"   {run.sentence}")
    for note in outcome.notes:
        terminal.warn(f"   {note}")
    return outcome.failures


def _approve(source_video_id: int, database: Database, settings: Settings) -> None:
    live = ClipStore(database).load_live(source_video_id)
    pending = {clip.id: clip.cut_point_version for clip in live if clip.state == ClipState.PENDING_REVIEW}
    if not pending:
        terminal.say("   nothing waits for review (the demo has run before)")
        return
    reviews = ReviewStore(database, FrameIndexes(open_object_store(settings)).times)
    decided = reviews.decide_unchanged(ReviewAction.APPROVE, pending, reviewer=reviews.reviewers.at_command_line(_REVIEWER).name)
    for told in decided.left_alone.values():
        terminal.warn(f"   not approved: {told}")
    count = len(pending) - len(decided.left_alone)
    terminal.say(f"   {counted(count, 'clip')} approved in one action; to undo it: heaters review undo --as {_REVIEWER}")


def _say_which_model(settings: Settings) -> None:
    """The demo also works without the embedding model; then it says so."""
    try:
        terminal.say(f"   embedding model: {chosen_embedder(settings).model}")
    except ModelUnavailableError as error:
        terminal.warn(f"   {error}")
        terminal.warn(
            "   The demo uses the built-in visual descriptor instead. It finds clips that look alike; only the model can search by words."
        )


def _show(ids: list[int], database: Database, settings: Settings) -> None:
    videos, clips = SourceVideoStore(database), ClipStore(database)
    columns = [Column("clip", "sequence", True), Column("frames", "frames", True), Column("from", "from", True), Column("to", "to", True)]
    # No confidence: with it the table is wider than a terminal of 80 columns, and would be printed as 56 lines.
    columns += [Column("state", "state"), Column("file", "clip_filepath")]
    for source_video_id in ids:
        video = videos.load(source_video_id)
        live = clips.load_live(source_video_id)
        terminal.out.print()
        terminal.show_table(
            f"{video.id}. {video.title}: {counted(video.frame_count or 0, 'frame')}, {video_state_words(video.state)}",
            columns,
            [_row(clip) for clip in live],
        )
        for what, key in (
            ("proxy", video.proxy_filepath),
            ("frame index", video.frame_index_filepath),
            ("gold master", video.gold_master_filepath),
        ):
            terminal.say(f"   {what}: {key or 'none'}")
        if video.error:
            terminal.warn(f"   {video.error}")
    terminal.out.print()
    where = f"bucket {settings.object_bucket}" if settings.object_bucket else str(settings.objects_folder)
    terminal.say(f"Files are under {where}")
    _show_search(clips.load_live(ids[0]), database, settings)
    terminal.out.print(
        Panel(
            f"[bold]heaters up[/bold]  starts everything:\n"
            f"  review app   {settings.review_url}\n"
            f"  Dagster UI   {settings.dagster_local_url}\n"
            f"Try also: heaters status, heaters clips {ids[0]}, heaters search --like {ids[0]}:1, heaters doctor{_where_it_is()}",
            title="Next",
            title_align="left",
            expand=False,
        )
    )


def _where_it_is() -> str:
    """What to type for `heaters` where a shell does not find it, as after make demo; empty where it does."""
    program = Path(sys.executable).with_name("heaters")
    return "" if shutil.which("heaters") or not program.exists() else f"\nheaters is {os.path.relpath(program)} here: type that for it"


def _show_search(clips: list[Clip], database: Database, settings: Settings) -> None:
    embedded = [clip for clip in clips if clip.state in states_from(EMBEDDINGS)]
    if not embedded:
        return
    try:
        found = ClipSearch(database, settings).like(embedded[0].id, limit=3)
    except NotFoundError:
        return
    terminal.out.print()
    columns = [
        Column("score", "score", True),
        Column("clip", "reference", True),
        Column("from", "from", True),
        Column("file", "clip_filepath"),
    ]
    rows = [
        asdict(hit) | {"from": terminal.clock_time(hit.start_time_seconds), "reference": reference(hit.source_video_id, hit.sequence)}
        for hit in found.hits
    ]
    terminal.show_table(f"Clips most like clip {embedded[0].sequence} (by {found.model})", columns, rows)


def _step(text: str) -> None:
    terminal.out.print(f"\n[bold]{text}[/bold]")


def _row(clip: Clip) -> dict[str, object]:
    return asdict(clip) | {
        "state": str(clip.state),
        "frames": f"{clip.start_frame}..{clip.end_frame - 1}",
        "from": terminal.clock_time(clip.start_time_seconds),
        "to": terminal.clock_time(clip.end_time_seconds),
    }
