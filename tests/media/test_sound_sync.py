"""The sound of a proxy is where it was in the original, relative to the picture, whatever is missing or wrong: measured by correlation."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from resources.media.ffmpeg import source_streams
from resources.media.gold_masters import write_gold_master
from resources.media.media_probe import probe
from resources.media.proxy_writer import WrittenProxy, write_proxy
from tests.media_files import SAMPLE_RATE, barcode_video, barcodes, ffmpeg, with_shifted_times, with_sound_gap, without_packets
from tests.sound_sync import assert_in_sync, heard_lags, loudness, recorded

FRAMES = 120
RATE = 24


def at_its_frame(number: int) -> float:
    return number / RATE


def made(source: Path) -> tuple[Path, WrittenProxy]:
    found, path = probe(source), source.with_name("proxy.mp4")
    return path, write_proxy(source, found, source_streams(found), path)


def video(path: Path, **options: Any) -> Path:
    return barcode_video(path, frames=FRAMES, size=(96, 64), **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return video(tmp_path_factory.mktemp("whole") / "whole.mp4")


GAPS: dict[str, Callable[[int], bool]] = {
    "one packet": lambda n: n == 70,
    "three packets": lambda n: 70 <= n < 73,
    "four single packets": lambda n: n in {40, 80, 120, 160},
    "every tenth packet": lambda n: n % 10 == 9,
    "every second packet for a second": lambda n: 60 <= n < 108 and n % 2 == 0,
    "two seconds": lambda n: 60 <= n < 154,
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("gap", GAPS)
def test_missing_packets_are_silence_and_do_not_add_up(gap: str, suffix: str, whole: Path, tmp_path: Path) -> None:
    source = without_packets(whole, tmp_path / f"gap{suffix}", "audio", GAPS[gap])
    path, written = made(source)
    assert_in_sync(path, time_of_frame=at_its_frame, silent={"two seconds": 5, "every second packet for a second": 2}.get(gap, 1))
    lost = sum(map(GAPS[gap], range(round(FRAMES / RATE * SAMPLE_RATE / 1024)))) * 1024 / SAMPLE_RATE
    assert written.sound is not None
    assert written.sound.silence_seconds == pytest.approx(lost, abs=0.023)
    assert [note for note in written.sound.notes() if "missing" in note]


def test_sound_that_overlaps_is_trimmed_and_what_follows_is_at_its_time(whole: Path, tmp_path: Path) -> None:
    """From 2 s on each packet is there 60 ms earlier than it was recorded, and from 3 s on at its time again."""
    source = with_shifted_times(whole, tmp_path / "overlap.mkv", "audio", lambda n, t: t - 0.06 if 2 <= t < 3 else t)
    path, written = made(source)
    late = [(one.seconds, one.lag_ms) for one in heard_lags(path, time_of_frame=at_its_frame) if one.lag_ms is not None]
    assert all(abs(lag + (60 if 2 <= at < 2.9 else 0)) < 5 for at, lag in late if not 1.4 < at < 2 and not 2.4 < at < 3), late
    assert written.sound is not None
    assert written.sound.dropped_seconds == pytest.approx(0.06, abs=0.005)


def test_times_that_tremble_cut_nothing(whole: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    source = with_shifted_times(whole, tmp_path / "s.mkv", "audio", lambda n, t: t + float(rng.uniform(-0.008, 0.008)))
    path, written = made(source)
    assert_in_sync(path, time_of_frame=at_its_frame, silent=1, within_ms=9)
    assert written.sound is not None
    assert (written.sound.silence_seconds, written.sound.dropped_seconds) == (0, 0)


def test_a_clock_that_runs_slow_is_followed_without_a_cut(whole: Path, tmp_path: Path) -> None:
    """The sound's packets come 0.2 % later and later, which is worse than any recorder: 10 ms after 5 s."""
    source = with_shifted_times(whole, tmp_path / "s.mkv", "audio", lambda n, t: t * 1.002)
    path, written = made(source)
    lags = [one for one in heard_lags(path, time_of_frame=at_its_frame) if one.lag_ms is not None]
    assert all(abs((one.lag_ms or 0) - (one.seconds + 0.25) * 2) < 4 for one in lags), lags
    assert written.sound is not None
    assert (written.sound.silence_seconds, written.sound.dropped_seconds) == (0, 0)


@pytest.mark.parametrize("wild", [3 * 3600.0, -0.9])
def test_one_wrong_time_of_a_sound_moves_nothing(wild: float, whole: Path, tmp_path: Path) -> None:
    source = with_shifted_times(whole, tmp_path / "s.mkv", "audio", lambda n, t: t + wild if n == 90 else t)
    path, _ = made(source)
    assert_in_sync(path, time_of_frame=at_its_frame, silent=1)


@pytest.mark.parametrize("late", ["sound", "picture"])
def test_a_stream_that_begins_later_than_ffmpeg_looks_is_there_at_its_time(late: str, tmp_path: Path) -> None:
    """20 s: FFmpeg looks at the first 7 s of a transport stream, and gave up on the sound."""
    noise = tmp_path / "noise.wav"
    with av.open(str(noise), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((recorded(24) * 32767).clip(-32768, 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    pictures = barcode_video(tmp_path / "p.mp4", frames=RATE * 24, size=(64, 48), audio=False, keyframe_every=240)
    if late == "sound":
        inputs, encoder = ["-i", str(pictures), "-ss", "20", "-itsoffset", "20", "-i", str(noise)], "copy"
    else:
        inputs, encoder = ["-ss", "20", "-itsoffset", "20", "-i", str(pictures), "-i", str(noise)], "libx264"
    source = ffmpeg([*inputs, "-map", "0:v", "-map", "1:a", "-c:v", encoder, "-muxdelay", "0"], tmp_path / "s.ts")
    found = probe(source)
    assert [stream.sample_rate for stream in found.audio] == [SAMPLE_RATE]
    path, written = made(source)
    assert_in_sync(path, time_of_frame=at_its_frame, silent=1)
    assert written.sound is not None


def test_sound_that_moves_to_another_stream_goes_on(tmp_path: Path) -> None:
    """As after a change of programme: the second half has streams of its own."""
    halves = []
    for number, first in enumerate((0, 60)):
        part = tmp_path / f"{number}.ts"
        cut = [
            "-ss",
            str(first / RATE),
            "-i",
            str(video(tmp_path / f"{number}.mkv", audio_codec="pcm_s16le", keyframe_every=1)),
            "-t",
            "2.5",
        ]
        ids = ["-streamid", "0:256", "-streamid", f"1:{300 + number}"]
        halves.append(ffmpeg([*cut, "-c:v", "copy", "-c:a", "mp2", *ids, "-output_ts_offset", str(first / RATE), "-muxdelay", "0"], part))
    source = tmp_path / "programmes.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in halves))
    found = probe(source)
    assert found.sounds == (1, 2)
    assert [note for note in found.notes if "from one stream to another" in note]
    path, _ = made(source)
    assert_in_sync(path, time_of_frame=at_its_frame, silent=1)
    assert max(one.seconds for one in heard_lags(path, time_of_frame=at_its_frame)) > 4


def test_a_packed_picture_in_avi_is_shown_when_its_sound_is_heard(tmp_path: Path) -> None:
    """AVI counts frames as they are decoded; ffmpeg showed them one or two frames late."""
    source = packed(video(tmp_path / "s.avi", audio_codec="pcm_s16le", codec="mpeg4", b_frames=1), tmp_path / "packed.avi")
    path, _ = made(source)
    assert barcodes(path) == list(range(FRAMES))
    assert_in_sync(path, time_of_frame=at_its_frame)
    master = tmp_path / "master.mkv"
    write_gold_master(source, probe(source), master, called="s.avi")
    assert barcodes(master) == list(range(FRAMES))
    assert_in_sync(master, time_of_frame=at_its_frame)


def test_an_avi_whose_first_frames_do_not_decode_keeps_its_times(tmp_path: Path) -> None:
    whole = video(tmp_path / "s.avi", audio_codec="pcm_s16le", b_frames=3, keyframe_every=24)
    path, _ = made(without_packets(whole, tmp_path / "cut.avi", "video", lambda number: number == 0))
    assert 20 <= barcodes(path)[0] <= 24
    assert_in_sync(path, time_of_frame=at_its_frame, silent=2, within_ms=1000 * 3 / RATE)


def packed(source: Path, path: Path) -> Path:
    """An AVI as DivX and Xvid wrote them: each B-frame lies in one packet with the frame after it, and an empty one follows."""
    vop, empty = b"\x00\x00\x01\xb6", bytes.fromhex("000001b6 5b 00")
    with av.open(str(source)) as original, av.open(str(path), "w") as output:
        copies = {stream.index: output.add_stream_from_template(stream) for stream in original.streams}
        number, held = 0, b""

        def write(data: bytes, like: Any, *, keyframe: bool = False) -> None:
            nonlocal number
            packet = av.Packet(data)
            packet.stream, packet.time_base = copies[like.stream.index], Fraction(1, RATE)
            packet.pts = packet.dts = number
            packet.is_keyframe = keyframe
            number += 1
            output.mux(packet)

        for packet in original.demux():
            if packet.stream.type == "audio" and packet.size:
                packet.stream = copies[packet.stream.index]
                output.mux(packet)
                continue
            data = bytes(packet)
            kind = data[data.index(vop) + 4] >> 6 if data else None
            if kind == 2:
                write(held + data, packet)
                write(empty, packet)
                held = b""
                continue
            if held:
                write(held, packet)
            held = b""
            if kind == 0 and number == 0:
                at = data.index(vop)
                write(data[:at] + b"\x00\x00\x01\xb2DivX503b1393p" + data[at:], packet, keyframe=True)
            elif data:
                held = data
    return path


@pytest.mark.parametrize("channel", range(6))
def test_sound_in_one_channel_only_is_heard(channel: int, tmp_path: Path) -> None:
    source = with_channels(video(tmp_path / "p.mkv", audio=False), tmp_path / "s.mkv", "5.1", [channel])
    assert max(loudness(made(source)[0])) > 0.02


def with_channels(pictures: Path, path: Path, layout: str, loud: Any) -> Path:
    """A copy with PCM sound of a channel layout, of which the channels `loud` have noise."""
    count = av.AudioLayout(layout).nb_channels
    samples = np.zeros((count, 5 * SAMPLE_RATE), dtype=np.int16)
    for channel in loud:
        samples[channel] = np.random.default_rng(channel).normal(0, 3000, samples.shape[1])
    with av.open(str(pictures)) as source, av.open(str(path), "w") as output:
        picture = output.add_stream_from_template(source.streams.video[0])
        sound = output.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout=layout)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = picture
                output.mux(packet)
        for at in range(0, samples.shape[1], 4800):
            interleaved = np.ascontiguousarray(samples[:, at : at + 4800].T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=layout)
            frame.sample_rate, frame.pts = SAMPLE_RATE, at
            output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    return path


def test_a_sound_that_changes_its_rate_and_channels_on_the_way_goes_on(tmp_path: Path) -> None:
    """Two recordings joined as they are: 48 kHz mono, then 32 kHz stereo."""
    parts = []
    for number, sound in enumerate((["-ar", "48000", "-ac", "1"], ["-ar", "32000", "-ac", "2"])):
        first = number * 60
        whole = video(tmp_path / f"{number}.mkv", audio_codec="pcm_s16le", keyframe_every=1)
        cut = ["-ss", str(first / RATE), "-i", str(whole), "-t", "2.5", "-c:v", "copy", "-c:a", "mp2", *sound]
        parts.append(ffmpeg([*cut, "-output_ts_offset", str(first / RATE), "-muxdelay", "0"], tmp_path / f"{number}.ts"))
    source = tmp_path / "joined.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    path, _ = made(source)
    assert_in_sync(path, time_of_frame=at_its_frame, silent=1)
    assert max(one.seconds for one in heard_lags(path, time_of_frame=at_its_frame)) > 4


def test_a_gap_by_time_is_the_same_as_one_by_packets(whole: Path, tmp_path: Path) -> None:
    path, _ = made(with_sound_gap(whole, tmp_path / "gap.mkv", 2.0, 2.02))
    assert_in_sync(path, time_of_frame=at_its_frame, silent=1)
