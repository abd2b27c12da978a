"""Fits the models on what gather.py wrote, tests them with whole sources left out, and writes the model and its report.

`python -m training.cut_fusion.fit GATHERED OUT` needs scikit-learn (the extra `training`). Heaters itself reads the model with numpy alone.
It keeps the base, base_1.npz, which was fitted on 2,150 films that are gone, and fits the models that doubt it, the kinds and ranges, and
the calibration. With `--anew` it fits the base too.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_fusion import BASE, Doubted, Places, Trees, changed_partly, chosen, with_base, with_hard_chances
from heaters_dagster.domain.cut_transitions import TransitionModels
from training.cut_fusion.examples import IGNORED, Examples, hard_examples, joined, stretch_examples
from training.cut_fusion.films import AT_ONCE
from training.cut_fusion.gathered import Gathered, load_folds
from training.cut_fusion.kinds import fitted_transitions, found_boundaries, kind_report
from training.cut_fusion.shots import FOLDS
from training.cut_fusion.trees import trees_of
from training.cut_fusion.trial import Outcome, raw_confidences, reliability, tried

KINDS = ("hard", "stretch")
BASE_FILE = Path(__file__).with_name("base_1.npz")
#: What the models that doubt see.
_OF_OVERLAYS = (
    "bars_change", "inside_jump", "inside_over_usual", "unlike_inside", "least_inside", "changed_box", "changed_share", "unchanged_jump",
    "jump", "least_apart", "apart_before", "apart_after",
)  # fmt: skip
_SEEN = 0.35
_HARD_ODDS, _GRADUAL_ODDS, _FALSE_ODDS = 17 / 191, 1 / 57, 8 / 248
#: Beginnings of the names of features of which more means rather a cut.
_EVIDENCE = (
    "chance_before", "chances_near", "part_before", "parts_near", "greatest_chance", "sum_of_chances", "greatest_part", "sure_frames",
    "hard_chance", "jump", "moved_jump", "relative_jump", "structure_jump", "least_", "colour_jump", "colours_across", "across",
    "unlike_across", "inside_", "unlike_inside",
    "changed_",
)  # fmt: skip


def examples_of(folds: Sequence[Sequence[Gathered]]) -> Mapping[str, Sequence[Examples]]:
    """By kind of place, the examples of each fold."""
    made: dict[str, list[Examples]] = {kind: [] for kind in KINDS}
    for films in folds:
        lengths = [len(film.scores) for film in films]
        pairs = [(hard_examples(film.labels, features := film.features), stretch_examples(film.labels, features)) for film in films]
        for place, kind in enumerate(KINDS):
            made[kind].append(joined([pair[place] for pair in pairs], lengths))
    return made


def both(examples: Mapping[str, Sequence[Examples]], *, rounds: int, lifelike: float) -> tuple[Trees, Trees]:
    """The models of hard places and of stretches; the second sees what the first says of the places in its stretch."""
    hard = fitted(
        [(part.names, part.rows.astype(np.float32), part.labels) for part in examples["hard"]],
        weights(examples["hard"], "chance", lifelike),
        rounds=rounds,
    )
    stretch = []
    for places, runs in zip(examples["hard"], examples["stretch"], strict=True):
        chances = hard.chances(_places(places))
        seen = with_hard_chances(_places(runs), places.first, chances)
        stretch.append((seen.names, seen.rows, runs.labels))
    return hard, fitted(stretch, weights(examples["stretch"], "greatest_chance", lifelike), rounds=rounds)


def doubted(examples: Mapping[str, Sequence[Examples]], base: tuple[Trees, Trees]) -> tuple[Doubted, Doubted]:
    """The base with models that doubt it where only a part of the picture changes."""
    hard = Doubted(base[0], _doubts(base[0], [(_places(part), part.labels) for part in examples["hard"]], ""))
    runs = [
        (with_hard_chances(_places(runs), places.first, hard.chances(_places(places))), runs.labels)
        for places, runs in zip(examples["hard"], examples["stretch"], strict=True)
    ]
    return hard, Doubted(base[1], _doubts(base[1], runs, "_at_jump"))


def _doubts(base: Trees, parts: Sequence[tuple[Places, NDArray[np.int8]]], suffix: str) -> Trees:
    from sklearn.ensemble import HistGradientBoostingClassifier

    names = (BASE, *(f"{name}{suffix}" for name in _OF_OVERLAYS))
    tables, truth = [], []
    for places, labels in parts:
        partly = np.flatnonzero(changed_partly(places) & (labels != IGNORED))
        seen = with_base(some := chosen(places, partly), base.sums(some))
        tables.append(seen.rows[:, [seen.names.index(name) for name in names]])
        truth.append(labels[partly])
    model = HistGradientBoostingClassifier(
        max_iter=60,
        max_leaf_nodes=6,
        learning_rate=0.1,
        min_samples_leaf=25,
        l2_regularization=1.0,
        monotonic_cst=[int(name == BASE or name.startswith(_EVIDENCE)) for name in names],
        early_stopping=False,
        random_state=0,
    )
    return trees_of(names, model.fit(np.concatenate(tables), np.concatenate(truth)))


def calibration(sure: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Slope and offset of `calibrated`, from boundaries in films that the model has not seen."""
    from sklearn.linear_model import LogisticRegression

    confidences, right = (np.array(column) for column in zip(*sure, strict=True))
    confidences = np.clip(confidences, 1e-6, 1 - 1e-6)
    logits = np.log(confidences / (1 - confidences))[:, None]
    line = LogisticRegression(C=1e6).fit(logits, right)
    return float(line.coef_[0, 0]), float(line.intercept_[0])


def load_base(path: Path) -> tuple[Trees, Trees]:
    with np.load(path) as file:
        hard, stretch = (
            Trees.from_arrays({name.removeprefix(f"{kind}_"): file[name] for name in file.files if name.startswith(f"{kind}_")})
            for kind in KINDS
        )
    return hard, stretch


def weights(parts: Sequence[Examples], chance: str, lifelike: float) -> NDArray[np.float64]:
    """How much each example with a label counts: the films are harder for the network than real ones, and that must not teach mistrust.

    On real films the network at 0.35 finds 191 of 208 hard cuts and 57 of 57 gradual ones, and 8 that are none. With `lifelike` 1 the
    transitions that it does not see, and the false ones that it does, count as much as they occur there; with 0 as much as in the films.
    """
    labels = np.concatenate([part.labels for part in parts])
    kinds = np.concatenate([part.kinds for part in parts])
    seen = np.concatenate([part.rows[:, part.names.index(chance)] for part in parts]) >= _SEEN
    weight = np.ones(len(labels))
    at_once = np.isin(kinds, AT_ONCE)
    for group, odds in ((at_once, _HARD_ODDS), (~at_once, _GRADUAL_ODDS)):
        unseen = (labels == 1) & group & ~seen
        if unseen.any():
            weight[unseen] = odds * ((labels == 1) & group & seen).sum() / unseen.sum()
    wrong = (labels == 0) & seen
    weight[wrong] = _FALSE_ODDS * ((labels == 1) & seen).sum() / max(1, wrong.sum())
    return np.minimum(weight, 1.0)[labels != IGNORED] ** lifelike


def fitted(
    parts: Sequence[tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.int8]]], weight: NDArray[np.float64], *, rounds: int
) -> Trees:
    """Boosted trees on the examples that have a label.

    More evidence never makes a cut less likely: without that the trees learn how the generator's films differ from real ones.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    names = parts[0][0]
    rows = np.concatenate([rows[labels != IGNORED] for _, rows, labels in parts])
    labels = np.concatenate([labels[labels != IGNORED] for _, _, labels in parts])
    model = HistGradientBoostingClassifier(
        max_iter=rounds,
        max_leaf_nodes=8,
        learning_rate=0.12,
        min_samples_leaf=60,
        l2_regularization=1.0,
        monotonic_cst=[int(name in ("chance", "part") or name.startswith(_EVIDENCE)) for name in names],
        early_stopping=False,
        random_state=0,
    )
    return trees_of(names, model.fit(rows, labels, sample_weight=weight))


def _places(part: Examples) -> Places:
    return Places(part.names, part.last, part.first, part.last, part.rows.astype(np.float32))


def save(path: Path, hard: Doubted, stretch: Doubted, found: TransitionModels, line: tuple[float, float]) -> None:
    """As resources/models/scores/learned.py reads it."""
    parts = {"hard": hard.base, "hard-overlays": hard.overlays, "stretch": stretch.base, "stretch-overlays": stretch.overlays}
    parts |= {"before": found.before, "after": found.after} | {f"kind-{kind}": trees for kind, trees in found.kinds.items()}
    arrays = {f"{part}_{name}": array for part, trees in parts.items() for name, array in trees.to_arrays().items()}
    np.savez_compressed(path, calibration=np.array(line), **arrays)


def report(outcomes: Mapping[str, Outcome], films: int) -> str:
    """The tables of the README, in Markdown."""
    names = list(outcomes)
    kinds = sorted({kind for one in outcomes.values() for kind in (*one.found, *one.missed)})
    false = sorted({kind for one in outcomes.values() for kind in one.false})
    lines = [
        f"{films} films whose sources the model has never seen (five folds by source).",
        "",
        f"| | {' | '.join(names)} |",
        f"| --- |{' ---: |' * len(names)}",
        f"| F1 | {' | '.join(f'{one.f1:.3f}' for one in outcomes.values())} |",
    ]
    for kind in kinds:
        shares = [f"{one.found[kind]:,} of {one.found[kind] + one.missed[kind]:,}" for one in outcomes.values()]
        lines.append(f"| {kind}: found | {' | '.join(shares)} |")
    for kind in false:
        lines.append(f"| {kind}: false | {' | '.join(f'{one.false[kind]:,}' for one in outcomes.values())} |")
    return "\n".join(lines) + "\n"


def plot(path: Path, outcomes: Mapping[str, Outcome]) -> None:
    """How often a boundary is right, by how sure the detector was."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.2, 4.2), dpi=100)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for name in ("learned at 0.5", "transnetv2 at 0.35"):
        points = list(reliability(outcomes[name].sure))
        axes.plot([point[0] for point in points], [point[1] for point in points], marker="o", label=name.partition(" at")[0])
    axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left")
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gathered", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--anew", action="store_true", help="fit the base too")
    parser.add_argument("--rounds", type=int, default=100, help="of a base that is fitted anew")
    parser.add_argument("--lifelike", type=float, default=0.5, help="of a base that is fitted anew: see `weights`")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    folds = load_folds(given.gathered)
    examples = examples_of(folds)

    def made(without: int | None) -> tuple[Doubted, Doubted]:
        some = {kind: [part for place, part in enumerate(examples[kind]) if place != without] for kind in KINDS}
        base = both(some, rounds=given.rounds, lifelike=given.lifelike) if given.anew else load_base(BASE_FILE)
        return doubted(some, base)

    models = [made(fold) for fold in range(FOLDS)]
    line = calibration([pair for fold, films in enumerate(folds) for film in films for pair in raw_confidences(film, models[fold])])
    # The models of kinds learn on boundaries as the detector finds them in films that it has not seen.
    boundaries = [found_boundaries(films, models[fold]) for fold, films in enumerate(folds)]
    save(given.out / "cut_fusion_2.npz", *made(None), fitted_transitions([one for part in boundaries for one in part]), line)
    outcomes = tried(folds, models, line, given.workers)
    told = f"{report(outcomes, sum(map(len, folds)))}\n{kind_report(boundaries)}"
    plot(given.out / "reliability.png", outcomes)
    sure = list(reliability(outcomes["learned at 0.5"].sure))
    told += "\n" + "\n".join(f"- {mean:.2f}: {right:.2f} of {number:,} are right" for mean, right, number in sure) + f"\n\n{line}\n"
    (given.out / "report.md").write_text(told)
    print(told)


if __name__ == "__main__":
    main()
