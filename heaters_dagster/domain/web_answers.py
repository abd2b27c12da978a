"""What web servers and sites answer, in plain words: names of files, times to wait until, and why a site gives no video or a poor one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import PurePosixPath
from urllib.parse import unquote_to_bytes

from heaters_dagster.domain.ingest import clean_title
from heaters_dagster.domain.words import counted

_LONGEST_SUFFIX = 10
_FILE_NAME = re.compile(r';\s*(filename\*?)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', re.IGNORECASE)

ITSELF = "Download the video in a browser and submit the file"
_OR_ITSELF = "or download the video in a browser and submit the file"
NO_RUNTIME = "the site needs a JavaScript runtime, and none is installed here. Type make install, which installs it"
UNSOLVED = "the challenge of the site's player could not be solved"
SIGN_IN = f"the site asks for a sign-in. Store the cookies of somebody who may see it (heaters sites sign-in), {_OR_ITSELF}"
SIGN_IN_ENDED = (
    "the site asks for a sign-in, although one is stored for it: it may have ended. Sign in to the site in a browser, and store its "
    "cookies again (heaters sites sign-in)"
)
PROTECTED = "it is protected against copying (DRM), and Heaters does not decrypt such streams"
REGION = f"the site does not show it in the country of this machine. Name a proxy where it is shown (heaters sites proxy), {_OR_ITSELF}"
ROBOT = (
    f"the site wants proof that a person is watching. Store the cookies of somebody who has signed in (heaters sites sign-in), {_OR_ITSELF}"
)
OWN_PLAYER = f"the site gives it to its own player only. A provider of PO tokens may help (HEATERS_YTDLP_PLUGINS), {_OR_ITSELF}"
ONLY_BROWSERS = f"the site lets in browsers only, which it knows by the way they connect, and took Heaters for none. {ITSELF}"
BUSY = "the site refuses this machine for a while, because of too many requests"

_SIGN_IN_WORDS = (
    r"sign in|log ?in\b|logged[- ]in|members[- ]only|join this channel|cookies|age[- ]?restrict|confirm your age|private video|account"
)
#: What yt-dlp and sites say -> what it means. The first match counts, so causes come before their general consequences.
_MEANINGS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(words, re.IGNORECASE), meaning)
    for words, meaning in (
        (r"no supported javascript runtime|no javascript runtime", NO_RUNTIME),
        (r"signature solving failed|challenge solving failed|error solving|challenge solver", UNSOLVED),
        (r"rate-limited|rate limit|try again later|too many requests", BUSY),
        (r"not a bot|captcha", ROBOT),
        (_SIGN_IN_WORDS, SIGN_IN),
        (r"\bDRM\b", PROTECTED),
        (r"in your (country|region|location)|from your location|geo[- ]?(restrict|block)", REGION),
        (r"po token|\bSABR\b", OWN_PLAYER),
        (r"impersonat|anti-bot challenge", ONLY_BROWSERS),
    )
)
#: Nearly every video of today is offered taller than this.
LOW_PIXELS = 720
_CAUSES_OF_LOW = (NO_RUNTIME, UNSOLVED, SIGN_IN, ROBOT, REGION, OWN_PLAYER, PROTECTED)
_FOR_PROGRAMMERS = re.compile(r"(^|\s)--?[a-z]|yt-dlp|https?://|refer to|report this", re.IGNORECASE)


def retry_at(value: str | None, now: datetime) -> datetime | None:
    """The time in a `Retry-After` header, in seconds or as a date (RFC 9110, 10.2.3); None when it holds neither."""
    text = (value or "").strip()
    try:
        if text.isascii() and text.isdigit():
            return now + timedelta(seconds=int(text))
        named = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError):
        return None
    return max(now, named if named.tzinfo else named.replace(tzinfo=UTC))


def wait_words(until: datetime, now: datetime) -> str:
    """`until 14:05 UTC (7 minutes)`; of longer times the hours or days."""
    minutes = max(1, round((until - now).total_seconds() / 60))
    days, hours = round(minutes / 1440), round(minutes / 60)
    left = counted(days, "day") if days > 2 else counted(hours, "hour") if minutes > 120 else counted(minutes, "minute")
    shown = until.astimezone(UTC)
    day = "" if shown.date() == now.astimezone(UTC).date() else f"{shown:%Y-%m-%d} "
    return f"until {day}{shown:%H:%M} UTC ({left})"


def disposition_name(value: str | None) -> str | None:
    """The file name in a `Content-Disposition` header (RFC 6266; `filename*`, RFC 8187, before `filename`), without any folder.

    value: as HTTP libraries give it, its bytes as Latin-1. None when there is no usable name.
    """
    found = {name.lower(): given for name, given in _FILE_NAME.findall(f";{value or ''}")}
    for name, decoded in (("filename*", _extended), ("filename", _plain)):
        named = clean_name(decoded(found[name])) if name in found else None
        if named:
            return named
    return None


def clean_name(name: str) -> str | None:
    """A file name for people: its last part, one line, of at most 200 characters and a suffix. None when nothing is left."""
    last = PurePosixPath(name.replace("\\", "/")).name
    suffix = PurePosixPath(last).suffix
    if len(suffix) > _LONGEST_SUFFIX:
        suffix = ""
    stem = clean_title(last.removesuffix(suffix) if suffix else last)
    return f"{stem}{clean_title(suffix)}" if stem.strip(". ") else None


def _extended(value: str) -> str:
    """The name in `UTF-8'en'a%20b.mp4`; None for anything else."""
    charset, quote, rest = value.strip().strip('"').partition("'")
    if not quote or charset.lower() not in {"utf-8", "iso-8859-1"}:
        return ""
    return unquote_to_bytes(rest.partition("'")[2]).decode(charset, "replace")


def _plain(value: str) -> str:
    text = value.strip()
    if text.startswith('"'):
        text = re.sub(r'\\(["\\])', r"\1", text[1:-1])
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def meaning(said: Sequence[str], *, is_signed_in: bool = False) -> str | None:
    """What the messages of yt-dlp and of sites mean, in a sentence with what to do; None when none of them is known.

    is_signed_in: a sign-in is stored for the site.
    """
    for pattern, means in _MEANINGS:
        if any(pattern.search(one) for one in said):
            return SIGN_IN_ENDED if means == SIGN_IN and is_signed_in else means
    return None


def why_low(tallest: int, warnings: Sequence[str], *, is_signed_in: bool = False) -> str | None:
    """Why a site offered fewer or poorer pictures than it has; None when nothing says that it did.

    tallest: height in pixels of the tallest picture that it offered, 0 when it did not say. warnings: yt-dlp's. Some of them come with
    nearly every video of a site, so they count only when the tallest picture is low, or when they speak of formats that are missing.
    """
    is_low = 0 < tallest < LOW_PIXELS
    for cause in _CAUSES_OF_LOW:
        meant = [one for one in warnings if meaning([one]) == cause]
        is_sure = cause in {NO_RUNTIME, UNSOLVED} or (cause == SIGN_IN and any("format" in one.lower() for one in meant))
        if meant and (is_low or is_sure):
            return SIGN_IN_ENDED if cause == SIGN_IN and is_signed_in else cause
    return None


def site_words(message: str) -> str:
    """A site's own reason, without the sentences for those who use yt-dlp themselves."""
    sentences = re.split(r"(?<=[.;!?])\s+|\n+", message)
    kept = " ".join(sentence.strip() for sentence in sentences if sentence.strip() and not _FOR_PROGRAMMERS.search(sentence))
    return kept.strip().rstrip(".;") or "the site gives no reason that helps"
