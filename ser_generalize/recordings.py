"""Recordings of any length, cut into windows while they are read: memory holds one window."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ser_generalize.audio import (
    LFS_POINTER,
    MINIMUM_SECONDS,
    MP4_BRAND,
    RATES,
    BadAudioError,
    read_pcm,
)
from ser_generalize.schema import SAMPLING_RATE

BLOCK_SECONDS = 10

Samples = NDArray[np.float32]  # 16 kHz, mono, in [-1, 1]


def read_samples(path: Path) -> Samples:
    """Return a clip of up to 10 minutes; raises BadAudioError as `audio.read_pcm` does."""
    pcm, _ = read_pcm(path)
    return (pcm / np.float32(32768)).astype(np.float32)


def read_windows(path: Path, seconds: float, hop: float) -> Iterator[tuple[float, Samples]]:
    """Yield (start in seconds, samples) of windows every `hop` seconds, at most `seconds`.

    The last one is what is left. An mp4 is read whole, so it has at most 10 minutes.
    """
    size, step = round(seconds * SAMPLING_RATE), round(hop * SAMPLING_RATE)
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
    whole = start[4:8] == MP4_BRAND or start == LFS_POINTER
    blocks = [read_samples(path)] if whole else _blocks(path)
    for number, window in enumerate(_cut(blocks, size, step)):
        yield number * step / SAMPLING_RATE, window


def _cut(blocks: Iterable[Samples], size: int, step: int) -> Iterator[Samples]:
    held, covered = np.empty(0, np.float32), 0  # samples of `held` that a window had already
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= size:
            yield held[:size]
            held, covered = held[step:], size - step
    if len(held) - covered >= MINIMUM_SECONDS * SAMPLING_RATE:
        yield held


def _blocks(path: Path) -> Iterator[Samples]:
    try:
        with soundfile.SoundFile(path) as file:
            yield from _resampled(file)
    except soundfile.LibsndfileError as error:
        raise BadAudioError(f"not audio that soundfile can decode: {error.error_string}") from error


def _resampled(file: Any) -> Iterator[Samples]:
    rate = file.samplerate
    if not RATES[0] <= rate <= RATES[1]:
        raise BadAudioError(f"a sampling rate of {rate} Hz, outside {RATES[0]} to {RATES[1]} Hz")
    stream = soxr.ResampleStream(rate, SAMPLING_RATE, 1, dtype="float32")
    for block in file.blocks(BLOCK_SECONDS * rate, dtype="float32", always_2d=True):
        if not np.isfinite(block).all():
            raise BadAudioError("holds samples that are not finite numbers (NaN or infinity)")
        mono = block.mean(axis=1)
        yield mono if rate == SAMPLING_RATE else stream.resample_chunk(mono)
    if rate != SAMPLING_RATE:
        yield stream.resample_chunk(np.empty(0, np.float32), last=True)
