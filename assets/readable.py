"""Metadata as an operator reads it: sizes in MiB, ratios with two digits, times in seconds with the speed beside them."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from heaters_dagster.domain.states import APPROVED_STATES, ClipState
from heaters_dagster.settings import Settings

_UNITS = ("KiB", "MiB", "GiB", "TiB")
_WITH_A_FILE = frozenset(
    {
        ClipState.EXPORTED,
        ClipState.KEYFRAMING,
        ClipState.KEYFRAMED,
        ClipState.KEYFRAME_FAILED,
        ClipState.EMBEDDING,
        ClipState.EMBEDDED,
        ClipState.EMBEDDING_FAILED,
    }
)
_WITH_KEYFRAMES = _WITH_A_FILE - {ClipState.EXPORTED, ClipState.KEYFRAMING, ClipState.KEYFRAME_FAILED}
_SETTLED = (ClipState.REVIEW_SKIPPED, ClipState.REVIEW_ARCHIVED, ClipState.EMBEDDED)
_FAILED = (ClipState.EXPORT_FAILED, ClipState.KEYFRAME_FAILED, ClipState.EMBEDDING_FAILED)


def size(byte_count: int) -> str:
    """`187.68 KiB`, `1.50 GiB`; below 1 KiB in bytes."""
    if byte_count < 1024:
        return f"{byte_count} bytes"
    power = min((byte_count.bit_length() - 1) // 10, len(_UNITS))
    return f"{byte_count / 1024**power:.2f} {_UNITS[power - 1]}"


def store(settings: Settings) -> dg.MetadataValue:
    """Where the file lies: what kind of store is in use."""
    kept = f"bucket {settings.object_bucket}" if settings.object_bucket else f"local folder {settings.objects_folder}"
    return dg.MetadataValue.text(kept)


def review_link(settings: Settings, source_video_id: int) -> Mapping[str, dg.MetadataValue]:
    """A link only when HEATERS_REVIEW_URL gives the lasting address of the app: another program may have today's port tomorrow."""
    page = f"/?video={source_video_id}"
    if settings.shared_review_url is None:
        return {"review": dg.MetadataValue.text(f"{page} of the review app; set HEATERS_REVIEW_URL for a link here")}
    return {"review": dg.MetadataValue.url(f"{settings.shared_review_url.rstrip('/')}{page}")}


def times(byte_count: int, of_bytes: int | None) -> dg.MetadataValue:
    """How many times as large as the original, with two digits."""
    return dg.MetadataValue.text(f"{byte_count / of_bytes:.2f}" if of_bytes else "not known")


def speed(media_seconds: float, wall_seconds: float | None) -> Mapping[str, dg.MetadataValue]:
    """What making something took; wall_seconds: None when it was there already."""
    if wall_seconds is None:
        return {"made": dg.MetadataValue.text("was there already")}
    return {
        "made in seconds": dg.MetadataValue.float(round(wall_seconds, 2)),
        "speed, times real time": dg.MetadataValue.float(round(media_seconds / max(wall_seconds, 0.001), 2)),
    }


def totals(counts: Mapping[ClipState, int]) -> Mapping[str, dg.MetadataValue]:
    """Counts of the source video's clips at this moment; later decisions do not change a materialization."""
    sums = {
        "clips of the video at this moment": sum(counts.values()),
        "of these wait for review": counts.get(ClipState.PENDING_REVIEW, 0),
        "of these approved": sum(counts.get(state, 0) for state in APPROVED_STATES),
        "of these with a file": with_a_file(counts),
        "of these searchable": counts.get(ClipState.EMBEDDED, 0),
        "of these failed": sum(counts.get(state, 0) for state in _FAILED),
    }
    return {name: dg.MetadataValue.int(number) for name, number in sums.items()}


def with_a_file(counts: Mapping[ClipState, int]) -> int:
    return sum(number for state, number in counts.items() if state in _WITH_A_FILE)


def with_keyframes(counts: Mapping[ClipState, int]) -> int:
    return sum(number for state, number in counts.items() if state in _WITH_KEYFRAMES)


def searchable(counts: Mapping[ClipState, int]) -> int:
    return counts.get(ClipState.EMBEDDED, 0)


def waiting(counts: Mapping[ClipState, int]) -> int:
    """Clips that may still come: they wait for a person, or for earlier stages."""
    return sum(counts.values()) - sum(counts.get(state, 0) for state in _SETTLED)


def waiting_words(counts: Mapping[ClipState, int]) -> str:
    """`4 clips wait for review, 2 for their file`."""
    pending = counts.get(ClipState.PENDING_REVIEW, 0)
    others = waiting(counts) - pending
    parts = [f"{pending} for review"] if pending else []
    parts += [f"{others} that are approved for the next stage"] if others else []
    return f"clips wait: {', '.join(parts)}"
