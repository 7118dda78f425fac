"""Clips without their audio: what others need beside embeddings to train and score on them."""

from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ser_generalize.dataset import load_clips
from ser_generalize.embeddings import held_clips, read_manifest
from ser_generalize.errors import InputError, listing
from ser_generalize.schema import clip_features

CLIPS = "clips"  # folder of a published store


def clips_without_audio(store: Path, dataset: str) -> dict[str, bytes]:
    """Return an Arrow file per corpus of a store: its clips, all columns, the audio null.

    Keys are paths, `clips/CORPUS.arrow`: `datasets` reads all of a repository in one format, and
    that of a store is Arrow. Raises InputError where the dataset lacks a clip of the
    store or has other audio for it.
    """
    key, manifest = read_manifest(store)
    held = held_clips(store, key)
    clips = load_clips(dataset, sorted(manifest["corpora"]))
    pairs = list(zip(clips["clip_id"], clips["sha256"], strict=True))
    if lost := sorted(clip_id for clip_id, _ in held.difference(pairs)):
        raise InputError(
            f"{dataset} is not the dataset that {store} was made of: it lacks, or has other audio "
            f"for, {len(lost)} of its clips ({listing(lost, limit=3)})"
        )
    rows = [row for row, pair in enumerate(pairs) if pair in held]
    table = clips.select(rows).flatten_indices().data.table
    return {
        f"{CLIPS}/{corpus}.arrow": _arrow(table.filter(pc.field("corpus") == corpus))
        for corpus in sorted(manifest["corpora"])
    }


def _arrow(clips: pa.Table) -> bytes:
    """Return clips as a file that `datasets` reads as it reads those with audio."""
    schema = clip_features().arrow_schema
    position = clips.schema.get_field_index("audio")
    nothing = pa.nulls(len(clips), schema.field("audio").type)
    silent = clips.set_column(position, schema.field("audio"), nothing)
    file = BytesIO()
    with pa.ipc.new_file(file, schema) as writer:
        writer.write_table(silent.select(schema.names).cast(schema))
    return file.getvalue()
