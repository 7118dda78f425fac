"""wav2vec2 and its relatives: what they give is what `transformers` gives for a clip alone."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make_encoder import RATE, WEIGHTS, assert_close, change_config, sound
from make_waveform import KINDS, write_waveform
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, AutoModel

from ser_generalize.encoder import Encoder, Settings, load_encoder
from ser_generalize.errors import InputError

WAVES = [sound(1.3, 1), sound(0.4, 2), 0.1 * sound(1.31, 3) + 0.05, sound(0.1, 4)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def written(kind: str) -> Path:
        return write_waveform(tmp_path_factory.mktemp("encoders") / kind, kind)

    return written


@torch.inference_mode()
def stock(folder: Path, wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean and deviation of every hidden state that the stock model gives for one clip."""
    model = AutoModel.from_pretrained(folder).eval()
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(wave, sampling_rate=RATE, return_tensors="pt").input_values
    states = model(inputs, output_hidden_states=True).hidden_states
    arrays = [state[0].double().numpy() for state in states]
    return np.stack([[array.mean(axis=0), array.std(axis=0)] for array in arrays])


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_in_a_batch_is_what_transformers_gives_for_it_alone(folders: Any, kind: str) -> None:
    loaded: Encoder = load_encoder(str(folders(kind)))
    assert (loaded.layers, loaded.statistics, loaded.width) == ((0, 1, 2, 3), ("mean", "std"), 32)
    for found, wave in zip(loaded.embed(WAVES), WAVES, strict=True):
        for ours, theirs in zip(found, stock(folders(kind), wave), strict=True):
            assert_close(ours, theirs, 1e-4)


def test_samples_are_normalised_as_the_preprocessor_says(tmp_path: Path) -> None:
    folder = write_waveform(tmp_path / "raw", "wav2vec2-stable", normalises=False)
    found = load_encoder(str(folder)).embed(WAVES[2:3])[0]
    assert_close(found, stock(folder, WAVES[2]), 1e-4)
    normalising = write_waveform(tmp_path / "normalised", "wav2vec2-stable")
    other = load_encoder(str(normalising))
    assert np.abs(other.embed(WAVES[2:3])[0] - found).max() > 1e-2
    assert other.revision != load_encoder(str(folder)).revision


def test_fewer_layers_are_the_same_ones_and_the_rest_is_not_computed(folders: Any) -> None:
    every = load_encoder(str(folders("wavlm"))).embed(WAVES)
    some: Any = load_encoder(str(folders("wavlm")), Settings(layers=(2, 0)))
    assert some.layers == (0, 2) and len(some.model.encoder.layers) == 2
    assert_close(some.embed(WAVES), every[:, [0, 2]], 1e-6)


def test_older_names_heads_and_quantisers_in_a_checkpoint_make_no_difference(
    folders: Any, tmp_path: Path
) -> None:
    folder = write_waveform(tmp_path / "older", "wav2vec2")
    renamed = {"parametrizations.weight.original0": "weight_g"}
    renamed["parametrizations.weight.original1"] = "weight_v"
    tensors = {}
    for name, tensor in load_file(folder / WEIGHTS).items():
        for new, old in renamed.items():
            name = name.replace(new, old)
        tensors[f"wav2vec2.{name}"] = tensor
    tensors |= {"quantizer.codevectors": torch.ones(2), "lm_head.weight": torch.ones(2)}
    save_file(tensors, folder / WEIGHTS)
    expected = load_encoder(str(folders("wav2vec2"))).embed(WAVES)
    assert np.array_equal(load_encoder(str(folder)).embed(WAVES), expected)


def test_clips_over_30_s_are_pooled_over_all_their_windows(folders: Any) -> None:
    loaded = load_encoder(str(folders("hubert")))
    wave = sound(61.0, 5)
    pieces = np.array_split(wave, 3)
    parts = loaded.embed(pieces)
    found = loaded.embed([wave])[0]
    assert_close(found[:, 0], parts[:, :, 0].mean(axis=0), 1e-3)


BAD = {
    "no preprocessor": (lambda f: (f / "preprocessor_config.json").unlink(), "do_normalize"),
    "a list of words": (lambda f: change_config(f, conv_dim=["a"]), "no usable conv_dim"),
    "an unknown norm": (lambda f: change_config(f, feat_extract_norm="x"), "no usable network"),
    "lists unlike": (
        lambda f: change_config(f, conv_dim=[16, 16]),
        "no usable conv_stride, conv_k",
    ),
    "another activation": (lambda f: change_config(f, hidden_act="relu"), "no usable hidden_act"),
    "heads": (lambda f: change_config(f, num_attention_heads=5), "no usable num_attention_heads"),
    "other weights": (lambda f: change_config(f, hidden_size=64), "not its configuration's"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_folder_that_cannot_be_used_is_refused_in_a_line(name: str, tmp_path: Path) -> None:
    spoil, reason = BAD[name]
    spoil(write_waveform(tmp_path / "bad", "wav2vec2"))
    with pytest.raises(InputError, match=reason) as refused:
        load_encoder(str(tmp_path / "bad"))
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("asked", [Settings("30s"), Settings(margin=1.0)])
def test_what_only_whisper_has_is_refused(folders: Any, asked: Settings) -> None:
    with pytest.raises(InputError, match="only Whisper has"):
        load_encoder(str(folders("hubert")), asked)


@pytest.mark.parametrize("layers", [(4,), (-1,), ()])
def test_layers_that_are_not_there_are_refused_with_those_that_are(
    folders: Any, layers: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match="has layers 0 to 3, not"):
        load_encoder(str(folders("hubert")), Settings(layers=layers))
