"""The review page as a Streamlit component: which addresses it talks to, and nothing else. What it does is in `static/`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import streamlit as st

_STATIC = Path(__file__).parent / "static"


def _version() -> str:
    """Of the player's files: their address changes with them, so a browser may keep them for ever."""
    files = sorted(_STATIC.iterdir())
    return hashlib.sha256(b"".join(part for file in files for part in (file.name.encode(), file.read_bytes()))).hexdigest()[:16]


NAME = f"heaters.player-{_version()}"
#: What is served below this path never changes.
KEPT_PATH = f"/_stcore/bidi-components/{NAME}/"

_mounts: WeakKeyDictionary[Any, Callable[..., Any]] = WeakKeyDictionary()


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
        return values | {"reviewer": {"id": values.pop("reviewer_id"), "name": values.pop("reviewer_name")}}


def review_player(config: PlayerConfig, *, key: str = "player") -> None:
    """Mount the player, or hand the one that is mounted under `key` for this reviewer its new configuration.

    When the server refuses the token the page is run again, to give a fresh one.
    """
    _mount()(
        key=f"{key}-{config.reviewer_id}",  # never send another reviewer's waiting decisions
        data=config.to_json(),
        on_signed_out_change=_nothing,
    )


def _mount() -> Callable[..., Any]:
    """The mounting command, registered once per Streamlit runtime.

    Streamlit finds the manifest of an installed component by the project's name, and ours ("heaters") is not the name of a package, so an
    editable install would not be found: hence the manifest is given here.
    """
    from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager
    from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest

    manager = get_bidi_component_manager()
    mount = _mounts.get(manager)
    if mount is None:
        project, component = NAME.split(".")
        manifest = ComponentManifest(name=project, version="1", components=[ComponentConfig(name=component, asset_dir="static")])
        manager.register_from_manifest(manifest, Path(__file__).parent)
        mount = _mounts[manager] = st.components.v2.component(NAME, css="styles.css", js="component.js")
    return mount


def _nothing() -> None:
    """Streamlit keeps the value of an event only when it has a callback."""
