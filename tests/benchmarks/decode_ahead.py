"""Whether processes that decode ahead of the encoder pay: `embed` with and without, in one run.

    python tests/benchmarks/decode_ahead.py --dataset data --encoder whisper-base [--workers 0 1 2]

Every number of workers embeds the whole dataset into a store of its own, in turns, so that a busy
machine is busy for all. What decoding alone costs, one process, is printed too: a GPU that takes
more clips a second than that needs workers, and so many of them.

Predicted: on a CPU no worker is fastest, since decoding takes 1 to 3 percent of the time and each
takes a core from the encoder at times; one process decodes some 1,000 clips of 3.5 s a second.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from ser_generalize.clips import open_clips
from ser_generalize.decoding import decode
from ser_generalize.embed import embed


def main() -> None:
    """Embed in turns and print the clips per second of each number of workers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help="folder made by dataset_scripts.build")
    parser.add_argument("--encoder", required=True, help="any that `embed` takes")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    alone(arguments.dataset)
    rates: dict[int, list[float]] = {workers: [] for workers in arguments.workers}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for workers, found in rates.items():
                store = Path(folder) / "store"
                started = time.perf_counter()
                tally = embed(arguments.dataset, arguments.encoder, store, workers=workers)
                found.append(tally.clips / (time.perf_counter() - started))
                shutil.rmtree(store)
    first = statistics.median(rates[arguments.workers[0]])
    for workers, found in rates.items():
        rate = statistics.median(found)
        print(
            f"{workers} workers: {rate:7.1f} clips/s (median of {len(found)}, {min(found):.1f} to "
            f"{max(found):.1f}), ratio {rate / first:.2f}"
        )


def alone(dataset: str) -> None:
    """Print what decoding costs when nothing else is done."""
    clips = open_clips(dataset, None, streaming=False)
    rows = clips.shards[0]
    audio = list(zip([row.clip_id for row in rows], clips.read(rows), strict=True))
    decode(audio)
    started = time.perf_counter()
    decode(audio)
    spent = time.perf_counter() - started
    seconds = sum(row.duration for row in rows) / len(rows)
    print(f"decoding alone: {len(rows) / spent:.0f} clips of {seconds:.1f} s a second")


if __name__ == "__main__":
    main()
