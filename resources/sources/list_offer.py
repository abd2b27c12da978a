"""What of a list would become source videos: shown before anybody agrees, and then done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.source_lists import Choice, Limits, Member, WebList, chosen, count_words
from heaters_dagster.domain.words import counted
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.postgres.submitted_videos import SubmittedVideos
from resources.sources.file_identity import Wanted

_AT_ONCE = 500
_NAMED = 10


@dataclass(frozen=True, slots=True)
class ListOffer:
    """What a list has within its limits. known: key of a member -> the source video that it is already. problems: sentences about what of
    the list cannot be taken or read. is_whole: see WebList.
    """

    title: str
    members: tuple[Member, ...]
    choice: Choice
    known: Mapping[str, SourceVideo]
    problems: tuple[str, ...] = ()
    is_whole: bool = True

    @property
    def new(self) -> tuple[Member, ...]:
        return tuple(member for member in self.choice.taken if member.key not in self.known)

    @property
    def known_words(self) -> str:
        """`3 are source videos already: 4, 5, 9`; empty when none is."""
        ids = sorted({self.known[member.key].id for member in self.choice.taken if member.key in self.known})
        named = ", ".join(map(str, ids[:_NAMED])) + (", ..." if len(ids) > _NAMED else "")
        return f"{counted(len(ids), 'is a source video', 'are source videos')} already: {named}" if ids else ""

    @property
    def words(self) -> str:
        """What the list has, and what is not taken of it, in sentences."""
        how = "of" if self.is_whole else "that was read as far as needed:"
        told = [f"{self.title} is a list {how} {count_words(self.members)}."]
        if self.choice.left_out:
            told.append(f"Left out by the limits: {self.choice.left_out_words}.")
        if self.known_words:
            told.append(f"{self.known_words}.")
        return " ".join(told)


def offered(found: WebList, limits: Limits, videos: SourceVideoStore) -> ListOffer:
    """What these limits leave of a list, compared with the source videos that there are."""
    choice = chosen(found.members, limits.checked())
    known = known_members(choice.taken, videos)
    return ListOffer(found.title, found.members, choice, known, found.problems, found.is_whole)


def known_members(members: Iterable[Member], videos: SourceVideoStore) -> dict[str, SourceVideo]:
    """Key of a member -> the source video of its address, or of its name at its site.

    Also one whose bytes turned out to be those of another source video: fetching it again would bring the same.
    """
    submitted, found = SubmittedVideos(videos.database), dict[str, SourceVideo]()
    left = iter(members)
    while some := list(islice(left, _AT_ONCE)):
        of_source = submitted.first_of_sources([member.source for member in some], duplicates=True)
        of_site = submitted.first_of_site_ids([(one.site, one.site_id) for one in some if one.site and one.site_id], duplicates=True)
        for member in some:
            video = of_source.get(member.source) or of_site.get((member.site or "", member.site_id or ""))
            if video is not None:
                found[member.key] = video
    return found


def wanted_members(members: Iterable[Member], *, said: SourceFacts = SourceFacts(), chapters_as_cuts: bool = False) -> list[Wanted]:
    """Members as they are submitted. said: what whoever takes them says of all of them."""
    return [
        Wanted(one.source, one.title, replace(said, site=one.facts.site, site_id=one.facts.site_id), chapters_as_cuts) for one in members
    ]
