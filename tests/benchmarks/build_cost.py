"""What building costs beyond decoding, and that its memory does not grow with the corpus.

    python tests/benchmarks/build_cost.py speed  --source DIR [--clips 7200] [--workers N]
    python tests/benchmarks/build_cost.py memory [--clips 35000] [--workers N]

`speed`: clips a second of `build` against a bare loop over the same files with the same number of
processes: read with soundfile, resample with soxr, encode as FLAC, and write nothing. The files are
the wavs below DIR, repeated under the names of ESD with one sample changed, so that each is a
recording of its own. Both sides take turns, in fresh processes, and each pays for starting them.
CPU time is printed beside, because it says the same when other programs are running.

`memory`: the names of ESD, under each one second of noise of its own, built in a process of its
own. Printed is the peak of the sum over it and its workers, sampled every 50 ms from /proc (PSS:
shared pages count once), so Linux only.

Predicted: a ratio of 0.8, since hashing, Parquet and the parent's bookkeeping are small beside
FLAC; a peak of 0.7 GiB, of which 0.25 is the parent's libraries, 0.1 each worker's, and 0.1 the
rows of 35,000 clips without their audio.
Found on two cores that others kept busy, two processes: 12,000 clips of mostly 16 kHz, a ratio of
0.77 of wall time and 0.77 of CPU time (0.69 and 0.71 on busier ones); a peak of 0.69 GiB. The wall
ratio was 0.58 to 0.61 while processes started after names were read, and shards and folds were
written one after the other.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile

EMOTIONS = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
TEXTS = 350
CHUNK = 64


def main() -> None:
    """Measure one of the two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "memory", "bare"))
    parser.add_argument("--source", type=Path, help="of `speed`: a folder with wav files")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int)
    arguments = parser.parse_args()
    if arguments.what == "bare":
        bare(json.loads(sys.stdin.read()), arguments.workers)
    elif arguments.what == "speed":
        sounds = sorted(arguments.source.rglob("*.wav"))
        compare(sounds, arguments.clips or 7_200, arguments.workers, arguments.rounds)
    else:
        peak(arguments.clips or 35_000, arguments.workers)


def compare(sounds: Sequence[Path], clips: int, workers: int, rounds: int) -> None:
    """Let both sides take turns and print clips a second, CPU time and their ratios."""
    spent: dict[str, list[tuple[float, float]]] = {"bare": [], "build": []}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "esd"
        copy_sounds(sounds, source, clips)
        files = json.dumps([str(path) for path in sorted(source.rglob("*.wav"))])
        for number in range(rounds):
            for side in sorted(spent, reverse=bool(number % 2)):
                command = {
                    "bare": [__file__, "bare", "--workers", str(workers)],
                    "build": build_command(source, Path(folder) / f"data{number}", workers),
                }[side]
                spent[side].append(timed(command, files))
    for side, rounds_spent in spent.items():
        rates = ", ".join(f"{clips / seconds:.0f}" for seconds, _ in rounds_spent)
        cpu = ", ".join(f"{1000 * cpu / clips:.2f}" for _, cpu in rounds_spent)
        print(f"{side:<6} clips/s {rates}; CPU ms a clip {cpu}")
    wall, cpu = (
        min(times[kind] for times in spent["bare"]) / min(times[kind] for times in spent["build"])
        for kind in (0, 1)
    )
    print(f"{clips} clips, {workers} processes, best rounds: ratio {wall:.2f}, of CPU {cpu:.2f}")


def build_command(source: Path, out: Path, workers: int) -> list[str]:
    """Return the arguments of Python that build a tree of ESD."""
    places = ["--source", str(source), "--out", str(out)]
    return ["-m", "dataset_scripts.build", "esd", *places, "--workers", str(workers)]


def timed(command: Sequence[str], text: str) -> tuple[float, float]:
    """Return the wall and the CPU seconds of a Python and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *command], input=text, text=True, check=True, capture_output=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


def bare(files: Sequence[str], workers: int) -> None:
    """Decode, resample and encode every file in processes, and keep nothing."""
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        print(sum(pool.map(encode, chunks)))


def encode(files: Sequence[str]) -> int:
    """Return the bytes of some files as 16-kHz FLAC."""
    import io

    import soxr

    total = 0
    for file in files:
        samples, rate = soundfile.read(file, always_2d=True)
        mono = samples.mean(axis=1)
        if rate != 16_000:
            mono = soxr.resample(mono, rate, 16_000)
        buffer = io.BytesIO()
        soundfile.write(buffer, mono, 16_000, format="FLAC", subtype="PCM_16")
        total += len(buffer.getvalue())
    return total


def peak(clips: int, workers: int) -> None:
    """Build a tree of that many clips and print the largest memory of all processes together."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "esd", Path(folder) / "data"
        write_tree(source, clips)
        command = [sys.executable, *build_command(source, out, workers)]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        highest = highest_parent = 0
        while process.poll() is None:
            parent, children = memory(process.pid)
            highest = max(highest, parent + children)
            highest_parent = max(highest_parent, parent)
            time.sleep(0.05)
        assert process.stdout
        print(process.stdout.readline().strip())
        print(
            f"{clips:,} clips, {workers} workers, {time.perf_counter() - started:.0f} s: peak "
            f"{highest / 2**20:.2f} GiB together, {highest_parent / 2**20:.2f} GiB the parent"
        )


def write_tree(root: Path, clips: int) -> None:
    """Write the first clips of ESD, each with its own second of noise."""
    rng = np.random.default_rng(0)
    for path in esd_paths(root, clips):
        soundfile.write(path, rng.integers(-9_000, 9_000, 16_000, dtype=np.int16), 16_000)


def copy_sounds(sounds: Sequence[Path], root: Path, clips: int) -> None:
    """Write sounds under the first names of ESD, over and over; no two are the same."""
    for number, path in enumerate(esd_paths(root, clips)):
        samples, rate = soundfile.read(sounds[number % len(sounds)], dtype="int16")
        samples[len(samples) // 2] = number // len(sounds)
        soundfile.write(path, samples, rate)


def esd_paths(root: Path, clips: int) -> Iterator[Path]:
    """Yield the first paths of ESD in its newer layout, and make their folders."""
    for number in range(clips):
        speaker, rest = divmod(number, len(EMOTIONS) * TEXTS)
        folder = root / f"{speaker + 1:04}" / EMOTIONS[rest // TEXTS]
        folder.mkdir(parents=True, exist_ok=True)
        yield folder / f"{speaker + 1:04}_{rest + 1:06}.wav"


def memory(pid: int) -> tuple[int, int]:
    """Return the proportional set size, in KiB, of a process and of its children."""
    children = 0
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += sum(pss(int(child)) for child in task.read_text().split())
        except OSError:  # it ended meanwhile
            continue
    return pss(pid), children


def pss(pid: int) -> int:
    """Return the proportional set size of a process in KiB, 0 of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
