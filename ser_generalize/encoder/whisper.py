"""Whisper's encoder on windows as long as the clip, every layer pooled over the real frames.

The stock path pads each clip to 30 s, so nine tenths of its work on a 3-s clip is silence. Here a
window is as long as its clip, and the silence behind it is remembered (`silence`) or, on request,
cut off; the frames of a batch lie one after the other without padding, and attention and pooling
keep to their own clip. What surrounds a clip is silence in the log-mel domain (what zero samples
give, never a mel of zeros, which would be loud).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_generalize.encoder.checkpoint import Checkpoint, Config, chosen
from ser_generalize.encoder.device import find_dtype
from ser_generalize.encoder.interface import CUT, SHORT, STOCK, Samples, Settings, find_layers
from ser_generalize.encoder.mel import log_mel, mel_filters
from ser_generalize.encoder.network import Network, make_network
from ser_generalize.encoder.ragged import Ragged, in_steps
from ser_generalize.encoder.silence import BEHIND, EDGES, rows_ahead
from ser_generalize.encoder.windows import capacity, count_windows, embed_windows
from ser_generalize.errors import InputError

STRIDE = 320  # samples between encoder frames: the second convolution halves the rate
FRAME_RATE = 50  # encoder frames a second
SIZES = (
    "d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim",
    "num_mel_bins", "max_source_positions",
)  # fmt: skip
FIXED: Config = {"activation_function": "gelu", "scale_embedding": False}  # of every Whisper


@dataclass(frozen=True)
class Whisper:
    """A frozen Whisper encoder; see `Encoder` for what it promises."""

    name: str
    revision: str
    settings: Settings
    layers: tuple[int, ...]
    network: Network
    filters: Tensor  # [402, mels]
    width: int
    parameters: int
    statistics: tuple[str, ...] = ("mean", "std")

    @property
    def capacity(self) -> int:
        """The samples that one batch may hold on this device, padding included."""
        return capacity(self.filters.device)

    def cost(self, samples: int) -> int:
        """Return how many samples a clip of this many takes in a batch, padding included."""
        windows = count_windows(samples, self._limit)
        own = self._rows(self.window_frames(-(-samples // windows)))
        return windows * (rows_ahead(self.network.silence) + own) * STRIDE

    def window_frames(self, samples: int) -> int:
        """Return how many frames the window of a clip of this many samples has."""
        positions = len(self.network.positions)
        if self.settings.window == STOCK:
            return positions
        margin = round((self.settings.margin or 0.0) * FRAME_RATE)
        behind = BEHIND if self.network.silence else margin
        return min(real_frames(samples) + behind, positions)

    def embed(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        """Return mean and deviation of every layer, float32 [clips, layers, 2, width]."""
        return embed_windows(
            waves, self._limit, real_frames, self.cost, self.pool, self.filters.device
        )

    @property
    def _limit(self) -> int:
        """The longest window, for more the encoder has no positions: 30 s in every Whisper."""
        return len(self.network.positions) * STRIDE

    @torch.inference_mode()
    def pool(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        """Return the same of windows, all at once and in this thread alone."""
        lengths = [len(wave) for wave in waves]
        heard = [self.window_frames(length) for length in lengths]
        real, device = [real_frames(length) for length in lengths], self.filters.device
        padded, rows = device.type != "cpu", [self._rows(frames) for frames in heard]
        ragged = Ragged(rows, heard, real, device, padded, self.network.silence)
        states = enumerate(self.network.states(self._mel(waves, rows), ragged))
        pooled = [ragged.pool(hidden) for layer, hidden in states if layer in self.layers]
        return torch.stack(pooled, dim=1).cpu().numpy()

    def _rows(self, frames: int) -> int:
        """Return how many rows a window of this many frames has in the network."""
        if self.network.silence is None:
            return frames
        return min(in_steps(frames), len(self.network.positions))

    def _mel(self, waves: Sequence[Samples], frames: Sequence[int]) -> Tensor:
        """Return every clip's mel between what surrounds it: zeros before, silence behind.

        Only behind the last of all positions are zeros, as `transformers` has them.
        """
        mels, silences = log_mel(waves, self.filters)
        rows = []
        for mel, silence, count in zip(mels, silences, frames, strict=True):
            more = int(count < len(self.network.positions))
            sound = mel[: 2 * count + more]
            quiet = silence.expand(2 * count + more - len(sound), mel.shape[1])
            rows.append(pad(torch.cat([sound, quiet]), (0, 0, 1, 1 - more)))
        if self.network.silence:
            edges = silences[:, None, None].expand(-1, 2 * EDGES, mels.shape[2])
            rows.extend(pad(edges, (0, 0, 1, 1)))
        return torch.cat(rows).to(self.network.positions.dtype)


def load_whisper(checkpoint: Checkpoint, settings: Settings, device: torch.device) -> Whisper:
    """Load a checkpoint whose model_type is whisper; raises InputError where it is not usable."""
    name = checkpoint.name
    sizes = chosen(name, checkpoint.config(), SIZES, FIXED)
    if sizes["d_model"] % sizes["encoder_attention_heads"]:
        raise InputError(f"encoder {name}: config.json has no usable encoder_attention_heads")
    settings = _resolved(name, settings, sizes["encoder_layers"], device)
    assert settings.layers and settings.dtype
    config = WhisperConfig(**sizes, **FIXED)
    model = checkpoint.load(lambda: WhisperEncoder(config), "model.encoder.")
    return Whisper(
        name=checkpoint.called,
        revision=checkpoint.revision(sizes),
        settings=settings,
        layers=settings.layers,
        network=make_network(
            model, settings.layers[-1], device, settings.dtype, settings.window == SHORT
        ),
        filters=mel_filters(sizes["num_mel_bins"]).to(device),
        width=sizes["d_model"],
        parameters=_parameters(model, settings.layers[-1]),
    )


def _parameters(model: WhisperEncoder, last: int) -> int:
    """Return how many weights are used up to the output of block number `last`."""
    unused = [] if last == len(model.layers) else [*model.layers[last:], model.layer_norm]
    left_out = sum(weight.numel() for module in unused for weight in module.parameters())
    return sum(weight.numel() for weight in model.parameters()) - left_out


def real_frames(samples: int) -> int:
    """Return how many encoder frames (20 ms each) a clip of this many samples covers."""
    return -(-samples // STRIDE)


def _resolved(name: str, settings: Settings, last: int, device: torch.device) -> Settings:
    margin = settings.margin or 0.0
    if not 0 <= margin <= 30:
        raise InputError(f"margin {margin:g} is no silence of 0 to 30 s")
    if margin and settings.window != CUT:
        raise InputError(
            f"margin {margin:g}: only a cut window has one, a {settings.window} window hears all "
            f"the silence; leave out --margin, or use --window {CUT}"
        )
    layers = find_layers(name, settings.layers, last)
    return Settings(settings.window, margin, layers, find_dtype(settings.dtype, device))
