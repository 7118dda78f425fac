"""wav2vec2, HuBERT, WavLM and data2vec-audio of `transformers`, to compare Whisper with.

A clip's frames are what the model gives for it alone. Some of its convolutions see the whole clip
(a group norm over time) or what is beside it (positions), so these run clip by clip; the blocks,
where nearly all the work is, run on padded batches whose padding no frame attends to.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

from ser_generalize.encoder.checkpoint import CONFIG, PREPROCESSOR, Checkpoint, Config, chosen
from ser_generalize.encoder.device import TORCH_DTYPES, find_dtype
from ser_generalize.encoder.interface import RATE, Samples, Settings, find_layers
from ser_generalize.encoder.ragged import pool_padded
from ser_generalize.encoder.windows import capacity, embed_windows
from ser_generalize.errors import InputError, listing

LONGEST = 30 * RATE  # a window; memory grows with its square
PARTS = ("feature_extractor.", "feature_projection.", "encoder.")  # of a checkpoint
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
LISTS = ("conv_dim", "conv_stride", "conv_kernel")
# Everything else that changes what is computed, with the type that it must have; what a
# config.json leaves out is as `transformers` has it.
OPTIONS: dict[str, type] = {
    "num_conv_pos_embeddings": int, "num_conv_pos_embedding_groups": int,
    "conv_pos_kernel_size": int, "num_buckets": int, "max_bucket_distance": int,
    "layer_norm_eps": float, "feat_extract_norm": str, "conv_bias": bool,
    "do_stable_layer_norm": bool, "feat_proj_layer_norm": bool, "conv_pos_batch_norm": bool,
}  # fmt: skip
FIXED: Config = {"hidden_act": "gelu", "feat_extract_activation": "gelu"}
PLAIN: Config = {"mask_time_prob": 0.0}  # no SpecAugment, whose mask would be one more tensor
EPSILON = 1e-7  # beside the variance of samples, as Wav2Vec2FeatureExtractor has it


@dataclass(frozen=True)
class Family:
    """What tells the families apart."""

    config: Callable[..., Any]
    model: Callable[..., nn.Module]
    prefix: str  # of its tensors in a checkpoint with a head
    attention: str = "sdpa"  # which takes a mask of booleans


FAMILIES = {
    "wav2vec2": Family(Wav2Vec2Config, Wav2Vec2Model, "wav2vec2."),
    "hubert": Family(HubertConfig, HubertModel, "hubert."),
    "wavlm": Family(WavLMConfig, WavLMModel, "wavlm.", "eager"),
    "data2vec-audio": Family(Data2VecAudioConfig, Data2VecAudioModel, "data2vec_audio."),
}


@dataclass(frozen=True)
class WaveformEncoder:
    """A frozen encoder that takes samples; see `Encoder` for what it promises."""

    name: str
    revision: str
    settings: Settings
    layers: tuple[int, ...]
    model: Any  # one of FAMILIES, its blocks after the last layer removed
    normalises: bool  # every clip to mean 0 and variance 1
    device: torch.device
    statistics: tuple[str, ...] = ("mean", "std")

    @property
    def width(self) -> int:
        """Size of a frame's hidden vector."""
        return int(self.model.config.hidden_size)

    @property
    def capacity(self) -> int:
        """The samples that one batch may hold on this device."""
        return capacity(self.device)

    @property
    def parameters(self) -> int:
        """How many weights it computes with."""
        return sum(weight.numel() for weight in self.model.parameters())

    def cost(self, samples: int) -> int:
        """Return the samples themselves: clips of like length share a batch."""
        return samples

    def embed(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        """Return mean and deviation of every layer, float32 [clips, layers, 2, width]."""
        return embed_windows(waves, LONGEST, self._frames, self.cost, self.pool, self.device)

    def _frames(self, samples: int) -> int:
        return int(self.model._get_feat_extract_output_lengths(samples))

    @torch.inference_mode()
    def pool(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        """Return the same of windows, all at once and in this thread alone."""
        inputs = [self._input(wave) for wave in waves]
        counts = torch.tensor([len(frames) for frames in inputs], device=self.device)
        hidden = pad_sequence(inputs, batch_first=True)
        real = torch.arange(hidden.shape[1], device=self.device) < counts[:, None]
        states = enumerate(self._states(hidden, None if bool(real.all()) else real))
        pooled = [pool_padded(state, real) for layer, state in states if layer in self.layers]
        return torch.stack(pooled, dim=1).cpu().numpy()

    def _input(self, wave: Samples) -> Tensor:
        """Return what the blocks get of a clip, positions added: [frames, width]."""
        if self.normalises:
            wave = (wave - wave.mean()) / np.sqrt(wave.var() + EPSILON)
        samples = torch.from_numpy(wave).to(self.device, self.model.dtype)
        features = self.model.feature_extractor(samples[None]).transpose(1, 2)
        projected = self.model.feature_projection(features)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        hidden = hidden + self.model.encoder.pos_conv_embed(hidden)
        stable = getattr(self.model.config, "do_stable_layer_norm", False)
        return (hidden if stable else self.model.encoder.layer_norm(hidden))[0]

    def _states(self, hidden: Tensor, real: Tensor | None) -> Iterator[Tensor]:
        """Yield the input of the first block and the output of every block, as `transformers`."""
        yield hidden
        if self.model.config.model_type == "wavlm":
            bias: Tensor | None = None  # of positions: the first block computes it for all
            for block in self.model.encoder.layers:
                hidden, bias = block(hidden, attention_mask=real, position_bias=bias)
                yield hidden
        else:
            mask = None if real is None else real[:, None, None, :]
            for block in self.model.encoder.layers:
                hidden = block(hidden, attention_mask=mask)
                yield hidden


def load_waveform(
    checkpoint: Checkpoint, settings: Settings, device: torch.device
) -> WaveformEncoder:
    """Load a checkpoint of one of FAMILIES; raises InputError where it is not usable."""
    name, found = checkpoint.name, checkpoint.config()
    family = FAMILIES[found["model_type"]]
    shape = _shape(name, found)
    normalises = _normalises(checkpoint)
    layers = find_layers(name, settings.layers, shape["num_hidden_layers"])
    if settings.window != "short" or settings.margin:
        raise InputError(f"encoder {name}: only Whisper has 30s windows and a margin")
    dtype = find_dtype(settings.dtype or "fp32", device)  # no other has been measured
    try:
        config = family.config(**shape, **FIXED, **PLAIN, attn_implementation=family.attention)
        model: Any = checkpoint.load(lambda: family.model(config), family.prefix, _own)
    except (ValueError, TypeError) as error:
        raise InputError(f"encoder {name}: {CONFIG} is of no usable network ({error})") from error
    model.encoder.layers = model.encoder.layers[: layers[-1]]
    return WaveformEncoder(
        name=checkpoint.called,
        revision=checkpoint.revision(shape | {"do_normalize": normalises}),
        settings=Settings("short", 0.0, layers, dtype),
        layers=layers,
        model=model.to(device, TORCH_DTYPES[dtype]),
        normalises=normalises,
        device=device,
    )


def _shape(name: str, found: Config) -> Config:
    """Return what decides the network of a config.json, checked, and nothing else of it."""
    shape = chosen(name, found, SIZES, FIXED)
    odd = [key for key in LISTS if not _counts(found.get(key), like=found.get(LISTS[0]))]
    odd += [k for k, kind in OPTIONS.items() if k in found and type(found[k]) is not kind]
    if shape["hidden_size"] % shape["num_attention_heads"]:
        odd.append("num_attention_heads")
    if odd:
        raise InputError(f"encoder {name}: {CONFIG} has no usable {listing(odd, len(odd))}")
    return shape | {key: found[key] for key in (*LISTS, *OPTIONS) if key in found}


def _counts(values: object, like: object) -> bool:
    """Return whether these are counts, one a convolution, as many as of the other."""
    if not isinstance(values, list) or not isinstance(like, list) or len(values) != len(like):
        return False
    return all(type(value) is int and value > 0 for value in values)


def _normalises(checkpoint: Checkpoint) -> bool:
    """Return whether the checkpoint was trained on clips of mean 0 and variance 1."""
    normalises = checkpoint.preprocessor().get("do_normalize")
    if type(normalises) is not bool:
        raise InputError(
            f"encoder {checkpoint.name}: no {PREPROCESSOR} beside its weights says whether samples "
            "are normalised (do_normalize: true or false)"
        )
    return normalises


def _own(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave quantisers and heads out, and rename the weight norm of older checkpoints."""
    old = {"conv.weight_g": "original0", "conv.weight_v": "original1"}
    renamed = {}
    for name, tensor in tensors.items():
        for ending, new in old.items():
            if name.endswith(ending):
                name = f"{name.removesuffix(ending)}conv.parametrizations.weight.{new}"
        if name.startswith(PARTS):
            renamed[name] = tensor
    return renamed
