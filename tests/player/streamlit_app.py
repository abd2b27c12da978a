"""ASGI app for test_component.py: the Streamlit page and the player's test server in one process, as the review app has them."""

import os
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.player.player_server import Player, app_of

player = Player(Path(os.environ["HEATERS_TEST_PROXY"]))


async def review(request: Request) -> JSONResponse:
    return JSONResponse({str(clip.id): str(clip.state) for clip in player.review.live})


app = st.App(str(Path(__file__).with_name("streamlit_page.py")), routes=[*app_of(player, {}).routes, Route("/review", review)])
