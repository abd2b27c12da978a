"""`heaters cutlist`: the cut list of a source video for an editing program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import VideoId, chosen_from, example, opened_database, within
from heaters_dagster.domain.cut_list_media import MediaKind
from heaters_dagster.domain.cut_lists import FcpxmlVersion, Gaps, Verdict
from heaters_dagster.domain.words import counted
from heaters_dagster.registries import CUT_LIST_FORMATS
from heaters_dagster.settings import load_settings

app = typer.Typer()


@app.command(epilog=example("cutlist 3 --format edl --media-root /Volumes/Footage -o harbour.edl"))
def cutlist(
    video: VideoId,
    form: Annotated[str, chosen_from(CUT_LIST_FORMATS, "--format")] = "csv",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write to this file instead of standard output; a list too long for one EDL becomes NAME_1.edl, NAME_2.edl.",
        ),
    ] = None,
    media: Annotated[
        MediaKind, typer.Option("--media", help="The files that the list names: clips are the exported files of approved clips.")
    ] = MediaKind.ORIGINAL,
    media_root: Annotated[
        str | None,
        typer.Option(
            "--media-root",
            metavar="FOLDER",
            help="The folder of these files as the editing program's machine sees it: /Volumes/Footage, D:\\Footage."
            " Without it: where they are on this machine; only their names when they are in a bucket.",
        ),
    ] = None,
    handles: Annotated[
        int,
        typer.Option(
            "--handles",
            metavar="FRAMES",
            callback=within(0, 100_000),
            help="Frames more at each end of a clip, as far as its file has them.",
        ),
    ] = 0,
    gaps: Annotated[
        Gaps, typer.Option("--gaps", help="close: clips follow one another; keep: each lies where it lies in the source video.")
    ] = Gaps.CLOSE,
    only: Annotated[
        list[Verdict] | None,
        typer.Option("--only", help="List only clips with this verdict; may be given more than once. Without it: all clips."),
    ] = None,
    fcpxml_version: Annotated[
        FcpxmlVersion | None,
        typer.Option("--fcpxml-version", help=f"Of a list in that format. Without it {FcpxmlVersion.V1_8}, which most programs read."),
    ] = None,
    companion: Annotated[
        bool,
        typer.Option(
            "--companion",
            help="For a variable rate: also write a video file of a constant rate beside the list, which the list names and fits exactly.",
        ),
    ] = False,
) -> None:
    """Write the cut list of a source video for an editing program. docs/cut-lists.md says how to relink it there."""
    from resources.clips.cut_list_writer import CutListChoices, stored_cut_list, write_companion

    settings = load_settings()
    if fcpxml_version is not None and form != "fcpxml":
        raise typer.BadParameter(f"--fcpxml-version is of lists in the format fcpxml, not {form}: add --format fcpxml")
    if output is not None and not output.name:
        raise typer.BadParameter(f"--output {output} is a folder: name a file")
    if companion and output is None:
        raise typer.BadParameter("the companion file lies beside the list: add --output FILE")
    if companion and media is MediaKind.CLIPS:
        raise typer.BadParameter("a companion file is of the whole source video: choose --media original, master or proxy")
    with opened_database(settings) as database:
        beside = None
        if companion and output is not None:
            place = output.resolve().with_name(f"{output.stem}_constant_rate.mp4")
            if write_companion(video, place, database=database, settings=settings):
                beside = str(place)
                terminal.say(f"Wrote {place}")
            else:
                terminal.warn(f"source video {video} has a constant rate, so there is no companion file: the list names the {media} itself")
        choices = CutListChoices(
            media=media,
            root=media_root,
            handles=handles,
            gaps=gaps,
            only=frozenset(only or ()),
            companion=beside,
            fcpxml_version=fcpxml_version or FcpxmlVersion.V1_8,
        )
        written = stored_cut_list(video, form, choices, database=database, settings=settings)
    for warning in written.warnings:
        terminal.warn(warning)
    if output is None:
        if len(written.texts) > 1:
            chosen = CUT_LIST_FORMATS.load(form)
            raise typer.BadParameter(
                f"the clips of source video {video} need {counted(len(written.texts), 'file')} in the format {form}, which holds up to"
                f" {counted(chosen.most_clips or 1, 'clip')}: add --output NAME{chosen.suffix}, or choose another format"
            )
        sys.stdout.write(written.texts[0])
        return
    for place, text in zip(_numbered(output, len(written.texts)), written.texts, strict=True):
        _write(place, text)
        terminal.say(f"Wrote {place}")


def _numbered(output: Path, count: int) -> list[Path]:
    """`cuts.edl`, or `cuts_1.edl`, `cuts_2.edl`."""
    return [output] if count == 1 else [output.with_stem(f"{output.stem}_{number}") for number in range(1, count + 1)]


def _write(place: Path, text: str) -> None:
    """Write a list so that it appears whole, and the one before it stays until then. Line ends stay as the format has them."""
    from resources.object_store.work_folder import written_beside

    target = place.resolve()
    if target.exists() and not target.is_file():  # a pipe, a terminal
        target.write_text(text, encoding="utf-8", newline="")
        return
    with written_beside(target, called=place) as part:
        part.write_text(text, encoding="utf-8", newline="")
