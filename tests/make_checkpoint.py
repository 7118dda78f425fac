"""Checkpoints for the tests: a real encoder and a head of random weights."""

from pathlib import Path
from typing import Any

import numpy as np

from ser_generalize.checkpoint import read_encoder, save_checkpoint
from ser_generalize.embeddings import StoreKey
from ser_generalize.encoder import Encoder, Settings, load_encoder
from ser_generalize.heads import Parameters
from ser_generalize.labels import FOUR

HIDDEN = 8


def random_head(layers: int, width: int, classes: int, seed: int = 0) -> Parameters:
    """Return the arrays of a head that spreads its answers over the classes."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    return {
        "layer_scores": normal(layers),
        "mean": normal(layers, width),
        "deviation": 1 + rng.random((layers, width)).astype(np.float32),
        "linear.0.weight": normal(HIDDEN, width),
        "linear.0.bias": normal(HIDDEN),
        "linear.1.weight": 0.1 * normal(classes, HIDDEN),  # or every answer would be sure
        "linear.1.bias": normal(classes),
    }


def store_key(encoder: Encoder) -> StoreKey:
    """Return the key of a store that an encoder would fill."""
    chosen = encoder.settings
    return StoreKey(
        encoder=encoder.name,
        revision=encoder.revision,
        window=chosen.window,
        margin=chosen.margin or 0.0,
        layers=encoder.layers,
        statistics=encoder.statistics,
        width=encoder.width,
        dtype=chosen.dtype or "",
    )


def make_checkpoint(
    encoder: Path, folder: Path, settings: Settings | None = None, **config: Any
) -> Path:
    """Write a checkpoint over an encoder; its head is random, and it has no card."""
    loaded = load_encoder(str(encoder), settings or Settings(dtype="fp32"))
    found = read_encoder(store_key(loaded), str(encoder))
    described = found.config(
        hidden_sizes=[HIDDEN],
        id2label=dict(enumerate(FOUR)),
        label2id={name: number for number, name in enumerate(FOUR)},
        **config,
    )
    head = random_head(len(loaded.layers), 2 * loaded.width, len(FOUR))
    save_checkpoint(folder, found.model(described, head))
    return folder
