"""Dataset folders for the tests that `build` would never write: rows changed by hand."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

from ser_generalize.audio import encode_flac
from ser_generalize.schema import clip_features

Row = dict[str, Any]


def change_dataset(
    dataset: Path, out: Path, change: Callable[[list[Row]], list[Row]], corpus: str = "ravdess"
) -> Path:
    """Copy a dataset folder and write the rows of a corpus anew as `change` returns them."""
    shutil.copytree(dataset, out)
    write_rows(shard_of(out, corpus), change(rows_of(out, corpus)))
    return out


def write_rows(file: Path, rows: list[Row], features: Features | None = None) -> None:
    """Write rows as a Parquet file that `datasets` reads with the features given."""
    schema = Features(features or clip_features()).arrow_schema
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)


def add_corpus(dataset: Path, name: str, rows: list[Row]) -> Path:
    """Write rows as one more corpus of a dataset folder, with its config on the card."""
    (dataset / name).mkdir()
    rows = [row | {"corpus": name, "clip_id": f"{name}/{row['clip_id']}"} for row in rows]
    write_rows(dataset / name / f"{name}.parquet", rows)
    card = (dataset / "README.md").read_text()
    config = f"configs:\n  - config_name: {name}\n    data_files: {name}/*.parquet\n"
    (dataset / "README.md").write_text(card.replace("configs:\n", config, 1))
    return dataset


def rows_of(dataset: Path, corpus: str = "ravdess") -> list[Row]:
    """Return the rows of a corpus."""
    return pq.read_table(shard_of(dataset, corpus)).to_pylist()


def shard_of(dataset: Path, corpus: str = "ravdess") -> Path:
    """Return the one Parquet file of a small corpus."""
    (file,) = (dataset / corpus).glob("*.parquet")
    return file


def few(dataset: Path, folder: Path, count: int) -> Path:
    """Copy a dataset folder with its first few clips."""
    return change_dataset(dataset, folder, lambda rows: rows[:count])


def flac(samples: Sequence[int]) -> Row:
    """Return the audio of a row from its 16-bit samples."""
    return {"bytes": encode_flac(np.array(samples, dtype=np.int16)), "path": None}


# What can be wrong with the audio of a row, and a word of the reason for which it is skipped.
BAD: dict[str, tuple[Row | None, str]] = {
    "noise": ({"bytes": b"this is no audio", "path": None}, "decode"),
    "nothing": ({"bytes": b"", "path": None}, "decode"),
    "silent": (flac([0] * 16_000), "silent"),
    "short": (flac([900, -900] * 400), "too short"),
    "path only": ({"bytes": None, "path": "elsewhere.flac"}, "decode"),
    "null": (None, "decode"),
}


def with_bad_clips(rows: list[Row]) -> list[Row]:
    """Return ten good rows and one of every bad kind, called "ravdess/" and the kind."""
    bad = [row | {"audio": audio, "clip_id": f"ravdess/{name}"}
           for row, (name, (audio, _)) in zip(rows[10:], BAD.items(), strict=False)]  # fmt: skip
    return [*rows[:10], *bad]
