"""The embedder loads a real (tiny) CLIP through the real code, and says clearly when a model is not available."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from heaters_dagster.domain.errors import EmbeddingError, ModelUnavailableError, SettingsError
from heaters_dagster.settings import Settings
from resources.models import embedder
from resources.models.embedder import ClipEmbedder, chosen_model, open_embedder, stored_name
from resources.models.visual_descriptor import VisualDescriptor
from tests.tiny_clip import DIMENSIONS, save_tiny_clip


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> ClipEmbedder:
    return ClipEmbedder(str(save_tiny_clip(tmp_path_factory.mktemp("models") / "tiny-clip")))


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (48, 80, 3), dtype=np.uint8)


def test_pictures_and_words_share_one_space_of_unit_vectors(tiny_clip: ClipEmbedder) -> None:
    images = tiny_clip.embed_images([picture(1), picture(2)])
    words = tiny_clip.embed_text("a red door")
    assert images.shape == (2, DIMENSIONS)
    assert words.shape == (DIMENSIONS,)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)
    assert np.linalg.norm(words) == pytest.approx(1, abs=1e-5)


def test_models_of_one_name_in_two_folders_are_two_models(tmp_path: Path) -> None:
    one, other = (ClipEmbedder(str(save_tiny_clip(tmp_path / owner / "clip-x", seed=seed))) for seed, owner in enumerate("ab"))
    assert one.model != other.model


def test_a_model_has_one_name_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clip-x").mkdir()
    monkeypatch.chdir(tmp_path)
    assert stored_name("clip-x") == stored_name(f"{tmp_path}/clip-x/") == stored_name("./clip-x")
    assert stored_name("sentence-transformers/clip-ViT-B-32") == stored_name("clip-ViT-B-32") == "clip-ViT-B-32"
    assert stored_name("a/clip-x") != stored_name("b/clip-x")


def test_the_same_picture_gives_the_same_vector_whatever_its_neighbours(tiny_clip: ClipEmbedder) -> None:
    alone = tiny_clip.embed_images([picture(1)])[0]
    among = tiny_clip.embed_images([picture(3), picture(1)])[1]
    np.testing.assert_allclose(alone, among, atol=1e-5)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="cannot be loaded") as refused:
        ClipEmbedder(str(tmp_path))
    assert str(tmp_path) in str(refused.value)


@pytest.fixture
def library_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)


@pytest.mark.usefixtures("library_cannot_be_loaded")
def test_a_model_that_cannot_be_had_is_said_within_seconds_and_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "hub_host", lambda: "hub.invalid")
    with pytest.raises(ModelUnavailableError, match=r"hub\.invalid cannot be reached.*HEATERS_EMBEDDING_MODEL"):
        open_embedder(Settings(embedding_model="nobody/has-this-model"))


@pytest.mark.usefixtures("library_cannot_be_loaded")
@pytest.mark.parametrize("name", ["clip-x", "sentence-transformers/clip-x"])
@pytest.mark.parametrize("cache", ["of the hub", "of the library"])
def test_without_a_network_a_model_in_the_cache_is_left_to_the_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, cache: str
) -> None:
    monkeypatch.setattr(embedder, "hub_host", lambda: "hub.invalid")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "of the hub"))
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path / "of the library"))
    with pytest.raises(ModelUnavailableError):
        open_embedder(Settings(embedding_model=name))
    (tmp_path / cache / "models--sentence-transformers--clip-x").mkdir(parents=True)
    with pytest.raises(ImportError, match="sentence_transformers"):
        open_embedder(Settings(embedding_model=name))


def test_the_fallback_is_used_only_when_asked_for_and_is_said_aloud(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(embedder, "hub_host", lambda: "hub.invalid")
    with caplog.at_level(logging.WARNING):
        chosen = open_embedder(Settings(embedding_model="nobody/has-this-model", embedding_fallback=True))
    assert isinstance(chosen, VisualDescriptor)
    assert "built-in visual descriptor" in caplog.text


def test_the_descriptor_finds_the_picture_that_looks_alike() -> None:
    descriptor = VisualDescriptor()
    rows, columns = np.mgrid[0:90, 0:160]
    sunset = np.stack([255 - rows, rows, rows // 2], axis=-1).astype(np.uint8)
    forest = np.stack([(columns % 20) * 3, 90 + (columns % 20) * 5, columns % 30], axis=-1).astype(np.uint8)
    brighter = np.clip(sunset.astype(int) + 9, 0, 255).astype(np.uint8)
    a, b, c = descriptor.embed_images([sunset, brighter, forest])
    assert a.shape == (512,)
    assert a @ b > 0.9 > a @ c


def test_the_descriptor_describes_a_black_frame() -> None:
    vector = VisualDescriptor().embed_images([np.zeros((9, 16, 3), np.uint8)])[0]
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_the_descriptor_does_not_pretend_to_understand_words() -> None:
    with pytest.raises(EmbeddingError, match="search --like"):
        VisualDescriptor().embed_text("a dog")


def test_the_settings_choose_the_embedder() -> None:
    settings = Settings.from_environment({"HEATERS_EMBEDDER": "visual_descriptor", "HEATERS_EMBEDDING_MODEL": "nobody/has-this-model"})
    assert isinstance(open_embedder(settings), VisualDescriptor)
    assert chosen_model(settings) == VisualDescriptor.model
    assert chosen_model(Settings(embedding_model="sentence-transformers/clip-ViT-B-32")) == "clip-ViT-B-32"
    with pytest.raises(SettingsError, match="HEATERS_EMBEDDER='eyes' cannot be used: write one of: clip, visual_descriptor"):
        Settings.from_environment({"HEATERS_EMBEDDER": "eyes"})
