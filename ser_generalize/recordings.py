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
    check_container,
    check_length,
    check_samples,
    read_pcm,
)
from ser_generalize.schema import SAMPLING_RATE

BLOCK = 2**22  # samples of all channels that are decoded at a time: 16 MiB

Samples = NDArray[np.float32]  # 16 kHz, mono, in [-1, 1]


def read_samples(path: Path) -> Samples:
    """Return a clip of up to 10 minutes; raises BadAudioError as `audio.read_pcm` does."""
    pcm, _ = read_pcm(path)
    return (pcm / np.float32(32768)).astype(np.float32)


def read_untrusted(path: Path) -> Samples:
    """Return a recording of up to 10 minutes from a file that nobody vouches for.

    It is decoded block by block, so that memory holds what is returned, however many channels or
    hours a small file claims to have. Raises BadAudioError as `audio.read_pcm` does.
    """
    data = path.read_bytes()
    check_container(data)
    if data[4:8] == MP4_BRAND:
        return read_samples(path)
    del data
    blocks, length = [], 0
    for block in _blocks(path):
        length += len(block)
        check_length(length, SAMPLING_RATE)
        blocks.append(block)
    samples = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
    check_samples(samples, SAMPLING_RATE)
    return samples


def read_windows(path: Path, seconds: float, hop: float) -> Iterator[tuple[float, Samples]]:
    """Yield (start in seconds, samples) of windows every `hop` seconds, at most `seconds`.

    The last one is what is left. An mp4 is read whole, so it has at most 10 minutes.
    """
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
    whole = start[4:8] == MP4_BRAND or start == LFS_POINTER
    yield from _windows([read_samples(path)] if whole else _blocks(path), seconds, hop)


def cut_windows(samples: Samples, seconds: float, hop: float) -> Iterator[tuple[float, Samples]]:
    """Yield the windows of `read_windows`, of samples that are at hand."""
    return _windows([samples], seconds, hop)


def _windows(
    blocks: Iterable[Samples], seconds: float, hop: float
) -> Iterator[tuple[float, Samples]]:
    size, step = round(seconds * SAMPLING_RATE), round(hop * SAMPLING_RATE)
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
    for block in file.blocks(max(1, BLOCK // file.channels), dtype="float32", always_2d=True):
        if not np.isfinite(block).all():
            raise BadAudioError("holds samples that are not finite numbers (NaN or infinity)")
        mono = block.mean(axis=1)
        yield mono if rate == SAMPLING_RATE else stream.resample_chunk(mono)
    if rate != SAMPLING_RATE:
        yield stream.resample_chunk(np.empty(0, np.float32), last=True)
