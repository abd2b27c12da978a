"""Object keys: the same in the local folder and in S3; only this module makes them."""

from __future__ import annotations

import re

from heaters_dagster.domain.errors import InvalidKeyError
from heaters_dagster.domain.export_profile import FIRST_PROFILE
from heaters_dagster.domain.stages import CLIP_STAGES

#: Kind of artifact of a clip -> what its keys begin with; any other kind begins with its own name.
_OF_KINDS = {"export": "final_clips/", "keyframe": "keyframes/"}

#: What the keys of objects begin with that belong to a source video and not to one of its clips.
OF_VIDEO = ("originals/", "gold_masters/", "review_proxies/", "metadata/", "subtitles/", "thumbnails/")

#: What every object key begins with. A bucket may hold objects of other programs beside them.
PREFIXES = (
    *OF_VIDEO,
    *(_OF_KINDS.get(stage.artifact, f"{stage.artifact}/") for stage in CLIP_STAGES if stage.artifact is not None),
)

#: Dagster's own keys, when the logs of steps are kept in a bucket. No row names them.
LOGS_PREFIX = "dagster"

#: Of objects that test whether a bucket can be used, and of uploads until they are taken. No row names them.
CHECKS_PREFIX = "heaters"
UPLOADS_PREFIX = "uploads"

#: Of the pieces of a proxy, until they are joined. Rows name them by their numbers.
PIECES_PREFIX = "pieces"

#: Of backups, when they lie in the bucket. No row names them.
BACKUPS_PREFIX = "backups"

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_EXTENSION = re.compile(r"\.[a-z0-9]{1,8}\Z")
_TAG = re.compile(r"[a-z0-9]+\Z")
_PIECE = re.compile(rf"{PIECES_PREFIX}/video_(\d+)_")


def is_own_key(key: str) -> bool:
    """Whether Heaters keeps an object under this key; a bucket may hold others beside them."""
    return key.startswith((*PREFIXES, f"{LOGS_PREFIX}/"))


def own_prefixes() -> tuple[str, ...]:
    """What every key begins with under which Heaters writes, those of Dagster's logs, of tests, uploads, pieces and backups too."""
    return (*PREFIXES, *(f"{name}/" for name in (LOGS_PREFIX, CHECKS_PREFIX, UPLOADS_PREFIX, PIECES_PREFIX, BACKUPS_PREFIX)))


def original_key(source_video_id: int, extension: str) -> str:
    """`originals/video_{id}{ext}`; `extension` with its dot; anything that is no extension is left out."""
    lowered = extension.lower()
    return f"originals/video_{source_video_id}{lowered if _EXTENSION.match(lowered) else ''}"


def gold_master_key(source_video_id: int) -> str:
    return f"gold_masters/video_{source_video_id}_master.mkv"


def proxy_key(source_video_id: int) -> str:
    return f"review_proxies/video_{source_video_id}_proxy.mp4"


def pieces_prefix(source_video_id: int) -> str:
    """What the keys of all pieces of its proxy begin with."""
    return f"{PIECES_PREFIX}/video_{source_video_id}_"


def piece_key(source_video_id: int, made_with: str, number: int, suffix: str) -> str:
    """`pieces/video_{id}_{made with}_{nnnn}{suffix}`. made_with: 12 letters and digits; pieces that were made otherwise have other keys."""
    return checked_key(f"{pieces_prefix(source_video_id)}{made_with}_{number:04d}{suffix}")


def video_of_piece(key: str) -> int | None:
    """The source video of a key that `piece_key` made."""
    found = _PIECE.match(key)
    return int(found[1]) if found else None


def final_clip_key(source_video_id: int, sequence: int, profile: str = FIRST_PROFILE, suffix: str = ".mp4") -> str:
    """`final_clips/video_{id}_clip_{nnn}.mp4`; `sequence` is per source video and never reused.

    Of another export profile than the first `final_clips/video_{id}_clip_{nnn}_{profile}{suffix}`, so that the files of one clip lie beside
    one another.
    """
    return final_clip_keys(source_video_id, sequence, profile, suffix)[0]


def final_clip_keys(source_video_id: int, sequence: int, profile: str, suffix: str) -> tuple[str, ...]:
    """The keys that an export of a clip may have, the wanted one first; the last one is that of no other profile."""
    clip = f"final_clips/video_{source_video_id}_clip_{sequence:03d}"
    plain = (f"{clip}{suffix}",) if profile == FIRST_PROFILE else ()
    return tuple(map(checked_key, (*plain, f"{clip}_{profile}{suffix}")))


def keyframe_key(source_video_id: int, sequence: int, tag: str) -> str:
    """`keyframes/video_{id}_clip_{nnn}_{tag}.jpg`; `tag` is lower-case letters and digits."""
    if not _TAG.match(tag):
        raise InvalidKeyError(f"keyframe tag {tag!r}: lower-case letters and digits only")
    return f"keyframes/video_{source_video_id}_clip_{sequence:03d}_{tag}.jpg"


def artifact_key(kind: str, source_video_id: int, sequence: int, extension: str) -> str:
    """`{kind}/video_{id}_clip_{nnn}{extension}`: what a stage of clips makes beside exports and keyframes. extension: with its dot."""
    if kind in _OF_KINDS or f"{kind}/" in OF_VIDEO:
        raise InvalidKeyError(f"{kind} has keys of its own")
    return checked_key(f"{kind}/video_{source_video_id}_clip_{sequence:03d}{extension}")


def frame_index_key(source_video_id: int) -> str:
    return f"metadata/video_{source_video_id}_keyframes.json"


def scenes_key(source_video_id: int) -> str:
    return f"metadata/video_{source_video_id}_scenes.json"


def subtitle_key(source_video_id: int, number: int, language: str | None, suffix: str) -> str:
    """`subtitles/video_{id}_{nn}_{language}{suffix}`. number: of the file among those of its source video, so that no two have one key."""
    return checked_key(f"subtitles/video_{source_video_id}_{number:02d}_{(language or 'und').lower()}{suffix}")


def thumbnail_key(source_video_id: int) -> str:
    return f"thumbnails/video_{source_video_id}.jpg"


def given_subtitle_key(source_video_id: int, language: str | None, suffix: str, content_sha256: str) -> str:
    """`subtitles/video_{id}_given_{language}_{hash}{suffix}`: of a file that a person gave. Another file never has this key."""
    return checked_key(f"{given_prefix('subtitles', source_video_id)}{(language or 'und').lower()}_{content_sha256[:32]}{suffix}")


def given_thumbnail_key(source_video_id: int, content_sha256: str) -> str:
    return f"{given_prefix('thumbnails', source_video_id)}{content_sha256[:32]}.jpg"


def given_prefix(kind: str, source_video_id: int) -> str:
    """What the keys of files begin with that people gave. kind: "subtitles" or "thumbnails"."""
    return f"{kind}/video_{source_video_id}_given_"


def looks_key(source_video_id: int) -> str:
    return f"metadata/video_{source_video_id}_looks.bin"


def checked_key(key: str) -> str:
    """Return `key` if it is a relative path of plain segments; raise InvalidKeyError if it could leave the store."""
    if len(key) > 512 or not key or not all(_SEGMENT.match(part) for part in key.split("/")):
        raise InvalidKeyError(f"{key!r} is not an object key (letters, digits, '.', '_', '-' in segments separated by '/')")
    return key
