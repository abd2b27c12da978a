"""The exports of a source video: the files of its approved clips, and a form that asks for more of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

from heaters_dagster.domain.cold_storage import RestoreOffer
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.reasons import shared_reasons
from heaters_dagster.domain.states import APPROVED_STATES
from heaters_dagster.domain.timecode import ClockOfVideo
from heaters_dagster.domain.words import counted
from heaters_dagster.registries import EXPORT_PROFILES
from resources.postgres.clip_store import Clip
from resources.postgres.export_store import ClipExport
from resources.postgres.master_restores import MasterRestores
from resources.postgres.source_clocks import clocks_of
from resources.postgres.source_video_store import SourceVideo
from review_app.screens import shell
from review_app.service import actions, views
from review_app.service.cold_masters import unanswered_restore
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk

#: Clips on one page of the list.
_SHOWN = 500


def show(desk: ReviewDesk, session: Session, video: SourceVideo) -> None:
    """The approved clips of a source video, their files, and a form that asks for more of them."""
    try:
        approved = [clip for clip in desk.clips.load_live(video.id) if clip.state in APPROVED_STATES]
        waiting = desk.clips.waiting_for_gold_master([clip.id for clip in approved])
        restore = MasterRestores(desk.database).load([video.id]).get(video.id) if waiting else None
        unsaid = unanswered_restore(desk, video.id) if waiting else None
        beside = desk.clips.words_beside(approved)
        clock = clocks_of([video.id], database=desk.database).get(video.id)
    except HeatersError as error:
        st.error(views.plain(str(error)), icon=":material/cloud_off:")
        return
    if any(clip.clip_filepath for clip in approved):
        address = escape(desk.addresses.media_url("clips", video.id))
        st.html(f'<a href="{address}" download>Download all approved clips as one zip, with the cut list</a>')
    if waiting:
        numbers = ", ".join(str(clip.sequence) for clip in waiting)
        said = restore.words if restore is not None else unsaid.words if unsaid is not None else ""
        why = f". {said[0].upper()}{said[1:]}" if said else ""
        st.caption(f"Waiting for the gold master, from which they are exported as soon as it is there: clip {numbers}{why}")
    if waiting and unsaid is not None:
        st.warning("Nobody has agreed to that yet, so it is not asked for.", icon=":material/ac_unit:")
        st.button(
            "Get the gold master back",
            key=f"exports-{video.id}-agree",
            help="Agree to the price: it is asked for, and the files that wait are made when it is there",
            on_click=lambda: shell.tell_next(actions.agree_to_restore(desk, session, unsaid)),
        )
    place = f"exports-from-{video.id}"
    first = st.session_state.get(place, 0)
    first = first if first < len(approved) else 0
    last = min(first + _SHOWN, len(approved))
    shown = approved[first:last]
    exports = desk.exports.of_clips([clip.id for clip in shown])
    st.html(
        exports_table(shown, exports, lambda clip_id, profile: desk.addresses.media_url("export", clip_id, profile=profile), beside, clock)
    )
    if shown:
        _ask_for_more(desk, session, video, shown)
    if len(approved) <= _SHOWN:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{first + 1} to {last} of {len(approved)}", width="content")
        pages = (("Back", "left", first - _SHOWN, "The exports before these"), ("More", "right", last, "The exports after these"))
        for words, icon, start, what in pages:
            if 0 <= start < len(approved):
                turn: dict[str, Any] = {"help": what, "on_click": st.session_state.update, "args": ({place: start},)}
                st.button(words, icon=f":material/chevron_{icon}:", key=f"exports-{words}-{video.id}", **turn)


def _ask_for_more(desk: ReviewDesk, session: Session, video: SourceVideo, shown: Sequence[Clip]) -> None:
    """Ask for files of another kind, or for the same anew. shown: the clips that may be meant."""
    of_video = f"exports-{video.id}"
    unsure = f"{of_video}-unsure"

    def ask() -> None:
        chosen, numbers = (st.session_state[f"{of_video}-{name}"] for name in ("profile", "numbers"))
        offer = actions.restore_offer(desk, video.id, chosen)
        if isinstance(offer, RestoreOffer):
            st.session_state[unsure] = chosen, numbers, offer
        elif offer is not None:
            shell.tell_next(offer)
        else:
            answer(chosen, numbers)

    def answer(chosen: str, numbers: str, *, agreed: bool = True) -> None:
        _, _, offer = st.session_state.pop(unsure, (None, None, None))
        if agreed:
            shell.tell_next(actions.ask_for_exports(desk, session, shown, chosen, numbers, agreed_to=offer))

    with st.form(f"{of_video}-ask", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Make files with",
            [one.name for one in EXPORT_PROFILES.variants()],
            format_func=lambda name: f"{name}: {EXPORT_PROFILES.load(name).help}",
            key=f"{of_video}-profile",
        )
        st.text_input("Of clips", placeholder="all in this list, or 3, 5-9", key=f"{of_video}-numbers")
        st.form_submit_button("Make files", icon=":material/movie:", help="They are made beside the files that are there", on_click=ask)
    if unsure in st.session_state:
        profile, numbers, offer = st.session_state[unsure]
        st.warning(views.plain(f"For files with {profile}: {offer.words}. Nothing was asked for yet."), icon=":material/ac_unit:")
        with st.container(horizontal=True):
            asked = (profile, numbers)
            st.button("Get it back", key=f"{unsure}-yes", on_click=answer, args=asked, help="Ask for the gold master and for these files")
            st.button("Leave it there", key=f"{unsure}-no", on_click=answer, args=asked, kwargs={"agreed": False})


def exports_table(
    clips: Sequence[Clip],
    exports: Mapping[int, Sequence[ClipExport]],
    address: Callable[[int, str], str],
    beside: Mapping[int, str],
    clock: ClockOfVideo | None = None,
) -> str:
    """An HTML table of approved clips: number, time, state, and links to the files of each.

    exports: of each clip. address: of the file by a clip's id and an export profile. beside: clip id -> what stages beside the others
    say of it. clock: of the source video; None: it has no timecode. Why several clips failed stands once, above the table.
    """
    shared = shared_reasons({clip.id: [clip.error, *(one.error for one in exports[clip.id])] for clip in clips})
    rows = []
    for clip in clips:
        times = f"{views.clock(clip.start_time_seconds)} to {views.clock(clip.end_time_seconds)}"
        times += f"<br>from {clock.at(clip.start_time_seconds)}" if clock is not None else ""
        further = [one for one in exports[clip.id] if one.profile != clip.export_profile and one.key != clip.clip_filepath]
        state = views.clip_words(clip.state) + _reason(clip.error, shared)
        told = [state + (f" · {beside[clip.id]}" if clip.id in beside else "")]
        told += [f"{one.profile}: {views.export_words(one.state)}{_reason(one.error, shared)}" for one in further]
        linked = [("Download", clip.export_profile)] if clip.clip_filepath else []
        linked += [(f"Download {one.profile}", one.profile) for one in further if one.has_file]
        files = [f'<a href="{escape(address(clip.id, profile))}" download>{escape(words)}</a>' for words, profile in linked]
        states, file = "<br>".join(map(escape, told)), "<br>".join(files)
        rows.append(f'<tr><th scope="row">{clip.sequence}</th><td>{times}</td><td>{states}</td><td>{file}</td></tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Clip", "Time", "State", "File"))
    above = "".join(f"<p>The same reason for {counted(len(ids), 'clip')}: {escape(reason)}</p>" for reason, ids in shared.items())
    return f'{above}<table class="heaters-exports"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _reason(error: str | None, shared: Mapping[str, Collection[int]]) -> str:
    """What follows a state: `: the disk is full`."""
    if not error:
        return ""
    return ", for the reason above" if error in shared else f": {error}"
