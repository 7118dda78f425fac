"""Models to fine-tune and clips to do it on, small enough for a test."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_checkpoint import HIDDEN, random_head, store_key
from make_encoder import sound
from numpy.typing import NDArray

from ser_generalize.augment import Augmentation
from ser_generalize.checkpoint import read_encoder
from ser_generalize.encoder import Settings, load_encoder
from ser_generalize.heads import clip_normalised
from ser_generalize.modeling import SerForAudioClassification
from ser_generalize.tuning.loop import Execution, Part, Progress, Tuning
from ser_generalize.tuning.model import MicroBatch, Tunable, make_tunable, pad_waves
from ser_generalize.tuning.recipe import RECIPES, TuneRecipe

SECONDS = (0.45, 0.3, 0.6, 0.38)  # clips are of unlike lengths
CLASSES = 4
LABELS = np.array([0] * 9 + [1] * 5 + [2] * 4 + [3] * 2)
WAVES = [sound(SECONDS[n % 4], seed=3 * label + n % 2) for n, label in enumerate(LABELS)]
TRAIN, VALIDATION = np.arange(1, len(LABELS) - 1), np.array([0, len(LABELS) - 1])
CPU = torch.device("cpu")


def waves(rows: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """Return the samples of some of the clips."""
    return [WAVES[row] for row in rows]


def features(encoder: Path) -> NDArray[np.float32]:
    """Return what the frozen path says of all clips."""
    loaded = load_encoder(str(encoder), Settings(dtype="fp32"))
    return clip_normalised(loaded.embed(WAVES).astype(np.float32))


def model(encoder: Path, layers: tuple[int, ...] | None = None) -> SerForAudioClassification:
    """Return an untrained model over an encoder, its scaler fitted on all clips."""
    loaded = load_encoder(str(encoder), Settings(dtype="fp32", layers=layers))
    found = read_encoder(store_key(loaded), str(encoder))
    config = found.config(
        hidden_sizes=[HIDDEN],
        id2label=dict(enumerate("abcd")),
        label2id={name: number for number, name in enumerate("abcd")},
    )
    values = features(encoder)[:, list(loaded.layers)]
    head = random_head(len(loaded.layers), 2 * loaded.width, CLASSES)
    head |= {"mean": values.mean(0), "deviation": values.std(0) + 0.1}
    return found.model(config, head)


def tunable(encoder: Path, mode: str = "full", layers: tuple[int, ...] | None = None) -> Tunable:
    """Return the model as it is before the first step."""
    return make_tunable(model(encoder, layers), mode, rank=4, seed=1)


def micro_batch(rows: NDArray[np.int64], weight: list[float] | None = None) -> MicroBatch:
    """Return some clips as a step hears them, neither mixed nor augmented by default."""
    return MicroBatch(
        *pad_waves(waves(rows), CPU),
        weight=torch.tensor(weight or [0.0] * len(rows)),
        seeds=torch.arange(len(rows)),
        label=torch.from_numpy(LABELS[rows]),
    )


def recipe(mode: str = "full", **settings: Any) -> TuneRecipe:
    """Return a recipe by which a small model learns quickly."""
    rate = 1e-3 if mode == "full" else 1e-2
    quick = {"learning_rate": rate, "head_learning_rate": 3e-3, "epochs": 3, "batch": 8}
    return replace(RECIPES[mode], **{**quick, **settings})


def tuning(
    encoder: Path,
    state: Path,
    how: TuneRecipe | None = None,
    mode: str = "full",
    micro_batch: int = 8,
    validation: NDArray[np.int64] = VALIDATION,
    augmentation: Augmentation | None = None,
    on_step: Callable[[Progress], object] = lambda _: None,
) -> Tuning:
    """Return a fine-tuning of all but the validation clips, which are the first and the last."""
    execution = Execution(CPU, micro_batch, bf16=False, state=state, on_step=on_step)
    part = Part("someone", 7, TRAIN, validation)
    how = how or recipe(mode)
    return Tuning(tunable(encoder, mode), waves, LABELS, part, how, execution, augmentation)
