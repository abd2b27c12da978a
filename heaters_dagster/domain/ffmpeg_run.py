"""A run of ffmpeg as data: its input, filters, outputs and options. `heaters_dagster.domain.profiles` has those of Heaters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TypeAlias

Options: TypeAlias = Mapping[str, str | int | None]


@dataclass(frozen=True, slots=True)
class Filter:
    """One ffmpeg filter with named options, as `Filter("scale", {"width": 48, "height": 27})`."""

    name: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Output:
    """One file or pipe that ffmpeg writes.

    video: whether the (filtered) picture is in it. filters: applied to this output's picture after the profile's own.
    audio: stream specifiers of the input that are in it, as "1" or "a?". sound: whether the profile's sound is in it.
    without_tags: names of tags of the input and of its streams that are not in it.
    """

    options: Options
    video: bool = True
    filters: tuple[Filter, ...] = ()
    audio: tuple[str, ...] = ()
    sound: bool = False
    without_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SoundInput:
    """Sound that comes through a pipe of its own, as 32-bit samples: `resources.media.sound_reader` puts each sample at its time.

    rate: samples a second. channels: 1 or 2. start_seconds: when the first sample is heard, on the picture's clock.
    """

    rate: int
    channels: int
    start_seconds: float = 0.0

    @property
    def input_options(self) -> Options:
        return {"f": "f32le", "ar": self.rate, "ch_layout": "mono" if self.channels == 1 else "stereo"}

    @property
    def filter(self) -> str:
        """Moves the samples to their time: for raw samples ffmpeg ignores `-itsoffset`."""
        return f"asetpts=PTS+{round(self.start_seconds * self.rate)}"


@dataclass(frozen=True, slots=True)
class Profile:
    """One run of ffmpeg: one input, its picture filtered once for all outputs, one or more outputs.

    video: stream specifier of the picture in the input, as "0" or "V:0". sound: what comes through a pipe as a second input.
    background: run at low priority.
    """

    name: str
    video: str
    outputs: tuple[Output, ...]
    sound: SoundInput | None = None
    input_options: Options = field(default_factory=dict)
    filters: tuple[Filter, ...] = ()
    background: bool = False


def digest(*runs: Profile) -> str:
    """12 hexadecimal digits that change when anything in these runs of ffmpeg changes."""
    return hashlib.sha256(json.dumps([asdict(run) for run in runs], sort_keys=True).encode()).hexdigest()[:12]
