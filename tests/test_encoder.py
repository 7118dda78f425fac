"""The encoder against `transformers`, and against itself in other company."""

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
from transformers import WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_generalize import ctranslate2, encoder
from ser_generalize.encoder import Encoder, Samples, embed_clips, hidden_states, load_encoder

SHORT_POSITIONS = 50  # an encoder whose window is 1 s, to cut clips without long ones


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoders") / "random")


@pytest.fixture(scope="module")
def random_encoder(folder: Path) -> Encoder:
    return load_encoder(str(folder))


@pytest.fixture(scope="module")
def one_second(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder = tmp_path_factory.mktemp("encoders") / "one-second"
    return load_encoder(str(write_encoder(folder, positions=SHORT_POSITIONS)))


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
def stock_states(folder: Path, mel: Tensor) -> list[Tensor]:
    return list(stock_encoder(folder)(mel, output_hidden_states=True).hidden_states)


def statistics(states: list[Tensor]) -> NDArray[np.float64]:
    """Mean and deviation over the frames of one clip's states [frames, width], by plain numpy."""
    arrays = [state.numpy().astype(np.float64) for state in states]
    return np.stack([[array.mean(axis=0), array.std(axis=0)] for array in arrays])


def frames_of(wave: Samples) -> int:
    return -(-len(wave) // 320)


@pytest.mark.parametrize("mels", [80, 128])
def test_log_mel_is_that_of_transformers(mels: int) -> None:
    waves = [sound(2.0, 1), 0.02 * sound(1.3, 2), sound(0.1, 3)]  # a batch, unlike in loudness
    longest = len(waves[0]) + 400
    padded = torch.stack([torch.from_numpy(np.pad(w, (0, longest - len(w)))) for w in waves])
    filters = torch.from_numpy(WhisperFeatureExtractor(feature_size=mels).mel_filters).float()
    found = encoder.log_mel(padded, filters)
    assert found.shape == (3, mels, longest // 160)
    torch.testing.assert_close(
        found, stock_mel(waves, mels)[..., : longest // 160], rtol=0, atol=1e-4
    )


def random_folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue("folder")


def real_folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue("shared") / "models" / "whisper-tiny.en"


def packaged_folder(request: pytest.FixtureRequest) -> Path:
    if importlib.util.find_spec(ctranslate2.PACKAGE) is None:
        pytest.skip("the extra `offline` is not installed")
    cache = request.getfixturevalue("tmp_path") / "cache"
    request.getfixturevalue("monkeypatch").setenv("XDG_CACHE_HOME", str(cache))
    return ctranslate2.packaged_whisper()


@pytest.mark.parametrize("source", [random_folder, real_folder, packaged_folder])
def test_the_30_s_window_is_the_computation_of_transformers(
    source: Any, request: pytest.FixtureRequest
) -> None:
    path = source(request)
    loaded = load_encoder("offline" if source is packaged_folder else str(path))
    wave = sound(2.5, 1)
    mel = stock_mel([wave], 80)
    expected = stock_states(path, mel)
    found = hidden_states(loaded, mel, None)
    assert len(found) == len(expected) == loaded.layers
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, 1e-5)
    pooled = embed_clips(loaded, [wave], "30s")[0]
    assert pooled.shape == (loaded.layers, 2, loaded.width)
    for ours, state in zip(pooled, expected, strict=True):
        assert_close(ours, statistics([state[0, : frames_of(wave)]])[0], 1e-3)


@pytest.mark.parametrize("source", [random_folder, real_folder])
def test_the_short_window_runs_the_stock_layers_on_the_real_frames(
    source: Any, request: pytest.FixtureRequest
) -> None:
    path, wave = source(request), sound(1.234, 2)
    stock = stock_encoder(path)
    with torch.inference_mode():
        padded = stock_states(path, stock_mel([wave], 80))
        states = [padded[0][:, : frames_of(wave)]]  # convolved: what follows is out of their reach
        for layer in stock.layers:
            states.append(layer(states[-1], None))
        states[-1] = stock.layer_norm(states[-1])
    for ours, state in zip(
        embed_clips(load_encoder(str(path)), [wave], "short")[0], states, strict=True
    ):
        assert_close(ours, statistics([state[0]])[0], 1e-3)


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(1_600, 16_000), min_size=2, max_size=5), data=st.data())
def test_a_clip_is_the_same_in_any_company(
    one_second: Encoder, lengths: list[int], data: st.DataObject
) -> None:
    waves = [sound(0, seed, samples=length) for seed, length in enumerate(lengths)]
    order = data.draw(st.permutations(range(len(waves))))
    together = embed_clips(one_second, [waves[index] for index in order], "short")
    for row, index in zip(together, order, strict=True):
        assert_close(row, embed_clips(one_second, [waves[index]], "short")[0])


def test_clips_of_one_length_need_no_mask_and_get_the_same(random_encoder: Encoder) -> None:
    equal = [sound(0.8, 1), sound(0.8, 2)]
    without_mask = embed_clips(random_encoder, equal, "short")
    with_mask = embed_clips(random_encoder, [*equal, sound(2.0, 3)], "short")
    assert_close(with_mask[:2], without_mask)


@pytest.mark.parametrize(("window", "least"), [("short", 1e-3), ("30s", 1e-1)])
def test_padding_is_silence_and_not_zeros(one_second: Encoder, window: str, least: float) -> None:
    short, long = sound(0.5, 1), sound(1.0, 2)
    waves = torch.stack([torch.from_numpy(np.pad(w, (0, 16_000 - len(w)))) for w in (short, long)])
    mel = encoder.log_mel(waves, one_second.mel_filters)
    assert bool((mel[0, :, 52:] == mel[0].min()).all()) and float(mel[0].min()) < -0.5

    mel[0, :, 50:] = 0.0  # what mels look like when a batch is padded with zeros
    frames = torch.tensor([25, 50])
    states = hidden_states(one_second, mel, frames if window == "short" else None)
    loud = statistics([state[0, :25] for state in states])
    alone, in_batch = (embed_clips(one_second, w, window)[0] for w in ([short], [short, long]))
    assert_close(in_batch, alone)
    assert np.abs(loud - alone).max() > least * np.abs(alone).max()


def windows_of(wave: Samples, limit: int) -> list[Samples]:
    """Cut a clip into the fewest windows, as equal as can be."""
    count = -(-len(wave) // limit)
    return np.array_split(wave, count)


@torch.inference_mode()
def all_frames(loaded: Encoder, pieces: list[Samples]) -> list[Tensor]:
    """Hidden states of a clip's windows, one after the other, [frames, width] for every layer."""
    parts = []
    for piece in pieces:
        frames = frames_of(piece)
        wave = torch.from_numpy(np.pad(piece, (0, (2 * frames + 2) * 160 - len(piece))))
        mel = encoder.log_mel(wave[None], loaded.mel_filters)
        parts.append(hidden_states(loaded, mel, torch.tensor([frames])))
    return [torch.cat([part[layer][0] for part in parts]) for layer in range(loaded.layers)]


@pytest.mark.parametrize(
    ("samples", "windows"), [(1_600, 1), (480_000, 1), (480_001, 2), (65 * RATE, 3)]
)
def test_clips_of_any_length_are_pooled_over_all_their_frames(
    random_encoder: Encoder, samples: int, windows: int
) -> None:
    wave = sound(0, 1, samples=samples)
    pieces = windows_of(wave, 480_000)
    assert len(pieces) == windows
    found = embed_clips(random_encoder, [wave], "short")[0]
    assert_close(found, statistics(all_frames(random_encoder, pieces)))


def test_a_clip_of_exactly_30_s_hardly_depends_on_the_window(random_encoder: Encoder) -> None:
    wave = sound(30.0, 4)  # all real frames: only the last one sees what follows
    short, stock = (embed_clips(random_encoder, [wave], window) for window in ("short", "30s"))
    assert_close(short, stock, 0.01)


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1_600, 60_000), min_size=1, max_size=4))
@example(lengths=[16_001])  # windows of 26 and 25 frames
def test_long_clips_are_cut_and_joined_each_with_its_own_windows(
    one_second: Encoder, lengths: list[int]
) -> None:
    waves = [sound(0, seed, samples=length) for seed, length in enumerate(lengths)]
    for found, wave in zip(embed_clips(one_second, waves, "short"), waves, strict=True):
        pieces = windows_of(wave, SHORT_POSITIONS * 320)
        assert_close(found, statistics(all_frames(one_second, pieces)))


def test_a_long_clip_takes_no_more_memory_than_a_window(one_second: Encoder) -> None:
    batches: list[int] = []
    hook = one_second.model.conv1.register_forward_pre_hook(
        lambda _, inputs: batches.append(len(inputs[0]))
    )
    try:
        embed_clips(one_second, [sound(20.0)], "short")
    finally:
        hook.remove()
    assert batches == [1] * 20
