"""Source videos: submit them, see where they are, try again what failed, fetch what was exported."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.ingest import SourceKind, source_kind
from heaters_dagster.domain.progress import in_words, progress_in
from heaters_dagster.domain.proxy_pieces import one_piece_words
from heaters_dagster.domain.quality import Quality
from heaters_dagster.domain.related import Relation
from heaters_dagster.domain.stages import GOLD_MASTER
from heaters_dagster.domain.states import APPROVED_STATES, ClipState, SourceVideoState
from heaters_dagster.domain.watching import FileState
from heaters_dagster.domain.words import counted
from resources.object_store.probe import last_known_problem
from resources.postgres.source_video_lists import ListedVideo
from resources.postgres.source_video_store import SourceVideo
from resources.postgres.store_pauses import pause_of
from resources.sources.submit_places import watched_names
from review_app.screens import cut_list_links, exports, shell
from review_app.screens.facts_box import facts_box, facts_in_words
from review_app.screens.filters import id_of_parameter, keep_parameters, parameters_to_show
from review_app.screens.submit_box import found_lists, said, said_what_was_submitted, submit_form, submitted
from review_app.screens.subscriptions_box import subscriptions_box
from review_app.screens.upload_box import upload_box
from review_app.service import actions, views
from review_app.service.links import Session
from review_app.service.outcome import Outcome
from review_app.service.review_desk import ReviewDesk

_REFRESH_SECONDS = 3
_PAGE = 10
_MOST_ON_A_PAGE = 100


def show(visit: shell.Visit) -> None:
    desk, session = visit.desk, visit.session
    # Asked once: the first of several uploads would close the box on the others.
    is_open = st.session_state.setdefault("submit-open", not desk.lists.titles(limit=1))
    with st.expander("Submit videos", icon=":material/add:", expanded=is_open):
        by_address, by_file = st.columns(2, gap="large")
        with by_address:
            submit_form(desk)
        with by_file:
            upload_box(desk, session, **said())
    submitted()
    found_lists(desk, session)
    subscriptions_box(desk)
    _watched(desk)
    only = id_of_parameter(st.query_params.get("video", ""))
    with st.container(horizontal=True, vertical_alignment="center"):
        address = parameters_to_show("videos", ("text",), widget="videos-text")
        if address is not None:
            st.session_state["videos-text"] = address["text"]
        words = st.text_input(
            "Find", placeholder="Find by title, address, facts or subtitles", label_visibility="collapsed", width=420, key="videos-text"
        )
        if only is not None:
            st.button(
                f"Only source video {only} is shown: show all",
                help="Show the other source videos too",
                icon=":material/close:",
                on_click=st.query_params.clear,
            )
    keep_parameters("videos", {"text": words})
    st.fragment(_videos, run_every=_REFRESH_SECONDS)(desk, session, words, only)
    said_what_was_submitted()


def _watched(desk: ReviewDesk) -> None:
    """What a person has to know of watched places: those that cannot be read, and files in them that were refused."""
    if not desk.settings.watch:
        return
    try:
        places = desk.watched.places(watched_names(desk.settings))
    except HeatersError:
        return  # the list below says what is wrong
    for place in places:
        if place.problem:
            st.warning(views.plain(place.problem), icon=":material/folder_off:")
        if place.refused_files:
            refused = counted(place.files.get(FileState.REFUSED, 0), "file")
            words = views.plain(f"{refused} refused in {place.place}")
            with st.expander(words, icon=":material/block:", key=f"refused-{place.place}", on_change="rerun"):
                for path, reason in place.refused_files.items():
                    st.caption(views.plain(f"{path}: {reason}"))


def _videos(desk: ReviewDesk, session: Session, words: str, only: int | None) -> None:
    """A page of them, newest first; only what is shown is read, because this runs every few seconds for everybody who looks."""
    shell.tell()
    if st.session_state.get("videos-asked") != (words, only):
        st.session_state.update({"videos-asked": (words, only), "videos-shown": _PAGE})
        st.session_state.pop("videos-before", None)
    before, shown = st.session_state.get("videos-before"), st.session_state["videos-shown"]
    try:
        counts = desk.lists.counts(text=words, only=only)
        videos = desk.lists.newest(text=words, only=only, before_id=before, limit=shown + 1)
    except HeatersError as error:
        st.error(views.plain(str(error)), icon=":material/cloud_off:")
        return
    if not counts.total:
        st.info(
            "No source video has these words in its title, address, facts or subtitles."
            if words or only
            else "No source videos yet. Submit a file, a folder or an address above."
        )
        if words or only:
            st.page_link(shell.page("videos"), label="Show all source videos", icon=":material/filter_alt_off:")
        return
    if problem := last_known_problem(desk.objects) or pause_of(desk.database, desk.settings.object_bucket):
        st.error(views.plain(f"All work waits, because nothing can be stored: {problem}"), icon=":material/cloud_off:")
    st.caption(views.plain(views.video_counts(counts)))
    for item in videos[:shown]:
        _one(desk, session, item)
    with st.container(horizontal=True):
        _paging(videos[shown - 1].video.id if len(videos) > shown else None, shown)


def _paging(last_id: int | None, shown: int) -> None:
    """last_id: of the last one shown when there are more."""
    if "videos-before" in st.session_state:
        st.button(
            "Newest",
            help="Back to the newest source videos",
            icon=":material/first_page:",
            on_click=st.session_state.pop,
            args=("videos-before", None),
        )
    if last_id is None:
        return
    if shown < _MOST_ON_A_PAGE:
        more = {"videos-shown": shown + _PAGE}
        st.button(
            f"Show {_PAGE} more",
            help="Show more below these",
            icon=":material/expand_more:",
            on_click=st.session_state.update,
            args=(more,),
        )
    else:
        older = {"videos-before": last_id, "videos-shown": _PAGE}
        st.button(
            "Older",
            help="The source videos before these",
            icon=":material/chevron_right:",
            icon_position="right",
            on_click=st.session_state.update,
            args=(older,),
        )


def _one(desk: ReviewDesk, session: Session, item: ListedVideo) -> None:
    video, counts = item.video, item.clips
    with st.container(border=True, key=f"video-{video.id}"):
        picture, text, buttons = st.columns([1.1, 5, 1.5], vertical_alignment="top")
        picture.html(_picture(desk, video))
        with text:
            _facts(item)
            _related(desk, session, item)
            _replacement(desk, session, item)
        _ways(desk, session, item, buttons)
        facts_box(desk, session, video)
        if any(counts.get(state) for state in APPROVED_STATES):
            box = st.expander("Exports", icon=":material/download:", type="compact", key=f"exports-{video.id}", on_change="rerun")
            if box.open:
                with box:
                    exports.show(desk, session, video)
        if sum(counts.values()):
            box = st.expander("Cut list", icon=":material/movie_edit:", type="compact", key=f"cut-list-{video.id}", on_change="rerun")
            if box.open:
                with box:
                    cut_list_links.show(desk, video, any_approved=any(counts.get(state) for state in APPROVED_STATES))


def _picture(desk: ReviewDesk, video: SourceVideo) -> str:
    if not (video.proxy_filepath and video.frame_count):
        return '<div class="heaters-picture"></div>'
    address = desk.addresses.media_url("still", video.id, frame=video.frame_count // 3, width=320)
    return f'<div class="heaters-picture"><img alt="" loading="lazy" src="{escape(address)}"></div>'


def _facts(item: ListedVideo) -> None:
    video, counts = item.video, item.clips
    is_asked = video.state is SourceVideoState.PREPROCESSED and any(one.waits_for_word for one in item.related)
    st.markdown(f"**{video.id}. {views.plain(video.title)}**")
    facts = [
        views.clock(video.duration_seconds),
        counted(video.frame_count, "frame") if video.frame_count else "",
        "waits for a word from you" if is_asked else views.video_words(video),
        views.clip_counts(counts, item.beside),
    ]
    st.caption(views.plain(" · ".join(fact for fact in facts if fact)))
    if known := facts_in_words(item.facts):
        st.caption(views.plain(known))
    if video.state is SourceVideoState.SCENES_DETECTED and counts:
        st.progress(views.reviewed_fraction(counts), text=views.reviewed_words(counts))
    elif is_asked:
        st.caption(":material/compare: It goes on when you have answered under Compare and replace")
    elif video.state is not SourceVideoState.SCENES_DETECTED and not views.has_failed(video.state):
        now = progress_in(video.state, item.progress)
        st.progress(views.video_fraction(video, now), text=in_words(now) if now else views.waiting_words(video, datetime.now(UTC)))
    if item.site_waits:
        st.caption(f":material/hourglass_empty: {views.plain(item.site_waits)}")
    if quality := Quality.from_json(item.quality):
        st.caption(f":material/high_quality: {views.plain(quality.words)}")
    if item.one_piece is not None:
        st.caption(f":material/looks_one: {views.plain(one_piece_words(item.one_piece))}")
    if waits := views.room_words(item.waits):
        st.caption(f":material/hourglass_empty: {views.plain(waits)}")
    if master := item.progress.get(GOLD_MASTER.asset):
        st.caption(views.plain(in_words(master)))
    elif wait := item.waits.get(GOLD_MASTER.asset):
        st.caption(views.plain(f"Gold master: {wait.words}"))
    if video.error and video.duplicate_of_id is not None:
        st.info(views.plain(video.error), icon=":material/content_copy:")
    elif video.error:
        st.error(views.plain(video.error), icon=":material/error:")
    if video.gold_master_error:
        st.warning(views.plain(f"Gold master: {video.gold_master_error}"), icon=":material/archive:")
    for warning in (*video.warnings, *filter(None, [item.uncut])):
        st.caption(f":material/info: {views.plain(warning)}")


def _related(desk: ReviewDesk, session: Session, item: ListedVideo) -> None:
    """Other source videos that are, or may be, the same: a sentence, the way there, and for a hint a way to say that it is of no use."""
    for one in item.related:
        pair = f"{item.video.id}-{one.other_id}-{one.kind}"
        with st.container(horizontal=True, vertical_alignment="center", key=f"related-{pair}"):
            st.caption(f":material/link: {views.plain(one.words)}", width="content")
            query = {"video": str(one.other_id)}
            st.page_link(shell.page("videos"), label=f"Show source video {one.other_id}", query_params=query)
            if one.kind.is_hint:
                st.button(
                    "Dismiss",
                    help="Say that they are not the same, or may both stay",
                    icon=":material/close:",
                    type="tertiary",
                    key=f"dismiss-{pair}",
                    on_click=_dismiss,
                    args=(desk, session, item.video.id, one.other_id),
                )


def _dismiss(desk: ReviewDesk, session: Session, source_video_id: int, other_id: int) -> None:
    shell.tell_next(actions.dismiss(desk, session, source_video_id, other_id))


def _ways(desk: ReviewDesk, session: Session, item: ListedVideo, place: DeltaGenerator) -> None:
    video, counts = item.video, item.clips
    with place:
        if video.state is SourceVideoState.SCENES_DETECTED:
            query = {"video": str(video.id)}
            st.page_link(shell.page("review"), label="Review", icon=":material/rate_review:", query_params=query)
            st.page_link(shell.page("clips"), label="Clips", icon=":material/grid_view:", query_params=query)
        st.page_link(desk.addresses.partition_url(video.id, "proxy"), label="Dagster", icon=":material/account_tree:")
        # A duplicate would only be fetched once more.
        failed = (
            (views.has_failed(video.state) and video.duplicate_of_id is None)
            or video.gold_master_error
            or any(views.has_failed(state) for state in counts)
            or views.work_has_failed(item.beside)
        )
        if failed and st.button(
            "Retry", help="Try everything again that has failed for this video", key=f"retry-{video.id}", icon=":material/refresh:"
        ):
            shell.toast(actions.retry(desk, video.id))
            st.rerun(scope="fragment")
        edit = st.popover(
            "Edit",
            help="Change the title, or delete the video",
            icon=":material/edit:",
            type="tertiary",
            key=f"edit-{video.id}",
            on_change="rerun",
        )
        if edit.open:  # filled when it is opened: the boxes of all videos were a quarter of the page
            with edit:
                _edit(desk, session, video, counts)


def _edit(desk: ReviewDesk, session: Session, video: SourceVideo, counts: dict[ClipState, int]) -> None:
    """Another title; or delete it, asked twice: a box to tick, then the title to type."""
    outcome = None
    title = st.text_input("Title", value=video.title, max_chars=300, key=f"title-{video.id}")
    if st.button("Save the title", help="The new title is used everywhere", key=f"rename-{video.id}"):
        outcome = actions.rename(desk, session, video.id, title)
    if video.state is SourceVideoState.SCENES_DETECTED:
        outcome = _new_file(desk, session, video) or outcome
    clips = counted(sum(counts.values()), "clip")
    if st.checkbox(f"Delete this source video with {clips} and all its files", key=f"delete-{video.id}"):
        typed = st.text_input("This cannot be undone. Type the title to delete it", key=f"typed-{video.id}")
        if st.button("Delete for good", type="primary", help="Delete the video, its clips and all its files", key=f"deleted-{video.id}"):
            outcome = actions.delete(desk, session, video.id, typed)
    if outcome is not None:
        shell.tell_next(outcome)
        st.rerun(scope="fragment")


def _new_file(desk: ReviewDesk, session: Session, video: SourceVideo) -> Outcome | None:
    """Another file in its place, or the same address again; it is compared first, and the page asks then."""
    source = st.text_input("File or address that replaces it", key=f"new-file-{video.id}")
    if source.strip() and st.button("Fetch and compare", help="Nothing changes before you agree", key=f"replace-{video.id}"):
        return actions.replace_file(desk, session, video.id, source.strip())
    if source_kind(video.source) is SourceKind.WEB_ADDRESS:
        height = st.number_input(
            "Tallest picture in pixels", min_value=144, max_value=8640, value=desk.settings.ytdlp_max_height, key=f"height-{video.id}"
        )
        if st.button("Fetch again", help="For a better quality; nothing changes before you agree", key=f"refetch-{video.id}"):
            return actions.refetch(desk, session, video.id, int(height))
    return None


def _replacement(desk: ReviewDesk, session: Session, item: ListedVideo) -> None:
    """On the new one: what would become of the clips of the old one, as soon as its proxy is made, and the question."""
    new_id, key = item.video.id, f"compared-{item.video.id}"
    waits = any(one.kind is Relation.REPLACES and one.is_newer and one.details.get("state") == "waiting" for one in item.related)
    if not waits or item.video.state is not SourceVideoState.PREPROCESSED:
        st.session_state.pop(key, None)
        if waits:
            _keep_old(desk, session, new_id)
        return
    looked = st.expander("Compare and replace", icon=":material/compare:", type="compact", key=f"compare-{new_id}", on_change="rerun")
    if not looked.open:
        st.session_state.pop(key, None)
        return
    with looked:
        if key not in st.session_state:  # once: the page runs again every few seconds, and a comparison may decode a proxy
            with st.spinner("Comparing the frames"):
                st.session_state[key] = actions.compared(desk, new_id)
        outcome, compared = st.session_state[key]
        if compared is None:
            st.error(views.plain(outcome.refused or outcome.told), icon=":material/error:")
            _keep_old(desk, session, new_id)
            return
        st.caption(views.plain(compared.files))
        st.html(views.fates_table(compared))
        st.caption(views.plain(compared.sentence))
        trusts = False
        if compared.uncertain:
            about = f"Keep the decisions on {counted(compared.uncertain, 'clip')} that only look the same; else they wait for review again"
            trusts = st.checkbox(about, key=f"trust-{new_id}")
        with st.container(horizontal=True):
            if st.button("Replace now", type="primary", help="The new file takes over clips and decisions", key=f"now-{new_id}"):
                del st.session_state[key]  # when it is refused, the clips have changed: then they are compared again
                shell.tell_next(actions.carry_over(desk, session, compared, trusts_likeness=trusts))
                st.rerun(scope="fragment")
            _keep_old(desk, session, new_id)


def _keep_old(desk: ReviewDesk, session: Session, new_id: int) -> None:
    if st.button("Keep the old one", help="Forget the new file", key=f"give-up-{new_id}"):
        shell.tell_next(actions.give_up(desk, session, new_id))
        st.rerun(scope="fragment")
