"""Where the clips to embed come from: a dataset on this disk, or streamed without ever being on it.

Either is planned before any audio is read, in shards that depend on the dataset alone. So whoever
embeds a shard, and after whatever interruption, writes the same bytes.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

from ser_generalize.dataset import (
    check_features,
    check_not_null,
    check_once,
    find_files,
    load_clips,
)
from ser_generalize.errors import InputError, silenced
from ser_generalize.shards import ClipRow

SHARD_CLIPS = 256  # what a killed run has to do again, at most
ROW_COLUMNS = ["clip_id", "sha256", "corpus", "licence", "duration"]
CONNECTIONS = 8  # at a time, to learn what the files of a streamed dataset hold

Shard = list[ClipRow]


class Clips(Protocol):
    """The clips of a dataset, planned in shards."""

    @property
    def shards(self) -> Sequence[Shard]:
        """Every clip once; the clips of a shard are of one corpus, longest first."""

    def read(self, shard: Sequence[ClipRow]) -> list[bytes]:
        """Return the audio bytes of some clips of one shard, in their order; empty for none."""


def open_clips(dataset: str, corpora: Sequence[str] | None, streaming: bool) -> Clips:
    """Open a dataset by Hub id or folder; raises InputError where it cannot be used."""
    return StreamedClips(dataset, corpora) if streaming else LoadedClips(dataset, corpora)


class LoadedClips:
    """A dataset that `datasets` loads: any clip is at hand at any time."""

    def __init__(self, dataset: str, corpora: Sequence[str] | None) -> None:
        clips = load_clips(dataset, corpora)
        self._audio: Dataset = clips.select_columns(["audio"])
        rows = _rows(clips.select_columns(ROW_COLUMNS).with_format("arrow")[:])
        self._position = {row.clip_id: position for position, row in enumerate(rows)}
        self.shards = list(_by_length(rows))

    def read(self, shard: Sequence[ClipRow]) -> list[bytes]:
        """Return the audio bytes of some clips, in their order."""
        rows = self._audio[[self._position[row.clip_id] for row in shard]]
        return [_audio_bytes(audio) for audio in rows["audio"]]


def _by_length(rows: Sequence[ClipRow]) -> Iterator[Shard]:
    """Yield the clips of each corpus in shards, longest first: memory runs out early or never."""
    for corpus in sorted({row.corpus for row in rows}):
        members = _longest_first(row for row in rows if row.corpus == corpus)
        for start in range(0, len(members), SHARD_CLIPS):
            yield members[start : start + SHARD_CLIPS]


@dataclass(frozen=True)
class _RowGroup:
    """The part of a Parquet file that can be read without the rest of it."""

    url: str
    number: int
    rows: list[ClipRow]


class StreamedClips:
    """A dataset that is read where it lies, a few row groups at a time, and never stored here.

    A shard is made of neighbouring row groups, so that it is read by one or two requests, and a run
    that goes on where another was killed asks for nothing that is done.
    """

    def __init__(self, dataset: str, corpora: Sequence[str] | None) -> None:
        self._dataset = dataset
        self._metadata: dict[str, pq.FileMetaData] = {}
        files = [url for urls in find_files(dataset, corpora).values() for url in urls]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            groups = [group for found in pool.map(self._row_groups, files) for group in found]
        rows = [row for group in groups for row in group.rows]
        check_once(dataset, [row.clip_id for row in rows])
        packs = list(_packs(groups))
        self.shards = [_longest_first(row for one in pack for row in one.rows) for pack in packs]
        self._pack = {row.clip_id: pack for pack in packs for one in pack for row in one.rows}

    def read(self, shard: Sequence[ClipRow]) -> list[bytes]:
        """Return the audio bytes of some clips of one shard, in their order."""
        audio: dict[str, bytes] = {}
        for group in self._pack[shard[0].clip_id]:
            with self._open(group.url) as file:
                table = file.read_row_group(group.number, columns=["clip_id", "audio"])
            rows = zip(table["clip_id"].to_pylist(), table["audio"].to_pylist(), strict=True)
            audio |= {clip_id: _audio_bytes(found) for clip_id, found in rows}
        return [audio[row.clip_id] for row in shard]

    def _row_groups(self, url: str) -> list[_RowGroup]:
        with self._open(url) as file:
            here = f"dataset {self._dataset}, {url.rpartition('/')[2]}"
            check_features(here, Features.from_arrow_schema(file.schema_arrow))
            found = []
            for number in range(file.num_row_groups):
                rows = file.read_row_group(number, columns=ROW_COLUMNS)
                check_not_null(here, rows)
                found.append(_RowGroup(url, number, _rows(rows)))
            return found

    @contextmanager
    def _open(self, url: str) -> Iterator[pq.ParquetFile]:
        try:
            # Only what is asked for is fetched: the default reads 5 MB ahead, most of it audio.
            with (
                silenced("huggingface_hub"),
                fsspec.open(url, cache_type="none") as file,
                pq.ParquetFile(file, metadata=self._metadata.get(url), pre_buffer=True) as parquet,
            ):
                self._metadata[url] = parquet.metadata  # so that its end is fetched only once
                yield parquet
        except (pa.ArrowException, OSError, HTTPError) as error:
            raise InputError(
                f"dataset {self._dataset}: {Path(url).name} cannot be read ({error!s:.200}); run "
                "the same command again to go on"
            ) from error


def _packs(groups: Sequence[_RowGroup]) -> Iterator[list[_RowGroup]]:
    """Join neighbouring row groups of one corpus to shards of at most SHARD_CLIPS, if they can."""
    pack: list[_RowGroup] = []
    for group in (group for group in groups if group.rows):
        clips = sum(len(one.rows) for one in pack) + len(group.rows)
        corpora = {row.corpus for one in [*pack, group] for row in one.rows}
        if pack and (clips > SHARD_CLIPS or len(corpora) > 1):
            yield pack
            pack = []
        pack.append(group)
    if pack:
        yield pack


def _rows(table: pa.Table) -> list[ClipRow]:
    return [ClipRow(**row) for row in table.select(ROW_COLUMNS).to_pylist()]


def _longest_first(rows: "Iterator[ClipRow]") -> Shard:
    return sorted(rows, key=lambda row: (-row.duration, row.clip_id))


def _audio_bytes(audio: dict[str, Any] | None) -> bytes:
    return (audio or {}).get("bytes") or b""
