"""`detector_evaluation`: how good the detector is by what reviewers did to its cuts. A report and no file."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets import pictures
from assets.failures import TRANSIENT_RETRIES, stage_failures
from heaters_dagster.domain.evaluation import Counts, Doubt, Evaluation, Subject, Why
from heaters_dagster.domain.review_order import Early
from heaters_dagster.domain.words import counted
from heaters_dagster.registries import DETECTORS
from heaters_dagster.settings import Settings
from resources.orchestrator.dagster_resources import DatabaseResource, MachineResource, ObjectStoreResource, ProgressResource
from resources.upkeep.evaluation import Evaluations, evaluate

_MOST_VIDEOS = 10
_MOST_PLACES = 10
#: Of the thresholds of the sweep, below its plot.
_THRESHOLDS_NAMED = 6


class EvaluationConfig(dg.Config):
    """What a person may choose where they start it. detector: empty for that of HEATERS_DETECTOR; another one has its default threshold."""

    detector: str = ""
    compare: bool = True


@dg.asset(
    deps=["virtual_clips"],
    group_name="review",
    description="How good the detector is by what reviewers did to its cuts, and whether another threshold would have been better.",
    kinds={"postgres"},
    retry_policy=TRANSIENT_RETRIES,
)
def detector_evaluation(
    context: dg.AssetExecutionContext,
    config: EvaluationConfig,
    database: DatabaseResource,
    object_store: ObjectStoreResource,
    machine: MachineResource,
    progress: ProgressResource,
) -> dg.MaterializeResult[None]:
    settings = machine.settings()
    with stage_failures(
        lambda message, transient: None, objects=object_store.get, tries_left=context.retry_number < TRANSIENT_RETRIES.max_retries
    ):
        name = config.detector or settings.detector
        threshold = settings.detector_threshold if name == settings.detector else None
        first = Subject.of(DETECTORS.load(name), threshold)
        others = [Subject.of(one, None) for one in DETECTORS.usable() if one.name != name] if config.compare else []
        found = evaluate(database.get(), object_store.get(), [first, *others], report=progress.report_to(context.log))
    context.log.info(found.evaluations[0].conclusion())
    return dg.MaterializeResult(metadata=evaluation_metadata(found, settings))


def evaluation_metadata(found: Evaluations, settings: Settings) -> Mapping[str, dg.MetadataValue]:
    """Figures that Dagster plots over time, the plot, and tables; some ten thousand bytes, however large the library is."""
    one = found.evaluations[0]
    counts, early = one.counts, one.queue.early()
    shown: dict[str, dg.MetadataValue] = {
        "conclusion": dg.MetadataValue.text(one.conclusion()),
        "detector": dg.MetadataValue.text(one.subject.detector.name),
        "threshold": dg.MetadataValue.float(one.subject.threshold),
        "best threshold": dg.MetadataValue.float(one.best),
        "source videos": dg.MetadataValue.int(len(one.videos)),
        "source videos without its scores": dg.MetadataValue.int(one.without_scores),
        "reviewed cuts": dg.MetadataValue.int(counts.cuts),
        "corrections": dg.MetadataValue.int(counts.corrections),
        "corrections that the best threshold saves": dg.MetadataValue.int(one.saved),
    }
    ratios = {"precision": counts.precision, "recall": counts.recall, "F1": counts.f1, "calibration error": one.calibration_error}
    if early is not None:
        ratios |= {"corrections in the first 20 % of the queue": early.least_confident_first, "the same in order of time": early.in_order}
    shown |= {name: dg.MetadataValue.float(round(value, 4)) for name, value in ratios.items() if value is not None}
    if not one.videos:
        return shown
    return {
        **shown,
        "plot": dg.MetadataValue.md(evaluation_plot(one)),
        "cuts as they were made": dg.MetadataValue.md(_table("cut by", found.as_cut)),
        "by kind": dg.MetadataValue.md(_table("kind", one.by_kind)),
        "by threshold": dg.MetadataValue.md(_table("threshold", {f"{at:g}": some for at, some in sorted(one.sweep.items())})),
        "detectors": dg.MetadataValue.md(_detectors(found.evaluations)),
        "source videos with most corrections": dg.MetadataValue.md(
            _table("source video", {f"{line.id} {line.title}": line.counts for line in one.worst(_MOST_VIDEOS)})
        ),
        "worth a look": dg.MetadataValue.md(_places(one.doubts, settings)),
    }


def evaluation_plot(one: Evaluation) -> str:
    """The sweep, the reliability and the order of the queue side by side, as a picture in the text."""
    return pictures.plot("evaluation", lambda figure: draw_evaluation(figure, one), height_inches=2.8)


def draw_evaluation(figure: Any, one: Evaluation) -> None:
    """Draw the three plots of `evaluation_plot` into an empty figure."""
    sweep, sure, queue = figure.subplots(1, 3)
    rows = sorted(one.sweep.items())
    thresholds = [at for at, _ in rows]
    for name, colour in (("precision", "tab:blue"), ("recall", "tab:orange")):
        values = [getattr(some, name) for _, some in rows]
        sweep.plot(thresholds, [float("nan") if value is None else value for value in values], color=colour, label=name)
    sweep.axvline(one.subject.threshold, color="tab:gray", linestyle="--", linewidth=0.8, label="now")
    sweep.axvline(one.best, color="tab:gray", linestyle=":", linewidth=1.2, label="best")
    sweep.set(xscale="log", ylim=(0, 1.02), xlabel=f"threshold of {one.subject.detector.name}")
    # Matplotlib would write 2 x 10^-1, 3 x 10^-1 and so on over one another.
    named = thresholds[:: max(1, -(-len(thresholds) // _THRESHOLDS_NAMED))]
    sweep.set_xticks(named, labels=[f"{at:.2g}" for at in named])
    sweep.set_xticks([], minor=True)
    sweep.tick_params(axis="x", labelsize=8)
    sweep.legend(loc="lower left", frameon=False, fontsize=8)
    known = [(total / count, kept / count) for count, kept, total in one.bins if count]
    sure.plot((0, 1), (0, 1), color="tab:gray", linestyle="--", linewidth=0.8)
    sure.plot([place for place, _ in known], [share for _, share in known], color="tab:blue", marker="o", markersize=3)
    sure.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="share that were cuts")
    queue.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="share of the clips reviewed", ylabel="corrections found")
    if found := one.queue.found():
        early = [Early(0.0, 0.0, 0.0), *found]
        queue.plot([at.share for at in early], [at.least_confident_first for at in early], color="tab:blue", label="least confident first")
        queue.plot([at.share for at in early], [at.in_order for at in early], color="tab:orange", label="in order of time")
        queue.legend(loc="lower right", frameon=False, fontsize=8)
    else:
        queue.text(0.5, 0.5, "no clip needed a correction", ha="center", fontsize=8)


def _table(heading: str, named: Mapping[str, Counts]) -> str:
    headings = (heading, "precision", "recall", "F1", "kept", "moved", "removed", "added", "corrections")
    rows = [
        (name, *map(_ratio, (some.precision, some.recall, some.f1)), some.kept, some.moved, some.removed, some.added, some.corrections)
        for name, some in named.items()
    ]
    return pictures.table(headings, rows)


def _detectors(evaluations: Sequence[Evaluation]) -> str:
    headings = ("detector", "threshold", "F1", "corrections", "best threshold", "corrections there", "source videos")
    rows = [
        (
            one.subject.detector.name,
            f"{one.subject.threshold:g}",
            _ratio(one.counts.f1),
            one.counts.corrections,
            f"{one.best:g}",
            one.counts.corrections - one.saved,
            len(one.videos),
        )
        for one in evaluations
        if one.videos
    ]
    return pictures.table(headings, rows)


def _places(doubts: Sequence[Doubt], settings: Settings) -> str:
    """Links only when HEATERS_REVIEW_URL gives the lasting address of the app."""
    base = settings.shared_review_url

    def clip(one: Doubt) -> str:
        return one.clip if base is None else f"[{one.clip}]({base.rstrip('/')}/?clip={one.clip_id})"

    parts = []
    for why in Why:
        rows = [
            (clip(one), one.frame, f"{one.score:.3g}", "cut" if one.is_cut else "no cut", one.verdict or "")
            for one in doubts
            if one.why is why
        ]
        if rows:
            left = f", the first {_MOST_PLACES} of {len(rows)}" if len(rows) > _MOST_PLACES else ""
            title = f"{why.words} ({counted(len(rows), 'place')}{left})"
            parts.append(f"{title}\n\n{pictures.table(('clip', 'frame', 'score', 'detector', 'reviewers'), rows[:_MOST_PLACES])}")
    return "\n\n".join(parts) or "none"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
