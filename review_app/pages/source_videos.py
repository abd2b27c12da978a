"""Source videos: submit them, see where they are, try again what failed, fetch what was exported."""

from __future__ import annotations

import streamlit as st

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.states import APPROVED_STATES, ClipState, SourceVideoState
from resources.clip_store import Clip
from resources.source_video_store import SourceVideo
from review_app import actions, views
from review_app.desk import ReviewDesk
from review_app.links import Session
from review_app.upload import upload_box

_REFRESH_SECONDS = 3
_EXPORTS_SHOWN = 200


def show(desk: ReviewDesk, session: Session) -> None:
    st.title("Source videos")
    with st.expander("Submit videos", icon=":material/add:", expanded=not desk.videos.load_all(limit=1)):
        by_address, by_file = st.columns(2, gap="large")
        with by_address, st.form("submit", clear_on_submit=True, border=False):
            text = st.text_area(
                "Web addresses, s3:// addresses, or files and folders on the server; one a line",
                placeholder="https://example.org/talk\n/videos/holiday",
                height=110,
            )
            if st.form_submit_button("Submit", type="primary"):
                _say(actions.submit_sources(desk, text))
        with by_file:
            upload_box(desk, session)
    wanted = st.query_params.get("video", "")
    words = st.text_input("Find", value=st.query_params.get("text", ""), placeholder="title or address", label_visibility="collapsed")
    if words:
        st.query_params["text"] = words
    else:
        st.query_params.pop("text", None)
    st.fragment(_videos, run_every=_REFRESH_SECONDS)(desk, words, int(wanted) if wanted.isdigit() else None)


def _videos(desk: ReviewDesk, words: str, only: int | None) -> None:
    try:
        videos = [video for video in desk.videos.load_all(text=words or None) if only is None or video.id == only]
        counts = desk.clips.counts_by_state()
    except HeatersError as error:
        st.error(str(error))
        return
    if not videos:
        st.info("No source videos here yet. Submit a file, a folder or an address above.")
    for video in reversed(videos):
        _one(desk, video, counts.get(video.id, {}))


def _one(desk: ReviewDesk, video: SourceVideo, counts: dict[ClipState, int]) -> None:
    with st.container(border=True):
        picture, text, buttons = st.columns([1.2, 4, 1.4], vertical_alignment="center")
        if video.proxy_filepath and video.frame_count:
            picture.image(desk.media_url("still", video.id, frame=video.frame_count // 3, width=320), width="stretch")
        text.markdown(f"**{video.id}. {views.plain(video.title)}**")
        facts = [views.clock(video.duration_seconds), f"{video.frame_count} frames" if video.frame_count else "", views.video_words(video)]
        text.caption(views.plain(" - ".join(fact for fact in facts if fact)))
        if video.state is not SourceVideoState.SCENES_DETECTED and not views.has_failed(video.state):
            text.progress(views.video_fraction(video))
        if counts:
            text.caption(views.plain(views.counted(counts)))
        if video.error:
            text.error(views.plain(video.error), icon=":material/error:")
        if video.gold_master_error:
            text.warning(views.plain(f"Gold master: {video.gold_master_error}"))
        for warning in video.warnings:
            text.caption(f":material/info: {views.plain(warning)}")
        _buttons(desk, video, counts, buttons)
        if any(counts.get(state) for state in APPROVED_STATES):
            with st.expander("Exports"):
                _exports(desk, video)


def _buttons(desk: ReviewDesk, video: SourceVideo, counts: dict[ClipState, int], place: st.delta_generator.DeltaGenerator) -> None:
    if video.state is SourceVideoState.SCENES_DETECTED:
        place.link_button("Review", f"/review?video={video.id}", icon=":material/rate_review:", width="stretch")
        place.link_button("Clips", f"/clips?video={video.id}&state=any", icon=":material/grid_view:", width="stretch")
    failed = views.has_failed(video.state) or video.gold_master_error or any(views.has_failed(state) for state in counts)
    if failed and place.button("Retry", key=f"retry-{video.id}", icon=":material/refresh:", width="stretch"):
        _say(actions.retry(desk, video.id))
        st.rerun(scope="fragment")
    place.link_button("Dagster", desk.partition_url(video.id, "proxy"), icon=":material/account_tree:", width="stretch")


def _exports(desk: ReviewDesk, video: SourceVideo) -> None:
    approved = [clip for clip in desk.clips.load_live(video.id) if clip.state in APPROVED_STATES]
    for clip in approved[:_EXPORTS_SHOWN]:
        name, state, file = st.columns([3, 3, 1.4], vertical_alignment="center")
        name.markdown(f"{clip.sequence:03d} - {views.clock(clip.start_time_seconds)} to {views.clock(clip.end_time_seconds)}")
        state.markdown(_state(clip))
        if clip.clip_filepath:
            file.link_button("Download", desk.media_url("export", clip.id), icon=":material/download:")
    if len(approved) > _EXPORTS_SHOWN:
        st.caption(f"and {len(approved) - _EXPORTS_SHOWN} more: see Clips")


def _state(clip: Clip) -> str:
    return views.plain(views.clip_words(clip.state)) + (f": {views.plain(clip.error)}" if clip.error else "")


def _say(outcome: actions.Outcome) -> None:
    if outcome.ok:
        st.toast(views.plain(outcome.told), icon=":material/check:")
    else:
        st.error(views.plain(outcome.told))
