"""openSMILE behind the interface, and encoders whose memory is short."""

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from make_encoder import sound

from ser_generalize.encoder import Samples, Settings, WithinMemory, load_encoder
from ser_generalize.errors import InputError


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
