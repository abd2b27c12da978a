"""A file of a constant rate from a proxy whose rate varies, for editing programs, which know constant rates alone.

Each frame of the file is the frame that the proxy shows at that moment, so frames are repeated; none is left out where the rate is high
enough. It is encoded anew: repeated packets would be shorter work, but two pictures of one kind after another must differ in their number
(H.264, 7.4.3, idr_pic_id), and decoders may take them for one. The sound is the proxy's own, packet by packet.
"""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.media_failures import library_failure
from heaters_dagster.domain.words import counted
from resources.media.proxy_bytes import RangeFile, media_input
from resources.object_store.work_folder import written_beside

#: Every frame stands alone, as in the proxy, and with fewer losses: the file is a second generation.
_ENCODER = {"preset": "veryfast", "crf": "16", "g": "1", "bf": "0"}


def write_constant_rate(source: Path | RangeFile, target: Path, places: NDArray[np.int64], rate: Fraction) -> None:
    """Write the proxy `source` to `target` (MP4) with `places[-1]` frames of `rate`.

    places: (n + 1,) where each frame of the proxy, and the end, lies in frames of `rate`; ascending from 0. The file appears under its name
    when it is whole. Raises InvalidMediaError when the proxy has other frames than its index or cannot be read, DiskFullError, OSError.
    """
    with written_beside(target) as part:
        try:
            written = _write(source, part, places, rate)
        except (av.FFmpegError, IndexError) as error:
            proxy = source.name if isinstance(source, Path) else "the proxy"
            raise library_failure(f"{target} cannot be made from {proxy}", error, "make the proxy again") from error
        if written != len(places) - 1:
            raise InvalidMediaError(f"the proxy has {counted(written, 'frame')}, its index {counted(len(places) - 1, 'frame')}")


def _write(source: Path | RangeFile, part: Path, places: NDArray[np.int64], rate: Fraction) -> int:
    """Returns how many frames of the proxy were read."""
    with ExitStack() as stack:
        container = stack.enter_context(av.open(media_input(source)))
        output = stack.enter_context(av.open(str(part), "w", format="mp4", options={"movflags": "faststart"}))
        shown = container.streams.video[0]
        shown.thread_type = "AUTO"
        encoder = _encoder(output, shown, rate)
        heard = container.streams.audio[0] if container.streams.audio else None
        copied = output.add_stream_from_template(heard) if heard is not None else None
        number = 0
        for packet in container.demux([stream for stream in (shown, heard) if stream is not None]):
            if packet.stream is heard:
                if packet.dts is not None:
                    packet.stream = copied
                    output.mux(packet)
                continue
            for frame in packet.decode():
                if number < len(places) - 1:
                    for place in range(int(places[number]), int(places[number + 1])):
                        frame.pts, frame.time_base, frame.pict_type = place, 1 / rate, av.video.frame.PictureType.NONE
                        output.mux(encoder.encode(frame))
                number += 1
        output.mux(encoder.encode(None))
    return number


def _encoder(output: Any, shown: Any, rate: Fraction) -> Any:
    encoder = output.add_stream("libx264", rate=rate, options=_ENCODER)
    told, known = encoder.codec_context, shown.codec_context
    encoder.width, encoder.height, encoder.pix_fmt = known.width, known.height, known.pix_fmt
    told.time_base = 1 / rate
    told.sample_aspect_ratio = known.sample_aspect_ratio or Fraction(1)
    for name in ("color_range", "color_primaries", "color_trc", "colorspace"):
        setattr(told, name, getattr(known, name))
    return encoder
