"""A shard of an embedding store: one Arrow file, a row a clip, a column a layer.

Plain `load_dataset` reads it. The numbers of a layer lie in one piece, uncompressed, so that one
layer is read straight into memory without the others; a checksum tells whether it is whole.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from ser_generalize.errors import InputError
from ser_generalize.files import staged

SUFFIX = ".arrow"
METADATA_KEY = b"ser_generalize"
FORMAT = 3

Embeddings = NDArray[np.float16]  # [clips, layers, statistics, width]


@dataclass(frozen=True)
class StoreKey:
    """What every row of a store has in common; two keys never share a store.

    `layers` are numbered as `transformers` numbers hidden states, `margin` is in seconds, `dtype`
    is what the encoder computed in (what is stored is float16 always).
    """

    encoder: str = field(compare=False)  # what it is called; what it is, the revision says
    revision: str
    window: str
    margin: float
    layers: tuple[int, ...]
    statistics: tuple[str, ...]
    width: int
    dtype: str
    degradation: str = "none"
    format: int = FORMAT

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one clip's embedding."""
        return len(self.layers), len(self.statistics), self.width

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "StoreKey":
        """Return the key that `asdict` and JSON made these values of, or raise KeyError."""
        found = {name: values[name] for name in cls.__dataclass_fields__}
        tuples = {name: tuple(found[name]) for name in ("layers", "statistics")}
        return cls(**found | tuples)


@dataclass(frozen=True)
class ClipRow:
    """What a store says of a clip beside its embedding; `duration` is in seconds."""

    clip_id: str
    sha256: str
    corpus: str
    licence: str | None
    duration: float


CLIP_FIELDS = (
    pa.field("clip_id", pa.string(), nullable=False),
    pa.field("sha256", pa.string(), nullable=False),
    pa.field("corpus", pa.string(), nullable=False),
    pa.field("licence", pa.string()),
    pa.field("duration", pa.float64(), nullable=False),
)


@dataclass(frozen=True)
class Shard:
    """What a shard file holds, and where in it each layer lies."""

    name: str
    clips: list[ClipRow]
    offsets: list[int]  # bytes, in the order of the key's layers
    checksums: list[int]


def write_shard(
    store: Path, name: str, key: StoreKey, clips: Sequence[ClipRow], values: Embeddings
) -> None:
    """Write one shard atomically; `values` has shape [clips, layers, statistics, width]."""
    blocks = [np.ascontiguousarray(values[:, i], dtype="<f2") for i in range(len(key.layers))]
    checksums = {
        "clips": _clips_checksum(clips),
        "layers": [checksum(block.data) for block in blocks],
    }
    schema = _schema(key).with_metadata(
        {METADATA_KEY: json.dumps({"key": asdict(key), "checksums": checksums}).encode()}
    )
    columns = [
        pa.array([getattr(clip, column.name) for clip in clips], column.type)
        for column in CLIP_FIELDS
    ]
    width = schema.field(len(CLIP_FIELDS)).type.list_size
    columns += [
        pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), width) for block in blocks
    ]
    batch = pa.record_batch(columns, schema)
    with (
        staged(store / f"{name}{SUFFIX}") as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, schema) as writer,
    ):
        writer.write_batch(batch)


def read_shard(path: Path, key: StoreKey) -> Shard:
    """Read what a shard holds, and where; not its embeddings.

    Raises InputError for a damaged file, and for one whose key is another.
    """
    try:
        with pa.memory_map(str(path)) as file:
            start = file.read_buffer(1).address
            file.seek(0)
            reader = pa.ipc.open_file(file)
            found, checksums = _metadata(reader.schema)
            check_same(path.parent, found, key)
            batch = _whole_batch(reader, key)
            rows = (ClipRow(**row) for row in batch.select(_names(CLIP_FIELDS)).to_pylist())
            layers = batch.columns[len(CLIP_FIELDS) :]
            offsets = [layer.values.buffers()[1].address - start for layer in layers]
            shard = Shard(path.stem, list(rows), offsets, checksums["layers"])
        if _clips_checksum(shard.clips) != checksums["clips"]:
            raise ValueError("the checksum of its clips is another")
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise damaged(path, str(error)) from error
    return shard


def read_layer(path: Path, offset: int, expected: int, block: Embeddings) -> None:
    """Read a layer of a shard into a block [clips, statistics, width] that lies in one piece.

    Raises InputError where its checksum is not the expected one.
    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            file.readinto(block.data.cast("B"))
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from error
    if checksum(block.data) != expected:
        raise damaged(path, "a layer's checksum is another")


def checksum(data: bytes | memoryview) -> int:
    """Return the XXH3 of some bytes as a signed 64-bit integer: damage is found at memory speed."""
    digest = xxhash.xxh3_64_intdigest(data)
    return digest - 2**64 if digest >= 2**63 else digest


def check_same(store: Path, found: StoreKey, key: StoreKey) -> None:
    """Raise InputError where a store holds embeddings of another kind."""
    if found == key:
        return
    given = asdict(key)
    other = [name for name, value in asdict(found).items() if value != given[name]]
    differences = [f"{name} {getattr(found, name)!s:.40}" for name in other if name != "encoder"]
    wanted = [f"{name} {given[name]!s:.40}" for name in other if name != "encoder"]
    raise InputError(
        f"{store} holds embeddings of {found.encoder} ({', '.join(differences)}), not of "
        f"{key.encoder} ({', '.join(wanted)}); give another folder"
    )


def damaged(path: Path, reason: str) -> InputError:
    """Return the mistake of a file that is not what was written."""
    return InputError(
        f"{path} is damaged or no shard of an embedding store ({reason}); remove it and run "
        "`ser-generalize embed` again, or give another folder"
    )


def _schema(key: StoreKey) -> pa.Schema:
    layer = pa.list_(pa.float16(), len(key.statistics) * key.width)
    layers = [pa.field(f"layer_{number:02d}", layer, nullable=False) for number in key.layers]
    return pa.schema([*CLIP_FIELDS, *layers])


def _names(fields: Sequence[pa.Field]) -> list[str]:
    return [column.name for column in fields]


def _metadata(schema: pa.Schema) -> tuple[StoreKey, dict[str, Any]]:
    """Return key and checksums; every shard carries both, so that none stands alone."""
    found = json.loads((schema.metadata or {})[METADATA_KEY])
    return StoreKey.from_json(found["key"]), found["checksums"]


def _whole_batch(reader: pa.ipc.RecordBatchFileReader, key: StoreKey) -> pa.RecordBatch:
    if not reader.schema.equals(_schema(key)) or reader.num_record_batches != 1:
        raise ValueError(f"its columns are {', '.join(reader.schema.names)}")
    batch = reader.get_batch(0)
    batch.validate(full=True)
    return batch


def _clips_checksum(clips: Sequence[ClipRow]) -> int:
    return checksum(json.dumps([astuple(clip) for clip in clips]).encode())
