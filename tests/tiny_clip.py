"""A tiny CLIP with random weights, written to disk in sentence-transformers' layout: the real loading code reads it."""

from __future__ import annotations

import json
from pathlib import Path

DIMENSIONS = 512
_SIDE = 32
_TOKENS = 32


def save_tiny_clip(folder: Path, *, seed: int = 0) -> Path:
    """Make the model in `folder` and return it. Same seed, same weights."""
    import torch
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPConfig, CLIPModel

    inner = folder / "0_CLIPModel"
    inner.mkdir(parents=True)
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    start, end = len(words) - 2, len(words) - 1
    text = {"vocab_size": len(words), "max_position_embeddings": _TOKENS, "bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    vision = {"image_size": _SIDE, "patch_size": 8}
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(seed)
    CLIPModel(CLIPConfig(text_config=text | layers, vision_config=vision | layers, projection_dim=DIMENSIONS)).save_pretrained(inner)
    files = {
        inner / "vocab.json": {word: number for number, word in enumerate(words)},
        inner / "tokenizer_config.json": {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": _TOKENS,
            "bos_token": "<|startoftext|>",
            "eos_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
        },
        inner / "preprocessor_config.json": {
            "image_processor_type": "CLIPImageProcessor",
            "do_resize": True,
            "size": {"shortest_edge": _SIDE},
            "do_center_crop": True,
            "crop_size": {"height": _SIDE, "width": _SIDE},
            "do_normalize": True,
            "image_mean": [0.481, 0.458, 0.408],
            "image_std": [0.269, 0.261, 0.276],
        },
        folder / "modules.json": [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}],
        folder / "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.0.0"}},
    }
    for path, content in files.items():
        path.write_text(json.dumps(content))
    (inner / "merges.txt").write_text("#version: 0.2\n")
    return folder
