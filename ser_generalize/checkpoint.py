"""Checkpoints: an encoder and a trained head in one folder, written whole and read without code."""

import json
import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from transformers import Wav2Vec2FeatureExtractor, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_generalize import configuration, modeling
from ser_generalize.configuration import SerConfig
from ser_generalize.embeddings import StoreKey
from ser_generalize.encoder import mel, ragged, silence
from ser_generalize.encoder.checkpoint import (
    OFFLINE,
    OFFLINE_NAME,
    chosen,
    find_checkpoint,
    why_not_given,
)
from ser_generalize.encoder.functionals import EGEMAPS
from ser_generalize.encoder.interface import SHORT
from ser_generalize.encoder.silence import Silence, remember
from ser_generalize.encoder.spectrum import LOG_MEL
from ser_generalize.encoder.whisper import FIXED, SIZES
from ser_generalize.errors import InputError, silenced
from ser_generalize.files import write_text
from ser_generalize.heads import Parameters
from ser_generalize.hub import is_hub_id
from ser_generalize.modeling import SerForAudioClassification
from ser_generalize.schema import SAMPLING_RATE

CONFIG, WEIGHTS = "config.json", "model.safetensors"
# What a checkpoint carries to run without us.
CODE = (configuration, modeling, mel, ragged, silence)
AUTO_MAP = {
    "AutoConfig": "configuration.SerConfig",
    "AutoModelForAudioClassification": "modeling.SerForAudioClassification",
}


@dataclass(frozen=True)
class StoreEncoder:
    """The Whisper that a store was made with, and the silence that it remembers, if it does."""

    store: StoreKey
    sizes: dict[str, int]  # by the names of WhisperConfig
    whisper: WhisperEncoder
    silence: Silence | None

    def config(self, **more: Any) -> SerConfig:
        """Return the configuration of a model that hears what the store holds; `more` is kept."""
        return SerConfig(
            whisper=self.sizes,
            layers=list(self.store.layers),
            window=self.store.window,
            margin=self.store.margin,
            silence=self.silence.sizes if self.silence else None,
            **more,
        )

    def model(self, config: SerConfig, head: Parameters) -> SerForAudioClassification:
        """Join the encoder and a trained head, with the scaler that it was trained under."""
        model = SerForAudioClassification(config)
        model.encoder.load_state_dict(self.whisper.state_dict())
        model.silence = deepcopy(self.silence)
        model.head.load_state_dict({name: torch.from_numpy(array) for name, array in head.items()})
        return model.eval()


def read_encoder(store: StoreKey, name: str | None = None) -> StoreEncoder:
    """Return the Whisper that a store was made with.

    `name` says where it is, by default the store's own name for it. Raises InputError where it is
    not to be had, is another one, or is no Whisper.
    """
    if store.encoder in (EGEMAPS, LOG_MEL):
        raise InputError(
            f"--final and --tune are for Whisper encoders, which {store.encoder} is not"
        )
    name = name or (OFFLINE if store.encoder == OFFLINE_NAME else store.encoder)
    found = find_checkpoint(name)
    config = found.config()
    if config.get("model_type") != "whisper":
        raise InputError(f"--final and --tune are for Whisper encoders, which {name} is not")
    sizes = chosen(name, config, SIZES, FIXED)
    if found.revision(sizes) != store.revision:
        raise InputError(
            f"--encoder {name} is not what the embeddings were made with ({store.encoder}, "
            f"revision {store.revision[:12]}); give that one"
        )
    whisper = found.load(lambda: WhisperEncoder(WhisperConfig(**sizes)), "model.encoder.")
    remembered = remember(whisper, max(store.layers)) if store.window == SHORT else None
    return StoreEncoder(store, sizes, whisper, remembered)


def save_checkpoint(folder: Path, model: SerForAudioClassification) -> None:
    """Write into a folder what `transformers` loads with or without this package."""
    model.config.architectures = [type(model).__name__]
    model.config.auto_map = AUTO_MAP
    model.config.save_pretrained(folder)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
    Wav2Vec2FeatureExtractor(
        sampling_rate=SAMPLING_RATE, do_normalize=False, return_attention_mask=True
    ).save_pretrained(folder)
    for module in CODE:
        name = module.__name__.rpartition(".")[2]
        write_text(folder / f"{name}.py", _alone(Path(str(module.__file__)).read_text("utf-8")))


def load_checkpoint(name: str) -> SerForAudioClassification:
    """Load a checkpoint of this package by folder or Hub id; never a pickle or the code beside it.

    Raises InputError where there is none, or its files do not belong together.
    """
    folder = local_checkpoint(Path(name)) if Path(name).is_dir() else _download(name)
    settings = read_config(folder)
    try:
        config = SerConfig.from_dict(settings)
        chosen(name, config.whisper, SIZES, {})
        with torch.device("meta"):  # no memory for weights that are about to be replaced
            model = SerForAudioClassification(config)
        model.load_state_dict(load_file(folder / WEIGHTS), assign=True)
    except (RuntimeError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise InputError(
            f"checkpoint {name} is damaged: {WEIGHTS} and {CONFIG} do not belong together "
            f"({' '.join(str(error).split()):.200})"
        ) from error
    return model.eval().requires_grad_(False)


def with_own_head(model: SerForAudioClassification) -> SerForAudioClassification:
    """Return a model whose head can be changed without the other's, over the same encoder."""
    with torch.device("meta"):
        twin = SerForAudioClassification(model.config)
    twin.encoder, twin.silence = model.encoder, model.silence
    twin.head = deepcopy(model.head)
    return twin.eval().requires_grad_(False)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the config.json of a checkpoint of this package, or raise an InputError."""
    try:
        settings = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"checkpoint {folder}: {CONFIG} cannot be read ({error})") from error
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind != SerConfig.model_type:
        raise InputError(
            f"{folder} is no checkpoint of this package (model_type {kind!r}, not "
            f"{SerConfig.model_type!r}); give one that `ser-generalize train --final` made"
        )
    return settings


def local_checkpoint(folder: Path) -> Path:
    """Return a folder that holds a checkpoint's files, or raise an InputError."""
    inner = folder / "checkpoint"
    if (inner / WEIGHTS).is_file():
        raise InputError(f"{folder} is a run folder; give the checkpoint in it, {inner}")
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} is no checkpoint (no {' and no '.join(missing)}); give a folder that "
            "`ser-generalize train --final` made, or a Hub id"
        )
    return folder


def _download(name: str) -> Path:
    if not is_hub_id(name):
        raise InputError(f"checkpoint {name!r} is neither a folder nor a Hub id, ORG/NAME")
    try:
        with silenced("huggingface_hub"):
            files = [Path(hf_hub_download(name, file)) for file in (CONFIG, WEIGHTS)]
    except (HTTPError, OSError) as error:
        raise InputError(
            f"checkpoint {name!r} is no local folder and {why_not_given(error)}"
        ) from error
    return files[0].parent


def _alone(source: str) -> str:
    """Let a file's imports of this package lead to the files beside it."""
    return re.sub(
        r"^from ser_generalize[\w.]*\.(\w+) import", r"from .\1 import", source, flags=re.M
    )
