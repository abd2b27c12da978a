"""`heaters evaluate`: how good a detector is by what reviewers did to its cuts, and whether another threshold or detector is better."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import AsJson, VideoIds, chosen_from, example, opened_database, within
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.evaluation import Subject, Why
from heaters_dagster.domain.reviewed_cuts import TOLERANCE_FRAMES
from heaters_dagster.domain.words import counted, percent
from heaters_dagster.registries import DETECTORS
from heaters_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from resources.upkeep.evaluation import Evaluations

app = typer.Typer()


class Table(StrEnum):
    """The tables that --csv prints."""

    SWEEP = "sweep"
    KINDS = "kinds"
    VIDEOS = "videos"
    RELIABILITY = "reliability"
    QUEUE = "queue"
    LOOK_AT = "look_at"
    AS_CUT = "as_cut"
    COMPARED = "compared"


@app.command(epilog=example("evaluate --compare"))
def evaluate(
    videos: VideoIds = None,
    detector: Annotated[str | None, chosen_from(DETECTORS, "--detector", otherwise="that of HEATERS_DETECTOR")] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", metavar="NUMBER", help="Its threshold. Without it: that of the settings, else its default."),
    ] = None,
    tolerance: Annotated[
        int,
        typer.Option(
            "--tolerance", metavar="FRAMES", callback=within(0, 100), help="So many frames beside a true cut a detection still is that cut."
        ),
    ] = TOLERANCE_FRAMES,
    compare: Annotated[bool, typer.Option("--compare", help="All detectors beside it whose scores are stored.")] = False,
    unreviewed: Annotated[
        bool, typer.Option("--unreviewed", help="Also look for doubtful places in source videos in which nobody has decided anything.")
    ] = False,
    most: Annotated[
        int, typer.Option("--most", metavar="COUNT", callback=within(0, 10_000), help="List so many source videos, and places to look at.")
    ] = 10,
    as_csv: Annotated[Table | None, typer.Option("--csv", help="Print one of the tables as CSV.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say how good a detector is by what reviewers did: cuts that they kept, moved, removed and added.

    Only what people have reviewed counts: a clip with a decision, and a cut between two of them. It works on stored scores, decodes nothing
    and changes nothing.
    """
    from resources.object_store.open import open_object_store
    from resources.object_store.probe import check_that_they_answer
    from resources.postgres.source_video_store import SourceVideoStore
    from resources.upkeep.evaluation import evaluate as evaluated

    if as_json and as_csv is not None:
        raise typer.BadParameter("--json and --csv are two forms: give one of them")
    settings = load_settings()
    subjects = _subjects(settings, detector, threshold, tolerance, compare=compare or as_csv is Table.COMPARED)
    check_that_they_answer(settings, [settings.object_bucket])
    with opened_database(settings) as database, terminal.bars() as report:
        for video in videos or ():
            SourceVideoStore(database).load(video)
        found = evaluated(
            database,
            open_object_store(settings),
            subjects,
            source_video_ids=videos or (),
            with_unreviewed=unreviewed,
            report=report,
        )
    said = found.to_json()
    address = (settings.shared_review_url or settings.review_url).rstrip("/")
    said["look_at"] = [row | {"page": f"{address}/?clip={row['clip_id']}"} for row in said["look_at"]]
    if as_json:
        terminal.show_json(said)
    elif as_csv is not None:
        _print_csv(said[as_csv.value])
        if not said[as_csv.value]:
            terminal.warn(f"The table {as_csv.value} is empty. {said['words']}")
    else:
        _tell(found, said, most)


def _subjects(settings: Settings, detector: str | None, threshold: float | None, tolerance: int, *, compare: bool) -> list[Subject]:
    name = detector or settings.detector
    own = settings.detector_threshold if name == settings.detector else None
    first = Subject.of(DETECTORS.load(name), own if threshold is None else threshold, tolerance)
    others = [Subject.of(one, None, tolerance) for one in DETECTORS.usable() if one.name != name] if compare else []
    return [first, *others]


def _print_csv(rows: list[dict[str, Any]]) -> None:
    if rows:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


_RATIOS = (
    Column("precision", "precision", number=True),
    Column("recall", "recall", number=True),
    Column("F1", "f1", number=True),
)
_VERDICTS = tuple(Column(name, name, number=True) for name in ("kept", "moved", "removed", "added"))
_CORRECTIONS = Column("corrections", "corrections", number=True)


def _tell(found: Evaluations, said: Mapping[str, Any], most: int) -> None:
    first = found.evaluations[0]
    terminal.say(said["words"])
    _say_left_out(said)
    if not said["source_videos"]:
        return
    first_row = {"what": f"{said['detector']} at {said['threshold']:g}", **said}
    as_cut = [{"what": f"as cut by {row['cut_by']}", **row} for row in said["as_cut"]]
    columns = [Column("cuts", "what", wraps=True), *_RATIOS, *_VERDICTS, _CORRECTIONS]
    reviewed = counted(said["source_videos"], "source video")
    terminal.show_table(f"What reviewers say, in {reviewed}", columns, [first_row, *as_cut])
    terminal.show_table("By kind of cut", [Column("kind", "kind"), *_RATIOS, *_VERDICTS, _CORRECTIONS], said["kinds"])
    swept = [row | {"": _mark(row["threshold"], said)} for row in said["sweep"]]
    terminal.show_table(
        "By threshold", [Column("threshold", "threshold", number=True), *_RATIOS, *_VERDICTS, _CORRECTIONS, Column("", "")], swept
    )
    if said["compared"]:
        columns = [Column("detector", "detector"), Column("threshold", "threshold", number=True), *_RATIOS, _CORRECTIONS]
        columns += [Column("best threshold", "best_threshold", number=True), Column("corrections there", "best_corrections", number=True)]
        columns += [Column("source videos", "source_videos", number=True)]
        terminal.show_table("Detectors whose scores are stored", columns, [row for row in said["compared"] if row["source_videos"]])
    sure = [
        row | {"confidence": f"{row['from']:.1f} to {row['to']:.1f}", "share": row["kept"] / row["cuts"]}
        for row in said["reliability"]
        if row["cuts"]
    ]
    columns = [Column("confidence", "confidence"), Column("cuts", "cuts", number=True), Column("of these are cuts", "kept", number=True)]
    terminal.show_table("How far a confidence can be trusted", [*columns, Column("share", "share", number=True)], sure)
    _tell_queue(first.queue.early())
    if most:
        columns = [Column("video", "id", number=True), Column("title", "title", wraps=True), *_RATIOS, *_VERDICTS, _CORRECTIONS]
        terminal.show_table("Source videos with most corrections", columns, said["videos"][:most])
        _tell_places(said, most)


def _mark(threshold: float, said: Mapping[str, Any]) -> str:
    marks = [word for word, value in (("now", said["threshold"]), ("fewest corrections", said["best_threshold"])) if value == threshold]
    return ", ".join(marks)


def _say_left_out(said: Mapping[str, Any]) -> None:
    if count := said["source_videos_without_scores"]:
        terminal.say(
            f"{counted(count, 'source video')} left out: no scores of {said['detector']} are stored. heaters recut VIDEO --detector "
            f"{said['detector']} makes them, where review has not begun."
        )
    if count := said["corrections_without_decision"]:
        terminal.say(f"{counted(count, 'corrected cut')} not counted: a clip beside it has no decision yet.")


def _tell_queue(early: Any) -> None:
    if early is not None:
        terminal.say(
            f"In the first {percent(early.share)} of the clips reviewers find {percent(early.least_confident_first)} of what is to be "
            f"corrected when the least confident ones come first, and {percent(early.in_order)} in order of time."
        )


def _tell_places(said: Mapping[str, Any], most: int) -> None:
    columns = [Column("clip", "clip", number=True), Column("frame", "frame", number=True), Column("score", "score", number=True)]
    columns += [Column("detector", "here"), Column("reviewers", "verdict"), Column("page", "page")]
    for why in Why:
        rows = [row | {"here": "cut" if row["is_cut"] else "no cut"} for row in said["look_at"] if row["why"] == why.value][:most]
        if rows:
            terminal.show_table(f"Worth a look. {why.words}", columns, rows)
