from __future__ import annotations

import numpy as np
import pytest

from heaters_dagster.domain.downmix import downmix

LAYOUTS = [
    ["FC"], ["FL"], ["LFE"], ["NONE"], ["FL", "FR"], ["DL", "DR"], ["FC", "LFE"], ["FL", "LFE"], ["NONE", "NONE"], ["BL", "BR"],
    ["FL", "FC"], ["FL", "FR", "LFE"], ["FL", "FR", "FC", "LFE", "BL", "BR"], ["NONE"] * 3, ["NONE"] * 6, ["NONE"] * 9, ["NONE"] * 24,
    ["USR70", "USR71"], ["TFL", "TFR", "TFC"],
]  # fmt: skip


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("names", LAYOUTS, ids=" ".join)
def test_every_channel_is_heard_and_both_sides_have_something(names: list[str], channels: int):
    gains = downmix(names, channels)
    assert gains.shape == (channels, len(names))
    assert np.all(gains.sum(axis=0) > 0.1)
    assert np.all(gains.sum(axis=1) > 0.1)
    assert np.all((gains**2).sum(axis=1) <= 1.0001)


def test_one_channel_and_a_stereo_pair_stay_as_they_are():
    assert downmix(["FL"], 2).tolist() == [[1], [1]]
    assert downmix(["FL", "FR"], 2).tolist() == [[1, 0], [0, 1]]
    assert downmix(["NONE", "NONE"], 2).tolist() == [[1, 0], [0, 1]]


def test_of_an_ambisonic_sound_both_sides_hear_all_directions():
    left, right = downmix(["AMBI0", "AMBI1", "AMBI2", "AMBI3"], 2)
    assert left[0] == right[0] > 0
    assert left[1] == -right[1] > 0
