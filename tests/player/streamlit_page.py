"""A Streamlit page around the player, for test_component.py."""

import streamlit as st

from review_app.player.component import PlayerConfig, review_player

st.set_page_config(layout="wide", page_title="Review")
runs = st.session_state["runs"] = st.session_state.get("runs", 0) + 1
st.text_input("Filter", key="filter")
st.button("Run again")
config = PlayerConfig(
    queue_url="/api/queue",
    decisions_url="/api/decisions",
    sync_url="/api/sync",
    video_url="/api/video",
    token=f"token-{runs}",
    reviewer_id=1,
    reviewer_name="Grace Hopper",
    host_height_pixels=330,
)
review_player(config)
st.caption(f"run {runs}")
