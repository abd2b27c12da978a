"""With what each asset is made: the version of its stage, and the settings and profiles that change what it makes.

Dagster gets it as the asset's code version. So a changed setting marks the assets that it changes, and no others, as stale; what is made
from them follows when its own input has changed, by the data versions. Rows keep it too: the next run of a stage makes again what was made
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from heaters_dagster.domain.export_profile import ExportProfile, MadeFrom
from heaters_dagster.domain.ffmpeg_run import Profile, SoundInput, digest
from heaters_dagster.domain.profiles import USUAL_SOURCES, gold_master, proxy
from heaters_dagster.domain.stages import EMBEDDINGS, EXPORTS, GOLD_MASTER, KEYFRAMES, PROXY, STAGES, VIRTUAL_CLIPS
from heaters_dagster.domain.words import counted
from heaters_dagster.registries import DETECTORS, EXPORT_PROFILES
from heaters_dagster.settings import Settings
from resources.models.embedder import chosen_model
from resources.postgres.making_store import Making
from resources.postgres.source_video_store import SourceVideo

_SOUND = SoundInput(rate=48_000, channels=2)


def code_version(asset: str, settings: Settings) -> str:
    """The code version of an asset: `1, multi 25 50 75`; readable, because the UI of Dagster shows it."""
    stage = next(one for one in STAGES if asset in one.makes)
    of_settings = _OF_SETTINGS.get(stage.asset)
    return ", ".join([str(stage.version), *([of_settings(settings)] if of_settings else [])])


def export_made_with(profile: ExportProfile, video: SourceVideo, making: Making) -> str:
    """With what a clip's export is made: its profile, and the file that it is made from."""
    of_master = profile.made_from is MadeFrom.GOLD_MASTER
    source = (video.gold_master_sha256 or "")[:16] if of_master else making.proxy_version
    return f"{EXPORTS.version}, {profile.made_with} of {profile.made_from} {source or 'of an older version'}"


#: How the quality of a proxy is said to the encoder -> how it was said before, for a proxy that is as good. Those that were made then are
#: not stale: to make them again would take days, and change nothing that anybody sees.
_AS_GOOD = {(("crf", 25), ("qcomp", 1)): (("crf", 20),)}


def _proxy(settings: Settings) -> str:
    return digest(*(_as_before(proxy(source, sound=_SOUND, in_fragments=True)) for source in USUAL_SOURCES))


def _as_before(profile: Profile) -> Profile:
    file, *others = profile.outputs
    for now, before in _AS_GOOD.items():
        if set(now) <= set(file.options.items()):
            options = {**{name: value for name, value in file.options.items() if name not in dict(now)}, **dict(before)}
            return replace(profile, outputs=(replace(file, options=options), *others))
    return profile


def _gold_master(settings: Settings) -> str:
    return digest(*map(gold_master, USUAL_SOURCES)) + settings.kept_tags.words  # tags of place and camera are in it or not


def _virtual_clips(settings: Settings) -> str:
    threshold = settings.detector_threshold
    if threshold is None and (detector := DETECTORS.find(settings.detector)) is not None:
        threshold = detector.default_threshold
    return f"{settings.detector} above {threshold}, at least {counted(settings.min_clip_frames, 'frame')}"


def _exports(settings: Settings) -> str:
    return ", ".join(replace(profile, trims=settings.trim_transitions).made_with for profile in EXPORT_PROFILES.usable())


def _keyframes(settings: Settings) -> str:
    places = settings.keyframe_percentages if settings.keyframe_strategy == "multi" else ()
    return " ".join([settings.keyframe_strategy, *(f"{place:g}" for place in places)])


def _embeddings(settings: Settings) -> str:
    return f"{settings.embedder} {chosen_model(settings) or settings.embedding_model}"


#: What settings and profiles say of the stages that they change. A detector changes the cuts, not the proxy: its scores are made from that.
_OF_SETTINGS: Mapping[str, Callable[[Settings], str]] = {
    PROXY.asset: _proxy,
    GOLD_MASTER.asset: _gold_master,
    VIRTUAL_CLIPS.asset: _virtual_clips,
    EXPORTS.asset: _exports,
    KEYFRAMES.asset: _keyframes,
    EMBEDDINGS.asset: _embeddings,
}
