"""What an embedder is: pictures, and words where it understands them, to vectors of one space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Embedder(Protocol):
    """`model` is the name vectors are stored under: vectors of different models are never compared."""

    model: str
    dimensions: int
    understands_words: bool

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """images: n >= 1 of (h, w, 3) RGB. Returns (n, dimensions), rows of norm 1."""
        ...

    def embed_text(self, text: str) -> NDArray[np.float32]:
        """Returns (dimensions,), norm 1, comparable with the images'. Raises EmbeddingError where words are not understood."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderKind:
    """One way to make vectors.

    name: as in HEATERS_EMBEDDER. open: the embedder of a model, as HEATERS_EMBEDDING_MODEL names it; it keeps what it has loaded. Raises
    ModelUnavailableError. stored_name: what `Embedder.model` of that model will be, without loading it.
    """

    name: str
    open: Callable[[str], Embedder]
    stored_name: Callable[[str], str]
