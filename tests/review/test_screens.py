"""The pages, run as Streamlit runs them but without a browser, on real Postgres."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.export_profile import ExportState
from heaters_dagster.domain.quality import Picture, Quality
from heaters_dagster.domain.review_queue import QueueFilter
from heaters_dagster.domain.site_access import SitePart
from heaters_dagster.domain.source_facts import Chapter, Origin, SourceFacts
from heaters_dagster.domain.source_lists import Member
from heaters_dagster.domain.stages import EXPORTS
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.timecode import ClockOfVideo, SourceTime
from heaters_dagster.registries import CUT_LIST_FORMATS
from heaters_dagster.settings import PROJECT_ROOT, Settings, child_environment
from resources.postgres.clip_files import MadeObject
from resources.postgres.database import Database
from resources.postgres.fact_edits import edit_facts
from resources.postgres.facts_store import FactsStore
from resources.postgres.piece_store import PieceStore
from resources.postgres.related_videos import RelatedVideos
from resources.postgres.reviewer_store import Reviewer, ReviewerStore
from resources.postgres.site_turns import SiteTurns
from resources.postgres.transcript_store import TranscriptStore
from resources.sources.given_files import GivenFiles
from resources.sources.site_access import SiteAccess
from resources.upkeep.stored_bytes import count_stored
from review_app.screens import clips, cut_list_links, exports, filters, partitions, source_videos
from review_app.screens.submit_box import members_table
from review_app.service import actions, submissions, views
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk
from tests import web_lists
from tests.conftest import ASourceVideo, SomeClips
from tests.pipeline_rows import cut_video, reviews
from tests.streamlit_pages import button, labels, page, told
from tests.web_server import WebServer


def test_from_a_page_of_clips_that_has_become_empty_a_way_leads_back(
    desk: ReviewDesk, some_clips: SomeClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "_PAGE", 2)
    made = some_clips(25, 50, 75)
    app = page("clips", desk, state="pending_review")
    button(app, "More")
    desk.reviews.approve([made[2].id, made[3].id], reviewer="Bob")
    app.run()
    assert "No clip on this page" in told(app)
    button(app, "Back")
    assert "More" in labels(app)


def links(app: AppTest) -> list[str]:
    return [one.proto.label for one in app.get("page_link")]


def test_empty_pages_say_why_and_lead_on(desk: ReviewDesk, some_clips: SomeClips, a_source_video: ASourceVideo) -> None:
    app = page("clips", desk)
    assert ("There are no clips yet" in told(app), links(app)) == (True, ["Source videos"])
    app = page("history", desk)
    assert ("No decisions yet" in told(app), links(app)) == (True, ["Review clips"])
    video = a_source_video(state=SourceVideoState.DETECTING_SCENES)
    assert "1 source video is on its way: 1 being cut" in told(page("clips", desk)).replace("\\", "")
    (clip, _) = some_clips(50)
    app = page("clips", desk, video=str(video.id))
    assert ("No clips yet" in told(app), links(app)) == (True, ["Source video", "Clear filters"])
    app = page("clips", desk, text="nobody")
    assert ("No clip matches these filters" in told(app), links(app)) == (True, ["Clear filters"])
    desk.reviews.skip(clip.id, reviewer="Bob")
    app = page("history", desk, who="Bob", clip="999")
    app.text_input(key="history-clip").set_value("2 of Holiday").run()
    assert "No decision matches these filters" in told(app)
    button(app, "Clear filters")
    assert not app.info


def test_the_review_queue_says_why_it_is_empty(desk: ReviewDesk, some_clips: SomeClips) -> None:
    ada, bob = (ReviewerStore(desk.database).named(name) for name in ("Ada", "Bob"))

    def empty(reviewer: Reviewer, **filters: Any) -> str:
        return str(desk.queue(Session(reviewer.id, reviewer.name), QueueFilter(**filters), limit=5).body["empty"]["title"])

    assert empty(ada) == "There are no clips yet"
    clips = some_clips(50)
    assert "empty" not in desk.queue(Session(bob.id, "Bob"), QueueFilter(), limit=5).body
    assert empty(ada) == "Colleagues have the rest"
    assert empty(ada, text="nobody") == "No clip matches these filters"
    desk.reviews.skip([clip.id for clip in clips], reviewer="Bob")
    assert empty(ada) == "Nothing left to review here"


def test_back_restores_the_filters_of_the_history(desk: ReviewDesk, some_clips: SomeClips) -> None:
    one, two = some_clips(50)
    desk.reviews.approve(one.id, reviewer="Bob")
    app = page("history", desk, who="Bob", clip=str(one.id))
    assert (app.selectbox(key="history-who").value, app.text_input(key="history-clip").value) == (
        "Bob",
        f"1 of {one.source_video_id}. Holiday",
    )
    app.text_input(key="history-clip").set_value("2 of holiday").run()
    assert app.query_params["clip"] == str(two.id)
    app.query_params["clip"] = str(one.id)
    app.run()
    assert app.text_input(key="history-clip").value == f"1 of {one.source_video_id}. Holiday"
    assert app.query_params["clip"] == str(one.id)


def test_back_restores_what_source_videos_were_searched_by(desk: ReviewDesk, some_clips: SomeClips) -> None:
    (clip,) = some_clips()
    app = page("videos", desk, text="holi", video=str(clip.source_video_id))
    app.text_input(key="videos-text").set_value("work").run()
    assert (app.query_params["text"], app.query_params["video"]) == ("work", str(clip.source_video_id))
    app.query_params["text"] = "holi"
    app.run()
    assert app.text_input(key="videos-text").value == "holi"
    app.text_input(key="videos-text").set_value("").run()
    assert "text" not in app.query_params


@pytest.mark.parametrize(("state", "words"), [("review_skipped", "skipped in Clips"), ("any", "all in Clips")])
def test_review_says_that_it_shows_waiting_clips_only(desk: ReviewDesk, state: str, words: str) -> None:
    app = page("review", desk, state=state)
    (link,) = app.get("page_link")
    assert words in link.proto.label
    assert ("state=review_skipped" in link.proto.query_string) == (state != "any")
    assert not page("review", desk, state="pending_review").get("page_link")


def test_history_says_what_came_of_an_undo_when_nothing_is_listed(desk: ReviewDesk) -> None:
    app = page("history", desk)
    button(app, "Undo my latest")
    assert "nothing to undo" in told(app).replace("\\", "")


def test_a_double_click_on_undo_takes_back_one_decision(desk: ReviewDesk, some_clips: SomeClips) -> None:
    one, two = some_clips(50)
    for clip in (one, two):
        desk.reviews.approve(clip.id, reviewer="Ada")
    app = page("history", desk)
    again = next(one for one in app.button if one.label == "Undo my latest")
    again.click().run()
    again.click().run()
    assert [clip.state for clip in desk.clips.load_live(one.source_video_id)] == [ClipState.REVIEW_APPROVED, ClipState.PENDING_REVIEW]


def test_source_videos_are_listed_page_by_page_the_newest_first(desk: ReviewDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_videos, "_PAGE", 2)
    monkeypatch.setattr(source_videos, "_MOST_ON_A_PAGE", 4)
    for number in range(1, 8):
        desk.videos.add(f"/films/{number}.mp4", f"Film {number}")
    app = page("videos", desk)

    def listed() -> list[str]:
        return [one.value.split(" ")[-1].strip("*") for one in app.markdown if "Film" in one.value]

    assert "7 source videos: 7 waiting" in told(app).replace("\\", "")
    assert listed() == ["7", "6"]
    button(app, "Show 2 more")
    assert listed() == ["7", "6", "5", "4"]
    button(app, "Older")
    assert listed() == ["3", "2"]
    button(app, "Show 2 more")
    assert (listed(), labels(app).count("Older")) == (["3", "2", "1"], 0)
    button(app, "Newest")
    assert listed()[0] == "7"
    app.text_input(key="videos-text").set_value("film 3").run()
    assert (listed(), "1 source video: 1 waiting" in told(app).replace("\\", "")) == (["3"], True)


def test_why_a_download_waits_what_was_taken_and_why_a_long_video_goes_in_one_piece_are_said(desk: ReviewDesk) -> None:
    desk.videos.add("https://example.org/1", "Waits")
    SiteTurns(desk.database, per_site=1, pause_seconds=0).refused("example.org", "its site answers 429", None)
    taken = Quality(offered=(Picture(height=2160), Picture(height=1080)), taken=Picture(height=1080), limit=1080, order="res:1080")
    FactsStore(desk.database).put(desk.videos.add("/a.mp4", "Came").id, SourceFacts(quality=taken.to_json()), Origin.SITE)
    PieceStore(desk.database).forget(desk.videos.add("/long.mp4", "Long").id, one_piece="its edit list hides 2 frames")
    said = told(page("videos", desk)).replace("\\", "")
    assert "the proxy is made in one piece, by one machine, because its edit list hides 2 frames" in said
    assert "UTC (1 minute): its site answers 429" in said
    assert "1080p of 2160p, 1080p: the best up to HEATERS_DOWNLOAD_MAX_HEIGHT=1080" in said


def test_that_a_high_threshold_has_cut_nothing_is_said_where_it_has(desk: ReviewDesk) -> None:
    high, default = ({"detector": "transnetv2", "threshold": threshold, "min_clip_frames": 12} for threshold in (1.0, 0.35))
    (whole,), (of_one_shot,) = cut_video(desk.database, (0, 90)), cut_video(desk.database, (0, 90))
    cut, joined = cut_video(desk.database), cut_video(desk.database, (0, 30, 90))
    reviews(desk.database).remove_cut_point(joined[0].source_video_id, 30, reviewer="ada")
    for clip, settings in ((whole, high), (of_one_shot, default), (cut[0], high), (joined[0], high)):
        desk.videos.update(clip.source_video_id, scene_settings=settings)
    said = told(page("videos", desk)).replace("\\", "")
    remedy = f"whose default is 0.35; if it has cuts: heaters recut {whole.source_video_id} --threshold 0.35"
    assert f"nothing was cut with the threshold 1 of transnetv2, {remedy}" in said
    assert said.count("nothing was cut") == 1


def test_the_menu_of_source_videos_finds_by_words_and_keeps_what_was_chosen(desk: ReviewDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "_MENU", 3)
    one, *_ = made = [desk.videos.add(f"/films/{number}.mp4", f"{kind} {number}") for number in range(3) for kind in ("Harbour", "Market")]
    app = page("clips", desk, video=str(one.id))

    def menu() -> list[str]:
        return list(app.multiselect(key="clips-videos").options)

    assert menu() == [f"{video.id}. {video.title}" for video in (one, *made[3:])], "the newest, and the one that is chosen"
    app.text_input(key="clips-videos-find").set_value("harbour").run()
    harbours = [video for video in made if "Harbour" in video.title]
    assert menu() == [f"{video.id}. {video.title}" for video in harbours]
    app.multiselect(key="clips-videos").set_value([one.id, harbours[2].id]).run()
    assert app.query_params["video"] == f"{one.id},{harbours[2].id}"
    app.text_input(key="clips-videos-find").set_value(str(made[1].id)).run()
    assert f"{made[1].id}. {made[1].title}" in menu()
    assert app.multiselect(key="clips-videos").value == [one.id, harbours[2].id]


def test_a_video_that_may_be_the_same_is_named_with_a_way_there_and_a_way_to_dismiss_it(
    desk: ReviewDesk, a_source_video: ASourceVideo
) -> None:
    first, second = (a_source_video(source=f"/videos/{name}.mp4", title=name) for name in ("Harbour", "Quay"))
    related = RelatedVideos(desk.database)
    for video in (first, second):
        looks = {"looks_filepath": "metadata/looks.bin", "duration_seconds": 9.0, "frame_seconds": 0.04, "sample": bytes(range(16)) * 16}
        related.keep_looks(video.id, **looks)
    app = page("videos", desk)
    same = "same length, and of the frames that were compared 16 of 16 look alike"
    for video, other in ((first, second), (second, first)):
        assert views.plain(f"May be the same video as source video {other.id}, {other.title}: {same}") in told(app), video.title
    button(app, "Dismiss")
    assert "May be the same video" not in told(page("videos", desk))
    related.link_again(second.id, first.id)
    app = page("videos", desk)
    assert "Submitted again by force" in told(app)
    assert "Dismiss" not in labels(app)


def test_exports_are_paged_through(desk: ReviewDesk, some_clips: SomeClips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_SHOWN", 2)
    (made, *_) = some_clips(20, 40, 60, 80, state=ClipState.REVIEW_APPROVED)
    app = page("videos", desk)
    app.session_state[f"exports-{made.source_video_id}"] = True
    app.run()
    assert "1 to 2 of 5" in told(app)
    button(app, "More")
    button(app, "More")
    assert "5 to 5 of 5" in told(app)
    assert "More" not in labels(app)
    button(app, "Back")
    assert "3 to 4 of 5" in told(app)


@pytest.mark.parametrize("name", ["text", "state", "words", "anything"])
def test_an_address_that_holds_no_text_is_refused_in_words_before_any_page_reads_it(name: str) -> None:
    app = AppTest.from_file(str(PROJECT_ROOT / "review_app" / "main.py"), default_timeout=60)
    app.query_params[name] = "a\x00b"
    app.run()
    assert not app.exception
    assert [one.value for one in app.error] == [f"{name} in the address contains a NUL character, which cannot be stored\\: remove it"]
    assert labels(app) == ["Show everything"]


def test_partitions_and_titles_are_found_by_each_other(desk: ReviewDesk, a_source_video: ASourceVideo) -> None:
    harbour, market = a_source_video(title="Harbour"), a_source_video(title=f"Market <{1}>")
    assert next(video.id for video in partitions.find_videos(desk, str(market.id))) == market.id
    assert [video.id for video in partitions.find_videos(desk, "harb")] == [harbour.id]
    assert partitions.find_videos(desk, "9" * 30) == []
    table = partitions.partitions_table(desk, [harbour, market])
    assert f'<th scope="row">{harbour.id}</th><td><a href="/videos?video={harbour.id}" target="_self">Harbour</a>' in table
    assert f'href="http://127.0.0.1:3000/assets/proxy?view=partitions&amp;partition={market.id}"' in table
    assert "Market &lt;1&gt;" in table
    app = page("partitions", desk, find="Harbour")
    assert not app.exception
    assert app.text_input[0].value == "Harbour"
    assert told(page("partitions", desk, find="nobody")) == "No source video has that number or title."


def plain(text: str) -> str:
    """Without the signs that keep a text from being read as Markdown."""
    return text.replace("\\", "")


COOKIES = "# Netscape HTTP Cookie File\n.vimeo.com\tTRUE\t/\tTRUE\t0\tsession\tM4rkedCookie\n"


def test_the_status_says_what_waits_what_failed_and_why_and_what_does_not_run(
    desk: ReviewDesk, a_source_video: ASourceVideo, some_clips: SomeClips
) -> None:
    some_clips(30)
    video = a_source_video(state=SourceVideoState.DOWNLOAD_FAILED)
    desk.videos.update(video.id, title="<b>Harbour</b>")
    with desk.database.begin() as connection:
        connection.execute(
            text("update source_videos set error = 'text.mp4 is not a video: it holds text' where id = :id"), {"id": video.id}
        )
    app = page("status", desk)
    assert not app.exception
    shown = " ".join(str(one.proto.body) for one in app.get("html"))
    for row in (
        '<th scope="row">2 clips</th><td>for review</td>',
        '<th scope="row">1 source video</td>'.replace("</td>", "</th>") + "<td>fetching failed</td>",
        '<th scope="row">source video</th><td>fetching failed</td><td>the file</td><td>1</td>',
        '<th scope="row">heaters</th><td>',
        '<th scope="row">Database</th><td>Postgres ',
    ):
        assert row in shown, row
    assert "&lt;b&gt;Harbour" in shown
    assert "<b>Harbour" not in shown
    assert "Daemon: it has never been heard of in this database" in told(app).replace("\\", "")
    assert desk.database.url not in shown
    desk.objects.put_bytes("originals/video_1.mp4", b"12345678")
    count_stored(desk.database, desk.objects)
    app.run()
    assert "<td>1</td><td>0.008 kB</td>" in " ".join(str(one.proto.body) for one in app.get("html"))


def test_a_sign_in_is_stored_from_the_page_and_not_shown_again(desk: ReviewDesk, database: Database) -> None:
    app = page("sites", desk)
    assert "Nothing is stored for any site" in told(app)
    app.text_input(key="site-name").input("https://vimeo.com/76979871")
    app.text_area(key="site-secret").input(COOKIES)
    button(app, "Store")
    assert plain(app.success[0].value).startswith("Heaters signs in to vimeo.com with 1 cookie. ")
    assert "sign-in: 1 cookie · stored by Ada on 20" in plain(told(app))
    assert not [one.value for one in (*app.text_area, *app.text_input) if one.value]
    assert SiteAccess(database, desk.settings).load().cookies["vimeo.com"].endswith("M4rkedCookie\n")

    app.text_area(key="site-secret").input(COOKIES.replace("vimeo.com", "example.org"))
    app.text_input(key="site-name").input("vimeo.com")
    button(app, "Store")
    assert plain(app.error[0].value).startswith("the file holds no cookie of vimeo.com that is valid: it holds 1 cookie of other sites")
    assert app.text_area(key="site-secret").value == ""
    outcome = actions.store_for_site(desk, Session(1, "Ada"), "vimeo.com", SitePart.PROXY, "http://ada:M4rkedPassword@10.0.0.7:3128")
    assert (outcome.ok, "10.0.0.7, a private address" in outcome.told, "M4rked" in outcome.told) == (False, True, False)

    button(app, "Forget")
    assert SiteAccess(database, desk.settings).listed() == []

    away = replace(desk.settings, review_names=("review.example.org",))
    shut = ReviewDesk(settings=away, database=database, objects=desk.objects, links=desk.links)
    assert "not stored from here" in told(page("sites", shut))
    assert page("sites", shut).text_area.len == 0
    assert not actions.store_for_site(shut, Session(1, "Ada"), "vimeo.com", SitePart.COOKIES, COOKIES).ok
    assert not actions.forget_site(shut, "vimeo.com").ok
    opened = ReviewDesk(settings=replace(away, sites_from_browser=True), database=database, objects=desk.objects, links=desk.links)
    assert actions.store_for_site(opened, Session(1, "Ada"), "vimeo.com", SitePart.COOKIES, COOKIES).ok


def test_every_file_of_a_clip_is_offered_and_what_is_still_to_come_is_named(desk: ReviewDesk, some_clips: SomeClips) -> None:
    (clip,) = some_clips(state=ClipState.EMBEDDED)
    desk.exports.request(clip.id, "delivery")
    key = f"final_clips/video_{clip.source_video_id}_clip_001_delivery.mp4"
    assert desk.exports.claim(clip.id, "delivery", key)
    desk.exports.fail(clip.id, "delivery", "the <disk> is full", transient=False)

    def table() -> str:
        return exports.exports_table(
            [clip],
            desk.exports.of_clips([clip.id]),
            lambda clip_id, profile: f"/api/export/{clip_id}?profile={profile}",
            {},
            ClockOfVideo(SourceTime(90_000, Fraction(25)), clip.start_time_seconds),
        )

    assert "<td>searchable<br>delivery: export failed: the &lt;disk&gt; is full</td>" in table()
    assert table().count("<a ") == 1
    assert "<br>from 01:00:00:00</td>" in table()
    app = page("videos", desk)
    assert "1 with another export failed" in told(app)
    assert "Retry" in labels(app)
    desk.clips.retry(clip.id)
    assert desk.exports.claim(clip.id, "delivery", key)
    assert desk.exports.finish(clip.id, "delivery", clip.cut_point_version, MadeObject(key, 5, {}))
    assert (
        f'<td><a href="/api/export/{clip.id}?profile=stream_copy" download>Download</a><br>'
        f'<a href="/api/export/{clip.id}?profile=delivery" download>Download delivery</a></td>'
    ) in table()


def test_the_reason_for_which_several_clips_failed_stands_once_above_the_exports(desk: ReviewDesk, some_clips: SomeClips) -> None:
    made = some_clips(30, 60, state=ClipState.EXPORTING)
    for clip, reason in zip(made, ("the <disk> is full", "the <disk> is full", "no such frame"), strict=True):
        desk.clips.fail(clip.id, EXPORTS, reason, transient=False)
    live = desk.clips.load_live(made[0].source_video_id)
    table = exports.exports_table(live, desk.exports.of_clips([clip.id for clip in live]), lambda clip_id, profile: "", {})
    assert table.startswith("<p>The same reason for 2 clips: the &lt;disk&gt; is full</p><table")
    assert table.count("the &lt;disk&gt; is full") == 1
    assert table.count("<td>export failed, for the reason above</td>") == 2
    assert table.count("<td>export failed: no such frame</td>") == 1


def test_a_cut_list_has_a_link_for_each_form() -> None:
    def address(form: str, **only: str) -> str:
        return f"/api/cutlist/1?form={form}&" + "&".join(only.values())

    alone, both = (cut_list_links.links(address, any_approved=some) for some in (False, True))
    assert alone.count("<a ") == len(CUT_LIST_FORMATS.names)
    assert both.count("<a ") == 2 * len(CUT_LIST_FORMATS.names)
    assert 'href="/api/cutlist/1?form=fcp7xml&amp;approved"' in both
    assert "approved" not in alone


def test_more_files_can_be_asked_for(desk: ReviewDesk, some_clips: SomeClips) -> None:
    made = some_clips(20, 40, 60, state=ClipState.EMBEDDED)
    app = page("videos", desk)
    place = f"exports-{made[0].source_video_id}"
    app.session_state[place] = True
    app.run()

    def ask(numbers: str) -> dict[int, list[str]]:
        app.selectbox(key=f"{place}-profile").set_value("delivery")
        app.text_input(key=f"{place}-numbers").set_value(numbers)
        button(app, "Make files")
        found = desk.exports.of_clips([clip.id for clip in made])
        return {clip.sequence: [one.profile for one in found[clip.id] if one.state is ExportState.WAITING] for clip in made}

    assert ask("2-3") == {1: [], 2: ["delivery"], 3: ["delivery"], 4: []}
    assert [toast.value.replace("\\", "") for toast in app.toast] == ["2 files asked for with delivery."]
    assert ask("9") == {1: [], 2: ["delivery"], 3: ["delivery"], 4: []}
    assert [toast.value.replace("\\", "") for toast in app.toast] == ["No approved clip in this list has the number 9."]
    assert ask("") == {number: ["delivery"] for number in range(1, 5)}


def test_exports_that_wait_for_the_gold_master_are_named(desk: ReviewDesk, some_clips: SomeClips) -> None:
    one, two, three = some_clips(20, 40)
    desk.reviews.approve([one.id, three.id], reviewer="Ada", export_profile="gold_master")
    desk.reviews.approve(two.id, reviewer="Ada")
    desk.videos.update(one.source_video_id, original_filepath=f"originals/video_{one.source_video_id}.mp4")
    app = page("videos", desk)
    app.session_state[f"exports-{one.source_video_id}"] = True
    app.run()
    line = "Waiting for the gold master, from which they are exported as soon as it is there: clip 1, 3"
    assert line in told(app)
    desk.videos.record_gold_master_failure(one.source_video_id, "its pictures change on the way", transient=False)
    app.run()
    assert "Waiting for the gold master" not in told(app), "what will never be there is not waited for"


def test_retry_is_offered_only_where_it_can_help(desk: ReviewDesk, a_source_video: ASourceVideo) -> None:
    a_source_video(state=SourceVideoState.PREPROCESSED)
    failed = a_source_video(state=SourceVideoState.DOWNLOAD_FAILED)
    duplicate = a_source_video(state=SourceVideoState.DOWNLOAD_FAILED)
    assert labels(page("videos", desk)).count("Retry") == 2
    with desk.database.begin() as connection:
        connection.execute(
            text("update source_videos set duplicate_of_id = :first where id = :id"), {"first": failed.id, "id": duplicate.id}
        )
    assert labels(page("videos", desk)).count("Retry") == 1, "a duplicate would only be fetched once more"


_THE_WHOLE_APP = """
import importlib, pkgutil, sys
import review_app

for module in pkgutil.walk_packages(review_app.__path__, "review_app."):
    if module.name not in {"review_app.main", "review_app.__main__"}:
        importlib.import_module(module.name)
from streamlit.testing.v1 import AppTest
app = AppTest.from_file("review_app/main.py", default_timeout=60).run()
assert not app.exception, app.exception
print(len([name for name in sys.modules if name.startswith("review_app.")]))
print(sorted({name.partition(".")[0] for name in sys.modules} & {"dagster", "dagster_postgres", "dagster_webserver", "assets", "torch"}))
"""


def test_the_whole_app_loads_neither_dagster_nor_torch(settings: Settings) -> None:
    """Dagster costs seconds at the start. import-linter sees the imports of each module, and this what they lead to."""
    environment = child_environment(settings)
    done = subprocess.run([sys.executable, "-c", _THE_WHOLE_APP], capture_output=True, text=True, cwd=PROJECT_ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    modules, forbidden = done.stdout.splitlines()
    assert int(modules) > 30
    assert forbidden == "[]"


def test_facts_are_shown_and_changed_without_losing_a_colleagues_change(desk: ReviewDesk, a_source_video: ASourceVideo) -> None:
    video = a_source_video()
    store = FactsStore(desk.database)
    page_of_it = "https://example.org/<script>"
    store.put(video.id, SourceFacts(uploader="Grace <b>", page_address=page_of_it, chapters=(Chapter("Pier", 5.0),)), Origin.SITE)
    app = page("videos", desk)
    app.session_state[f"facts-{video.id}"] = True
    app.run()
    assert not app.exception
    shown = " ".join(str(one.proto) for one in app.get("html"))
    assert "Grace &lt;b&gt;" in shown
    assert "0:05 Pier" in shown
    assert "Grace" in told(app), "the line of the video has it without opening"
    app.toggle(key=f"facts-change-{video.id}").set_value(True).run()
    edit_facts(video.id, {"uploader": "by Bob"}, reviewer="Bob", database=desk.database)
    app.text_input(key=f"fact-licence-{video.id}").set_value("CC0")
    next(one for one in app.button if one.label == "Save the facts").click()
    app.run()
    assert not app.exception
    assert (store.load(video.id).licence, store.load(video.id).uploader) == ("CC0", "by Bob")
    (entry, *_) = desk.reviews.history(source_video_id=video.id)
    assert (entry.reviewer, views.history_rows([entry], reader="Ada")[0].after) == ("Ada", "licence: CC0")
    assert views.history_rows([entry], reader="Ada")[0].why_not is None
    edit_facts(video.id, {"licence": "CC BY", "uploader": "Bob"}, reviewer="Bob", database=desk.database)
    assert app.text_input(key=f"fact-uploader-{video.id}").value == "by Bob", "after saving, the fields show what is there"
    app.text_input(key=f"fact-licence-{video.id}").set_value("CC BY-NC")
    next(one for one in app.button if one.label == "Save the facts").click()
    app.run()
    assert "Bob has changed the same facts meanwhile, to licence: CC BY." in told(app).replace("\\", "")
    assert store.load(video.id).licence == "CC BY", "nobody's words are overwritten unseen"
    assert app.text_input(key=f"fact-licence-{video.id}").value == "CC BY-NC"
    next(one for one in app.button if one.label == "Save the facts").click()
    app.run()
    assert (store.load(video.id).licence, store.load(video.id).uploader) == ("CC BY-NC", "Bob")
    app.text_input(key=f"fact-uploaded_on-{video.id}").set_value("yesterday")
    next(one for one in app.button if one.label == "Save the facts").click()
    app.run()
    assert "is no day: write it as 2024-05-31" in told(app).replace("\\", "")
    for name, written in (("uploaded_on", ""), ("start_timecode", "09:59:50;00"), ("timecode_rate", "29.97"), ("reel", "A002")):
        app.text_input(key=f"fact-{name}-{video.id}").set_value(written)
    next(one for one in app.button if one.label == "Save the facts").click()
    app.run()
    assert "from 09:59:50;00 · reel A002" in told(app).replace("\\", ""), "the line of the video has it"

    app = page("history", desk)
    steps = (("Undo my latest", "CC BY-NC"), ("Undo my latest", "CC BY"), ("Redo", "CC BY-NC"), ("Undo my latest", "CC BY"))
    for label, licence in steps:
        next(one for one in app.button if one.label == label).click().run()
        assert not app.exception
        assert (store.load(video.id).licence, store.load(video.id).start_timecode, store.load(video.id).reel) == (licence, None, None)


def test_subtitles_and_the_thumbnail_are_given_and_taken_away_in_the_facts(desk: ReviewDesk, a_source_video: ASourceVideo) -> None:
    video, transcripts = a_source_video(), TranscriptStore(desk.database)
    desk.videos.update(video.id, original_filepath="originals/a.mp4")
    app = page("videos", desk)
    app.session_state[f"facts-{video.id}"] = True
    app.run()
    app.toggle(key=f"given-change-{video.id}").set_value(True).run()
    assert app.button(key=f"given-save-{video.id}-0").disabled
    lines = b"1\n00:00:00,100 --> 00:00:00,500\nThe quay\n"
    app.file_uploader(key=f"given-file-{video.id}-0").set_value(("quay.srt", lines, "text/plain"))
    app.text_input(key=f"given-language-{video.id}-0").set_value("en").run()
    given = GivenFiles(desk.database, desk.objects, keep_places=False)
    given.put_subtitles(video.id, "en", "bob.srt", lines.replace(b"quay", b"pier"), reviewer="Bob")
    app.button(key=f"given-save-{video.id}-0").click().run()
    assert not app.exception
    assert "Bob has changed the same facts meanwhile, to subtitles in en: en (bob.srt)" in told(app).replace("\\", "")
    app.button(key=f"given-save-{video.id}-0").click().run()
    assert "saved in the place of en (bob.srt)" in told(app).replace("\\", "")
    (mine,) = transcripts.of_video(video.id)
    assert [line.text for line in transcripts.lines(mine.id)] == ["The quay"]
    (entry, *_) = desk.reviews.history(source_video_id=video.id)
    (row,) = views.history_rows([entry], reader="Ada")
    assert (entry.reviewer, row.before, row.after) == ("Ada", "subtitles in en: en (bob.srt)", "subtitles in en: en (quay.srt)")
    app.selectbox(key=f"given-chosen-{video.id}-1").set_value(mine.id).run()
    app.button(key=f"given-take-{video.id}-1").click().run()
    assert transcripts.of_video(video.id) == []
    drawn = io.BytesIO()
    Image.new("RGB", (32, 18), "red").save(drawn, "PNG")
    for name, data, words in (("a.png", b"<svg>", "a.png is no picture"), ("b.png", drawn.getvalue(), "The thumbnail is saved")):
        app.file_uploader(key=f"given-picture-{video.id}-2").set_value((name, data, "image/png")).run()
        app.button(key=f"given-save-picture-{video.id}-2").click().run()
        assert words in told(app).replace("\\", "")
    key = FactsStore(desk.database).load(video.id).thumbnail_filepath
    assert key is not None
    assert key.rpartition("/")[2] in " ".join(str(one.proto) for one in app.get("html")), "a browser shows the new one at once"
    app.button(key=f"given-take-picture-{video.id}-3").click().run()
    assert FactsStore(desk.database).load(video.id).thumbnail_filepath is None
    assert not app.exception


def test_what_is_said_with_an_address_is_kept_with_it(desk: ReviewDesk) -> None:
    app = page("videos", desk)
    app.text_area(key="sources").set_value("https://example.org/a.mp4")
    app.text_input(key="sources-rights").set_value("training only")
    app.checkbox(key="sources-chapters").set_value(True)
    assert app.expander[0].proto.expanded, "there is no source video yet"
    button(app, "Submit")
    assert app.expander[0].proto.expanded, "the first of several uploads does not close the box on the others"
    (video,) = desk.videos.load_all()
    assert (video.chapters_as_cuts, FactsStore(desk.database).load(video.id).rights) == (True, "training only")
    app.text_area(key="sources").set_value("https://example.org/a.mp4")
    app.checkbox(key="sources-force").set_value(True)
    button(app, "Submit")
    assert "Submitted again by force as source video 2" in told(app)
    assert [one.source for one in desk.videos.load_all()] == ["https://example.org/a.mp4"] * 2
    assert app.checkbox(key="sources-force").value is False, "the next submission doubles nothing"


def test_a_list_is_shown_before_it_is_taken_and_can_be_subscribed(desk: ReviewDesk, tmp_path: Path) -> None:
    desk.settings = replace(desk.settings, allow_private_addresses=True, download_pause_seconds=0.0)
    items = [web_lists.Item(f"/{number}.mp4", f"Talk <b>{number}</b>", f"{number}0:00") for number in (1, 2, 3)]
    with WebServer(tmp_path).running() as web:
        web.answers["/feed.xml"] = web_lists.feed(items, title="Talks *of* today")
        web.answers["/more.xml"] = web_lists.feed(items[:2], title="More")
        app = page("videos", desk)
        app.text_area(key="sources").set_value(f"{web.url}/feed.xml\n{web.url}/more.xml\n{tmp_path}/gone.mp4")
        button(app, "Submit")
        assert (desk.videos.load_all(), "there is no file or folder" in told(app)) == ([], True)
        assert "Talks *of* today is a list of 3 videos, 1 h 0 min in all" in told(app).replace("\\", "")
        app.text_input(key="list-longest-0").set_value("20m").run()
        assert "Left out by the limits: 1 too long" in told(app).replace("\\", "")
        app.text_input(key="list-shortest-0").set_value("soon").run()
        assert "is no span of time" in told(app).replace("\\", "")
        app.text_input(key="list-shortest-0").set_value("15m").run()
        app.text_input(key="list-not-title-0").set_value("2").run()
        assert "1 with '2' in the title" in told(app).replace("\\", "")
        app.text_input(key="list-not-title-0").set_value("").run()
        app.date_input(key="list-until-0").set_value(date(2026, 1, 31)).run()
        assert "without a date in the list" in told(app).replace("\\", "")
        app.date_input(key="list-until-0").set_value(None).run()
        button(app, "Submit 1 video, 20 min in all")
        assert [video.title for video in desk.videos.load_all()] == ["Talk <b>2</b>"]
        app.selectbox(key="list-again-1").set_value("every day").run()
        button(app, "Submit 1 video, 10 min in all")
        (one,) = desk.subscriptions.load_all()
        assert (one.title, one.subscribed_by, one.every_seconds, one.taken_count) == ("More", "Ada", 86_400, 1)
        app.session_state["subscriptions"] = True  # opened
        button(app, "Look now")
        assert desk.subscriptions.due() == [one.id]
        assert [box.proto.expanded for box in app.expander if box.label == "1 subscription"] == [True], "it stays open"
        button(app, "Unsubscribe")
        assert desk.subscriptions.load_all() == []
        SiteTurns(desk.database, per_site=1, pause_seconds=0).refused("127.0.0.1", "its site answers 429", None)
        outcome = submissions.submit_sources(desk, f"{web.url}/feed.xml")
        assert (outcome.ok, outcome.lists, len(desk.videos.load_all())) == (False, (), 2)
        assert outcome.refused.endswith("UTC (1 minute): its site answers 429. Submit it again later.")
    assert "<b>" not in members_table([Member(source="https://e.org/1", title="<b>1</b>")])


def test_a_list_from_a_file_is_submitted_with_its_bad_lines_told(desk: ReviewDesk, tmp_path: Path) -> None:
    (tmp_path / "1.mp4").write_bytes(b"film")
    app = page("videos", desk)
    app.file_uploader[0].set_value(("films.csv", f"address,title\n{tmp_path}/1.mp4,Harbour\n,Nothing\n".encode(), "text/csv")).run()
    button(app, "Submit the list")
    assert [video.title for video in desk.videos.load_all()] == ["Harbour"]
    assert "films.csv, line 3: it names no address" in told(app).replace("\\", "")


def test_clips_are_chosen_and_ordered_by_the_kind_of_their_cuts_and_the_address_has_it(desk: ReviewDesk, some_clips: SomeClips) -> None:
    _, dissolve, _ = some_clips(30, 60)
    desk.reviews.edit_cut(dissolve.source_video_id, 30, Transition(CutKind.DISSOLVE, 28, 33), reviewer="Bob")
    app = page("clips", desk, kind="dissolve", order="kind")
    assert (app.multiselect(key="clips-kinds").value, app.selectbox(key="clips-order").value) == (["dissolve"], "kind")
    assert "1 waiting" in told(app)
    app.multiselect(key="clips-kinds").set_value(["dissolve", "unknown"]).run()
    assert (app.query_params["kind"], "2 waiting" in told(app)) == ("dissolve,unknown", True)
    del app.query_params["kind"]
    app.run()
    assert (app.multiselect(key="clips-kinds").value, "3 waiting" in told(app)) == ([], True)
    assert "is not one of: hard, dissolve" in told(page("clips", desk, kind="zoom")).replace("\\", "")
