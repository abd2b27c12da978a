"""What a media playlist names, and who can read it."""

from __future__ import annotations

import pytest

from heaters_dagster.domain.hls import is_encrypted, parts, unreadable

ADDRESS = "https://example.org/films/list.m3u8?x=1"
PLAYLIST = """#EXTM3U
#EXT-X-KEY:METHOD=AES-128,URI="../keys/1",IV=0x00000000000000000000000000000001
#EXT-X-MAP:URI="init.mp4"
#EXTINF:1,
a.ts

#EXTINF:1,
https://other.example.org/b.ts
#EXT-X-ENDLIST
"""


def test_every_address_of_a_playlist_has_a_name():
    assert {part.address: part.called for part in parts(PLAYLIST, ADDRESS)} == {
        "https://example.org/films/a.ts": "segment 1 of 2",
        "https://other.example.org/b.ts": "segment 2 of 2",
        "https://example.org/keys/1": "the key",
        "https://example.org/films/init.mp4": "the beginning (EXT-X-MAP)",
    }
    assert is_encrypted(PLAYLIST)
    assert not is_encrypted(PLAYLIST.replace("AES-128", "NONE"))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ('METHOD=AES-128,URI="k"', None),
        ("METHOD=NONE", None),
        ('METHOD=AES-128,URI="k",KEYFORMAT="identity"', None),
        ('METHOD=SAMPLE-AES,URI="k"', "it is encrypted with SAMPLE-AES, which is not supported; only AES-128 is supported"),
        ("METHOD=AES-128", "it is encrypted, and its playlist names no key"),
        ('METHOD=SAMPLE-AES,URI="skd://1"', "it is protected against copying (DRM, SAMPLE-AES with Apple FairPlay)"),
        (
            'METHOD=SAMPLE-AES-CTR,KEYFORMAT="urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed",URI="data:text/plain;base64,AA"',
            "it is protected against copying (DRM, SAMPLE-AES-CTR with Google Widevine)",
        ),
    ],
)
def test_what_cannot_be_read_without_a_licence_is_told(key, reason):
    assert unreadable(f"#EXTM3U\n#EXT-X-KEY:{key}\n#EXTINF:1,\na.ts\n") == reason
