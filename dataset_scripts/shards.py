"""From the parts of a corpus to its shards, a few hundred clips in memory at a time."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ser_generalize.schema import clip_features

SHARD_BYTES = 450_000_000  # of audio; the Hub asks for files below 500 MB
# The Hub's viewer reads one row group at a time; a hundred short clips are a few megabytes.
ROW_GROUP = 100


def write_shards(
    corpus: str, parts: Sequence[Path], kept: Sequence[bool], sizes: Sequence[int], folder: Path
) -> None:
    """Write the kept rows of some parts, in their order, to `folder/<corpus>-N-of-M.parquet`.

    `kept` says of every row of the parts whether it is; `sizes` are the bytes of those that are.
    Content-defined chunks let the Hub store once what did not change between versions.
    """
    shards = list(_split(sizes))
    groups = _regroup(_kept_rows(parts, kept), [size for shard in shards for size in shard])
    for number, shard in enumerate(shards):
        path = folder / f"{corpus}-{number:05d}-of-{len(shards):05d}.parquet"
        schema = clip_features().arrow_schema
        with pq.ParquetWriter(path, schema, use_content_defined_chunking=True) as writer:
            for _ in shard:
                writer.write_table(next(groups).cast(schema))


def _split(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yield, for every shard, the numbers of rows in its row groups."""
    clips = bytes_so_far = 0
    for size in sizes:
        if clips and bytes_so_far + size > SHARD_BYTES:
            yield _row_groups(clips)
            clips = bytes_so_far = 0
        clips += 1
        bytes_so_far += size
    yield _row_groups(clips)


def _row_groups(clips: int) -> list[int]:
    whole, rest = divmod(clips, ROW_GROUP)
    return [ROW_GROUP] * whole + [rest] * (rest > 0)


def _kept_rows(parts: Sequence[Path], kept: Sequence[bool]) -> Iterator[pa.Table]:
    start = 0
    for part in parts:
        table = pq.read_table(part)
        mask = pa.array(kept[start : start + table.num_rows], pa.bool_())
        start += table.num_rows
        yield table.select(list(clip_features())).filter(mask)


def _regroup(tables: Iterator[pa.Table], sizes: Iterable[int]) -> Iterator[pa.Table]:
    """Yield the same rows in tables of these sizes."""
    waiting = next(tables)
    for size in sizes:
        while waiting.num_rows < size:
            waiting = pa.concat_tables([waiting, next(tables)])
        yield waiting.slice(0, size).combine_chunks()
        waiting = waiting.slice(size)
