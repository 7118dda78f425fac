"""Reading faster-whisper folders: the real packaged model, every layout of weights, the cache."""

import hashlib
import importlib.util
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from make_ctranslate2 import (
    HEADS,
    HIDDEN,
    LAYERS,
    MELS,
    WIDTH,
    folder_of,
    quantised,
    whisper,
    whole,
)
from safetensors.numpy import load_file

from ser_generalize import ctranslate2
from ser_generalize.ctranslate2 import convert, converted, read_tensors
from ser_generalize.errors import InputError

pytestmark = pytest.mark.usefixtures("encoder_cache")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "models" / "whisper-tiny.en"
MISSING = importlib.util.find_spec(ctranslate2.PACKAGE) is None
needs_package = pytest.mark.skipif(MISSING, reason="the extra `offline` is not installed")
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no reference model in ../shared")


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


def test_another_file(tmp_path: Path, encoder_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(whole(), tmp_path / "other_whisper_package")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(ctranslate2, "PACKAGE", "other_whisper_package")
    with pytest.raises(InputError, match="pinned"):
        ctranslate2.packaged_whisper()
    assert not encoder_cache.exists()


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


def test_a_folder_is_converted_once_under_its_checksum(tmp_path: Path, encoder_cache: Path) -> None:
    folder = folder_of(whole(), tmp_path)
    target = converted(folder)
    stamp = (target / "model.safetensors").stat().st_mtime_ns
    digest = hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest()
    assert target == encoder_cache / f"faster-whisper-{digest[:12]}"
    assert converted(folder) == target
    assert (target / "model.safetensors").stat().st_mtime_ns == stamp
    folder_of(whole(whisper("float32")), tmp_path)
    assert converted(folder) != target


def test_many_at_once(tmp_path: Path, encoder_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, barrier, rename = folder_of(whole(), tmp_path), Barrier(4), ctranslate2._rename

    def all_together(sibling: Path, out: Path) -> None:
        barrier.wait(timeout=10)  # all four have converted; none has renamed
        rename(sibling, out)

    monkeypatch.setattr(ctranslate2, "_rename", all_together)
    with ThreadPoolExecutor(4) as pool:
        targets = set(pool.map(converted, [folder] * 4))
    assert [*encoder_cache.iterdir()] == [*targets]
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
