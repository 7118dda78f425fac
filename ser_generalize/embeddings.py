"""The embedding store: what an encoder says of every clip, layer by layer, in one pass.

A store is a folder of shards, an index and a manifest. Shards are complete or absent (written
aside, then renamed); the index, a row a shard, is made of them, and the manifest is written last.
Rows are found by clip id and audio hash, never by position: a store that lags behind its dataset is
an error, not a shifted label.
"""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # httpx's or httpx2's
from numpy.typing import NDArray

from ser_generalize.errors import InputError, listing, silenced
from ser_generalize.files import remove, staged, write_text, writing
from ser_generalize.hub import is_hub_id
from ser_generalize.index import Place, find_targets, make_index, open_index, places
from ser_generalize.shards import (
    SUFFIX,
    ClipRow,
    Embeddings,
    StoreKey,
    check_same,
    checksum,
    read_layer,
    read_shard,
    write_shard,
)

__all__ = ["ClipRow", "Embeddings", "StoreKey"]

MANIFEST = "manifest.json"
INDEX = "index.feather"
CARD = "README.md"  # of a store that was pulled from the Hub
LOCK = ".lock"


def find_store(name: str | Path) -> Path:
    """Return the folder of a store, which for a Hub id ORG/NAME is a download in the Hub's cache.

    Raises InputError for a name that is neither, and where the Hub does not give it.
    """
    if Path(name).exists() or not is_hub_id(str(name)):
        return Path(name)
    wanted = [f"*{SUFFIX}", INDEX, MANIFEST]
    try:
        with silenced("huggingface_hub"):
            store = snapshot_download(str(name), repo_type="dataset", allow_patterns=wanted)
    except (HTTPError, OSError, ValueError) as error:
        raise InputError(
            f"embedding store {name} is neither a folder nor a dataset that the Hub gives "
            f"({type(error).__name__}); make one with `ser-generalize embed`, or log in with "
            "`hf auth login` where it is gated"
        ) from error
    if not (Path(store) / MANIFEST).is_file():
        raise InputError(f"{name} on the Hub is no embedding store (it holds no {MANIFEST})")
    return Path(store)


@contextmanager
def writable(store: Path) -> Iterator[None]:
    """Hold a store to write to, made if it is not there, so that no second `embed` writes to it.

    Raises InputError where that is impossible, and where another process holds the store.
    """
    if store.exists() and not store.is_dir():
        raise InputError(f"{store} is a file; give a folder for the embedding store")
    with _writing(store):
        store.mkdir(parents=True, exist_ok=True)
    if not os.access(store, os.W_OK | os.X_OK):
        raise InputError(f"embedding store {store} cannot be written (no permission)")
    _check_folder(store)
    lock = FileLock(store / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"another `ser-generalize embed` is writing to {store}; wait for it, or give another "
            "folder"
        ) from None
    try:
        for leftover in store.glob(".*.part"):  # of a run that was killed
            remove(leftover)
        yield
    finally:
        lock.release()


def _check_folder(store: Path) -> None:
    ours = {MANIFEST, INDEX, CARD}
    foreign = [
        path.name for path in store.glob("[!.]*") if path.suffix != SUFFIX and path.name not in ours
    ]
    if foreign:
        raise InputError(
            f"{store} holds other files ({listing(foreign)}); give a folder of its own"
        )


def add_shard(
    store: Path, name: str, key: StoreKey, clips: Sequence[ClipRow], values: Embeddings
) -> None:
    """Add one shard, whole or not at all; `values` is [clips, layers, statistics, width]."""
    with _writing(store):
        write_shard(store, name, key, clips, values)


def held_clips(store: Path, key: StoreKey) -> set[tuple[str, str]]:
    """Return (clip id, audio hash) of every row of a store, finished or not.

    Raises InputError where it holds embeddings of another encoder or made in another way.
    """
    if (store / MANIFEST).exists():
        check_same(store, read_manifest(store)[0], key)
    shards = (read_shard(path, key) for path in _shard_files(store))
    return {(clip.clip_id, clip.sha256) for shard in shards for clip in shard.clips}


def skipped_clips(store: Path) -> list[dict[str, str]]:
    """Return what the manifest, if there is one, says was skipped: clip id and reason."""
    return read_manifest(store)[1]["skipped"] if (store / MANIFEST).exists() else []


def write_manifest(store: Path, key: StoreKey, skipped: Sequence[dict[str, str]]) -> None:
    """Write the index and then the manifest, which says that an `embed` has finished."""
    shards = [read_shard(path, key) for path in _shard_files(store)]
    index = make_index(shards)
    clips = [clip for shard in shards for clip in shard.clips]
    manifest = asdict(key) | {
        "clips": len(clips),
        "corpora": _corpora(clips),
        "skipped": list(skipped),
        "index": checksum(index),
    }
    with _writing(store):
        with staged(store / INDEX) as temporary:
            temporary.write_bytes(index)
        write_text(store / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def _corpora(clips: Sequence[ClipRow]) -> dict[str, dict[str, Any]]:
    """Return what a store holds of every corpus: whether it may be published depends on it."""
    found: dict[str, dict[str, Any]] = {}
    for corpus in sorted({clip.corpus for clip in clips}):
        members = [clip for clip in clips if clip.corpus == corpus]
        found[corpus] = {
            "clips": len(members),
            "seconds": round(sum(clip.duration for clip in members), 3),
            "licences": sorted({clip.licence or "unknown" for clip in members}),
        }
    return found


def read_manifest(store: Path) -> tuple[StoreKey, dict[str, Any]]:
    """Return a finished store's key and manifest, or raise an InputError that says why not."""
    if not store.is_dir():
        raise InputError(
            f"embedding store {store} does not exist; make it with `ser-generalize embed`"
        )
    try:
        manifest = json.loads((store / MANIFEST).read_text())
        key = StoreKey.from_json(manifest)
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
    store: Path,
    clip_ids: Sequence[str],
    hashes: Sequence[str],
    layers: Sequence[int] | None = None,
) -> tuple[StoreKey, Embeddings]:
    """Return embeddings in the order of the clips asked for, [clips, layers, statistics, width].

    `layers` are some of the store's, all by default; the key returned has those. Raises InputError
    where the store lacks a layer, lacks a clip or holds it for other audio.
    """
    key, manifest = read_manifest(store)
    index = _read_index(store, manifest)
    wanted = key.layers if layers is None else tuple(layers)
    columns = _columns(store, key, wanted)
    targets = find_targets(index, clip_ids, hashes)
    _check_all_found(store, clip_ids, targets)
    key = replace(key, layers=wanted)
    values = np.empty((len(clip_ids), *key.shape), dtype="<f2")

    asked = [place for place in places(index, targets) if (place.targets >= 0).any()]
    # Two threads keep memory busy; neighbours to one, since two in one page would both clear it.
    half = len(asked) // 2
    with ThreadPoolExecutor(1) as other:
        reading = other.submit(_read_shards, store, asked[:half], columns, values)
        _read_shards(store, asked[half:], columns, values)
        reading.result()
    return key, values


def _read_shards(
    store: Path, shards: Sequence[Place], columns: Sequence[int], values: Embeddings
) -> None:
    """Read the layers of some columns from shards to where their clips belong in the answer."""
    for place in shards:
        path = store / f"{place.name}{SUFFIX}"
        for position, column in enumerate(columns):
            answer = values[:, position]
            source = path, place.offsets[column], place.checksums[column]
            run = _run(answer, place.targets)
            if run is not None:
                read_layer(*source, run)
            else:
                block = np.empty((len(place.targets), *answer.shape[1:]), answer.dtype)
                read_layer(*source, block)
                _scatter(block, place.targets, answer)


def _run(answer: Embeddings, targets: NDArray[np.int64]) -> Embeddings | None:
    """Return the piece of an answer that a shard fills as it lies there, if there is one."""
    first, last = int(targets[0]), int(targets[-1])
    run = answer[first : last + 1]
    if first < 0 or len(run) != len(targets) or not run.flags.c_contiguous:
        return None
    return run if (targets == np.arange(first, last + 1)).all() else None


def _scatter(block: Embeddings, targets: NDArray[np.int64], answer: Embeddings) -> None:
    wanted = targets >= 0
    if wanted.all():
        answer[targets] = block
    else:
        answer[targets[wanted]] = block[wanted]


def _columns(store: Path, key: StoreKey, layers: Sequence[int]) -> list[int]:
    missing = [layer for layer in layers if layer not in key.layers]
    if missing:
        raise InputError(
            f"embedding store {store} has no layer {', '.join(map(str, missing))}; it holds: "
            f"{', '.join(map(str, key.layers))}"
        )
    return [key.layers.index(layer) for layer in layers]


def _check_all_found(store: Path, clip_ids: Sequence[str], targets: NDArray[np.int64]) -> None:
    found = np.zeros(len(clip_ids), dtype=bool)
    found[targets[targets >= 0]] = True
    if not found.all():
        assert len(set(clip_ids)) == len(clip_ids), "a clip id was asked for twice"
        missing = [clip_ids[row] for row in np.flatnonzero(~found).tolist()]
        raise InputError(
            f"embedding store {store} lacks {len(missing)} of {len(found)} clips as they are in "
            f"the dataset ({listing(missing, 3)}); run `ser-generalize embed` on it again"
        )


def _read_index(store: Path, manifest: dict[str, Any]) -> pa.Table:
    try:
        data = (store / INDEX).read_bytes()
    except OSError as error:
        data = b""
        reason = error.strerror
    else:
        reason = "it is damaged or a later run was interrupted"
    if checksum(data) != manifest.get("index"):
        raise InputError(
            f"{store / INDEX} is not the index of {MANIFEST} ({reason}); run `ser-generalize "
            "embed` again"
        )
    return open_index(data)


def _writing(store: Path) -> Any:
    return writing(f"embedding store {store} cannot be written")


def store_files(store: Path) -> list[Path]:
    """Return the files that a finished store consists of."""
    return [*_shard_files(store), store / INDEX, store / MANIFEST]


def _shard_files(store: Path) -> list[Path]:
    return sorted(store.glob(f"[!.]*{SUFFIX}"))
