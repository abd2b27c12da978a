"""`heaters cuts ...`: add, remove or move cuts."""

from __future__ import annotations

from typing import Annotated

import typer

from heaters_dagster.commands.shared import As, AsJson, Frame, VideoId, example, opened_reviews, reviewer_name, show_result
from heaters_dagster.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Add, remove or move cuts: the places where one clip ends and the next begins.")


@app.command("add", epilog=example("cuts add 3 240"))
def cuts_add(video: VideoId, frame: Frame, reviewer: As = None, as_json: AsJson = False) -> None:
    """Cut a clip in two: FRAME becomes the first frame of the right-hand clip."""
    with opened_reviews(load_settings()) as reviews:
        show_result(reviews.add_cut_point(video, frame, reviewer=reviewer_name(reviews.reviewers, reviewer)), reviews.names, as_json)


@app.command("remove", epilog=example("cuts remove 3 240"))
def cuts_remove(video: VideoId, frame: Frame, reviewer: As = None, as_json: AsJson = False) -> None:
    """Join the two clips that meet at FRAME."""
    with opened_reviews(load_settings()) as reviews:
        show_result(reviews.remove_cut_point(video, frame, reviewer=reviewer_name(reviews.reviewers, reviewer)), reviews.names, as_json)


@app.command("move", epilog=example("cuts move 3 240 244"))
def cuts_move(
    video: VideoId,
    frame: Frame,
    new_frame: Annotated[int, typer.Argument(metavar="NEW_FRAME", help="The new first frame of the right-hand clip.")],
    reviewer: As = None,
    as_json: AsJson = False,
) -> None:
    """Move the cut at FRAME to NEW_FRAME; both neighbours change."""
    with opened_reviews(load_settings()) as reviews:
        show_result(
            reviews.move_cut_point(video, frame, new_frame, reviewer=reviewer_name(reviews.reviewers, reviewer)), reviews.names, as_json
        )
