"""Whisper as CTranslate2 writes it: a `model.bin` byte by byte, so that it can also lie."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_generalize.ctranslate2 import Tensors

DTYPE_CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
WIDTH, HIDDEN, MELS, LAYERS, HEADS = 4, 6, 5, 2, 2


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def variable(name: str, shape: tuple[int, ...], code: int, size: int, data: bytes) -> bytes:
    head = struct.pack(f"<B{len(shape)}IBI", len(shape), *shape, code, size)
    return text(name) + head + data


def array(name: str, value: NDArray[Any]) -> bytes:
    return variable(name, value.shape, DTYPE_CODES[value.dtype.name], value.nbytes, value.tobytes())


def model(variables: list[bytes], aliases: Sequence[tuple[str, str]] = (), **lies: Any) -> bytes:
    """Write a `model.bin` as CTranslate2 does, except where a test asks for a lie."""
    honest: dict[str, Any] = {
        "version": 6,
        "spec": "WhisperSpec",
        "revision": 3,
        "count": len(variables),
    }
    version, spec, revision, count = (honest | lies).values()
    head = struct.pack("<I", version) + text(spec) + struct.pack("<II", revision, count)
    tail = struct.pack("<I", len(aliases)) + b"".join(text(a) + text(b) for a, b in aliases)
    return head + b"".join(variables) + tail


def whisper(dtype: str = "float16") -> Tensors:
    """Draw a Whisper of two tiny layers, with a decoder tensor that must never be read."""
    shapes = {"conv1": (WIDTH, MELS, 3), "conv2": (WIDTH, WIDTH, 3), "layer_norm": (WIDTH,)}
    for i in range(LAYERS):
        shapes |= {
            f"layer_{i}/self_attention/layer_norm": (WIDTH,),
            f"layer_{i}/self_attention/linear_0": (3 * WIDTH, WIDTH),
            f"layer_{i}/self_attention/linear_1": (WIDTH, WIDTH),
            f"layer_{i}/ffn/layer_norm": (WIDTH,),
            f"layer_{i}/ffn/linear_0": (HIDDEN, WIDTH),
            f"layer_{i}/ffn/linear_1": (WIDTH, HIDDEN),
        }
    rng = np.random.default_rng(0)
    found: Tensors = {"decoder/embeddings/weight": rng.normal(size=(7, WIDTH)).astype(dtype)}
    for name, shape in shapes.items():
        weight, bias = ("gamma", "beta") if name.endswith("norm") else ("weight", "bias")
        found[f"encoder/{name}/{weight}"] = rng.normal(size=shape).astype(dtype)
        found[f"encoder/{name}/{bias}"] = rng.normal(size=shape[:1]).astype(dtype)
        if name.endswith("linear_0") and shape[0] == 3 * WIDTH:
            found[f"encoder/{name}/{bias}"][WIDTH : 2 * WIDTH] = 0
    found["encoder/position_encodings/encodings"] = rng.normal(size=(50, WIDTH)).astype(dtype)
    return found | {"encoder/num_heads": np.array(HEADS, np.int16)}


def quantised(variables: Tensors, dtype: str) -> Tensors:
    """Quantise as CTranslate2's converter: int8 with a scale a row, int16 with one a tensor."""
    found = dict(variables)
    for name, value in variables.items():
        if name.endswith("/weight") and (dtype == "int8" or value.ndim == 2):
            amax = np.abs(value.astype(np.float32).reshape(len(value), -1)).max(axis=1)
            scale = np.float32(127) / amax if dtype == "int8" else np.float32(2**10 / amax.max())
            per_row = np.reshape(scale, (-1, *[1] * (value.ndim - 1)))
            found[name] = np.rint(value.astype(np.float32) * per_row).astype(dtype)
            found[f"{name}_scale"] = np.asarray(scale, np.float32)
    return found


def whole(variables: Tensors | None = None, **lies: Any) -> bytes:
    found = whisper() if variables is None else variables
    return model([array(name, value) for name, value in sorted(found.items())], **lies)


def folder_of(data: bytes, parent: Path) -> Path:
    folder = parent / "model"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.bin").write_bytes(data)
    (folder / "config.json").write_text("{}")
    return folder
