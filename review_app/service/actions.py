"""With `submissions` the only way in which pages change anything. Every result is a sentence, errors too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from heaters_dagster.domain.clip_names import NumberRanges
from heaters_dagster.domain.cold_storage import RestoreOffer
from heaters_dagster.domain.errors import BadRequestError, HeatersError, StaleClipError
from heaters_dagster.domain.fact_fields import changes_of, subtitles_name
from heaters_dagster.domain.site_access import SitePart
from heaters_dagster.domain.transitions import SOURCE_VIDEO_RETRY
from heaters_dagster.domain.words import counted
from resources.files.price_table import restore_terms
from resources.object_store.work_folder import WorkFolder
from resources.postgres.clip_store import Clip
from resources.postgres.fact_edits import edit_facts as change_facts
from resources.postgres.nudges import Nudge, nudge
from resources.postgres.related_videos import RelatedVideos
from resources.postgres.transcript_store import Transcript
from resources.sources.address_guard import AddressGuard
from resources.sources.given_files import GivenFiles, checked_language
from resources.sources.kept_files import keeper_of
from resources.sources.site_access import SiteAccess
from resources.sources.submit_places import SubmitPlaces
from resources.upkeep.cold_masters import is_from_master, offers
from resources.upkeep.replacement import Comparison, begin_refetch, begin_replacement, compare
from resources.upkeep.replacement import carry_over as carry_over_decisions
from resources.upkeep.replacement import give_up as give_up_replacement
from resources.upkeep.source_video_removal import delete_source_video, rename_source_video
from review_app.service import views
from review_app.service.cold_masters import agree, masters_wait
from review_app.service.links import Session
from review_app.service.outcome import Outcome, outcome_of
from review_app.service.review_desk import ReviewDesk

NO_SITES_FROM_BROWSER = (
    "Sign-ins for web sites are not stored from here, because the review app is open to other machines. Type heaters sites --help on the "
    "server, or set HEATERS_SITES_FROM_BROWSER=true there when everybody who reaches this page may store them."
)


def undo(desk: ReviewDesk, session: Session, action_id: int | None = None, *, seen: int) -> Outcome:
    """Take back the reviewer's newest decision or change of facts, or the action named.

    seen: id of the reviewer's newest action that the page showed; what is asked for twice with the same is done once.
    """

    def apply() -> str:
        key = f"undo-{action_id or 'latest'}-{session.reviewer_id}-{seen}"
        result = desk.reviews.undo(session.reviewer, action_id=action_id, with_facts=True, request_key=key)
        back = f"Taken back: {counted(len(result.live_clips), 'clip') if result.clips else 'the facts are'} as before."
        return " ".join([back, *masters_wait(desk, result.live_clips)])

    return outcome_of(desk, apply)


def redo(desk: ReviewDesk, session: Session, *, seen: int) -> Outcome:
    """Do again what the reviewer took back last. seen: as for `undo`."""

    def apply() -> str:
        result = desk.reviews.redo(session.reviewer, with_facts=True, request_key=f"redo-{session.reviewer_id}-{seen}")
        done = f"Done again: {counted(len(result.live_clips), 'clip') if result.clips else 'the facts are'} changed."
        return " ".join([done, *masters_wait(desk, result.live_clips)])

    return outcome_of(desk, apply)


def store_for_site(desk: ReviewDesk, session: Session, site: str, part: SitePart, secret: str) -> Outcome:
    """Store a sign-in (a cookies file), headers or a proxy for a web site."""

    def apply() -> str:
        access = _sites(desk)
        match part:
            case SitePart.COOKIES:
                return access.sign_in(site, secret, by=session.reviewer)
            case SitePart.HEADERS:
                return access.set_headers(site, secret.splitlines(), by=session.reviewer)
            case SitePart.PROXY:
                guard = AddressGuard(allow_private=desk.settings.allow_private_addresses)
                return access.set_proxy(site, secret, by=session.reviewer, guard=guard)

    return outcome_of(desk, apply)


def forget_site(desk: ReviewDesk, site: str) -> Outcome:
    """Delete all that is stored for a web site."""
    return outcome_of(desk, lambda: _sites(desk).forget(site))


def _sites(desk: ReviewDesk) -> SiteAccess:
    """Raises BadRequestError when the browser may not store anything for sites."""
    if not desk.settings.may_store_sites:
        raise BadRequestError(NO_SITES_FROM_BROWSER)
    return SiteAccess(desk.database, desk.settings)


def rename(desk: ReviewDesk, session: Session, source_video_id: int, title: str) -> Outcome:
    """Give a source video another title."""

    def apply() -> str:
        video = rename_source_video(source_video_id, title, reviewer=session.reviewer, database=desk.database)
        return f"Source video {video.id} is called {video.title} now."

    return outcome_of(desk, apply)


def edit_facts(
    desk: ReviewDesk, session: Session, source_video_id: int, texts: Mapping[str, str], *, seen: Mapping[str, str]
) -> tuple[Outcome, bool]:
    """Change what is known of a source video. texts: name of a fact -> what the person wrote; seen: what was there when they began.

    Returns what came of it, and whether it was refused because a colleague has changed the same facts meanwhile.
    """
    is_stale = False

    def apply() -> str:
        nonlocal is_stale
        changes = changes_of(texts, keep_places=desk.settings.keep_places)
        try:
            _, action_id = change_facts(source_video_id, changes, reviewer=session.reviewer, database=desk.database, seen=seen)
        except StaleClipError:
            is_stale = True
            raise
        return "Nothing was changed." if action_id is None else "The facts are saved; History can take it back."

    return outcome_of(desk, apply), is_stale


def put_subtitles(
    desk: ReviewDesk, session: Session, source_video_id: int, language: str, name: str, data: bytes, *, shown: Sequence[Transcript]
) -> Outcome:
    """Give a source video a subtitle file. shown: the subtitles that the person sees."""

    def apply() -> str:
        wanted = subtitles_name(checked_language(language))
        seen = [one.id for one in shown if subtitles_name(one.language) == wanted]
        before, action_id, warnings = _given_files(desk).put_subtitles(
            source_video_id, language, name, data, reviewer=session.reviewer, seen=seen
        )
        told = f"The subtitles are saved{f' in the place of {before[0].called}' if before else ''}; History can take it back."
        return " ".join(["Nothing was changed." if action_id is None else told, *(f"But {warning}." for warning in warnings)])

    return outcome_of(desk, apply)


def take_subtitles(desk: ReviewDesk, session: Session, source_video_id: int, transcript_id: int) -> Outcome:
    """Take subtitles away."""

    def apply() -> str:
        _given_files(desk).take_subtitles(source_video_id, [transcript_id], reviewer=session.reviewer)
        return "The subtitles are taken away; History can bring them back."

    return outcome_of(desk, apply)


def put_thumbnail(desk: ReviewDesk, session: Session, source_video_id: int, name: str, data: bytes, *, shown: str | None) -> Outcome:
    """Give a source video a thumbnail. shown: key of the one that the person sees."""

    def apply() -> str:
        action_id = _given_files(desk).put_thumbnail(source_video_id, name, data, reviewer=session.reviewer, seen=shown)
        return "Nothing was changed." if action_id is None else "The thumbnail is saved; History can take it back."

    return outcome_of(desk, apply)


def take_thumbnail(desk: ReviewDesk, session: Session, source_video_id: int, *, shown: str | None) -> Outcome:
    """Take the thumbnail away. shown: as for `put_thumbnail`."""

    def apply() -> str:
        action_id = _given_files(desk).take_thumbnail(source_video_id, reviewer=session.reviewer, seen=shown)
        return "Nothing was changed." if action_id is None else "The thumbnail is taken away; History can bring it back."

    return outcome_of(desk, apply)


def _given_files(desk: ReviewDesk) -> GivenFiles:
    return GivenFiles(desk.database, desk.objects, keep_places=desk.settings.keep_places)


def delete(desk: ReviewDesk, session: Session, source_video_id: int, typed: str) -> Outcome:
    """Delete a source video with everything. typed: its title, as the person has typed it."""

    def apply() -> str:
        title = desk.videos.load(source_video_id).title
        if " ".join(typed.split()) != " ".join(title.split()):
            raise BadRequestError("That is not the title: nothing was deleted.")
        gone = delete_source_video(source_video_id, reviewer=session.reviewer, database=desk.database, objects=desk.objects)
        return f"Deleted {gone.title}: {counted(gone.clips, 'clip')}, {counted(len(gone.objects), 'file')}. Its history stays."

    return outcome_of(desk, apply)


def dismiss(desk: ReviewDesk, session: Session, source_video_id: int, other_id: int) -> Outcome:
    """Say that the hint that two source videos may be the same is of no use."""

    def apply() -> str:
        RelatedVideos(desk.database).dismiss(source_video_id, other_id, reviewer=session.reviewer)
        return f"Source videos {source_video_id} and {other_id} are no longer said to be the same."

    return outcome_of(desk, apply)


def replace_file(desk: ReviewDesk, session: Session, source_video_id: int, source: str) -> Outcome:
    """Submit the file that is to take the place of a source video."""

    def apply() -> str:
        new = begin_replacement(
            source_video_id,
            source,
            database=desk.database,
            guard=AddressGuard(allow_private=desk.settings.allow_private_addresses),
            places=SubmitPlaces.of(desk.settings),
            reviewer=session.reviewer,
            keep=keeper_of(desk.settings, desk.videos),
        )
        return f"Source video {new.id} is fetched now. When its proxy is made you are asked there."

    return outcome_of(desk, apply)


def refetch(desk: ReviewDesk, session: Session, source_video_id: int, max_height: int) -> Outcome:
    """Fetch a source video again, as the file that is to take its place."""

    def apply() -> str:
        new = begin_refetch(source_video_id, database=desk.database, reviewer=session.reviewer, max_height=max_height)
        return f"Source video {new.id} is fetched now. When its proxy is made you are asked there."

    return outcome_of(desk, apply)


def compared(desk: ReviewDesk, source_video_id: int) -> tuple[Outcome, Comparison | None]:
    """What would become of the clips of the source video that this one is to replace; None and the reason when that cannot be said."""
    found: list[Comparison] = []

    def apply() -> str:
        work = WorkFolder(desk.settings.work_folder)
        found.append(compare(source_video_id, database=desk.database, objects=desk.objects, work=work, settings=desk.settings))
        return ""

    outcome = outcome_of(desk, apply)
    return outcome, found[0] if found else None


def carry_over(desk: ReviewDesk, session: Session, comparison: Comparison, *, trusts_likeness: bool) -> Outcome:
    """Let the new source video take over clips and decisions."""

    def apply() -> str:
        done = carry_over_decisions(
            comparison, database=desk.database, objects=desk.objects, reviewer=session.reviewer, trusts_likeness=trusts_likeness
        )
        return f"Replaced: {counted(done.kept, 'decision')} kept, {done.back:,} sent back to review. {done.what_stays}"

    return outcome_of(desk, apply)


def give_up(desk: ReviewDesk, session: Session, source_video_id: int) -> Outcome:
    """Forget the new file that waits to replace a source video."""

    def apply() -> str:
        forgotten = give_up_replacement(source_video_id, database=desk.database, objects=desk.objects, reviewer=session.reviewer)
        return f"The new file is forgotten. Source video {forgotten.old_id} stays as it is."

    return outcome_of(desk, apply)


def retry(desk: ReviewDesk, source_video_id: int) -> Outcome:
    """Put a source video and its clips back before the stages that failed."""

    def apply() -> str:
        video = desk.videos.load(source_video_id)
        told = []
        if video.state in SOURCE_VIDEO_RETRY:
            told.append(f"{video.title} gets another try: {views.video_words(desk.videos.retry(video.id))}.")
        if video.gold_master_error is not None:
            desk.videos.retry_gold_master(video.id)
            told.append("Its gold master gets another try.")
        for clip in desk.clips.failed(video.id, limit=10_000):
            desk.clips.retry(clip.id)
            told.append(f"Clip {clip.sequence} gets another try.")
        return " ".join(told[:5]) + (f" And {len(told) - 5} more." if len(told) > 5 else "") or "Nothing has failed for this source video."

    return outcome_of(desk, apply)


def restore_offer(desk: ReviewDesk, source_video_id: int, profile: str) -> RestoreOffer | Outcome | None:
    """What it takes to get the gold master back for files with this profile; None when it can be read, or is on its way."""
    terms, wanted = restore_terms(desk.settings), [source_video_id] if is_from_master(profile) else []
    try:
        return next(iter(offers(wanted, database=desk.database, objects=lambda: desk.objects, terms=terms)), None)
    except HeatersError as error:
        return Outcome(False, desk.in_words(str(error)))


def agree_to_restore(desk: ReviewDesk, session: Session, offer: RestoreOffer) -> Outcome:
    """A person agrees to the price of a gold master: it is asked for, and the files that wait for it are made when it is there."""

    def apply() -> str:
        agree(desk, session, [offer.source_video_id], offer)
        nudge(desk.database, Nudge.ROWS)
        return "The gold master is asked for now. The files that wait for it are made when it is there."

    return outcome_of(desk, apply)


def ask_for_exports(
    desk: ReviewDesk, session: Session, clips: Sequence[Clip], profile: str, numbers: str, *, agreed_to: RestoreOffer | None = None
) -> Outcome:
    """Ask for a file of each clip with an export profile. numbers: those that are meant, as `3, 5-9`; empty: all of `clips`.

    agreed_to: the price of getting the gold master back, where the person was asked.
    """

    def apply() -> str:
        chosen = [clip for clip in clips if not numbers.strip() or clip.sequence in NumberRanges.parsed(numbers)]
        if not chosen:
            raise BadRequestError(f"No approved clip in this list has the number {numbers.strip()}.")
        if is_from_master(profile):
            agree(desk, session, {clip.source_video_id for clip in chosen}, agreed_to)
        for clip in chosen:
            desk.exports.request(clip.id, profile)
        waiting = desk.clips.waiting_for_gold_master([clip.id for clip in chosen])
        later = " They are made as soon as the gold master is there." if waiting else ""
        return f"{counted(len(chosen), 'file')} asked for with {profile}.{later}"

    return outcome_of(desk, apply)
