"""Fewer channels between the two convolutions of a branch, in which nothing is but sums: what most of them hold, the others tell.

A branch of 2f channels is multiplied by an (r, 2f) matrix before its convolution over time, and by a (2f, r) one in it. Both products
are taken of the weights, so the branch has r channels then, and costs r / 2f of the time. Which r-dimensional part of its values is kept
was measured on made films (training/transnetv2_int8): the one with the least error behind the convolution over time. Source: low-rank
factors of trained convolutions, https://arxiv.org/abs/1405.3866 (2014), here with the values' own covariance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from resources.models.scores.transnetv2_weights import Branch


@dataclass(frozen=True, slots=True, eq=False)
class Narrowing:
    """kept: (r,) the channels that stay, in order. added: (r, left), what of those left out is added to each. told: (left, r), the values
    of those left out, told from the kept ones.
    """

    kept: NDArray[np.uint8]
    added: NDArray[np.float16]
    told: NDArray[np.float16]

    def of(self, branch: Branch) -> Branch:
        """The branch with r channels. In float64, so that no processor rounds otherwise."""
        left = np.setdiff1d(np.arange(len(branch.over_picture)), self.kept)
        added, told = self.added.astype(np.float64), self.told.astype(np.float64)
        seen, used = branch.over_picture.astype(np.float64), branch.over_time.astype(np.float64)
        over_picture = seen[self.kept] + np.tensordot(added, seen[left], 1)
        # What was added to a kept channel is not the channel's own.
        own = np.eye(len(self.kept)) - added @ told
        over_time = np.einsum("fkabc,kr->frabc", used[:, self.kept], own) + np.einsum("fkabc,kr->frabc", used[:, left], told)
        return replace(branch, over_picture=over_picture.astype(np.float32), over_time=over_time.astype(np.float32))


def narrowing_of(branch: Branch, covariance: NDArray[np.float64], channels: int) -> Narrowing:
    """covariance: (2f, 2f), the mean products of the values between the convolutions, their means not subtracted."""
    count = len(covariance)
    weights = branch.over_time.astype(np.float64)[..., 0, 0].transpose(0, 2, 1).reshape(-1, count)
    importance = weights.T @ weights
    factor = np.linalg.cholesky(importance + 1e-6 * np.trace(importance) / count * np.eye(count))
    # eigh gives the largest last.
    directions = np.linalg.eigh(factor.T @ covariance @ factor)[1][:, -channels:]
    down, up = directions.T @ factor.T, np.linalg.solve(factor.T, directions)
    kept = _independent(down, channels)
    left = np.setdiff1d(np.arange(count), kept)
    return Narrowing(
        kept.astype(np.uint8),
        np.linalg.solve(down[:, kept], down[:, left]).astype(np.float16),
        (up[left] @ down[:, kept]).astype(np.float16),
    )


def _independent(rows: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The columns that span the rows best, each the largest in what the ones before leave: sorted places."""
    rest, found = rows.copy(), []
    for _ in range(count):
        place = int(np.argmax(np.square(rest).sum(0)))
        found.append(place)
        direction = rest[:, place] / np.linalg.norm(rest[:, place])
        rest -= np.outer(direction, direction @ rest)
        rest[:, place] = 0
    return np.array(sorted(found))
