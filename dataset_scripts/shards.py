"""From the parts of a corpus to its shards, a few hundred clips in memory at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dataset_scripts.parts import read_rows
from dataset_scripts.recordings import Row
from ser_generalize.schema import clip_schema

# Of audio. The Hub asks for files below 500 MB.
SHARD_BYTES = 150_000_000
# The Hub's viewer reads one row group at a time; a hundred short clips are a few megabytes.
ROW_GROUP = 100


@dataclass(frozen=True)
class Shard:
    """A file to write: the parts that its rows come from, and which of theirs they are."""

    target: Path
    parts: tuple[tuple[Path, tuple[bool, ...]], ...]


def plan_shards(
    corpus: str, parts: Sequence[tuple[Path, int]], sizes: Sequence[int | None], folder: Path
) -> list[Shard]:
    """Lay out `folder/<corpus>-N-of-M.parquet`, with the rows of the parts in their order.

    `parts` are files and their numbers of rows; `sizes` are the bytes of the audio of all their
    rows, one after the other, None for a row that is left out.
    """
    numbers = _assign(sizes)
    pieces: dict[int, list[tuple[Path, tuple[bool, ...]]]] = {}
    start = 0
    for part, rows in parts:
        here = numbers[start : start + rows]
        start += rows
        for number in sorted({other for other in here if other is not None}):
            mask = tuple(other == number for other in here)
            pieces.setdefault(number, []).append((part, mask))
    return [
        Shard(folder / f"{corpus}-{number:05d}-of-{len(pieces):05d}.parquet", tuple(pieces[number]))
        for number in pieces
    ]


def _assign(sizes: Sequence[int | None]) -> list[int | None]:
    """Return the number of the shard that each row belongs to."""
    numbers: list[int | None] = []
    number = bytes_so_far = 0
    for size in sizes:
        if size is not None:
            if bytes_so_far and bytes_so_far + size > SHARD_BYTES:
                number, bytes_so_far = number + 1, 0
            bytes_so_far += size
        numbers.append(None if size is None else number)
    return numbers


def write_shard(shard: Shard) -> None:
    """Write a shard; other processes would take longer to start than this takes.

    Content-defined chunks let the Hub store once what did not change between versions.
    """
    rows = _rows(shard)
    schema = clip_schema()
    with pq.ParquetWriter(
        shard.target,
        schema,
        use_content_defined_chunking=True,
        compression="none",  # FLAC is, and of the rest dictionaries leave little
    ) as writer:
        while group := list(islice(rows, ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema))


def _rows(shard: Shard) -> Iterator[Row]:
    for part, mask in shard.parts:
        yield from compress(read_rows(part), mask)
