"""Clips of any length through an encoder that has room for so much at a time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from ser_generalize.encoder.interface import RATE, Samples

# Audio that one thread of a CPU takes at a time, padding included: more does not fit its cache.
# What shares a chunk depends on the clips alone, so that the number of threads changes no bit.
CPU_CHUNK = 15 * RATE
CPU_CAPACITY = 16 * CPU_CHUNK
GPU_CAPACITY = 1200 * RATE  # 60,000 frames of Whisper; those of large-v3 take 3 GB

Pooled = NDArray[np.float32]  # [windows, layers, 2, width]
Count = Callable[[int], int]
Pool = Callable[[Sequence[Samples]], Pooled]


def capacity(device: torch.device) -> int:
    """Return how many samples a batch may hold on a device, padding included."""
    return CPU_CAPACITY if device.type == "cpu" else GPU_CAPACITY


def count_windows(samples: int, limit: int) -> int:
    """Return the fewest windows of `limit` samples that hold a clip."""
    return max(1, -(-samples // limit))


def embed_windows(
    waves: Sequence[Samples],
    limit: int,
    frames: Count,
    cost: Count,
    pool: Pool,
    device: torch.device,
) -> Pooled:
    """Pool every clip over its windows: as few and as equal as `limit` samples allow.

    `frames` tells how many frames a window of so many samples has, `cost` what it takes in a chunk,
    `pool` returns mean and deviation of the windows of a chunk.
    """
    clips = [np.array_split(wave, count_windows(len(wave), limit)) for wave in waves]
    windows = [window for clip in clips for window in clip]
    chunks = list(_chunks([cost(len(window)) for window in windows], device))
    parts = _on_threads(lambda chunk: pool([windows[index] for index in chunk]), chunks, device)
    order = np.argsort(np.concatenate(chunks))
    pooled = iter(np.concatenate(parts)[order])
    return np.stack(
        [
            _merge([frames(len(window)) for window in clip], [next(pooled) for _ in clip])
            for clip in clips
        ]
    )


def _chunks(costs: Sequence[int], device: torch.device) -> Iterator[list[int]]:
    """Yield windows of like length together, the longest first."""
    size = CPU_CHUNK if device.type == "cpu" else GPU_CAPACITY
    chunk: list[int] = []
    held = 0
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        if chunk and held + costs[index] > size:
            yield chunk
            chunk, held = [], 0
        chunk.append(index)
        held += costs[index]
    yield chunk


def _on_threads(
    run: Callable[[list[int]], Pooled], chunks: Sequence[list[int]], device: torch.device
) -> list[Pooled]:
    """Give every core a chunk of its own: they wait for one another less than within a product."""
    if device.type != "cpu":
        return [run(chunk) for chunk in chunks]
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as workers:
        try:
            return list(workers.map(run, chunks))
        finally:
            torch.set_num_threads(threads)  # what the workers set would hold for later threads too


def _merge(counts: list[int], parts: list[Pooled]) -> Pooled:
    """Join means and deviations of windows into those of the clip (law of total variance)."""
    if len(parts) == 1:
        return parts[0]
    weights = np.array(counts, dtype=np.float64)[:, None, None] / sum(counts)
    means, deviations = np.stack(parts)[:, :, 0], np.stack(parts)[:, :, 1]
    mean = (weights * means).sum(axis=0)
    variance = (weights * (deviations**2 + (means - mean) ** 2)).sum(axis=0)
    return np.stack([mean, np.sqrt(variance)], axis=1).astype(np.float32)
