"""The sound of a clip from a gold master, at the times of the clip's frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heaters_dagster.domain.clock import FORWARD_SECONDS, ClockJump, usual_step
from resources.media.first_look import MediaProbe
from resources.media.master_frames import MasterClip, frame_seconds
from resources.media.proxy_bytes import RangeFile
from resources.media.proxy_writer import sound_channels
from resources.media.sound_reader import PlacedSound, SoundSource

#: Matroska keeps milliseconds, so two times may be that much nearer or further apart than they were.
_ROUNDING_SECONDS = 0.0015


@dataclass(frozen=True, slots=True)
class MasterClock:
    """How the times of a master differ from those of the proxy, which has no jumps, between two of its moments.

    skipped_seconds: how far the master is ahead at the first moment. jumps: between the two moments, by the master's times from frame 0 on.
    """

    skipped_seconds: float
    jumps: tuple[ClockJump, ...]

    @property
    def longer_seconds(self) -> float:
        """How much more time the master needs from the first moment to the second."""
        return max(0.0, sum(jump.shift_seconds for jump in self.jumps))


def master_clock(jumps: Sequence[ClockJump], begins_seconds: float, ends_seconds: float) -> MasterClock:
    """jumps: from `master_jumps`. begins_seconds, ends_seconds: in the proxy, from frame 0 on."""
    ahead, skipped, within = 0.0, 0.0, []
    for jump in jumps:
        usual = _usual(jump)
        follows = jump.before_seconds - ahead + usual  # when the proxy shows the frame after the jump
        ahead += jump.shift_seconds
        if follows < begins_seconds + usual / 2:
            skipped = ahead
        elif follows < ends_seconds - _ROUNDING_SECONDS:
            within.append(jump)
    return MasterClock(skipped, tuple(within))


def master_jumps(found: MediaProbe, master: Path | RangeFile, frame_count: int, *, called: str) -> tuple[ClockJump, ...]:
    """Where the clock of a master jumps, by its times from frame 0 on. found: the probe of the original. Raises InvalidMediaError.

    The jumps of the original are not in its master (`master_times.py`), unless an earlier version made it: that one kept those that go
    forward. From those of a transport stream ffmpeg takes out what it sees in the packets: when a new programme begins with sound, it
    follows the sound that was before, and the picture is as much later as that sound went on.
    """
    start = found.video.start_seconds
    if not found.jumps:
        return ()
    seconds = frame_seconds(master, frame_count, called=called)
    seconds = seconds - seconds[0]
    usual = usual_step(seconds)
    ahead, left = 0.0, []
    for jump in found.jumps:
        after = int(np.searchsorted(seconds, jump.before_seconds - start - ahead + usual / 2))
        ahead += jump.shift_seconds
        if 0 < after < len(seconds):
            shift = float(seconds[after] - seconds[after - 1]) - _usual(jump)
            if abs(shift) > _ROUNDING_SECONDS:
                left.append(ClockJump(float(seconds[after - 1]), float(seconds[after]), shift))
                ahead -= shift
    return tuple(left)


def _usual(jump: ClockJump) -> float:
    """How long the frame before a jump is shown."""
    return jump.after_seconds - jump.before_seconds - jump.shift_seconds


def _sound_jumps_at(jump: ClockJump) -> float:
    """From when on sound is as far ahead as the picture after a jump. Of a clock that jumps far, nothing lies in the middle; else the sound
    before it may go on until the picture comes."""
    if jump.shift_seconds > FORWARD_SECONDS:
        return (jump.before_seconds + jump.after_seconds) / 2
    return jump.after_seconds - _usual(jump) / 2


def clip_sound(
    found: MediaProbe, master: MasterClip, clock: MasterClock, zero_seconds: float, duration_seconds: float
) -> PlacedSound | None:
    """The sound of a clip from the gold master of an original that `found` describes; None when it has none.

    clock: within the clip. zero_seconds: the time of frame 0 in the master.
    """
    if not master.sounds:
        return None
    sound = PlacedSound(
        SoundSource(
            path=master.path,
            streams=master.sounds,
            ahead=tuple((zero_seconds + _sound_jumps_at(jump), jump.shift_seconds) for jump in clock.jumps),
            is_part=master.is_part,
            channels=sound_channels(found, found.sounds or tuple(stream.index for stream in found.audio)),
            from_seconds=master.start_seconds,
            to_seconds=master.start_seconds + duration_seconds,
        )
    )
    return sound if sound.is_there else None
