"""The sound of a clip from a gold master, at the times of the clip's frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heaters_dagster.domain.clock import BACKWARD_SECONDS, ClockJump, usual_step
from resources.media.master_frames import MasterClip, frame_seconds
from resources.media.media_probe import MediaProbe
from resources.media.packet_count import is_stream
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

    A master has the original's jumps. From those of a transport stream ffmpeg takes out what it sees in the packets: when a new programme
    begins with sound, it follows the sound that was before, and the picture is as much later as that sound went on.
    """
    start = found.video.start_seconds
    if not found.jumps or not is_stream(found.container):
        return tuple(ClockJump(jump.before_seconds - start, jump.after_seconds - start, jump.shift_seconds) for jump in found.jumps)
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


def clip_sound(
    found: MediaProbe, master: MasterClip, clock: MasterClock, zero_seconds: float, duration_seconds: float
) -> PlacedSound | None:
    """The sound of a clip from the gold master of an original that `found` describes; None when it has none.

    clock: within the clip. zero_seconds: the time of frame 0 in the master.
    """
    if not master.sounds:
        return None
    back = tuple(jump for jump in clock.jumps if jump.shift_seconds < -BACKWARD_SECONDS)
    sound = PlacedSound(
        SoundSource(
            path=master.path,
            streams=master.sounds,
            jumps=back,
            ahead=tuple(
                (zero_seconds + jump.after_seconds - _usual(jump) / 2, jump.shift_seconds) for jump in clock.jumps if jump not in back
            ),
            is_part=master.is_part,
            channels=sound_channels(found, found.sounds or tuple(stream.index for stream in found.audio)),
            from_seconds=master.start_seconds,
            to_seconds=master.start_seconds + duration_seconds,
        )
    )
    return sound if sound.is_there else None
