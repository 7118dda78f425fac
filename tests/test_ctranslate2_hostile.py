"""Files nobody should trust in faster-whisper folders: refused in one line, nothing written."""

import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_ctranslate2 import (
    MELS,
    WIDTH,
    array,
    folder_of,
    model,
    quantised,
    variable,
    whisper,
    whole,
)
from numpy.typing import NDArray

from ser_generalize import ctranslate2
from ser_generalize.ctranslate2 import convert, converted, read_tensors
from ser_generalize.errors import InputError

pytestmark = pytest.mark.usefixtures("encoder_cache")


def without(name: str) -> bytes:
    return whole({k: v for k, v in whisper().items() if k != f"encoder/{name}"})


def having(name: str, value: NDArray[Any]) -> bytes:
    return whole(whisper() | {f"encoder/{name}": value})


def lone(shape: tuple[int, ...], code: int, size: int, data: bytes) -> bytes:
    return model([variable("x", shape, code, size, data)])


def half(*shape: int) -> NDArray[np.float16]:
    return np.ones(shape, np.float16)


VALID = whole()
BETA, QKV_BIAS = "encoder/layer_norm/beta", "layer_0/self_attention/linear_0/bias"
ZERO_SCALE = {"encoder/conv1/weight_scale": np.zeros(WIDTH, np.float32)}
UNFOLDING = [(f"encoder/x{i}", "encoder/x") for i in range(100)]
WRAPPING = (242_243_305, 49_477, 384_773)  # 2**62 + 1 floats: 4 bytes in 64-bit arithmetic
HOSTILE = {
    "empty": (b"", "cannot read"),
    "pickle": (b"\x80\x04\x95\x00\x00", "version 6"),
    "wrong version": (whole(version=7), "version 6 .found 7"),
    "translation model": (whole(spec="TransformerSpec"), "TransformerSpec"),
    "later revision": (whole(revision=4), "revision up to 3"),
    "trailing garbage": (VALID + b"\0", "1 bytes follow"),
    "one variable too many": (whole(count=99), "truncated|name"),
    "four billion variables": (whole(count=2**32 - 1), "4294967295 variables"),
    "huge shape": (lone((2**32 - 1,) * 4, 0, 4, b"1234"), "claims 4 "),
    "shape that wraps to 4 bytes": (lone(WRAPPING, 0, 4, b"1234"), "claims 4 "),
    "shape past the end": (lone((2**28,), 1, 2**28, b""), "truncated"),
    "minus one byte": (lone((1,), 1, 2**32 - 1, b"1"), "claims 4294967295"),
    "a byte short": (lone((2,), 4, 3, b"123"), "claims 3 "),
    "no numbers": (lone((0, 9), 4, 0, b""), "claims 0 "),
    "unknown dtype": (lone((1,), 5, 2, b"12"), "unknown dtype 5"),
    "a hundred axes": (lone((1,) * 100, 1, 1, b"1"), "100 axes"),
    "long name": (model([array("x" * 256, half(1))]), "a name of 257 bytes"),
    "unprintable name": (model([array("x\n", half(1))]), "no name at"),
    "twice": (model([array("x", half(1))] * 2), "x twice"),
    "alias of nothing": (whole(aliases=[("encoder/a", "encoder/b")]), "no variable"),
    "alias that hides": (whole(aliases=[("encoder/num_heads", BETA)]), "hides"),
    "unfolding": (model([array("encoder/x", half(9000))], UNFOLDING), "more numbers than the file"),
    "not Whisper's names": (model([array("encoder/x/weight", half(2))]), "no num_heads"),
    "missing tensor": (without("layer_1/ffn/linear_1/bias"), "no tensor layer_1"),
    "missing heads": (without("num_heads"), "no num_heads"),
    "left over": (having("adapter/weight", half(2)), "also has adapter/weight"),
    "odd shape": (having("layer_norm/beta", half(WIDTH + 1)), "shape .4,."),
    "odd rank": (having("conv1/weight", half(WIDTH, MELS)), "right rank"),
    "three heads of four": (having("num_heads", np.array(3, np.int16)), "3 heads"),
    "minus one head": (having("num_heads", np.array(-1, np.int16)), "-1 heads"),
    "infinite heads": (having("num_heads", np.array(np.inf, np.float32)), "num_heads"),
    "part of a second": (having("position_encodings/encodings", half(49, WIDTH)), "49 positions"),
    "biased keys": (having(QKV_BIAS, half(3 * WIDTH)), "k_proj.bias"),
    "not a number": (having("layer_norm/beta", half(WIDTH) * np.nan), "finite"),
    "integers": (having("layer_norm/beta", np.ones(WIDTH, np.int32)), "finite floats"),
    "int8 without scale": (having("conv2/bias", np.ones(WIDTH, np.int8)), "without a float32"),
    "a scale of zero": (whole(quantised(whisper(), "int8") | ZERO_SCALE), "finite"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_one_line_and_no_folder(
    case: str, tmp_path: Path, encoder_cache: Path
) -> None:
    data, reason = HOSTILE[case]
    folder = folder_of(data, tmp_path)
    with pytest.raises(InputError, match=reason) as raised:
        converted(folder)
    assert "\n" not in str(raised.value) and str(folder) in str(raised.value)
    assert not encoder_cache.exists()


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    for call in (converted, lambda folder: read_tensors(folder / "model.bin")):
        with pytest.raises(InputError, match=r"cannot read .*model\.bin"):
            call(tmp_path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = model([array("encoder/x", half(2, 3)), array("y", half(1))], (("z", "y"),))
    path = tmp_path / "model.bin"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(InputError):
            read_tensors(path)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    flips=st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(1, 255)), max_size=4),
    size=st.integers(0, len(VALID)) | st.just(len(VALID)),
)
def test_damage_is_refused_or_harmless(flips: list[tuple[int, int]], size: int) -> None:
    data = bytearray(VALID)
    for position, mask in flips:
        data[position] ^= mask
    with tempfile.TemporaryDirectory() as name:
        folder, out = folder_of(bytes(data[:size]), Path(name)), Path(name) / "out"
        tracemalloc.start()
        try:
            convert(folder, out)
            assert sorted(path.name for path in out.iterdir()) == ctranslate2.FILES
        except InputError:
            assert not out.exists()
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert peak < 1_000_000
