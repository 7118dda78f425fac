"""Whisper folders and sounds for the tests.

The weights are random and large: those of a new model are so small that attention is flat and a
missing mask hardly shows.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

RATE = 16_000
WEIGHTS = "model.safetensors"


def write_encoder(folder: Path, prefix: str = "model.encoder.", positions: int = 1500) -> Path:
    """Write a Whisper encoder of 2 layers and width 32, always with the same weights."""
    config = WhisperConfig(
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_layers=1,
        decoder_attention_heads=2,
        max_source_positions=positions,
    )
    torch.manual_seed(0)
    weights = {name: 8 * value for name, value in WhisperEncoder(config).state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    save_file({prefix + name: value for name, value in weights.items()}, folder / WEIGHTS)
    return folder


def change_config(folder: Path, **settings: Any) -> Path:
    """Change some settings in a folder's config.json; None removes one."""
    file = folder / "config.json"
    found = json.loads(file.read_text()) | settings
    file.write_text(json.dumps({name: v for name, v in found.items() if v is not None}))
    return folder


def sound(seconds: float, seed: int = 0, samples: int | None = None) -> NDArray[np.float32]:
    """Return a gliding tone in noise, so that no two frames are alike."""
    time = np.arange(samples or round(seconds * RATE)) / RATE
    rng = np.random.default_rng(seed)
    tone = np.sin(2 * np.pi * (150 + 40 * seed + 90 * np.sin(2 * np.pi * 0.7 * time)) * time)
    wave = (0.3 + 0.1 * (seed % 5)) * tone * (1 + np.sin(9 * time)) / 2
    return (wave + 0.01 * rng.normal(size=len(time))).astype(np.float32)


def assert_close(found: Any, expected: Any, tolerance: float = 1e-4) -> None:
    """Compare within a tolerance relative to the size of what is expected."""
    scale = float(np.abs(np.asarray(expected)).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)
