"""What an earlier try left of one stream, and the proof that it may be continued: the same video, format, list of segments and bytes.

Files of one stream, all beside each other: `part_0` when it is complete, `part_0.part` until then, with segments `part_0.part-Frag7`, the
journal of complete segments, and `part_0.about`, which says what they are of.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from heaters_dagster.domain import hls
from resources.files.boot import boot_id
from resources.sources.resumable_streams import journal_of
from resources.sources.same_bytes import SameBytes, Validator

_HALF_SEGMENT = re.compile(r"-Frag\d+\.part\Z")


@dataclass(frozen=True, slots=True)
class Stream:
    """What yt-dlp downloads as one file. proof: the address of the file, or of the segment, by which it is known whether it has changed.

    identity: equal for two tries at the same stream; None for a kind that is not continued. headers: for a request of `proof`.
    """

    identity: str | None
    proof: str
    in_segments: bool
    in_pieces: bool
    headers: Mapping[str, str]

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Stream:
        """info: of the chosen format, with its media playlist where it is HLS."""
        named = [str(info.get(name)) for name in ("extractor_key", "id", "format_id")]
        headers = dict(info.get("http_headers") or {})
        playlist = info.get("hls_media_playlist_data")
        if playlist:
            parts = [part for part in hls.parts(playlist, info["url"]) if part.called.startswith("segment")]
            pieces = "BYTERANGE" in playlist
            if not parts:
                return cls(None, info["url"], True, pieces, headers)
            lines = [_without_access(line, info["url"]) for line in playlist.splitlines() if line.strip()]
            return cls(_hash([*named, *lines]), parts[0].address, True, pieces, headers)
        fragments = info.get("fragments")
        if isinstance(fragments, list) and fragments and str(info.get("protocol")).startswith("http_dash"):
            base = info.get("fragment_base_url") or ""
            addresses = [str(one.get("url") or urljoin(base, one.get("path") or "")) for one in fragments]
            times = [f"{urlsplit(address).path} {one.get('duration')}" for address, one in zip(addresses, fragments, strict=True)]
            first = int(len(addresses) > 1 and "duration" not in fragments[0])
            return cls(_hash([*named, *times]), addresses[first], True, False, headers)
        if fragments is not None or str(info.get("protocol")) not in {"http", "https"}:
            return cls(None, str(info["url"]), True, False, headers)
        return cls(_hash(named), str(info["url"]), False, False, headers)


class BegunStream:
    """path: where the stream lies when it is complete. same_bytes: of the download."""

    def __init__(self, path: Path, stream: Stream, same_bytes: SameBytes, *, asked_for: Callable[[str], str]) -> None:
        self.path = path
        self._stream = stream
        self._same_bytes = same_bytes
        self._proof = asked_for(stream.proof)
        self._about = path.with_name(f"{path.name}.about")

    @property
    def _unfinished(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @contextmanager
    def taken_up(self, look: Callable[[str, Mapping[str, str]], Validator]) -> Iterator[None]:
        """Keep what an earlier try left if it is certainly of the same bytes, else remove it; in the body the stream is downloaded.

        look: asks a server, with these headers, which bytes are at an address.
        """
        try:
            self._take_up(look)
            yield
        finally:
            self._same_bytes.forget_who_is_told()

    def _take_up(self, look: Callable[[str, Mapping[str, str]], Validator]) -> None:
        for path in self._files():
            if _HALF_SEGMENT.search(path.name):
                path.unlink()
        known = self._known()
        if known is None or not self._may_go_on(known, look):
            self.remove()
        elif not (self._stream.in_segments or self.path.is_file()):
            self._same_bytes.expect(self._proof, known)
        self._same_bytes.in_pieces = self._stream.in_pieces
        found = self._same_bytes.known(self._proof)
        if not self._about.is_file() and found is not None:
            self._note(found)
        self._same_bytes.tell(self._proof, self._note)

    def remove(self) -> None:
        for path in (*self._files(), self._about, journal_of(self.path)):
            path.unlink(missing_ok=True)

    def _may_go_on(self, known: Validator, look: Callable[[str, Mapping[str, str]], Validator]) -> bool:
        if not any(self._files()):
            return False
        if self._stream.in_segments or self.path.is_file():
            return known.is_same(look(self._stream.proof, self._stream.headers))
        met = self._same_bytes.known(self._proof)
        return known.proof is not None and (met is None or not known.differs(met))

    def _files(self) -> list[Path]:
        return [path for path in self.path.parent.glob(f"{self.path.name}*") if path not in {self._about, journal_of(self.path)}]

    def _known(self) -> Validator | None:
        """The bytes of which an earlier try left something, of this stream and since the machine was started."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            about = json.loads(self._about.read_text())
            if self._stream.identity is not None and (about["identity"], about["boot"]) == (self._stream.identity, boot_id()):
                return Validator(**about["validator"])
        return None

    def _note(self, validator: Validator) -> None:
        """Say of which bytes is what follows. What is there of a file is of others: it is fetched from its beginning."""
        if not self._stream.in_segments:
            self._unfinished.unlink(missing_ok=True)
        written = self._about.with_suffix(".new")
        written.write_text(json.dumps({"identity": self._stream.identity, "boot": boot_id(), "validator": validator.to_json()}))
        os.replace(written, self._about)


def _hash(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _without_access(line: str, base: str) -> str:
    """A line of a playlist, its address without host and query: signed links differ at each try."""
    if line.startswith("#"):
        return re.sub(r'URI="([^"]*)"', lambda found: urlsplit(urljoin(base, found[1])).path, line)
    return urlsplit(urljoin(base, line.strip())).path
