"""Whisper against `transformers`, and against itself in other company, windows and precision."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from make_encoder import RATE, assert_close, sound, write_encoder
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import gelu
from transformers import WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_generalize import ctranslate2
from ser_generalize.encoder import (
    Encoder,
    Samples,
    Settings,
    batches,
    load_encoder,
    silence,
    whisper,
)
from ser_generalize.encoder.device import has_bf16
from ser_generalize.encoder.mel import log_mel, mel_filters, sounding_frames
from ser_generalize.encoder.ragged import Ragged, in_steps
from ser_generalize.encoder.silence import remember, rows_ahead
from ser_generalize.errors import InputError

CPU = torch.device("cpu")
SHORT_POSITIONS = 50  # an encoder whose window is 1 s, to cut clips without long ones


def load(folder: Path | str, **asked: Any) -> Encoder:
    return load_encoder(str(folder), Settings(**({"dtype": "fp32"} | asked)), "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoders") / "random")


@pytest.fixture(scope="module")
def one_second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders") / "one-second"
    return write_encoder(folder, positions=SHORT_POSITIONS)


def stock_mel(waves: list[Samples], mels: int) -> Tensor:
    extractor = WhisperFeatureExtractor(feature_size=mels)
    return extractor(waves, sampling_rate=RATE, return_tensors="pt").input_features


@cache
def stock_encoder(folder: Path) -> WhisperEncoder:
    model, info = WhisperEncoder.from_pretrained(
        folder,
        dtype=torch.float32,
        key_mapping={r"^model\.encoder\.": ""},
        output_loading_info=True,
    )
    assert not info["missing_keys"]
    return model.eval()


@torch.inference_mode()
def stock_frames(folder: Path, wave: Samples, window: int) -> list[NDArray[np.float64]]:
    """Run the stock layers on the first frames of a padded clip; of every layer the real frames."""
    stock = stock_encoder(folder)
    mel = stock_mel([wave], stock.config.num_mel_bins)
    if window == stock.config.max_source_positions:
        mel = mel[:, :, : 2 * window]  # zeros are behind its last frame, and no silence
    hidden = gelu(stock.conv2(gelu(stock.conv1(mel)))).transpose(1, 2)[:, :window]
    states = [hidden + stock.embed_positions.weight[:window]]
    for layer in stock.layers:
        states.append(layer(states[-1], None))
    states[-1] = stock.layer_norm(states[-1])
    return [state[0, : frames_of(wave)].double().numpy() for state in states]


def statistics(frames: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.stack([[array.mean(axis=0), array.std(axis=0)] for array in frames])


def frames_of(wave: Samples) -> int:
    return -(-len(wave) // 320)


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("seconds", [(2.0, 1.3, 0.1), (29.9,), (0.1003, 0.1)])
def test_log_mel_is_that_of_transformers(mels: int, seconds: tuple[float, ...]) -> None:
    waves = [0.02**seed * sound(length, seed) for seed, length in enumerate(seconds)]
    found, quietest = log_mel(waves, mel_filters(mels))
    expected = stock_mel(waves, mels).transpose(1, 2)
    for ours, quiet, theirs, wave in zip(found, quietest, expected, waves, strict=True):
        frames = sounding_frames(len(wave))
        torch.testing.assert_close(ours[:frames], theirs[:frames], rtol=0, atol=1e-4)
        rest = theirs[frames:]
        torch.testing.assert_close(rest, quiet.expand_as(rest), rtol=0, atol=1e-4)


def random_folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue("folder")


def real_folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue("shared") / "models" / "whisper-tiny.en"


def packaged_folder(request: pytest.FixtureRequest) -> Path:
    if importlib.util.find_spec(ctranslate2.PACKAGE) is None:
        pytest.skip("the extra `offline` is not installed")
    request.getfixturevalue("encoder_cache")
    return ctranslate2.packaged_whisper()


@pytest.mark.parametrize("source", [random_folder, real_folder, packaged_folder])
def test_the_30_s_window_is_the_computation_of_transformers(
    source: Any, request: pytest.FixtureRequest
) -> None:
    path = source(request)
    loaded = load("offline" if source is packaged_folder else path, window="30s")
    waves = [sound(2.5, 1), sound(30.0, 2)[:-400]]
    with torch.inference_mode():
        mel = stock_mel(waves, 80)
        states = stock_encoder(path)(mel, output_hidden_states=True).hidden_states
    for index, (found, wave) in enumerate(zip(loaded.embed(waves), waves, strict=True)):
        frames = [state[index, : frames_of(wave)].double().numpy() for state in states]
        assert len(found) == len(frames) == len(loaded.layers)
        for ours, theirs in zip(found, statistics(frames), strict=True):
            assert_close(ours, theirs, 2e-5)


@pytest.mark.parametrize("source", [random_folder, real_folder])
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_a_cut_window_runs_the_stock_layers_on_the_clip_and_its_margin(
    source: Any, margin: float, request: pytest.FixtureRequest
) -> None:
    path, wave = source(request), sound(1.234, 2)
    expected = statistics(stock_frames(path, wave, frames_of(wave) + round(50 * margin)))
    found = load(path, window="cut", margin=margin).embed([wave])[0]
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, 2e-5)


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1_600, 16_000), min_size=2, max_size=5),
    asked=st.sampled_from([{"window": "short"}, {"window": "cut", "margin": 0.3}]),
    data=st.data(),
)
def test_a_clip_is_the_same_in_any_company(
    one_second: Path, lengths: list[int], asked: dict[str, Any], data: st.DataObject
) -> None:
    loaded = load(one_second, **asked)
    waves = [sound(0, seed, samples=length) for seed, length in enumerate(lengths)]
    order = data.draw(st.permutations(range(len(waves))))
    together = loaded.embed([waves[index] for index in order])
    for row, index in zip(together, order, strict=True):
        assert_close(row, loaded.embed([waves[index]])[0])


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1_600, 60_000), min_size=1, max_size=4))
@example(lengths=[16_001])  # windows of 26 and 25 frames
def test_long_clips_are_cut_and_joined_each_with_its_own_windows(
    one_second: Path, lengths: list[int]
) -> None:
    waves = [sound(0, seed, samples=length) for seed, length in enumerate(lengths)]
    for found, wave in zip(load(one_second, window="cut").embed(waves), waves, strict=True):
        pieces = np.array_split(wave, -(-len(wave) // (SHORT_POSITIONS * 320)))
        parts = [stock_frames(one_second, piece, frames_of(piece)) for piece in pieces]
        joined = [np.concatenate(layer) for layer in zip(*parts, strict=True)]
        assert_close(found, statistics(joined))


@pytest.mark.parametrize("window", ["short", "cut"])
def test_a_clip_of_exactly_30_s_is_the_same_in_any_window(window: str, folder: Path) -> None:
    wave = sound(30.0, 4)
    assert_close(*(load(folder, window=one).embed([wave]) for one in (window, "30s")), 1e-5)


def distances(folder: Path, waves: list[Samples]) -> tuple[NDArray[np.float64], ...]:
    """Return how far short and cut windows are from 30 s, layer by layer of the blocks."""
    stock = load(folder, window="30s").embed(waves)[:, 1:]
    found = (load(folder, window=window).embed(waves)[:, 1:] for window in ("short", "cut"))
    return tuple(np.square(one - stock).sum(axis=(0, 2, 3)) ** 0.5 for one in found)


def test_the_more_silent_frames_are_run_the_nearer_is_30_s(
    one_second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = [sound(0.3, 1), sound(0.52, 2)]
    nearer = [distances(one_second, waves)[1]]
    for large in (6.0, 1.1, 1.02):  # times the median norm
        monkeypatch.setattr(silence, "LARGE", large)
        nearer.append(distances(one_second, waves)[0])
    assert (np.diff(nearer, axis=0) < 0).all() and (nearer[-1] < 0.4 * nearer[0]).all()


def test_remembered_silence_brings_a_real_whisper_near_30_s(shared: Path) -> None:
    folder = shared / "models" / "whisper-tiny.en"
    short, cut = distances(folder, [sound(1.5, 1), sound(3.0, 2)])
    assert (short < 0.25 * cut).all()


def test_a_long_clip_takes_no_more_memory_than_a_batch(
    one_second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    whole = whisper.log_mel

    def note(waves: Any, filters: Tensor) -> Any:
        held.append(sum(map(len, waves)))
        return whole(waves, filters)

    monkeypatch.setattr(whisper, "log_mel", note)
    load(one_second).embed([sound(40.0)])
    assert len(held) > 1 and sum(held) == 40 * RATE and max(held) <= 20 * RATE


def test_the_number_of_threads_changes_no_bit(folder: Path) -> None:
    loaded, waves = load(folder), [sound(6.0 + i / 10, i) for i in range(8)]
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(loaded.embed(waves))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(*found)


@pytest.mark.parametrize("window", ["short", "30s"])
def test_fewer_layers_are_the_same_ones_and_the_rest_is_not_computed(
    window: str, folder: Path
) -> None:
    waves = [sound(0.5, 1), sound(0.7, 2)]
    every = load(folder, window=window).embed(waves)
    for layers in [(0,), (1,), (1, 0), (2,)]:
        some: Any = load(folder, window=window, layers=layers)
        assert some.layers == some.settings.layers == tuple(sorted(layers))
        assert len(some.network.blocks) == max(layers)
        assert_close(some.embed(waves), every[:, sorted(layers)], 1e-5)


@pytest.mark.skipif(not has_bf16(CPU), reason="this CPU has no bf16 arithmetic")
@pytest.mark.parametrize("source", [random_folder, real_folder])
def test_bf16_is_close_to_fp32_and_the_default_where_it_is_fast(
    source: Any, request: pytest.FixtureRequest
) -> None:
    path, wave = source(request), sound(2.0, 1)
    exact, half = (load(path, dtype=dtype).embed([wave])[0] for dtype in ("fp32", "bf16"))
    assert not np.array_equal(exact, half)
    distance = np.linalg.norm(half - exact, axis=-1) / np.linalg.norm(exact, axis=-1)
    assert distance.max() < 0.03
    assert load_encoder(str(path)).settings.dtype == "bf16"


@settings(max_examples=30, deadline=None)
@given(
    data=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5)), min_size=1, max_size=6),
    block=st.sampled_from([None, 0, 1]),
)
def test_a_gpu_s_rectangle_gives_what_clip_by_clip_gives(
    one_second: Path, data: list[tuple[int, int]], block: int | None
) -> None:
    real, heard = [frames for frames, _ in data], [sum(pair) for pair in data]
    known = None if block is None else remember(stock_encoder(one_second), 2)
    lengths = [in_steps(frames) for frames in heard] if known else heard
    rows = sum(lengths) + len(lengths) * rows_ahead(known)
    stacked = torch.randn(rows, 3 * 32, generator=torch.Generator().manual_seed(0))
    one, other = (Ragged(lengths, heard, real, CPU, padded, known) for padded in (False, True))
    for sound_only in (False, True):
        found, expected = (each.attend(stacked, 2, block or 0, sound_only) for each in (one, other))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    pooled = (each.pool(each.sound(stacked)) for each in (one, other))
    torch.testing.assert_close(*pooled, rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 120 * RATE), max_size=30))
def test_batches_hold_what_the_device_has_room_for(folder: Path, lengths: list[int]) -> None:
    loaded = load(folder, window="cut", margin=1.0)
    cut = list(batches(loaded, lengths))
    assert [n for batch in cut for n in lengths[batch]] == lengths
    for batch in cut:
        costs = [loaded.cost(samples) for samples in lengths[batch]]
        assert costs and (len(costs) == 1 or sum(costs) <= loaded.capacity)
        assert all(c >= n for c, n in zip(costs, lengths[batch], strict=True))


@pytest.mark.parametrize(
    ("asked", "device", "reason"),
    [
        ({"window": "long"}, "cpu", "unknown window 'long'; choose one of: short, cut, 30s"),
        ({"margin": 1.0}, "cpu", "margin 1: only a cut window has one, a short window hears all"),
        ({"margin": -0.5}, "cpu", "margin -0.5 is no silence of 0 to 30 s"),
        ({"margin": float("nan")}, "cpu", "margin nan is no silence"),
        ({"layers": (3,)}, "cpu", "has layers 0 to 2, not 3"),
        ({"dtype": "int8"}, "cpu", "unknown dtype 'int8'; choose one of: fp32, bf16, fp16"),
        ({"dtype": "fp16"}, "cpu", "fp16 is for GPUs"),
        ({}, "tpu9", "unknown device 'tpu9'"),
        ({}, "cuda", "torch sees no GPU here"),
    ],
)
def test_what_cannot_be_had_is_one_line(
    asked: dict[str, Any], device: str, reason: str, folder: Path
) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match=reason):
        load_encoder(str(folder), Settings(**asked), device)


def test_bf16_is_refused_where_the_cpu_would_emulate_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with pytest.raises(InputError, match="AVX512-BF16 or AMX"):
        load_encoder(str(folder), Settings(dtype="bf16"), "cpu")
    assert load_encoder(str(folder), device="cpu").settings.dtype == "fp32"
