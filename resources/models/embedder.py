"""Turns pictures and words into vectors: with CLIP by sentence-transformers, or with the built-in visual descriptor."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.embedder import Embedder
from heaters_dagster.domain.errors import EmbeddingError, HeatersError, ModelUnavailableError
from heaters_dagster.registries import EMBEDDERS
from heaters_dagster.settings import Settings
from resources.models.hub import first_line, hub_host, is_reachable
from resources.models.visual_descriptor import VisualDescriptor

_BATCH = 16


class ClipEmbedder:
    """A CLIP model in the layout of sentence-transformers: from a folder or the local cache of the model hub, else from the hub.

    Raises ModelUnavailableError within seconds when the model is not on this machine and cannot be fetched.
    """

    understands_words = True

    def __init__(self, name: str) -> None:
        self._encoder = _loaded(name)
        self.model = stored_name(name)
        probe = np.zeros((32, 32, 3), np.uint8)
        self.dimensions = int(self._encode([_picture(probe)]).shape[1])

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return _unit(self._encode([_picture(image) for image in images]))

    def embed_text(self, text: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = _unit(self._encode([text]))[0]
        return vector

    def _encode(self, inputs: list[Any]) -> NDArray[np.float32]:
        return np.asarray(self._encoder.encode(inputs, batch_size=_BATCH, show_progress_bar=False, convert_to_numpy=True), dtype=np.float32)


def stored_name(name: str) -> str:
    """The name under which vectors of a model are stored: the name in the settings. Two folders, or two owners at the hub, are two models.

    A model of sentence-transformers itself has the same name with and without its owner.
    """
    return str(Path(name).expanduser().resolve()) if Path(name).expanduser().is_dir() else name.removeprefix("sentence-transformers/")


@lru_cache(maxsize=2)
def clip_embedder(name: str) -> ClipEmbedder:
    """One loaded model per process: loading takes seconds and hundreds of megabytes."""
    return ClipEmbedder(name)


class Warned(Protocol):
    """The method of a logger that is used here."""

    def warning(self, message: str, /) -> object: ...


def open_embedder(settings: Settings, *, say: Warned | None = None) -> Embedder:
    """The model that the settings name. If it is not available and the settings allow it: the visual descriptor, with a warning."""
    try:
        return chosen_embedder(settings)
    except ModelUnavailableError as error:
        if not settings.embedding_fallback:
            raise
        (say or logging.getLogger(__name__)).warning(
            f"{error} Using the built-in visual descriptor instead: search finds clips that look alike, but not by words."
        )
        return VisualDescriptor()


def chosen_embedder(settings: Settings) -> Embedder:
    """The model that the settings name, without a fallback. Raises ModelUnavailableError, SettingsError for a broken package."""
    return EMBEDDERS.load(settings.embedder).open(settings.embedding_model)


def chosen_model(settings: Settings) -> str | None:
    """The name under which vectors of the settings' model are stored; None when the package of the embedder cannot be used."""
    kind = EMBEDDERS.find(settings.embedder)
    return None if kind is None else kind.stored_name(settings.embedding_model)


def _loaded(name: str) -> Any:
    host = hub_host()
    if not _may_be_here(name) and not is_reachable(host):
        raise _cannot_be_had(name, host)  # said before the library is loaded, which takes as long as many a run
    from sentence_transformers import SentenceTransformer

    try:
        with _quiet():
            return SentenceTransformer(name, local_files_only=True)
    except Exception as local_error:
        if Path(name).expanduser().exists():
            raise ModelUnavailableError(f"The embedding model in {name} cannot be loaded: {first_line(local_error)}") from local_error
    if not is_reachable(host):
        raise _cannot_be_had(name, host)
    try:
        return SentenceTransformer(name)
    except HeatersError:
        raise
    except Exception as error:
        raise ModelUnavailableError(f"The embedding model {name} cannot be fetched from {host}: {first_line(error)}") from error


def _may_be_here(name: str) -> bool:
    """False when the model is neither a folder nor, in whole or in part, in the cache of the hub. The owner of a name may be left out."""
    if Path(name).expanduser().exists():
        return True
    from huggingface_hub import constants

    # That variable is one of sentence-transformers, as the others are of the hub.
    caches = [constants.HF_HUB_CACHE, *filter(None, [os.environ.get("SENTENCE_TRANSFORMERS_HOME")])]
    kept = f"models--*{glob.escape(name.replace('/', '--'))}"
    return any(next(Path(cache).expanduser().glob(kept), None) is not None for cache in caches)


def _cannot_be_had(name: str, host: str) -> ModelUnavailableError:
    return ModelUnavailableError(
        f"The embedding model {name} is not on this machine and {host} cannot be reached. "
        "Connect to the network once to fetch it, or set HEATERS_EMBEDDING_MODEL to a folder with the model. Then type: heaters retry."
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the long warnings of the libraries that a model is not in the cache: then the hub is asked next."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _picture(image: NDArray[np.uint8]) -> Any:
    from PIL import Image

    return Image.fromarray(image)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(norms)) or np.any(norms < 1e-12):
        raise EmbeddingError("the model gave a vector without direction")
    unit: NDArray[np.float32] = (vectors / norms).astype(np.float32)
    return unit
