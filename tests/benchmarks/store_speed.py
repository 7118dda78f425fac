"""What reading and adding to an embedding store cost, beside a plain copy of the same bytes.

    python tests/benchmarks/store_speed.py --out FOLDER [--clips 50000] [--layers 7] [--width 1280]

The store holds random numbers, as wide as whisper-large-v3 says unless told otherwise, in shards of
256 clips. One layer is read into memory by `read_embeddings`, which finds every clip by its id and
audio hash and checks every byte, in the order of the store and in a random one; it takes turns with
a copy of an array of that size by numpy. Files are in the page cache, as they are after `embed`.
Shards are added to the full store and to an empty one in turns.

Predicted: 1.4 times a copy in the store's order and 1.7 in a random one by the clock on two quiet
cores, of which a copy uses one; more for whisper-base (--width 512), since finding 50,000 ids takes
as long for narrow vectors. A shard is added in the same time whatever the store holds.
Found on two nearly idle cores, four layers, medians of 15 pairs in each of five runs: 1.3 times a
copy in the store's order (1.26 to 1.51), 1.8 in a random one (1.73 to 1.91); with width 512, 2.0
and 2.7 to 2.9. A single pair can take ten times as long, when the kernel makes room for huge pages.
Of the processors' time a read takes 2.1 to 2.4 and 2.8 to 3.1 copies: more than a third of it
clears fresh memory (of a copy's, half), and checksums are a tenth. Shards are added to a full store
in the time of an empty one (1.0).
"""

import argparse
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from ser_generalize.embeddings import (
    ClipRow,
    StoreKey,
    add_shard,
    held_clips,
    read_embeddings,
    write_manifest,
)

SHARD = 256
ROUNDS = 15
CLOCKS = ("clock", "processor")  # a busy machine bends the first more than the second


def main() -> None:
    """Write the store, read it beside copies, and add to it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the store, made anew")
    parser.add_argument("--clips", type=int, default=50_000)
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--width", type=int, default=1280)
    arguments = parser.parse_args()
    layers = tuple(range(arguments.layers))
    key = StoreKey(
        "random", "0" * 64, "short", 0.0, layers, ("mean", "std"), arguments.width, "fp32"
    )
    shutil.rmtree(arguments.out, ignore_errors=True)
    clips = [clip(number) for number in range(arguments.clips)]
    grow(arguments.out, key, clips)
    read(arguments.out, key, clips)


def clip(number: int) -> ClipRow:
    """Return a clip whose names are as long as real ones."""
    return ClipRow(
        f"corpus/speaker-{number % 97:02d}/clip-{number:08d}", f"{number:064x}", "corpus", None, 3.0
    )


def grow(store: Path, key: StoreKey, clips: list[ClipRow]) -> None:
    """Write the store, but for some shards that are added in turns to it and to an empty one."""
    values = np.random.default_rng(0).normal(size=(SHARD, *key.shape)).astype(np.float16)
    empty = store / "empty"
    cut = max(0, len(clips) - ROUNDS * SHARD) // SHARD * SHARD

    def add(folder: Path, start: int) -> float:
        shard = clips[start : start + SHARD]
        name = f"corpus-{start:08d}"
        return timed(lambda: add_shard(folder, name, key, shard, values[: len(shard)]))

    for start in range(0, cut, SHARD):
        add(store, start)
    full, alone = [], []
    for start in range(cut, len(clips), SHARD):
        full.append(add(store, start))
        alone.append(add(empty, start))
        shutil.rmtree(empty)
    print(f"{len(clips)} clips, {len(key.layers)} layers of width {key.width}")
    print(
        f"a shard is added in {1000 * statistics.median(full):.1f} ms (median of {len(full)}), to "
        f"an empty store in {1000 * statistics.median(alone):.1f} ms, ratio "
        f"{statistics.median(full) / statistics.median(alone):.2f}"
    )
    manifest = timed(lambda: write_manifest(store, key, []))
    held = timed(lambda: held_clips(store, key))
    print(f"once a run: {1000 * held:.0f} ms to know what is held, {1000 * manifest:.0f} ms to end")


def read(store: Path, key: StoreKey, clips: list[ClipRow]) -> None:
    """Read one layer in two orders, each time beside a copy of as many bytes."""
    layer = key.layers[len(key.layers) // 2]
    source = np.ones((len(clips), *key.shape[1:]), dtype=np.float16)
    shuffled = np.random.default_rng(0).permutation(len(clips)).tolist()
    for order, rows in (("the store's", range(len(clips))), ("a random", shuffled)):
        # Through Arrow, so that the texts lie in memory as those of a dataset's column do.
        ids = pa.array([clips[row].clip_id for row in rows]).to_pylist()
        hashes = pa.array([clips[row].sha256 for row in rows]).to_pylist()
        pairs = [
            (clocked(source.copy), clocked(lambda: read_embeddings(store, ids, hashes, [layer])))  # noqa: B023
            for _ in range(ROUNDS + 1)
        ][1:]  # what is read first comes from the disk
        print(f"one layer in {order} order, {source.nbytes / 1e6:.0f} MB:")
        for clock, name in enumerate(CLOCKS):
            copied, taken = ([spent[clock] for spent in side] for side in zip(*pairs, strict=True))
            ratios = sorted(late / early for early, late in zip(copied, taken, strict=True))
            ratio = statistics.median(ratios)
            print(
                f"  {name:<10}{1000 * statistics.median(taken):7.1f} ms, a copy "
                f"{1000 * statistics.median(copied):7.1f} ms, ratio {ratio:.2f} "
                f"(medians of {ROUNDS} pairs; ratios {ratios[0]:.2f} to {ratios[-1]:.2f})"
            )


def clocked(action: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that an action took by the clock, and of all processors together."""
    started, worked = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - started, time.process_time() - worked


def timed(action: Callable[[], object]) -> float:
    """Return how many seconds an action took by the clock."""
    return clocked(action)[0]


if __name__ == "__main__":
    main()
