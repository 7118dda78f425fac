"""Small raw trees under the names of real corpora, and what a build made of them."""

import csv
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import soundfile

RAVDESS = [
    "Actor_01/03-01-01-01-01-01-01.wav",  # neutral
    "Actor_01/03-01-02-01-01-01-01.wav",  # calm
    "Actor_01/03-01-05-02-02-01-01.wav",  # angry
    "Actor_02/03-01-08-01-01-02-02.wav",  # surprised
    "Actor_02/03-01-03-01-02-01-02.wav",  # happy
]
# Enough of each speaker to be a fold of their own.
TWO_ACTORS = [
    f"Actor_{actor:02}/03-01-{emotion:02}-01-{statement:02}-{repetition:02}-{actor:02}.wav"
    for actor, emotion, statement, repetition in product((1, 2), range(1, 9), (1, 2), (1, 2))
]
EMODB = ["wav/03a01Fa.wav", "wav/08b10Wc.wav", "wav/16a07Lb.wav"]
NEUTRAL, CALM, ANGRY, SURPRISED, HAPPY = RAVDESS


def record(path: Path, seed: int, seconds: float = 0.2, rate: int = 16_000) -> None:
    """Write noise: a recording of its own for every seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-9_000, 9_000, round(seconds * rate))
    soundfile.write(path, noise.astype(np.int16), rate)


def raw(root: Path, files: Sequence[str], seed: int = 0) -> Path:
    for number, file in enumerate(files, seed):
        record(root / file, number)
    return root


def rows(out: Path, corpus: str = "ravdess") -> list[dict[str, Any]]:
    shards = sorted((out / corpus).glob("*.parquet"))
    return [row for shard in shards for row in pq.read_table(shard).to_pylist()]


def names(out: Path, corpus: str = "ravdess") -> list[str]:
    return [row["clip_id"].partition("/")[2] for row in rows(out, corpus)]


def stems(*files: str) -> list[str]:
    return sorted(Path(file).stem for file in files)


def skipped(out: Path, corpus: str = "ravdess") -> dict[str, str]:
    with (out / corpus / "skipped.tsv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file, delimiter="\t")}


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
