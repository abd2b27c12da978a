"""From scikit-learn's boosted trees to the arrays that Heaters reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_fusion import Trees


def trees_of(names: tuple[str, ...], model: Any, group: int = 0) -> Trees:
    """The model as arrays. group: of a model of several kinds, the one."""
    trees = [predictors[group].nodes for predictors in model._predictors]
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
        float(np.ravel(model._baseline_prediction)[group]),
    )
