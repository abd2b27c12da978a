"""Fits the two models on what gather.py wrote, tests them with whole sources left out, and writes the model and its report.

`python -m training.cut_fusion.fit GATHERED OUT` needs scikit-learn (the extra `training`). Heaters itself reads the model with numpy alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_fusion import Places, Trees, with_hard_chances
from training.cut_fusion.examples import IGNORED, Examples
from training.cut_fusion.shots import FOLDS
from training.cut_fusion.trial import Outcome, reliability, tried

KINDS = ("hard", "stretch")
_SEEN = 0.35
_HARD_ODDS, _GRADUAL_ODDS, _FALSE_ODDS = 17 / 191, 1 / 57, 8 / 248
#: Beginnings of the names of features of which more means rather a cut.
_EVIDENCE = (
    "chance_before", "chances_near", "part_before", "parts_near", "greatest_chance", "sum_of_chances", "greatest_part", "sure_frames",
    "hard_chance", "jump", "moved_jump", "relative_jump", "structure_jump", "least_", "colour_jump", "colours_across", "across",
    "unlike_across",
)  # fmt: skip


def read(folder: Path) -> Mapping[str, Sequence[Examples]]:
    """By kind of place, the examples of each fold."""
    files = [np.load(folder / f"fold{fold}.npz") for fold in range(FOLDS)]
    fields = ("rows", "labels", "kinds", "first", "last")
    return {
        kind: [Examples(tuple(map(str, file[f"{kind}_names"])), *(file[f"{kind}_{name}"] for name in fields)) for file in files]
        for kind in KINDS
    }


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


def weights(parts: Sequence[Examples], chance: str, lifelike: float) -> NDArray[np.float64]:
    """How much each example with a label counts: the films are harder for the network than real ones, and that must not teach mistrust.

    On real films the network at 0.35 finds 191 of 208 hard cuts and 57 of 57 gradual ones, and 8 that are none. With `lifelike` 1 the
    transitions that it does not see, and the false ones that it does, count as much as they occur there; with 0 as much as in the films.
    """
    labels = np.concatenate([part.labels for part in parts])
    kinds = np.concatenate([part.kinds for part in parts])
    seen = np.concatenate([part.rows[:, part.names.index(chance)] for part in parts]) >= _SEEN
    weight = np.ones(len(labels))
    for group, odds in (((kinds == "hard"), _HARD_ODDS), ((kinds != "hard"), _GRADUAL_ODDS)):
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


def trees_of(names: tuple[str, ...], model: Any) -> Trees:
    """The model as arrays."""
    trees = [predictor.nodes for (predictor,) in model._predictors]
    most = max(map(len, trees))

    def filled(field: str, dtype: Any, otherwise: float = 0) -> NDArray[Any]:
        table = np.full((len(trees), most), otherwise, dtype)
        for number, nodes in enumerate(trees):
            table[number, : len(nodes)] = nodes[field]
        return table

    leaf = filled("is_leaf", np.bool_, 1).astype(bool)
    return Trees(
        names,
        np.where(leaf, -1, filled("feature_idx", np.int16)).astype(np.int16),
        filled("num_threshold", np.float32),
        filled("left", np.int16),
        filled("right", np.int16),
        np.where(leaf, filled("value", np.float32), 0).astype(np.float32),
        float(np.ravel(model._baseline_prediction)[0]),
    )


def save(path: Path, hard: Trees, stretch: Trees) -> None:
    arrays = {
        f"{kind}_{name}": array for kind, trees in zip(KINDS, (hard, stretch), strict=True) for name, array in trees.to_arrays().items()
    }
    np.savez_compressed(path, **arrays)


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
    parser.add_argument("sources", type=Path)
    parser.add_argument("gathered", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--lifelike", type=float, default=0.5, help="see `weights`")
    parser.add_argument("--only-fit", action="store_true", help="write the model, test nothing")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    examples = read(given.gathered)
    save(given.out / "cut_fusion_1.npz", *both(examples, rounds=given.rounds, lifelike=given.lifelike))
    if given.only_fit:
        return
    models = [
        both(
            {kind: [part for place, part in enumerate(examples[kind]) if place != fold] for kind in KINDS},
            rounds=given.rounds,
            lifelike=given.lifelike,
        )
        for fold in range(FOLDS)
    ]
    files = [np.load(given.gathered / f"fold{fold}.npz") for fold in range(FOLDS)]
    outcomes = tried(given.sources, [(file["scores"], file["lengths"]) for file in files], models, given.workers)
    (given.out / "report.md").write_text(report(outcomes, sum(len(file["lengths"]) for file in files)))
    plot(given.out / "reliability.png", outcomes)
    sure = list(reliability(outcomes["learned at 0.5"].sure))
    (given.out / "reliability.json").write_text(json.dumps(sure))
    print((given.out / "report.md").read_text(), sure)


if __name__ == "__main__":
    main()
