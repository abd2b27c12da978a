"""Metadata as an operator reads it: sizes in MiB, ratios with two digits, times in seconds with the speed beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum

import dagster as dg

from assets import pictures
from heaters_dagster.domain.manifest import ExportManifest, KeyframeManifest
from heaters_dagster.domain.stages import CLIP_STAGES, EMBEDDINGS, EXPORTS, Stage, states_from, with_states
from heaters_dagster.domain.states import APPROVED_STATES, ClipState
from heaters_dagster.domain.transitions import CLIP_RETRY
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings
from resources.object_store.stills import Stills

_UNITS = ("KiB", "MiB", "GiB", "TiB")
_SETTLED = (ClipState.REVIEW_SKIPPED, ClipState.REVIEW_ARCHIVED, with_states(CLIP_STAGES)[-1].steps.done)
_SHOWN_FILES = 50
_SHOWN_STILLS = 6


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
        "of these with a file": made_by(EXPORTS, counts),
        "of these searchable": made_by(EMBEDDINGS, counts),
        "of these failed": sum(counts.get(state, 0) for state in CLIP_RETRY),
    }
    return {name: dg.MetadataValue.int(number) for name, number in sums.items()}


def made_by(stage: Stage[ClipState], counts: Mapping[ClipState, int]) -> int:
    """How many of these clips a stage that has states is done with."""
    return sum(counts.get(state, 0) for state in states_from(stage)) if stage.states is not None else 0


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


def of_exports(made: Sequence[ExportManifest], settings: Settings) -> Mapping[str, dg.MetadataValue]:
    return {
        "clips exported by this run": dg.MetadataValue.int(len({manifest.clip_id for manifest in made})),
        "frames": dg.MetadataValue.int(sum(manifest.frame_count for manifest in made)),
        "seconds": dg.MetadataValue.float(round(fsum(manifest.duration_seconds for manifest in made), 2)),
        "size": dg.MetadataValue.text(size(sum(manifest.byte_size for manifest in made))),
        "store": store(settings),
        "files": dg.MetadataValue.md(_files(made)),
    }


def of_keyframes(
    made: Sequence[KeyframeManifest], clip_ids: Sequence[int], strategy: str, stills: Stills
) -> Mapping[str, dg.MetadataValue]:
    return {
        "clips with keyframes by this run": dg.MetadataValue.int(len(clip_ids)),
        "keyframes": dg.MetadataValue.int(len(made)),
        "strategy": dg.MetadataValue.text(strategy),
        "stills": dg.MetadataValue.md(pictures.stills(made[:_SHOWN_STILLS], stills)),
    }


def _frames(one: ExportManifest) -> str:
    """`24..95`, and how many frames of the clip its file leaves out."""
    shown = f"{one.start_frame}..{one.end_frame - 1}"
    left_out = sum(part["last_frame"] - part["first_frame"] + 1 for part in one.left_out)
    return f"{shown} (without {counted(left_out, 'frame')} of transitions)" if left_out else shown


def _files(made: Sequence[ExportManifest]) -> str:
    rows = [(f"`{one.key}`", _frames(one), f"{one.duration_seconds:.2f}", size(one.byte_size), one.profile) for one in made[:_SHOWN_FILES]]
    shown = pictures.table(("file", "frames", "seconds", "size", "profile"), rows)
    return shown if len(made) <= _SHOWN_FILES else f"{shown}\n\nand {len(made) - _SHOWN_FILES} more"
