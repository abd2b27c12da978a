"""Submit source videos: files, folders, addresses, and lists of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from heaters_dagster.commands import list_options, terminal
from heaters_dagster.commands.facts import ChaptersAsCuts, Licence, Rights, Tags, with_facts
from heaters_dagster.commands.shared import AsJson, example, opened_database, say_next
from heaters_dagster.domain.errors import BadRequestError, NotYetError, SiteRefusesError
from heaters_dagster.domain.folder_choice import FolderChoice
from heaters_dagster.domain.ingest import looks_like_address
from heaters_dagster.domain.list_files import COLUMNS, LIST_SUFFIXES, MOST_BYTES, parsed
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.source_lists import Limits
from heaters_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from resources.postgres.database import Database
    from resources.sources.file_identity import Wanted

app = typer.Typer()


@app.command(epilog=example("submit holiday.mp4 footage/ https://example.org/talk videos.csv"))
def submit(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Files, folders, web addresses, s3:// addresses, s3://bucket/prefix/ and s3://bucket/day*; lists (.txt, .csv, .jsonl); "
            "- is a list on standard input.",
        ),
    ],
    expand: Annotated[
        bool, typer.Option("--expand/--no-expand", help="Look whether a web address is a list of videos, such as a playlist or feed.")
    ] = True,
    yes: list_options.Yes = False,
    most: list_options.Most = None,
    since: list_options.Since = None,
    until: list_options.Until = None,
    min_length: list_options.Shortest = None,
    max_length: list_options.Longest = None,
    in_title: list_options.InTitle = None,
    not_in_title: list_options.NotInTitle = None,
    unknown: list_options.Unknown = False,
    recursive: Annotated[
        bool, typer.Option("--recursive/--no-recursive", help="Of a folder or prefix: also the videos in folders below.")
    ] = True,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include", metavar="GLOB", help="Of a folder or prefix: only videos like '*.mov' or 'day 2/*'. Can be given several times."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="GLOB", help="Of a folder or prefix: no files or folders like this. Can be given several times."),
    ] = None,
    rights: Rights = None,
    licence: Licence = None,
    tags: Tags = None,
    chapters_as_cuts: ChaptersAsCuts = False,
    force: Annotated[
        bool, typer.Option("--force", help="Make a new source video also of what is known already. Both then name each other.")
    ] = False,
    send: Annotated[
        bool,
        typer.Option(
            "--send/--no-send",
            help="With several machines: put files into the bucket, where each of them finds them. Without it they must lie under the same "
            "path on all machines.",
        ),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Submit source videos. They are processed by `heaters process`, or by themselves while `heaters up` runs.

    A list has one address or path a line, with comments after #; or it is CSV with a first line that names its columns; or JSON lines.
    Columns: address, title, tags, licence, id, rights.
    """
    from heaters_dagster.orchestration.instance import prepare_dagster_home, register_partitions
    from resources.postgres.related_videos import RelatedVideos
    from resources.postgres.source_video_store import SourceVideoStore
    from resources.sources.kept_files import keeper_of
    from resources.sources.object_prefixes import listing_of
    from resources.sources.submission import submit as submit_sources
    from resources.sources.submit_places import own_folders
    from resources.sources.subscriptions import guard_of

    settings = load_settings()
    limits = list_options.limits_of(most, since, until, min_length, max_length, in_title, not_in_title, unknown)
    choice = FolderChoice(recursive=recursive, include=tuple(include or ()), exclude=tuple(exclude or ()))
    prepare_dagster_home(settings)  # a HEATERS_HOME that cannot be used is found before there are rows
    named = _named(sources)
    said: dict[str, Any] = {"rights": rights, "licence": licence, "tags": tags, "chapters_as_cuts": chapters_as_cuts}
    named.sources = [with_facts(one, **said) for one in named.sources]
    for note in named.notes:
        terminal.warn(note)
    with opened_database(settings) as database:
        videos = SourceVideoStore(database)
        wanted = [one for each in named.sources for one in _expanded(each, named, expand, limits, settings, database, yes, as_json)]
        by_force = RelatedVideos(database) if force else None
        with terminal.bars() as report:
            submissions = submit_sources(
                wanted,
                videos,
                guard=guard_of(settings),
                choice=choice,
                list_objects=listing_of(settings),
                by_force=by_force,
                own_folders=own_folders(settings),
                own_bucket=settings.object_bucket,
                keep=keeper_of(settings, videos, report) if send else None,
            )
    ids = list(dict.fromkeys(item.video.id for item in submissions if item.video is not None))
    register_partitions(settings, ids)
    if as_json:
        terminal.show_json(ids)
    for item in submissions:
        if item.refused:
            terminal.complain(item.told)
        elif not as_json:
            terminal.say(item.told)
    for problem in named.problems:
        terminal.complain(problem)
    if named.problems or any(item.refused for item in submissions):
        raise typer.Exit(1)
    if not as_json:
        say_next(settings)


@dataclass(slots=True)
class _Named:
    """typed: sources of the command line itself, which may be lists of the web; a line of a list is one video."""

    sources: list[Wanted] = field(default_factory=list)
    typed: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _named(sources: Sequence[str]) -> _Named:
    """All sources of the command line and of the lists that it names."""
    from resources.sources.file_identity import Wanted

    named = _Named()
    for source in sources:
        path = Path(source)
        if source == "-":
            _add_list(named, sys.stdin.buffer.read(MOST_BYTES + 1), "standard input", Path())
        elif not looks_like_address(source) and path.suffix.lower() in LIST_SUFFIXES and os.path.isfile(path):
            with path.open("rb") as file:
                _add_list(named, file.read(MOST_BYTES + 1), path.name, path.parent)
        else:
            named.typed.add(source)
            named.sources.append(Wanted(source))
    return named


def _add_list(named: _Named, data: bytes, name: str, folder: Path) -> None:
    """folder: relative paths in the list begin there."""
    from resources.sources.file_identity import Wanted

    try:
        found = parsed(data, name=name)
    except BadRequestError as error:
        named.problems.append(str(error))
        return
    if not found.sources and not found.problems:
        named.problems.append(f"{name} is empty: it names no address; columns of a CSV file: {COLUMNS}")
    named.problems += found.problems
    named.notes += found.notes
    for one in found.sources:
        source = one.source if looks_like_address(one.source) else os.path.join(folder, one.source)
        named.sources.append(Wanted(source, one.title, one.facts))


def _expanded(
    wanted: Wanted, named: _Named, expand: bool, limits: Limits, settings: Settings, database: Database, yes: bool, quiet: bool
) -> Iterator[Wanted]:
    """The source itself, or the new videos of the list that it is."""
    from resources.postgres.source_video_store import SourceVideoStore
    from resources.sources.list_offer import offered, wanted_members
    from resources.sources.subscriptions import read_if_list

    found = None
    if expand and wanted.source in named.typed:
        try:
            # Named, because several pages of one site are looked at one after the other, with a pause between them.
            with terminal.err.status(escape(f"Looking what there is at {without_access(wanted.source)} ...")):
                found = read_if_list(wanted.source, settings=settings, database=database, limits=limits, say=terminal.warn)
        except (NotYetError, SiteRefusesError) as error:
            named.problems.append(f"{error}. Submit it again later")
            return
    if found is None:
        yield wanted
        return
    offer = offered(found, limits, SourceVideoStore(database))
    if list_options.agreed(offer, yes=yes, quiet=quiet):
        yield from wanted_members(offer.new, said=wanted.facts, chapters_as_cuts=wanted.chapters_as_cuts)
