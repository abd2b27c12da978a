"""The review page as a Streamlit component: which addresses it talks to, and nothing else. What it does is in `static/`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from review_app.served_component import served_component
from review_app.service.views import clip_state_words, cut_kind_words

_component = served_component(Path(__file__).parent, "player", js="page/component.js", css="page/styles.css")
NAME = _component.name
#: What is served below this path never changes.
KEPT_PATH = _component.path


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayerConfig:
    """What the page gets; README.md, "Configuration", has the routes behind the addresses.

    token: goes with every JSON request; a rerun may bring a fresh one at any time. queue_url: with the filters of the view in its query;
    another address begins another queue. open_clip_id: a clip to begin with. host_height_pixels: height that the page around the player
    takes, so that the picture fills the rest.
    """

    queue_url: str
    decisions_url: str
    sync_url: str
    video_url: str
    token: str
    reviewer_id: int
    reviewer_name: str
    webcodecs_enabled: bool = True
    open_clip_id: int | None = None
    host_height_pixels: int = 120

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        reviewer = {"id": values.pop("reviewer_id"), "name": values.pop("reviewer_name")}
        return values | {"reviewer": reviewer, "state_words": clip_state_words(), "kind_words": cut_kind_words()}


def served_address(name: str) -> str:
    """Where the browser finds one of the player's files, also on a page that does not show the player. name: its path in `static/`."""
    return _component.address(name)


def review_player(config: PlayerConfig, *, key: str = "player") -> None:
    """Mount the player, or hand the one that is mounted under `key` for this reviewer its new configuration.

    When the server refuses the token the page is run again, to give a fresh one.
    """
    _component.mount()(
        key=f"{key}-{config.reviewer_id}",  # never send another reviewer's waiting decisions
        data=config.to_json(),
        on_signed_out_change=_nothing,
    )


def _nothing() -> None:
    """Streamlit keeps the value of an event only when it has a callback."""
