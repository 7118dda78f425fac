"""Embedding stores for the tests that `embed` would never write: values, rows and order by hand."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from make_dataset import Row, add_corpus, change_dataset, rows_of

from ser_generalize.embeddings import (
    ClipRow,
    Embeddings,
    add_shard,
    read_embeddings,
    read_manifest,
    write_manifest,
)


def write_store(folder: Path, rows: Sequence[Row], values: Embeddings, like: Path) -> Path:
    """Write a store with the key of another, in three shards; [clips, layers, 2, width]."""
    key, _ = read_manifest(like)
    for part in np.array_split(np.arange(len(rows)), 3):
        add_shard(
            folder, f"shard-{part[0]:03d}", key, clip_rows(rows[i] for i in part), values[part]
        )
    write_manifest(folder, key, [])
    return folder


def embeddings(rows: Sequence[Row], store: Path) -> Embeddings:
    """Return the embeddings of some clips, in their order."""
    return read_embeddings(store, *clip_keys(rows))[1]


def clip_rows(rows: Iterable[Row]) -> list[ClipRow]:
    """Return what a store says of the clips of a dataset."""
    names = ("clip_id", "sha256", "corpus", "licence", "duration")
    return [ClipRow(**{name: row[name] for name in names}) for row in rows]


def clip_keys(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Return clip ids and audio hashes."""
    return [row["clip_id"] for row in rows], [row["sha256"] for row in rows]


def write_two_corpora(folder: Path, dataset: Path, store: Path) -> tuple[Path, Path]:
    """Write a dataset of two corpora, the second like the first but for some noise, and a store."""
    return write_corpora(folder, dataset, store, {"other": lambda rows: rows})


def write_corpora(
    folder: Path,
    dataset: Path,
    store: Path,
    changes: Mapping[str, Callable[[list[Row]], list[Row]]],
    plant: Callable[[list[Row], tuple[int, ...]], Embeddings] | None = None,
) -> tuple[Path, Path]:
    """Write a dataset of ravdess and of corpora like it, changed by hand, and its store.

    `plant` makes the embeddings of all rows in a shape; by default they are like those of ravdess.
    """
    first = rows_of(dataset)
    values = dict(zip((row["clip_id"] for row in first), embeddings(first, store), strict=True))
    data = change_dataset(dataset, folder / "data", lambda rows: rows)
    noise, stored, rows = np.random.default_rng(0), list(values.values()), first
    for name, change in changes.items():
        kept = change([_moved(row, name) for row in first])
        add_corpus(data, name, kept)
        rows = rows + rows_of(data, name)
        like = [values[row["clip_id"]] for row in kept]
        stored += [value + noise.normal(size=value.shape) for value in like]
    embedded = np.stack(stored) if plant is None else plant(rows, np.stack(stored).shape)
    return data, write_store(folder / "store", rows, embedded.astype(np.float16), like=store)


def _moved(row: Row, corpus: str) -> Row:
    """Return a clip of ravdess as one of another corpus, with another recording and speaker."""
    sha256 = hashlib.sha256(f"{corpus} {row['sha256']}".encode()).hexdigest()
    return row | {"sha256": sha256, "speaker": row["speaker"].replace("ravdess", corpus)}
