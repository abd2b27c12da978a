"""What servers and sites answer, read and told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from heaters_dagster.domain.web_answers import (
    BUSY,
    NO_RUNTIME,
    ONLY_BROWSERS,
    OWN_PLAYER,
    PROTECTED,
    REGION,
    ROBOT,
    SIGN_IN,
    SIGN_IN_ENDED,
    UNSOLVED,
    disposition_name,
    meaning,
    retry_at,
    site_words,
    wait_words,
    why_low,
)

NOW = datetime(2026, 11, 26, 23, 50, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("Thu, 26 Nov 2026 23:51:00 GMT", 60),
        ("Thu, 26 Nov 2026 20:00:00 GMT", 0),
        ("Thursday, 26-Nov-26 23:50:30 GMT", 30),
        *[(rubbish, None) for rubbish in (None, "", "soon", "-5", "1.5", "٣", "9" * 40, "Thu, 99 Nov 2026 23:51:00 GMT")],
    ],
)
def test_when_a_server_wants_to_be_asked_again(value, seconds):
    assert retry_at(value, NOW) == (None if seconds is None else NOW + timedelta(seconds=seconds))


def test_a_pause_is_told_with_its_end_and_its_length():
    assert wait_words(NOW + timedelta(minutes=7), NOW) == "until 23:57 UTC (7 minutes)"
    assert wait_words(NOW + timedelta(minutes=15), NOW) == "until 2026-11-27 00:05 UTC (15 minutes)"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('attachment; filename="My Film.mp4"', "My Film.mp4"),
        ("attachment; filename=film.mp4", "film.mp4"),
        ("ATTACHMENT; FileName = film.mp4 ; size=3", "film.mp4"),
        ("attachment; filename=\"fallback.mp4\"; filename*=UTF-8''%E2%82%AC%20rates.mp4", "€ rates.mp4"),
        ("attachment; filename*=iso-8859-1'en'%A3%20rates.mp4; filename=\"pounds.mp4\"", "£ rates.mp4"),
        ("attachment; filename*=UTF-16''x.mp4; filename=\"known.mp4\"", "known.mp4"),
        ('attachment; filename="a \\"quoted\\" name; part 2.mp4"', 'a "quoted" name; part 2.mp4'),
        ('attachment; filename="' + "Łódź.mp4".encode().decode("latin-1") + '"', "Łódź.mp4"),
        ('attachment; filename="../../etc/passwd.mp4"', "passwd.mp4"),
        ('attachment; filename="C:\\videos\\day 1.mp4"', "day 1.mp4"),
        ("attachment; filename*=UTF-8''..%2F..%2Fa%00b%0Ac.mp4", "a b c.mp4"),
        ("attachment; filename*=UTF-8''evil%E2%80%AE4pm.mp4", "evil 4pm.mp4"),
        ('attachment; filename="' + "x" * 400 + '.mp4"', "x" * 200 + ".mp4"),
        *[
            (rubbish, None)
            for rubbish in (None, "", "inline", "attachment; filename=", 'attachment; filename=".."', 'attachment; filename="/"')
        ],
    ],
)
def test_the_name_that_a_server_gives_to_a_file(value, name):
    assert disposition_name(value) == name


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (
            "[youtube] No supported JavaScript runtime could be found. Only deno is enabled by default; to use another runtime add  "
            "--js-runtimes RUNTIME[:PATH]  to your command/config. YouTube extraction without a JS runtime has been deprecated, and some "
            "formats may be missing. See  https://github.com/yt-dlp/yt-dlp/wiki/EJS  for details on installing one",
            NO_RUNTIME,
        ),
        (
            "[youtube] abc: n challenge solving failed: Some formats may be missing. Ensure you have a supported JavaScript runtime",
            UNSOLVED,
        ),
        ("[youtube] abc: Signature solving failed: Some formats may be missing.", UNSOLVED),
        ("Sign in to confirm you're not a bot. Use --cookies-from-browser or --cookies for the authentication.", ROBOT),
        ("Sign in to confirm your age. This video may be inappropriate for some users.", SIGN_IN),
        ("Private video. Sign in if you've been granted access to this video", SIGN_IN),
        ("Join this channel to get access to members-only content", SIGN_IN),
        ("The uploader has not made this video available in your country", REGION),
        ("This video is not available from your location due to geo restriction", REGION),
        ("This video is DRM protected", PROTECTED),
        ("This content isn't available, try again later. The current session has been rate-limited by YouTube for up to an hour.", BUSY),
        ("Some tv client https formats have been skipped as they are missing a URL. YouTube is forcing SABR streaming", OWN_PLAYER),
        ("Got HTTP Error 403 caused by Cloudflare anti-bot challenge; see  https://github.com/yt-dlp/yt-dlp#impersonation", ONLY_BROWSERS),
        ("The extractor is attempting impersonation, but no impersonate target is available.", ONLY_BROWSERS),
        ("Video unavailable. This video has been removed by the uploader", None),
    ],
)
def test_what_a_site_says_has_a_meaning_with_a_remedy(said, means):
    assert meaning([said]) == means
    assert meaning([said], is_signed_in=True) == (SIGN_IN_ENDED if means == SIGN_IN else means)


SKIPPED = "[youtube] x: Some web client https formats have been skipped as they are missing a URL. YouTube is forcing SABR streaming"
PREMIUM = "[BiliBili] x: Format(s) 1080P are missing; you have to become a premium member to download them. Use --cookies"


@pytest.mark.parametrize(
    ("tallest", "warnings", "is_signed_in", "why"),
    [
        (360, ["[youtube] x: n challenge solving failed: Some formats may be missing"], False, UNSOLVED),
        (2160, ["[youtube] x: n challenge solving failed: Some formats may be missing"], False, UNSOLVED),
        (360, ["Some formats may be missing", "No supported JavaScript runtime could be found"], False, NO_RUNTIME),
        (2160, [SKIPPED], False, None),  # one of the site's clients; another gave the format
        (360, [SKIPPED], False, OWN_PLAYER),
        (0, [SKIPPED], False, None),
        (720, [PREMIUM], False, SIGN_IN),
        (720, [PREMIUM], True, SIGN_IN_ENDED),
        (1080, ["Some episodes need an account"], False, None),
        (360, ["This video is not available from your location due to geo restriction"], False, REGION),
        (360, ["Falling back on generic information extractor"], False, None),
    ],
)
def test_why_a_site_offered_low_pictures_only(tallest, warnings, is_signed_in, why):
    assert why_low(tallest, warnings, is_signed_in=is_signed_in) == why


def test_the_cause_is_told_before_what_follows_from_it():
    follows = "Only images are available for download", "n challenge solving failed: Some formats may be missing"
    assert meaning([*follows, "No supported JavaScript runtime could be found"]) == NO_RUNTIME
    assert meaning(follows) == UNSOLVED


def test_a_sites_own_words_come_without_the_hints_for_programmers():
    said = "Video unavailable. This video has been removed by the uploader. Use --list-formats to see more. See  https://example.org/wiki"
    assert site_words(said) == "Video unavailable. This video has been removed by the uploader"
    assert site_words("Use --cookies for this") == "the site gives no reason that helps"
