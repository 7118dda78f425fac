"""Embedding stores for the tests that `embed` would never write: values, rows and order by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from make_dataset import Row, add_corpus, change_dataset, rows_of

from ser_generalize.embeddings import (
    Embeddings,
    read_embeddings,
    read_manifest,
    write_manifest,
    write_shard,
)


def write_store(folder: Path, rows: Sequence[Row], values: Embeddings, like: Path) -> Path:
    """Write a store with the key of another, in three shards; [clips, layers, 2, width]."""
    key, _ = read_manifest(like)
    ids, hashes = clip_keys(rows)
    for part in np.array_split(np.arange(len(ids)), 3):
        shard = [ids[row] for row in part], [hashes[row] for row in part], values[part]
        write_shard(folder, f"shard-{part[0]:03d}", key, *shard)
    write_manifest(folder, key, [])
    return folder


def embeddings(rows: Sequence[Row], store: Path) -> Embeddings:
    """Return the embeddings of some clips, in their order."""
    return read_embeddings(store, *clip_keys(rows))[1]


def clip_keys(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Return clip ids and audio hashes."""
    return [row["clip_id"] for row in rows], [row["sha256"] for row in rows]


def write_two_corpora(folder: Path, dataset: Path, store: Path) -> tuple[Path, Path]:
    """Write a dataset of two corpora, the second like the first but for some noise, and a store."""
    first = rows_of(dataset)
    changed = [
        row | {"speaker": row["speaker"].replace("ravdess", "other"), "sha256": row["sha256"][::-1]}
        for row in first
    ]
    data = add_corpus(change_dataset(dataset, folder / "data", lambda rows: rows), "other", changed)
    values = embeddings(first, store)
    noise = np.random.default_rng(0).normal(size=values.shape)
    both = np.concatenate([values, (values + noise).astype(np.float16)])
    return data, write_store(folder / "store", first + rows_of(data, "other"), both, like=store)
