"""Pieces of a proxy for the browser: a clip as a small MP4 with its own timeline, a frame as a picture. The folder has a size limit."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

from heaters_dagster.domain.errors import CutError, NotFoundError
from heaters_dagster.domain.keys import proxy_key
from resources.files.private_folder import close_to_others, private_folder
from resources.media.frame_index_reader import FrameIndexes
from resources.media.frame_reader import FrameReader
from resources.media.proxy_bytes import open_proxy
from resources.media.remuxer import ProxyReader, remux, remux_sound
from resources.object_store.interface import ObjectStore

MAX_STILL_WIDTH = 1920
_CACHE_BYTES = 2 * 1024**3
_SWEEP_EVERY = 50
_IN_USE_SECONDS = 60.0


class ClipMedia:
    """Makes segments and stills of any frame range. Threads may share one; several processes may share the folder.

    folder: holds the files; above `cache_bytes` those used longest ago are deleted. The frames of a proxy with the same key and frame count
    never change, so a file stays correct; the size of the proxy is part of the file name, so a new proxy gives new names.
    """

    def __init__(self, objects: ObjectStore, indexes: FrameIndexes, folder: Path, *, cache_bytes: int = _CACHE_BYTES) -> None:
        self._objects = objects
        self._indexes = indexes
        self._folder = folder
        self._cache_bytes = cache_bytes
        self._made = 0
        self._making: dict[Path, _InTheMaking] = {}
        self._lock = threading.Lock()

    def segment(self, source_video_id: int, start_frame: int, end_frame: int, *, sound_only: bool = False) -> Path:
        """An MP4 of frames `[start_frame, end_frame)`, or of their sound alone: copied, with times from 0.

        Raises CutError outside the video, NotFoundError without proxy, or without sound where that is asked for.
        """
        frame_count = self._indexes.header(source_video_id).frame_count
        if not 0 <= start_frame < end_frame <= frame_count:
            raise CutError(f"frames {start_frame}..{end_frame - 1} are not all within 0..{frame_count - 1}")
        suffix = ".m4a" if sound_only else ".mp4"
        path = self._folder / f"video_{source_video_id}_{self._proxy_mark(source_video_id)}_{start_frame}_{end_frame}{suffix}"
        with self._once(path) as missing:
            if missing:
                index = self._indexes.slice(source_video_id, start_frame, min(end_frame + 1, frame_count))
                with self._published(path) as part, ProxyReader(open_proxy(self._objects, proxy_key(source_video_id))) as proxy:
                    if sound_only:
                        remux_sound(proxy, index, start_frame=start_frame, end_frame=end_frame, path=part)
                    else:
                        remux(proxy, index, start_frame=start_frame, end_frame=end_frame, path=part, title="")
        return path

    def still(self, source_video_id: int, frame: int, *, width: int) -> bytes:
        """A JPEG of exactly `frame`, square pixels, at most `width` wide. Raises CutError outside the video, NotFoundError."""
        from PIL import Image

        frame_count = self._indexes.header(source_video_id).frame_count
        if not 0 <= frame < frame_count:
            raise CutError(f"frame {frame} is not within 0..{frame_count - 1}")
        if not 16 <= width <= MAX_STILL_WIDTH:
            raise CutError(f"a still can be 16..{MAX_STILL_WIDTH} pixels wide, not {width}")
        path = self._folder / f"video_{source_video_id}_{self._proxy_mark(source_video_id)}_{frame}_{width}.jpg"
        with self._once(path) as missing:
            if missing:
                index = self._indexes.slice(source_video_id, frame, frame + 1)
                with FrameReader(open_proxy(self._objects, proxy_key(source_video_id)), index) as reader:
                    picture = Image.fromarray(reader.read_frame(frame, square_pixels=True))
                picture.thumbnail((width, picture.height))
                data = BytesIO()
                picture.save(data, "JPEG", quality=82)
                with self._published(path) as part:
                    part.write_bytes(data.getvalue())
                return data.getvalue()
            return path.read_bytes()

    def _proxy_mark(self, source_video_id: int) -> str:
        info = self._objects.info(proxy_key(source_video_id))
        if info is None:
            raise NotFoundError(
                f"source video {source_video_id} has no proxy; dagster asset materialize -m heaters_dagster.definitions "
                f"--select proxy --partition {source_video_id} makes it again"
            )
        return f"{info.byte_size:x}"

    @contextmanager
    def _once(self, path: Path) -> Iterator[bool]:
        """One thread makes a file, the others wait for it. Yields True when the file is missing."""
        with self._lock:
            making = self._making.setdefault(path, _InTheMaking())
            making.wanted_by += 1
        try:
            with making.lock:
                yield not _touched(path)
        finally:
            with self._lock:
                making.wanted_by -= 1
                if not making.wanted_by:
                    del self._making[path]

    @contextmanager
    def _published(self, path: Path) -> Iterator[Path]:
        """A name to write to; the complete file is then renamed to `path`."""
        private_folder(self._folder)
        part = self._folder / f".{secrets.token_hex(8)}{path.suffix}"
        try:
            yield part
            close_to_others(part)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        with self._lock:
            self._made += 1
            sweeps = self._made % _SWEEP_EVERY == 0
        if sweeps:
            self._sweep()

    def _sweep(self) -> None:
        """Delete the files used longest ago until the limit is kept.

        Files used a moment ago stay, because a browser may still be reading them.
        """
        files = sorted(_files(self._folder))
        over = sum(size for _, size, _ in files) - self._cache_bytes
        for used_at, size, path in files:
            if over <= 0 or used_at > time.time() - _IN_USE_SECONDS:
                return
            path.unlink(missing_ok=True)
            over -= size


class _InTheMaking:
    """A file that one thread makes and others wait for."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wanted_by = 0


def _touched(path: Path) -> bool:
    """Mark a file as used; False when it does not exist."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """(time of last use, size in bytes, path). Other threads and processes may make, rename and delete files at the same time."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.is_file():
                    found = entry.stat()
                    yield found.st_mtime, found.st_size, Path(entry.path)
