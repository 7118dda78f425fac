"""Reading faster-whisper folders: the real packaged model, and files nobody should trust."""

import hashlib
import importlib.util
import json
import struct
import sys
import tempfile
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ser_generalize import ctranslate2
from ser_generalize.ctranslate2 import Tensors, convert, converted, read_tensors
from ser_generalize.errors import InputError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "models" / "whisper-tiny.en"
DTYPE_CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
WIDTH, HIDDEN, MELS, LAYERS, HEADS = 4, 6, 5, 2, 2

MISSING = importlib.util.find_spec(ctranslate2.PACKAGE) is None
needs_package = pytest.mark.skipif(MISSING, reason="the extra `offline` is not installed")
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no reference model in ../shared")


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


def whole(variables: Tensors | None = None, **lies: Any) -> bytes:
    found = whisper() if variables is None else variables
    return model([array(name, value) for name, value in sorted(found.items())], **lies)


def folder_of(data: bytes, parent: Path) -> Path:
    folder = parent / "model"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.bin").write_bytes(data)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ser-generalize"


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return ctranslate2.packaged_whisper()


@needs_package
@needs_shared
def test_the_packaged_encoder_is_openais_bit_for_bit(packaged: Path) -> None:
    ours, reference = (load_file(f / "model.safetensors") for f in (packaged, SHARED))
    encoder = {name: value for name, value in reference.items() if ".encoder." in name}
    assert ours.keys() == encoder.keys()
    assert {value.dtype for value in ours.values()} == {np.dtype("float16")}
    assert all(np.array_equal(ours[k].view("u2"), v.view("u2")) for k, v in encoder.items())


@needs_package
@needs_shared
def test_the_packaged_configuration_says_what_openais_says(packaged: Path) -> None:
    ours, reference = (json.loads((f / "config.json").read_text()) for f in (packaged, SHARED))
    assert ours.pop("architectures") == ["WhisperModel"] and ours.pop("decoder_layers") == 0
    assert ours.items() <= reference.items()
    name = "preprocessor_config.json"
    assert json.loads((packaged / name).read_text()) == json.loads((SHARED / name).read_text())


@needs_package
@needs_shared
def test_transformers_loads_it_and_computes_the_same(packaged: Path) -> None:
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    mel = torch.randn(1, 80, 40, generator=torch.Generator().manual_seed(0))  # short, fast
    outputs = []
    for folder in (packaged, SHARED):
        config = WhisperConfig.from_pretrained(folder, max_source_positions=20)
        state = load_file(folder / "model.safetensors").items()
        named = {k.removeprefix("model.encoder."): torch.from_numpy(v).float() for k, v in state}
        named["embed_positions.weight"] = named["embed_positions.weight"][:20]
        encoder = WhisperEncoder(config).eval()
        encoder.load_state_dict(named)
        with torch.inference_mode():
            outputs.append(encoder(mel).last_hidden_state)
    assert outputs[0].shape == (1, 20, 384) and torch.equal(outputs[0], outputs[1])


@needs_package
def test_never_imported_and_hashed_once(packaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(packaged.parents[1]))
    monkeypatch.setattr(ctranslate2, "_sha256", lambda path: pytest.fail("hashed again"))
    assert ctranslate2.packaged_whisper() == packaged
    assert packaged.name == "whisper-tiny.en-1a5afae06a4d"
    assert ctranslate2.PACKAGE not in sys.modules


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctranslate2, "PACKAGE", "no_such_package_anywhere")
    with pytest.raises(InputError, match=r"ser-generalize\[offline\].*--encoder"):
        ctranslate2.packaged_whisper()


def test_another_file(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(whole(), tmp_path / "other_whisper_package")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(ctranslate2, "PACKAGE", "other_whisper_package")
    with pytest.raises(InputError, match="pinned"):
        ctranslate2.packaged_whisper()
    assert not cache.exists()


def test_names_stacks_and_shapes(tmp_path: Path) -> None:
    variables = whisper()
    convert(folder_of(whole(), tmp_path), tmp_path / "out")
    state = load_file(tmp_path / "out" / "model.safetensors")
    stacked = variables["encoder/layer_1/self_attention/linear_0/weight"]
    parts = [state[f"model.encoder.layers.1.self_attn.{x}_proj.weight"] for x in "qkv"]
    assert np.array_equal(np.concatenate(parts), stacked)
    assert "model.encoder.layers.1.self_attn.k_proj.bias" not in state
    assert len(state) == 7 + 15 * LAYERS
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    sizes = ("d_model", "encoder_ffn_dim", "num_mel_bins", "encoder_layers")
    assert [config[key] for key in sizes] == [WIDTH, HIDDEN, MELS, LAYERS]
    assert config["encoder_attention_heads"] == HEADS and config["max_source_positions"] == 50
    preprocessor = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert (preprocessor["chunk_length"], preprocessor["n_samples"]) == (1, 16_000)


def test_only_the_prefix_is_returned_as_views_of_the_file(tmp_path: Path) -> None:
    variables = whisper()
    found = read_tensors(folder_of(whole(), tmp_path) / "model.bin")
    assert found.keys() == {name for name in variables if name.startswith("encoder/")}
    assert all(np.array_equal(value, variables[name]) for name, value in found.items())
    assert not any(value.flags.owndata or value.flags.writeable for value in found.values())


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


@pytest.mark.parametrize(("dtype", "steps"), [("int8", 127), ("int16", 1024)])
@pytest.mark.parametrize("rest", ["float16", "float32"])
def test_half_a_step_is_lost(dtype: str, steps: int, rest: str, tmp_path: Path) -> None:
    """Quantised weights come back as float32, as near as rounding allows."""
    variables = whisper(rest)
    convert(folder_of(whole(quantised(variables, dtype)), tmp_path), tmp_path / "out")
    state = load_file(tmp_path / "out" / "model.safetensors")
    assert {value.dtype for value in state.values()} == {np.dtype("float32")}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"
    exact = variables["encoder/layer_0/ffn/linear_0/weight"].astype(np.float32)
    error = np.abs(state["model.encoder.layers.0.fc1.weight"] - exact)
    assert 0 < error.max() <= 0.5001 * np.abs(exact).max() / steps


def test_aliases_share_values_and_scales_even_with_the_decoder(tmp_path: Path) -> None:
    variables = quantised(whisper(), "int8")
    first, second = (f"encoder/layer_{i}/ffn/linear_0/weight" for i in (0, 1))
    norm = "encoder/layer_norm/beta"
    for name in (second, f"{second}_scale"):
        del variables[name]
    variables["decoder/layer_norm/beta"] = variables.pop(norm)
    data = whole(variables, aliases=((second, first), (norm, "decoder/layer_norm/beta")))
    convert(folder_of(data, tmp_path), tmp_path / "out")
    state = load_file(tmp_path / "out" / "model.safetensors")
    fc1 = [state[f"model.encoder.layers.{i}.fc1.weight"] for i in (0, 1)]
    assert np.array_equal(fc1[0], fc1[1]) and "model.encoder.layer_norm.bias" in state


@pytest.mark.parametrize("beside", ["config.json", "vocabulary.txt", "vocabulary.json"])
def test_a_faster_whisper_folder_is_recognised(beside: str, tmp_path: Path) -> None:
    assert not ctranslate2.is_faster_whisper(tmp_path / "nowhere")
    (tmp_path / beside).write_text("")
    assert not ctranslate2.is_faster_whisper(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"")
    assert ctranslate2.is_faster_whisper(tmp_path)


def test_a_folder_is_converted_once_under_its_checksum(tmp_path: Path, cache: Path) -> None:
    folder = folder_of(whole(), tmp_path)
    target = converted(folder)
    stamp = (target / "model.safetensors").stat().st_mtime_ns
    digest = hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest()
    assert target == cache / f"faster-whisper-{digest[:12]}"
    assert converted(folder) == target
    assert (target / "model.safetensors").stat().st_mtime_ns == stamp
    folder_of(whole(whisper("float32")), tmp_path)
    assert converted(folder) != target


def test_many_at_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, barrier, rename = folder_of(whole(), tmp_path), Barrier(4), ctranslate2._rename

    def all_together(sibling: Path, out: Path) -> None:
        barrier.wait(timeout=10)  # all four have converted; none has renamed
        rename(sibling, out)

    monkeypatch.setattr(ctranslate2, "_rename", all_together)
    with ThreadPoolExecutor(4) as pool:
        targets = set(pool.map(converted, [folder] * 4))
    assert [*cache.iterdir()] == [*targets]
    assert sorted(path.name for path in targets.pop().iterdir()) == ctranslate2.FILES


def test_another_model_in_the_way_is_kept_and_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(folder_of(whole(), tmp_path), out)
    convert(tmp_path / "model", out)  # the same again is fine
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="cannot write"):
        convert(folder_of(whole(whisper("float32")), tmp_path), out)
    assert (out / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ctranslate2, "save_file", full)
    with pytest.raises(InputError, match="No space left"):
        convert(folder_of(whole(), tmp_path), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


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
def test_a_hostile_file_is_one_line_and_no_folder(case: str, tmp_path: Path, cache: Path) -> None:
    data, reason = HOSTILE[case]
    folder = folder_of(data, tmp_path)
    with pytest.raises(InputError, match=reason) as raised:
        converted(folder)
    assert "\n" not in str(raised.value) and str(folder) in str(raised.value)
    assert not cache.exists()


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
