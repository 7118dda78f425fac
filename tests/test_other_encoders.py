"""openSMILE behind the interface, and encoders whose memory is short."""

import builtins
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make_encoder import sound

from ser_generalize.embed import embed
from ser_generalize.encoder import Samples, Settings, WithinMemory, load_encoder
from ser_generalize.errors import InputError
from ser_generalize.experiment import Cell, run_cell
from ser_generalize.predictions import read_predictions
from ser_generalize.statistics import results, score_estimate, speaker_clusters


def test_egemaps_are_what_opensmile_gives() -> None:
    opensmile = pytest.importorskip("opensmile")
    loaded = load_encoder("eGeMAPSv02")
    waves = [sound(1.0, 1), sound(0.5, 2)]
    found = loaded.embed(waves)
    assert found.shape == (2, len(loaded.layers), len(loaded.statistics), loaded.width)
    assert (loaded.statistics, loaded.width, len(loaded.revision)) == (("functional",), 88, 64)
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    for row, wave in zip(found, waves, strict=True):
        expected = smile.process_signal(wave, 16_000).to_numpy()[0]
        np.testing.assert_array_equal(row[0, 0], expected)
        assert np.isfinite(expected).all() and len(set(expected)) > 40


@pytest.mark.parametrize(
    "asked", [Settings("30s"), Settings(margin=1.0), Settings(layers=(1,)), Settings(dtype="bf16")]
)
def test_egemaps_have_no_settings(asked: Settings) -> None:
    pytest.importorskip("opensmile")
    with pytest.raises(InputError, match="encoder eGeMAPSv02"):
        load_encoder("eGeMAPSv02", asked)


def test_a_missing_extra_is_one_line_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    present = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name == "opensmile":
            raise ImportError(name)
        return present(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"pip install 'ser-generalize\[opensmile\]'"):
        load_encoder("eGeMAPSv02")


class Small:
    """An encoder that holds so many clips; a clip's embedding is its length."""

    name = "small"

    def __init__(self, room: int) -> None:
        self.room, self.batches = room, list[int]()

    def embed(self, waves: Sequence[Samples]) -> Any:
        self.batches.append(len(waves))
        if len(waves) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return np.array([len(wave) for wave in waves], np.float32)


def waves_of(*lengths: int) -> list[Samples]:
    return [np.zeros(length, np.float32) for length in lengths]


def test_memory_that_runs_out_halves_this_and_all_later_batches_with_one_note(
    capsys: pytest.CaptureFixture[str],
) -> None:
    encoder: Any = Small(room=3)
    within = WithinMemory(encoder)
    assert within.embed(waves_of(1, 2)).tolist() == [1, 2]
    assert within.embed(waves_of(5, 4, 3, 2, 1)).tolist() == [5, 4, 3, 2, 1]
    assert within.embed(waves_of(9, 8, 7, 6)).tolist() == [9, 8, 7, 6]
    assert encoder.batches == [2, 5, 2, 3, 2, 2]
    assert capsys.readouterr().err.count("out of memory; going on with half the batch") == 1


@pytest.mark.parametrize("room", [0, 1])
def test_memory_that_half_a_batch_exceeds_is_one_clear_line(room: int) -> None:
    encoder: Any = Small(room)
    with pytest.raises(InputError, match="encoder small: out of memory, with half a batch as well"):
        WithinMemory(encoder).embed(waves_of(1, 2, 3, 4))
    assert encoder.batches == [4, 2]


def test_log_mel_statistics_are_whisper_s_features_over_the_real_frames() -> None:
    from transformers import WhisperFeatureExtractor

    loaded, waves = load_encoder("logmel"), [sound(1.0, 1), sound(0.35, 2)]
    found = loaded.embed(waves)
    assert found.shape == (2, 1, 1, 160) and found.dtype == np.float32
    assert (loaded.statistics, loaded.layers, len(loaded.revision)) == (("functional",), (0,), 64)
    extract = WhisperFeatureExtractor()
    for row, wave in zip(found, waves, strict=True):
        mel = extract(wave, sampling_rate=16_000).input_features[0][:, : len(wave) // 160]
        np.testing.assert_allclose(row[0, 0], [*mel.mean(1), *mel.std(1)], atol=2e-5)
    np.testing.assert_array_equal(found[1:], loaded.embed(waves[1:]))


@pytest.mark.parametrize(
    "asked", [Settings("30s"), Settings(margin=1.0), Settings(layers=(1,)), Settings(dtype="bf16")]
)
def test_log_mel_statistics_have_no_settings(asked: Settings) -> None:
    with pytest.raises(InputError, match="encoder logmel"):
        load_encoder("logmel", asked)


def test_functionals_tell_fabricated_emotions_apart(dataset: Path, tmp_path: Path) -> None:
    """A head trained on them works: they are neither normalised away nor of one large unit."""
    embed(str(dataset), "logmel", tmp_path / "store")
    for head in ("8", "logistic"):
        run_cell(Cell(str(dataset), tmp_path / "store", head=head), tmp_path / head)
        (result,) = results(speaker_clusters([read_predictions(tmp_path / head)]), score_estimate)
        assert result.estimates["uar"].value > 0.5
