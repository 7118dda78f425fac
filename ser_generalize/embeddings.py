"""The embedding store: every layer's mean and deviation of every clip, one pass per encoder.

A store is a folder of Parquet shards and a manifest. Shards are complete or absent (written aside,
then renamed), the manifest is written last, and rows are found by clip id and audio hash, never by
position: a store that lags behind its dataset is an error, not a shifted label.
"""

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ser_generalize.errors import InputError, listing
from ser_generalize.files import staged, write_text, writing

MANIFEST = "manifest.json"
METADATA_KEY = b"ser_generalize"
FORMAT = 1

Embeddings = NDArray[np.float16]  # [clips, layers, 2, width]: the mean and the deviation


@dataclass(frozen=True)
class StoreKey:
    """What every row of a store has in common; two keys never share a store."""

    encoder: str = field(compare=False)  # what it is called; what it is, the revision says
    revision: str
    window: str
    layers: int
    width: int
    format: int = FORMAT

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one clip's embedding."""
        return self.layers, 2, self.width


def write_shard(
    store: Path,
    name: str,
    key: StoreKey,
    clip_ids: Sequence[str],
    hashes: Sequence[str],
    values: Embeddings,
) -> None:
    """Write one shard atomically; `values` has shape [clips, layers, 2, width]."""
    schema = _schema(key)
    rows = pa.FixedSizeBinaryArray.from_buffers(
        schema.field("embedding").type,
        len(values),
        [None, pa.py_buffer(np.ascontiguousarray(values, dtype="<f2"))],
    )
    table = pa.table([list(clip_ids), list(hashes), rows], schema)
    with _writing(store), staged(store / f"{name}.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def write_manifest(store: Path, key: StoreKey, skipped: Sequence[dict[str, str]]) -> None:
    """Write the manifest, whose existence says that an `embed` into this store has finished."""
    clips = len(held_clips(store, key))
    manifest = asdict(key) | {"clips": clips, "skipped": list(skipped)}
    with _writing(store):
        write_text(store / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def open_store(store: Path, key: StoreKey) -> tuple[set[tuple[str, str]], list[dict[str, str]]]:
    """Return what a store to be written holds, and what its manifest says was skipped before.

    A new store is made. Raises InputError where nothing can be written, and as `held_clips` does.
    """
    if store.exists() and not store.is_dir():
        raise InputError(f"{store} is a file; give a folder for the embedding store")
    with _writing(store):
        store.mkdir(parents=True, exist_ok=True)
    if not os.access(store, os.W_OK | os.X_OK):
        raise InputError(f"embedding store {store} cannot be written (no permission)")
    held = held_clips(store, key)
    if not (store / MANIFEST).exists():
        return held, []
    found, manifest = read_manifest(store)
    _check_same(store, found, key)
    return held, list(manifest["skipped"])


def held_clips(store: Path, key: StoreKey) -> set[tuple[str, str]]:
    """Return (clip id, audio hash) of every row a store holds.

    Raises InputError where the folder holds embeddings of another encoder or window, or files that
    are no store.
    """
    held: set[tuple[str, str]] = set()
    foreign = [path.name for path in store.glob("[!.]*") if not _belongs(path)]
    if foreign:
        raise InputError(
            f"{store} holds other files ({listing(foreign)}); give a folder of its own"
        )
    for path in _shards(store):
        table = _read_shard(path, key, ["clip_id", "sha256"])
        held |= set(zip(table["clip_id"].to_pylist(), table["sha256"].to_pylist(), strict=True))
    return held


def read_manifest(store: Path) -> tuple[StoreKey, dict[str, Any]]:
    """Return a finished store's key and manifest, or raise an InputError that says why not."""
    if not store.is_dir():
        raise InputError(
            f"embedding store {store} does not exist; make it with `ser-generalize embed`"
        )
    try:
        manifest = json.loads((store / MANIFEST).read_text())
        key = StoreKey(**{name: manifest[name] for name in StoreKey.__dataclass_fields__})
    except FileNotFoundError as error:
        raise InputError(
            f"{store} holds no {MANIFEST}: `ser-generalize embed` has not finished there; "
            "run it again"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{store / MANIFEST} is not a manifest of this version ({error}); remove it and run "
            "`ser-generalize embed` again"
        ) from error
    return key, manifest


def read_embeddings(
    store: Path, clip_ids: Sequence[str], hashes: Sequence[str]
) -> tuple[StoreKey, Embeddings]:
    """Return the embeddings of some clips in the order asked for, shape [clips, layers, 2, width].

    Raises InputError where the store lacks a clip or holds it for other audio.
    """
    key, _ = read_manifest(store)
    position = {clip_id: index for index, clip_id in enumerate(clip_ids)}
    assert len(position) == len(clip_ids), "a clip id was asked for twice"
    found = np.zeros(len(clip_ids), dtype=bool)
    values = np.empty((len(clip_ids), *key.shape), dtype=np.float16)
    for path in _shards(store):
        table = _read_shard(path, key)
        rows, targets = _wanted_rows(table, position, hashes)
        values[targets] = _shard_values(table, key)[rows]
        found[targets] = True
    _check_all_found(store, clip_ids, found)
    return key, values


def _wanted_rows(
    table: pa.Table, position: dict[str, int], hashes: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Return the rows of a shard that were asked for, and where in the answer each belongs."""
    rows, targets = [], []
    pairs = zip(table["clip_id"].to_pylist(), table["sha256"].to_pylist(), strict=True)
    for row, (clip_id, sha256) in enumerate(pairs):
        target = position.get(clip_id)
        if target is not None and hashes[target] == sha256:
            rows.append(row)
            targets.append(target)
    return rows, targets


def _shard_values(table: pa.Table, key: StoreKey) -> Embeddings:
    column = table["embedding"].combine_chunks()
    flat = np.frombuffer(
        column.buffers()[1], dtype="<f2", count=len(column) * int(np.prod(key.shape))
    )
    return flat.reshape(len(column), *key.shape)


def _check_all_found(store: Path, clip_ids: Iterable[str], found: NDArray[np.bool_]) -> None:
    missing = [clip_id for clip_id, there in zip(clip_ids, found, strict=True) if not there]
    if missing:
        raise InputError(
            f"embedding store {store} lacks {len(missing)} of {len(found)} clips as they are in "
            f"the dataset ({listing(missing, 3)}); run `ser-generalize embed` on it again"
        )


def _schema(key: StoreKey) -> pa.Schema:
    """Return the columns of a shard; the key goes into every one, so that none stands alone."""
    return pa.schema(
        {
            "clip_id": pa.string(),
            "sha256": pa.string(),
            "embedding": pa.binary(int(np.prod(key.shape)) * 2),
        },
        {METADATA_KEY: json.dumps(asdict(key), sort_keys=True).encode()},
    )


def _read_shard(path: Path, key: StoreKey, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a shard of this key, checked by its pages' checksums and against its schema."""
    _check_key(path, key)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(_schema(key)):
                raise pa.ArrowInvalid(f"its columns are {', '.join(file.schema_arrow.names)}")
            return file.read(columns)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} is damaged ({error}); remove it and run `ser-generalize embed` again"
        ) from error


def _check_key(shard: Path, key: StoreKey) -> None:
    try:
        metadata = pq.read_schema(shard).metadata or {}
        found = StoreKey(**json.loads(metadata[METADATA_KEY]))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{shard} is damaged or no shard of an embedding store ({error}); remove it and run "
            "`ser-generalize embed` again, or give another folder"
        ) from error
    _check_same(shard.parent, found, key)


def _check_same(store: Path, found: StoreKey, key: StoreKey) -> None:
    if found != key:
        raise InputError(
            f"{store} holds embeddings of {found.encoder} (revision {found.revision[:12]}, "
            f"window {found.window}), not of {key.encoder} (revision {key.revision[:12]}, window "
            f"{key.window}); give another folder"
        )


def _writing(store: Path) -> AbstractContextManager[None]:
    return writing(f"embedding store {store} cannot be written")


def _shards(store: Path) -> list[Path]:
    return sorted(store.glob("[!.]*.parquet"))


def _belongs(path: Path) -> bool:
    return path.suffix == ".parquet" or path.name == MANIFEST
