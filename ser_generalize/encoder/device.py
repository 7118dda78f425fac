"""Where an encoder runs and in what precision, and its matrix products there."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import gelu, linear

from ser_generalize.encoder.interface import DTYPES
from ser_generalize.errors import InputError, one_of

TORCH_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PACKED_ROWS = 1024  # what oneDNN is told to lay weights out for; any number of rows may follow

Linear = Callable[[Tensor], Tensor]


def find_device(name: str | None) -> torch.device:
    """Return a device by its name in torch; without one a GPU where there is one, else the CPU."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise InputError(f"unknown device {name!r}; such as cpu, cuda or cuda:1") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name}: torch sees no GPU here; use cpu")
    return device


def find_dtype(name: str | None, device: torch.device) -> str:
    """Check that a device computes in this precision; None takes its fastest that is accurate."""
    if name is None:
        return "bf16" if has_bf16(device) else "fp32"
    one_of("dtype", name, DTYPES)
    if name == "fp16" and device.type == "cpu":
        raise InputError("dtype fp16 is for GPUs; on a CPU use bf16 or fp32")
    if name == "bf16" and not has_bf16(device):
        raise InputError(
            f"dtype bf16: this {device.type} has no arithmetic for it (on a CPU: AVX512-BF16 or "
            "AMX) and would be slower than with fp32; use --dtype fp32"
        )
    return name


def has_bf16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 by itself, and does not emulate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def make_linear(
    weight: Tensor, bias: Tensor, device: torch.device, dtype: str, activated: bool = False
) -> Linear:
    """Return x -> x W^T + b, through a GELU if `activated`, for inputs [rows, in] of this dtype.

    On a CPU the product is oneDNN's, its weight laid out beforehand: torch calls another library
    for float32, which runs at less than half the speed on some processors.
    """
    weight = weight.to(device, TORCH_DTYPES[dtype]).contiguous()
    bias = bias.to(device, TORCH_DTYPES[dtype])
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_ROWS)
        multiply, after = torch.ops.mkldnn._linear_pointwise, "gelu" if activated else "none"
        return lambda rows: multiply(rows, packed, bias, after, [], "none")
    if activated:
        return lambda rows: gelu(linear(rows, weight, bias))
    return lambda rows: linear(rows, weight, bias)
