from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from resources.media.media_probe import probe
from resources.media.original_times import decoded_times, packet_times
from tests.media_files import barcode_video, frame_times, truncated

SOURCES: dict[str, Callable[[Path], Path]] = {
    "b-frames": lambda folder: barcode_video(folder / "s.mp4", frames=30, b_frames=3),
    "variable": lambda folder: barcode_video(folder / "s.mkv", frames=30, vfr=True),
    "late": lambda folder: barcode_video(folder / "s.mp4", frames=30, video_start_seconds=0.7),
    "transport stream": lambda folder: barcode_video(folder / "s.ts", frames=30, codec="mpeg2video"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_packets_and_decoder_agree_on_a_sound_file(kind: str, tmp_path: Path):
    source = SOURCES[kind](tmp_path)
    shown, packets, decoded = np.array(frame_times(source)), packet_times(source, probe(source)), decoded_times(source, probe(source))
    assert packets is not None
    assert np.abs(packets - shown).max() < 1e-9
    assert np.abs((decoded - decoded[0]) - (shown - shown[0])).max() < 1e-6


def test_of_a_truncated_file_the_decoder_knows_how_much_is_left(tmp_path: Path):
    whole = barcode_video(tmp_path / "whole.mp4", frames=48, audio=False)
    source = truncated(whole, tmp_path / "s.mp4")
    decoded = decoded_times(source, probe(source))
    assert 16 < len(decoded) < 48
    packets = packet_times(source, probe(source))
    assert packets is not None
    assert abs(len(packets) - len(decoded)) <= 1
