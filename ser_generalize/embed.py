"""`ser-generalize embed`: every clip of a dataset through a frozen encoder, once, into a store."""

import hashlib
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_generalize.audio import BadAudioError, decode_clip
from ser_generalize.command import CommandParser, progress_bar, run_command
from ser_generalize.embeddings import (
    Embeddings,
    StoreKey,
    open_store,
    write_manifest,
    write_shard,
)
from ser_generalize.errors import InputError, listing, one_of

if TYPE_CHECKING:  # torch and datasets take seconds to import, and `--help` needs neither
    from datasets import Dataset
    from tqdm import tqdm

    from ser_generalize.encoder import Encoder

WINDOWS = ("short", "30s")
SHARD_CLIPS = 256  # what a killed run has to do again, at most
BATCH_SECONDS = 30  # audio in a batch; more gains nothing on a CPU and costs memory


@dataclass(frozen=True)
class ClipRow:
    """What planning needs to know of a clip: where it is in the dataset and how long it is."""

    index: int
    clip_id: str
    corpus: str
    sha256: str
    duration: float  # seconds


@dataclass
class Tally:
    """What one `embed` did, for its summary line and the manifest."""

    clips: int = 0
    audio_seconds: float = 0.0
    skipped: list[dict[str, str]] = field(default_factory=list)


def embed(
    dataset: str,
    encoder_name: str,
    store: Path,
    corpora: Sequence[str] | None = None,
    window: str = "short",
) -> Tally:
    """Embed what the store does not hold yet, and write its manifest.

    Which clips share a shard and a batch depends on the dataset alone, so a run that was killed and
    started again ends with the same bytes. Clips whose audio is unusable are left out and listed in
    the manifest.
    """
    one_of("window", window, WINDOWS)
    from ser_generalize.dataset import load_clips

    clips = load_clips(dataset, corpora)
    from ser_generalize.encoder import load_encoder  # not before: a mistake is told at once

    encoder = load_encoder(encoder_name)
    key = StoreKey(encoder.name, encoder.revision, window, encoder.layers, encoder.width)
    held, skipped_before = open_store(store, key)
    tally = Tally()
    with progress_bar(len(clips), "embed", "clip") as progress:
        for planned in _shards(clips):
            missing = [row for row in planned if (row.clip_id, row.sha256) not in held]
            progress.update(len(planned) - len(missing))
            if missing:
                _embed_shard(encoder, key, store, clips, missing, tally, progress)
    judged_anew = set(clips["clip_id"])
    others = [item for item in skipped_before if item["clip_id"] not in judged_anew]
    write_manifest(store, key, others + tally.skipped)
    return tally


def _shards(clips: "Dataset") -> Iterator[list[ClipRow]]:
    """Yield the clips of each corpus in shards, longest first: memory runs out early or never."""
    names = ("clip_id", "corpus", "sha256", "duration")
    values = zip(*(clips[name] for name in names), strict=True)
    rows = [ClipRow(index, *row) for index, row in enumerate(values)]
    for corpus in sorted({row.corpus for row in rows}):
        members = [row for row in rows if row.corpus == corpus]
        members.sort(key=lambda row: (-row.duration, row.clip_id))
        for start in range(0, len(members), SHARD_CLIPS):
            yield members[start : start + SHARD_CLIPS]


def _batches(rows: Sequence[ClipRow], window: str) -> Iterator[list[ClipRow]]:
    """Split rows of falling duration into batches of bounded audio, padding included."""
    batch: list[ClipRow] = []
    for row in rows:
        longest = batch[0].duration if batch else row.duration
        if window == "30s":
            longest = BATCH_SECONDS
        if batch and longest * (len(batch) + 1) > BATCH_SECONDS:
            yield batch
            batch = []
        batch.append(row)
    yield batch


def _embed_shard(
    encoder: "Encoder",
    key: StoreKey,
    store: Path,
    clips: "Dataset",
    rows: Sequence[ClipRow],
    tally: Tally,
    progress: "tqdm[Any]",
) -> None:
    from ser_generalize.encoder import embed_clips

    done: list[ClipRow] = []
    values: list[NDArray[np.float32]] = []
    for batch in _batches(rows, key.window):
        good, waves = _decode(clips, batch, tally)
        if good:
            values.append(embed_clips(encoder, waves, key.window))
            done += good
        tally.audio_seconds += sum(row.duration for row in good)
        progress.update(len(batch))
    if done:
        tally.clips += len(done)
        ids, hashes = [row.clip_id for row in done], [row.sha256 for row in done]
        write_shard(store, _shard_name(done), key, ids, hashes, _halved(key, values))


def _halved(key: StoreKey, values: Sequence[NDArray[np.float32]]) -> Embeddings:
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused
        halved: Embeddings = np.concatenate(values).astype(np.float16)
    if not np.isfinite(halved).all():
        raise InputError(f"encoder {key.encoder} gives numbers that are not finite in float16")
    return halved


def _decode(
    clips: "Dataset", batch: Sequence[ClipRow], tally: Tally
) -> tuple[list[ClipRow], list[NDArray[np.float32]]]:
    good: list[ClipRow] = []
    waves: list[NDArray[np.float32]] = []
    for row in batch:
        try:
            waves.append(decode_clip((clips[row.index]["audio"] or {}).get("bytes") or b""))
            good.append(row)
        except BadAudioError as error:
            tally.skipped.append({"clip_id": row.clip_id, "reason": str(error)})
    return good, waves


def _shard_name(rows: Sequence[ClipRow]) -> str:
    """Name a shard by what it holds, so that adding clips never overwrites one."""
    corpus = re.sub(r"\W", "_", rows[0].corpus)  # of a dataset that others may have made: no path
    content = "\n".join(f"{row.clip_id}\t{row.sha256}" for row in rows)
    return f"{corpus}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _peak_memory() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)  # bytes there, KiB elsewhere


def main(argv: Sequence[str]) -> None:
    """Parse the command line and embed."""
    parser = CommandParser(
        "ser-generalize embed",
        "Run every clip of a dataset through a frozen Whisper encoder, once, into a store.",
        "ser-generalize embed --dataset data --encoder openai/whisper-base --out embeddings",
    )
    parser.add_argument("--dataset", required=True, help="Hub id, or a folder made by `build`")
    parser.add_argument("--encoder", required=True, help="Hub id, local folder, or `offline`")
    parser.add_argument("--out", type=Path, required=True, help="store to write or to complete")
    parser.add_argument("--corpora", nargs="+", metavar="C", help="only these corpora")
    parser.add_argument(
        "--window",
        default="short",
        help="short: as long as the clip (default); 30s: padded, the stock computation",
    )
    arguments = parser.parse_args(argv)
    started = time.monotonic()
    tally = embed(
        arguments.dataset, arguments.encoder, arguments.out, arguments.corpora, arguments.window
    )
    seconds = time.monotonic() - started
    print(
        f"embed: {tally.clips} clips, {tally.audio_seconds / 60:.1f} min of audio in "
        f"{seconds:.0f} s ({tally.clips / seconds:.1f} clips/s, "
        f"{tally.audio_seconds / seconds:.0f} s of audio a second), "
        f"peak memory {_peak_memory():.2f} GiB, in {arguments.out}"
    )
    if tally.skipped:
        reasons = (f"{item['clip_id']} ({item['reason']})" for item in tally.skipped)
        print(f"embed: {len(tally.skipped)} clips skipped: {listing(reasons, 3)}")


if __name__ == "__main__":
    sys.exit(run_command("ser-generalize embed", main, sys.argv[1:]))
