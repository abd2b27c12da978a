"""The asset `detector_evaluation` as Dagster makes it, from decisions that people made."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from itertools import pairwise

import dagster as dg
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from assets.detector_evaluation import detector_evaluation, draw_evaluation
from assets.pictures import PLOT_INCHES
from heaters_dagster.domain.evaluation import Evaluation, Subject, evaluated
from heaters_dagster.domain.keys import scenes_key
from heaters_dagster.domain.scenes import CutSettings, encoded
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.clip_store import ClipStore, NewClip
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from tests.domain.test_evaluation import PLAIN, scored, video
from tests.pipeline_rows import reviews, video_in

SETTINGS = CutSettings("content", 27.0, 2)


def reviewed_video(database: Database, objects: ObjectStore, *, cuts: int = 20) -> int:
    """`content` has cut it every 50 frames; the last cut has a low score, and a person has removed it."""
    frames = 50 * (cuts + 1)
    video = video_in(database, SourceVideoState.DETECTING_SCENES)
    edges = list(range(0, frames + 1, 50))
    column = np.zeros(frames, np.float32)
    column[edges[1:-1]] = 60.0
    column[edges[-2]] = 28.0
    objects.put_bytes(scenes_key(video.id), encoded("content", {"content": column}, settings=SETTINGS))
    new = [
        NewClip(start_frame=start, end_frame=start + 50, start_time_seconds=start / 25, end_time_seconds=start / 25 + 2, confidence=0.6)
        for start in edges[:-1]
    ]
    ClipStore(database).replace_cuts(video.id, new, frames, scene_settings=SETTINGS.to_json())
    reviews(database).remove_cut_point(video.id, edges[-2], reviewer="ada")
    reviews(database).approve([clip.id for clip in ClipStore(database).load_live(video.id)], reviewer="ada")
    return video.id


def made(settings: Settings, **config: object) -> dict[str, dg.MetadataValue]:
    done = dg.materialize(
        [detector_evaluation],
        resources=dagster_resources(settings),
        run_config={"ops": {"detector_evaluation": {"config": config}}} if config else None,
    )
    (event,) = done.get_asset_materialization_events()
    return dict(event.materialization.metadata)


@pytest.fixture
def of_content(settings: Settings) -> Settings:
    return replace(settings, detector="content", shared_review_url="https://review.example.org/")


def test_an_operator_sees_the_figures_the_plot_and_where_to_look(
    of_content: Settings, database: Database, object_store: ObjectStore
) -> None:
    video = reviewed_video(database, object_store)
    SourceVideoStore(database).update(video, title="Harbour | at night")
    shown = {name: value.value for name, value in made(of_content).items()}
    assert (shown["precision"], shown["recall"], shown["corrections"], shown["reviewed cuts"]) == (0.95, 1.0, 1, 19)
    assert (shown["threshold"], shown["best threshold"], shown["corrections that the best threshold saves"]) == (27.0, 32.0, 1)
    assert shown["corrections in the first 20 % of the queue"] == 1.0
    assert shown["the same in order of time"] == 0.0
    assert str(shown["conclusion"]).startswith("content at 32 instead of 27 would have saved 1 of 1 correction")
    last = ClipStore(database).load_live(video)[-1]
    assert f"[{last.reference}](https://review.example.org/?clip={last.id}) | 1000 | 28 | cut | removed |" in str(shown["worth a look"])
    assert "Harbour \\| at night" in str(shown["source videos with most corrections"])
    drawn = re.match(r"!\[evaluation\]\(data:image/png;base64,(.+)\)", str(shown["plot"]))
    assert drawn
    with Image.open(BytesIO(b64decode(drawn[1]))) as picture:
        assert picture.width <= 980, "Dagster's dialog cuts off the rest in a window of 1280 pixels"
    assert sum(len(str(value)) for value in shown.values()) < 40_000, "Dagster stores each text three times"


def test_another_detector_can_be_asked_for_and_one_without_scores_says_so(
    of_content: Settings, database: Database, object_store: ObjectStore
) -> None:
    reviewed_video(database, object_store)
    shown = made(of_content, detector="adaptive", compare=False)
    assert (shown["detector"].value, shown["reviewed cuts"].value) == ("adaptive", 19)
    shown = made(of_content, detector="transnetv2", compare=False)
    assert (shown["source videos without its scores"].value, "plot" in shown) == (1, False)
    with pytest.raises(dg.Failure, match="'eyes' is not a detector"):
        made(of_content, detector="eyes")


def test_without_any_review_it_says_that(settings: Settings, database: Database) -> None:
    shown = made(settings)
    assert "has a decision yet: review some, then ask again" in str(shown["conclusion"].value)


@pytest.mark.parametrize("threshold", [0.05, 0.4, 3.0, 27.0])
def test_the_thresholds_below_the_plot_can_be_read(threshold: float) -> None:
    subject = Subject.of(replace(PLAIN, default_threshold=threshold), None)
    known = Evaluation(subject)
    known.add(evaluated(video([0, 100, 200]), scored(200, f100=2 * threshold), subject))
    figure = Figure(figsize=(PLOT_INCHES, 2.8), dpi=100, layout="constrained")
    draw_evaluation(figure, known)
    FigureCanvasAgg(figure).draw()
    sweep, _, queue = figure.axes
    named = [label for label in sweep.get_xticklabels(which="both") if label.get_text()]
    assert all(float(label.get_text()) == pytest.approx(at, rel=0.05) for label, at in zip(named, sweep.get_xticks(), strict=True))
    boxes = [label.get_window_extent() for label in named]
    assert len(boxes) >= 4
    assert all(left.x1 + 4 < right.x0 for left, right in pairwise(boxes))
    below = [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    assert all(left.x1 + 4 < right.x0 for left, right in pairwise(below))
    # Nothing was corrected: it says so, and names no lines that are not there.
    assert [text.get_text() for text in queue.texts] == ["no clip needed a correction"]
    assert queue.get_legend() is None
