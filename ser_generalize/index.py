"""The index of an embedding store: what every shard holds and where, so that none has to be opened.

It is made of what the shards say of themselves, and never read without the manifest's checksum.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ser_generalize.shards import Shard

INDEX_SCHEMA = pa.schema(
    {
        "name": pa.string(),
        "clip_id": pa.list_(pa.string()),
        "sha256": pa.list_(pa.string()),
        "offset": pa.list_(pa.int64()),
        "checksum": pa.list_(pa.int64()),
    }
)


def make_index(shards: Sequence[Shard]) -> bytes:
    """Return the bytes of the index of some shards."""
    rows = [
        {
            "name": shard.name,
            "clip_id": [clip.clip_id for clip in shard.clips],
            "sha256": [clip.sha256 for clip in shard.clips],
            "offset": shard.offsets,
            "checksum": shard.checksums,
        }
        for shard in shards
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, INDEX_SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, INDEX_SCHEMA))
    return sink.getvalue().to_pybytes()


def open_index(data: bytes) -> pa.Table:
    """Return the index of these bytes, a row a shard."""
    return pa.ipc.open_file(pa.py_buffer(data)).read_all()


def find_targets(
    index: pa.Table, clip_ids: Sequence[str], hashes: Sequence[str]
) -> NDArray[np.int64]:
    """Return for every row of the store where in the answer it belongs, -1 where nowhere."""
    held, audio = (pc.list_flatten(index[name]).combine_chunks() for name in ("clip_id", "sha256"))
    asked, heard = (pa.array(texts, pa.string()) for texts in (clip_ids, hashes))
    if held.equals(asked) and audio.equals(heard):  # in the order of the store
        return np.arange(len(held))
    target = pc.index_in(held, asked)
    same = pc.equal(heard.take(target), audio)
    targets = pc.if_else(same, target, -1).fill_null(-1).to_numpy()
    if np.count_nonzero(targets >= 0) > len(clip_ids):  # held twice: the first row counts
        first = np.full(len(targets), fill_value=False)
        first[np.unique(targets, return_index=True)[1]] = True
        targets = np.where(first, targets, -1)
    return targets


@dataclass(frozen=True)
class Place:
    """A shard of the index, and where in an answer each of its rows belongs, -1 where nowhere."""

    name: str
    offsets: list[int]
    checksums: list[int]
    targets: NDArray[np.int64]


def places(index: pa.Table, targets: NDArray[np.int64]) -> Iterator[Place]:
    """Yield the shards of an index with their part of the targets."""
    columns = [index[name].to_pylist() for name in ("name", "offset", "checksum")]
    start = 0
    for row, clips in enumerate(pc.list_value_length(index["clip_id"]).to_pylist()):
        name, offsets, checksums = (column[row] for column in columns)
        yield Place(name, offsets, checksums, targets[start : start + clips])
        start += clips
