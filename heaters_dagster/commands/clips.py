"""Clips: list them, find them, export them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from heaters_dagster.commands import completion, terminal
from heaters_dagster.commands.cold_masters import agree_to_restores
from heaters_dagster.commands.shared import (
    AsJson,
    OneVideo,
    VideoId,
    chosen_from,
    clip_called,
    clip_ids,
    example,
    exported_row,
    opened_database,
    say_next,
    show_clips,
    timecodes_by_index,
    within,
)
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.clip_names import reference
from heaters_dagster.domain.errors import PermanentError
from heaters_dagster.domain.export_profile import FIRST_PROFILE
from heaters_dagster.domain.trimming import without_transitions
from heaters_dagster.domain.words import video_state_words
from heaters_dagster.registries import EXPORT_PROFILES
from heaters_dagster.settings import load_settings

if TYPE_CHECKING:
    from resources.postgres.clip_store import ClipStore

app = typer.Typer()


def _profile_told(name: str) -> str:
    return f"{name} ({EXPORT_PROFILES.load(name).help})"


@app.command(epilog=example("clips 3"))
def clips(video: VideoId, as_json: AsJson = False) -> None:
    """List the clips of a source video in order."""
    from resources.postgres.clip_store import ClipStore
    from resources.postgres.export_store import ExportStore
    from resources.postgres.source_video_store import SourceVideoStore

    settings = load_settings()
    with opened_database(settings) as database:
        source, store = SourceVideoStore(database).load(video), ClipStore(database)
        live = store.load_live(video)
        beside, exports = store.words_beside(live), ExportStore(database).of_clips([clip.id for clip in live])
        timecodes = timecodes_by_index(live, database, settings)
        rows = [exported_row(clip, exports[clip.id], timecodes.get(clip.id)) | {"beside": beside.get(clip.id, "")} for clip in live]
    more = [Column("other work", "beside", wraps=True)] if beside else []
    show_clips(rows, as_json, title=f"{source.title} ({video_state_words(source.state)})", more=more)


@app.command(epilog=example('search "a boat at night" --limit 5'))
def search(
    words: Annotated[str | None, typer.Argument(metavar="WORDS", help="What the clip shows.")] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            callback=clip_called,
            autocompletion=completion.clips,
            metavar="CLIP",
            help="Find clips like this one: 3:14 is clip 14 of source video 3.",
        ),
    ] = None,
    video: OneVideo = None,
    limit: Annotated[int, typer.Option(callback=within(1, 1000), help="Number of clips to show.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Find clips by words, or clips that look like a given clip."""
    words = (words or "").strip()
    if bool(words) == (like is not None):
        raise typer.BadParameter("write either WORDS or --like CLIP")
    from resources.clips.clip_search import ClipSearch
    from resources.postgres.clip_lookup import ClipLookup
    from resources.postgres.source_clocks import clocks_of

    settings = load_settings()
    with opened_database(settings, video) as database:
        finder = ClipSearch(database, settings)
        found = (
            finder.by_words(words, limit=limit, source_video_id=video)
            if like is None
            else finder.like(clip_ids(ClipLookup(database), [like])[0], limit=limit, source_video_id=video)
        )
        clocks = clocks_of({hit.source_video_id for hit in found.hits}, database=database)
    timecodes = {hit.clip_id: clocks[hit.source_video_id].at(hit.start_time_seconds) for hit in found.hits if hit.source_video_id in clocks}
    if found.note:
        terminal.warn(found.note)
    hits = [asdict(hit) | {"first_timecode": timecodes.get(hit.clip_id)} for hit in found.hits]
    if as_json:
        terminal.show_json([hit | {"model": found.model} for hit in hits])
        return
    columns = [
        Column("score", "score", True),
        Column("clip", "reference", True),
        Column("video", "title", wraps=True),
        Column("from", "from", True),
    ]
    columns += [Column("first timecode", "first_timecode", True)] if timecodes else []
    rows = [
        hit | {"from": terminal.clock_time(hit["start_time_seconds"]), "reference": reference(hit["source_video_id"], hit["sequence"])}
        for hit in hits
    ]
    terminal.show_table("", [*columns, Column("file", "clip_filepath")], rows)


@app.command(epilog=example("export 3:14 3:15 --profile delivery"))
def export(
    called: Annotated[
        list[str],
        typer.Argument(
            callback=clip_called, autocompletion=completion.clips, metavar="CLIP", help="Approved clips: 3:14 is clip 14 of source video 3."
        ),
    ],
    profile: Annotated[str, chosen_from(EXPORT_PROFILES, "--profile", told=_profile_told)] = FIRST_PROFILE,
    trim_transitions: Annotated[
        bool, typer.Option("--trim-transitions", help="Leave out the frames of the transitions at both ends of each clip.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask when a gold master costs more than 1 USD to get back from cold storage.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for a file of approved clips with this profile, beside those that they have; for one that is there, to make it again.

    When that needs a gold master that is in cold storage, it first says how long it takes to get it back and what it costs about.
    """
    from resources.postgres.clip_lookup import ClipLookup
    from resources.postgres.clip_store import ClipStore
    from resources.postgres.export_store import ExportStore

    settings = load_settings()
    with opened_database(settings) as database:
        exports, names = ExportStore(database), ClipLookup(database)
        chosen = clip_ids(names, called)
        if trim_transitions:
            profile = EXPORT_PROFILES.load(profile).trimmed.name
            _check_frames_are_left(chosen, ClipStore(database))
        agree_to_restores(chosen, profile, settings, database, yes=yes)
        asked = [exports.request(clip_id, profile) for clip_id in chosen]
        known_exports = exports.of_clips(chosen)
        timecodes = timecodes_by_index(asked, database, settings)
        rows = [exported_row(clip, known_exports[clip.id], timecodes.get(clip.id)) for clip in asked]
        waiting = ClipStore(database).waiting_for_gold_master(chosen)
        known = names.named([clip.id for clip in waiting])
    show_clips(rows, as_json)
    if not as_json:
        for clip in waiting:
            number, title = known[clip.id]
            terminal.say(
                f"Clip {number} of {title} waits for the gold master of its source video. It is exported by itself when that is made."
            )
        say_next(settings)


def _check_frames_are_left(chosen: list[int], store: ClipStore) -> None:
    """Raises PermanentError where clips have no frame outside of their transitions, before anything is asked for."""
    empty: dict[str, PermanentError] = {}
    for clip in store.load_many(chosen):
        ends = store.ends_with(clip)
        try:
            without_transitions(clip.start_frame, clip.end_frame, begins=clip.transition, ends=ends, called=f"clip {clip.reference}")
        except PermanentError as error:
            empty[clip.reference] = error
    if empty:
        others = f". So it is with {', '.join(list(empty)[1:])}" if len(empty) > 1 else ""
        nothing = ". Nothing was asked for, not of the other clips either" if len(empty) < len(chosen) else ""
        raise PermanentError(f"{next(iter(empty.values()))}{others}{nothing}")
