"""What comes next is ready before it is asked for."""

from __future__ import annotations

import pytest

from tests.player.player_server import Player
from tests.player.review_steps import Open, on_stage

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("player_browser")]


def test_the_next_clips_picture_is_decoded_before_the_key_also_after_steps(open_page: Open, server: Player) -> None:
    page = open_page("review")
    on_stage(page, 1)
    ready = "(frames) => frames.every((frame) => review.library.pictures.has(`1/full/${frame}`))"
    page.wait_for_function(ready, arg=[40, 80])
    page.evaluate(
        """() => {
          const { decoder } = player.clip.media.frames;
          const decode = decoder.decode.bind(decoder);
          window.decoded = [];
          decoder.decode = (frame, ...rest) => (decoded.push(frame), decode(frame, ...rest));
        }"""
    )
    for first in (40, 80, 120):
        steps = range(first - 39, first - 36) if first > 40 else ()  # what a step shows is decoded beforehand too
        page.wait_for_function(ready, arg=[first, first + 40, *steps])
        page.keyboard.press("a")
        on_stage(page, first // 40 + 1)
    assert [page.evaluate(f"decoded.filter((frame) => frame === {first}).length") for first in (40, 80, 120, 160)] == [0, 0, 1, 1]
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("player.shown === 128")
    page.wait_for_function(ready, arg=[160, 200])
