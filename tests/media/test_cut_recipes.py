"""What looks like a cut and is none, put over real shots by ffmpeg: strobes, bars, a flash; and fades, each of them one cut."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from numpy.typing import NDArray

from heaters_dagster.domain import scenes
from heaters_dagster.domain.cut_kinds import CutKind
from heaters_dagster.domain.detector import Boundary
from heaters_dagster.registries import DETECTORS

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
FRAMES = 84
AT = 40
SIZE = "480x270"


@dataclass(frozen=True)
class Shot:
    """FRAMES frames of one shot of a sample, from `first` on."""

    file: str
    first: int


BUNNY, OTHER_BUNNY, BATTLE = Shot("big_buck_bunny_vfr.mp4", 48), Shot("big_buck_bunny_vfr.mp4", 142), Shot("tears_of_steel_battle.mp4", 330)


@cache
def decoded(shot: Shot) -> bytes:
    """Its frames, yuv420p: decoding what lies before the shot takes longer than all else."""
    filters = f"trim=start_frame={shot.first}:end_frame={shot.first + FRAMES},scale={SIZE.replace('x', ':')},setsar=1,format=yuv420p"
    return ffmpeg("-i", str(SAMPLES / shot.file), "-vf", filters, "-fps_mode", "passthrough")


def ffmpeg(*arguments: str, pictures: bytes = b"") -> bytes:
    command = [get_ffmpeg_exe(), "-nostdin", "-v", "error", *arguments, "-f", "rawvideo", "-"]
    return subprocess.run(command, check=True, capture_output=True, input=pictures).stdout


def boundaries(shots: Sequence[Shot], graph: str) -> tuple[Boundary, ...]:
    """Of the learned detector in what ffmpeg makes of the shots. graph: from [0] and [1] to the end."""
    detector = DETECTORS.load("learned")
    (stream,) = detector.open_streams(width=480, height=270)
    width, height = stream.frame_size
    ends = [f"[{place}_]" for place in range(len(shots))]
    chains = [f"[0:v]split={len(shots)}{''.join(ends)}"]
    for place, end in enumerate(ends):
        chains.append(f"{end}trim=start_frame={place * FRAMES}:end_frame={(place + 1) * FRAMES},setpts=N/25/TB[{place}]")
    small = f"scale={width}:{height}:flags={stream.scale_flags},format={stream.pixel_format}"
    made = ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", SIZE, "-r", "25", "-i", "pipe:0"),
        *("-filter_complex", ";".join([*chains, f"{graph},{small}"]), "-fps_mode", "passthrough"),
        pictures=b"".join(map(decoded, shots)),
    )
    frames = np.frombuffer(made, np.uint8).reshape(-1, height, width, 3)
    assert len(frames) == FRAMES * len(shots)
    return found_in(frames)


def found_in(frames: NDArray[np.uint8]) -> tuple[Boundary, ...]:
    """Of the learned detector. frames: as small as the network sees them."""
    detector = DETECTORS.load("learned")
    (stream,) = detector.open_streams(width=480, height=270)
    stream.feed(frames)
    return scenes.boundaries(stream.finish(), detector, detector.default_threshold)


def box(when: str, *, x: str = "0", y: str = "0", w: str = "iw", h: str = "ih", colour: str = "black") -> str:
    return f"drawbox=x={x}:y={y}:w={w}:h={h}:c={colour}:t=fill:enable='{when}'"


def bars(when: str, share: float, *, sides: bool = False) -> str:
    if sides:
        return f"{box(when, w=f'iw*{share}')},{box(when, x=f'iw*{1 - share}', w=f'iw*{share}+1')}"
    return f"{box(when, h=f'ih*{share}')},{box(when, y=f'ih*{1 - share}', h=f'ih*{share}+1')}"


def strobe(on: int, off: int) -> str:
    """When it is on: from a moment within the shot to another."""
    return f"between(n,9,75)*lt(mod(n-9,{on + off}),{on})"


RECIPES = {
    "nothing": "null",
    "three white frames and three others": box(strobe(3, 3), colour="white"),
    "six white frames and six others": box(strobe(6, 6), colour="white"),
    "red light, on for two and off for two": box(strobe(2, 2), colour="0xE6141E"),
    "the light goes out for two of six frames": box(strobe(2, 4)),
    "more light for four of eight frames": f"lutyuv=y=clip(val*2.5\\,16\\,235):enable='{strobe(4, 4)}'",
    "two white frames in every nine": box("lt(mod(n,9),2)", colour="white"),
    "bars appear": bars(f"gte(n,{AT})", 0.12),
    "deep bars appear": bars(f"gte(n,{AT})", 0.2),
    "bars go": bars(f"lt(n,{AT})", 0.14),
    "bars appear at the sides": bars(f"gte(n,{AT})", 0.125, sides=True),
    "more light from a moment on": f"lutyuv=y=clip(1.7*val+8\\,16\\,235):enable='gte(n,{AT})'",
    "less light from a moment on": f"lutyuv=y=16+(val-16)*0.35:enable='gte(n,{AT})'",
    "a flash": box(f"between(n,{AT},{AT + 1})", colour="white"),
}


SMOKE = "0x5A544E"
#: Longer than a flash: whether the same shot comes back can only be seen where it does not go far meanwhile.
LONG_RECIPES = {
    "the light goes out for 18 frames": box(f"between(n,{AT},{AT + 17})"),
    "fire, and smoke that thins": ",".join(
        (
            box(f"between(n,{AT},{AT + 5})", colour="0xFFA030"),
            box(f"between(n,{AT + 6},{AT + 8})", colour=SMOKE),
            f"fade=t=in:s={AT + 9}:n=24:c={SMOKE}:enable='gte(n,{AT + 9})'",
        )
    ),
}


@pytest.mark.parametrize("recipe", LONG_RECIPES)
def test_a_shot_that_comes_back_after_a_while_stays_one_clip(recipe: str) -> None:
    assert boundaries([BUNNY], f"[0]{LONG_RECIPES[recipe]}") == ()


def test_a_cut_in_the_midst_of_fire_and_smoke_is_found() -> None:
    other = f"[0]trim=end_frame={AT}[before];[1]trim=start_frame={AT},setpts=PTS-STARTPTS[after];[before][after]concat"
    assert boundaries([BUNNY, BATTLE], f"{other},tpad=stop={FRAMES}:stop_mode=clone,{LONG_RECIPES['fire, and smoke that thins']}")


@pytest.mark.parametrize("shot", [BUNNY, BATTLE], ids=["animation", "film"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_one_shot_stays_one_clip_whatever_comes_over_it(recipe: str, shot: Shot) -> None:
    assert boundaries([shot], f"[0]{RECIPES[recipe]}") == ()


def test_a_cut_at_which_bars_appear_too_is_a_cut() -> None:
    (found,) = boundaries([BUNNY, BATTLE], f"[1]{bars('gte(n,0)', 0.14)}[barred];[0][barred]concat")
    assert (found.frame, found.transition and found.transition.kind) == (FRAMES, CutKind.HARD)


@pytest.mark.parametrize("colour", ["white", "black"])
def test_a_cut_at_the_end_of_a_strobe_is_found_and_is_hard(colour: str) -> None:
    flashes = box(f"between(n,{FRAMES - 31},{FRAMES - 2})*mod(n,2)", colour=colour)
    (found,) = boundaries([BUNNY, BATTLE], f"[0]{flashes}[lit];[lit][1]concat")
    assert (found.frame, found.transition and found.transition.kind) == (FRAMES, CutKind.HARD)


@pytest.mark.parametrize(("edge", "frames"), [("X/W", 18), ("1-Y/H", 30)], ids=["to the right", "upwards"])
def test_a_wipe_is_found_and_has_its_frames(edge: str, frames: int) -> None:
    first = FRAMES - frames // 2
    mixed = f"blend=all_expr='if(lt({edge},(N-{first}+1)/{frames + 1}),B,A)'"
    (found,) = boundaries(
        [OTHER_BUNNY, BATTLE], f"[0]tpad=stop={FRAMES}:stop_mode=clone[old];[1]tpad=start={FRAMES}:start_mode=clone[new];[old][new]{mixed}"
    )
    assert found.transition is not None
    assert found.transition.kind == CutKind.WIPE
    assert found.transition.frames == pytest.approx((first, first + frames - 1), abs=4)


@cache
def faded(between: int) -> tuple[Boundary, ...]:
    """One shot fades out, and another in; so many black frames lie between."""
    out = f"fade=t=out:s={FRAMES - 16 - between // 2}:n=16"
    into = f"fade=t=in:s={between - between // 2}:n=16"
    return boundaries([OTHER_BUNNY, BATTLE], f"[0]{out}[out];[1]{into}[in];[out][in]concat")


@pytest.mark.parametrize("between", [0, 6, 16, 40])
def test_a_fade_to_black_and_a_fade_in_are_one_cut_in_the_dark(between: int) -> None:
    (found,) = faded(between)
    assert abs(found.frame - FRAMES) <= max(2, between // 2)


@pytest.mark.parametrize("between", [6, 16])
def test_a_fade_is_called_a_fade_and_has_the_frames_of_both_halves(between: int) -> None:
    (found,) = faded(between)
    assert found.transition is not None
    assert found.transition.kind == CutKind.FADE
    assert found.transition.frames == pytest.approx((FRAMES - 16 - between // 2, FRAMES + 15 + between - between // 2), abs=4)


@pytest.mark.parametrize("shot", [BUNNY, BATTLE], ids=["animation", "film"])
def test_a_shot_that_fades_out_and_in_again_has_one_cut_in_the_dark(shot: Shot) -> None:
    out = f"[before]trim=end_frame={AT},fade=t=out:s={AT - 20}:n=16[out]"
    into = f"[after]trim=start_frame={AT},setpts=PTS-STARTPTS,fade=t=in:s=4:n=16[in]"
    (found,) = boundaries([shot], f"[0]split[before][after];{out};{into};[out][in]concat")
    assert AT - 5 <= found.frame <= AT + 5


def test_a_cut_to_black_and_a_cut_out_of_it_stay_two() -> None:
    black = box(f"between(n,{AT},{AT + 30})")
    assert [found.frame for found in boundaries([BATTLE], f"[0]{black}")] == pytest.approx([AT, AT + 31], abs=1)


def slide(rng: np.random.Generator, paper: int, ink: int, *, lines: int = 5) -> NDArray[np.uint8]:
    """A page with a heading and lines of words, each as long as it comes; all pages have the same bar at the left."""
    large = np.full((270, 480, 3), paper, np.float32)
    large[:, :30] = (40, 90, 160)
    for line in range(lines + 1):
        top, height, end = (20, 26, 380) if line == 0 else (64 + 38 * (line - 1), 16, 460)
        left, end = 50, int(rng.integers(180, end))
        while left < end:
            word = int(rng.integers(15, 70))
            # Half of a word is letters, half what is between them.
            large[top : top + height, left : left + word : 2] = ink
            left += word + 10
    return np.asarray(np.rint(large.reshape(27, 10, 48, 10, 3).mean((1, 3))), np.uint8)


@pytest.mark.parametrize(("paper", "ink"), [(245, 30), (25, 230)], ids=["light", "dark"])
def test_slides_of_one_design_at_one_frame_a_second_are_cut_where_a_page_is_turned(paper: int, ink: int) -> None:
    rng = np.random.default_rng(4)
    stand = (30, 7, 12, 5, 9, 40, 6, 8, 25, 11)
    pages = [np.repeat(slide(rng, paper, ink, lines=int(rng.integers(3, 6)))[None], frames, axis=0) for frames in stand]
    line_appears = pages[5][20:, 25]
    line_appears[:, 5:30] = (paper + ink) // 2
    found = found_in(np.concatenate(pages))
    assert [one.frame for one in found] == np.cumsum(stand)[:-1].tolist()
    assert {one.transition and one.transition.kind for one in found} == {CutKind.HARD}
