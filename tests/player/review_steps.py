"""What the browser tests of the review page wait for and look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route, expect

from heaters_dagster.domain.states import ClipState
from tests.player.player_server import STATIC, Player

Open = Callable[..., Page]
APPROVED, SKIPPED, ARCHIVED, PENDING = (
    ClipState.REVIEW_APPROVED,
    ClipState.REVIEW_SKIPPED,
    ClipState.REVIEW_ARCHIVED,
    ClipState.PENDING_REVIEW,
)


def on_stage(page: Page, clip_id: int | str) -> None:
    """Wait until clip `clip_id` is current and its frame is on the canvas."""
    page.wait_for_function(
        """(id) => String(review.state.current) === String(id) && player.clip && player.shown !== null
             && player.shown >= player.clip.start && player.shown < player.clip.end && barcode() === player.shown""",
        arg=clip_id,
    )


def all_saved(page: Page) -> None:
    page.wait_for_function("review.pending.length === 0")
    expect(page.locator(".saved")).to_have_text("All decisions saved")


def with_constants(others: dict[str, str]) -> tuple[str, Callable[[Route], None]]:
    """A route that serves the real modules with other constants: {"PAGE_FRAMES = 1024": "PAGE_FRAMES = 16"}."""

    def served(route: Route) -> None:
        text = (STATIC / route.request.url.partition("/modules/")[2]).read_text()
        for constant, other in others.items():
            text = text.replace(constant, other)
        route.fulfill(body=text, content_type="text/javascript")

    return "**/modules/**/*.js", served


def applied(server: Player) -> list[tuple[str, Any]]:
    """(action, clip id) of what the review's ledger holds, oldest first."""
    return [(str(entry.action), entry.clip_ids) for entry in server.review.ledger]


def states(server: Player) -> dict[int | None, ClipState]:
    return {clip.id: clip.state for clip in server.review.live}


def edges(server: Player) -> list[int]:
    return [clip.start_frame for clip in server.review.live]
