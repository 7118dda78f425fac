"""The way of a clip from its bytes into the store: decoded ahead, in batches, shard by shard.

What a shard holds and which clips share a batch depend on the dataset and the store alone: so
neither the number of processes or workers nor an interruption changes a byte of what is stored.
"""

import hashlib
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ser_generalize.clips import Clips
from ser_generalize.decoding import Audio, Decoded, Decoders
from ser_generalize.degradation import parse_degradation
from ser_generalize.embeddings import ClipRow, Embeddings, StoreKey, add_shard
from ser_generalize.encoder import Encoder, batches
from ser_generalize.encoder.memory import WithinMemory
from ser_generalize.errors import InputError
from ser_generalize.schema import SAMPLING_RATE

if TYPE_CHECKING:
    from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")
Outcome = Embeddings | str  # of a clip: [layers, statistics, width], or why there is none
NOT_FINITE = "its embedding is not finite in float16"


@dataclass
class Tally:
    """What an `embed` did, for its summary line and the manifest."""

    clips: int = 0
    audio_seconds: float = 0.0
    skipped: list[dict[str, str]] = field(default_factory=list)
    peak_memory: float = 0.0  # GiB, of all processes together

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.clips + other.clips,
            self.audio_seconds + other.audio_seconds,
            self.skipped + other.skipped,
            self.peak_memory + other.peak_memory,
        )


@dataclass(frozen=True)
class Batch:
    """Clips that go through the encoder together; the last one of a shard completes it."""

    clips: list[ClipRow]
    completes: bool


@dataclass
class Pipeline:
    """An encoder at work in one process, and what feeds it."""

    encoder: Encoder
    key: StoreKey
    store: Path
    decoders: Decoders
    device: Executor  # of one thread, which runs the encoder
    progress: "tqdm[Any]"

    def __post_init__(self) -> None:
        self._within_memory = WithinMemory(self.encoder)

    def run(self, clips: Clips, shards: Iterable[Sequence[ClipRow]]) -> Tally:
        """Embed the clips of some shards into the store, a shard at a time."""
        tally, started = Tally(), time.monotonic()
        decoded = self.decoders.map(self._batches(clips, shards))
        shard: list[tuple[ClipRow, Outcome]] = []
        for batch, outcomes in _ahead(self.device, self._embed, decoded):
            shard += zip(batch.clips, outcomes, strict=True)
            self.progress.update(len(batch.clips))
            if batch.completes:
                self._finish(shard, tally)
                speed = tally.audio_seconds / (time.monotonic() - started)
                self.progress.set_postfix_str(f"{speed:.0f} s of audio/s", refresh=False)
                shard = []
        return tally

    def _batches(
        self, clips: Clips, shards: Iterable[Sequence[ClipRow]]
    ) -> Iterator[tuple[Batch, list[Audio]]]:
        heard_as = parse_degradation(self.key.degradation).samples
        for shard in shards:
            audio = clips.read(shard)
            lengths = [heard_as(round(clip.duration * SAMPLING_RATE)) for clip in shard]
            for cut in batches(self.encoder, lengths):
                batch = Batch(list(shard[cut]), completes=cut.stop == len(shard))
                ids = [clip.clip_id for clip in batch.clips]
                yield batch, list(zip(ids, audio[cut], strict=True))

    def _embed(self, item: tuple[Batch, Decoded]) -> tuple[Batch, list[Outcome]]:
        batch, decoded = item
        waves = [wave for wave in decoded if not isinstance(wave, str)]
        values = iter(_halved(self._within_memory.embed(waves)) if waves else ())
        return batch, [
            wave if isinstance(wave, str) else _checked(next(values)) for wave in decoded
        ]

    def _finish(self, shard: Sequence[tuple[ClipRow, Outcome]], tally: Tally) -> None:
        """Store the clips of a shard that have an embedding, and note why the others have none."""
        good = [(clip, value) for clip, value in shard if not isinstance(value, str)]
        lost = [(clip, reason) for clip, reason in shard if isinstance(reason, str)]
        if not good and any(reason == NOT_FINITE for _, reason in lost):
            raise InputError(
                f"encoder {self.key.encoder} gives numbers that are not finite in float16"
            )
        if good:
            clips = [clip for clip, _ in good]
            values = np.stack([value for _, value in good])
            add_shard(self.store, _shard_name(clips), self.key, clips, values)
        tally.clips += len(good)
        tally.audio_seconds += sum(clip.duration for clip, _ in good)
        tally.skipped += [{"clip_id": clip.clip_id, "reason": reason} for clip, reason in lost]


def _ahead(
    device: Executor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Map like `device.map`, but take an item only when the one before the last is done."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(device.submit(function, item))
        if len(waiting) > 1:
            yield waiting.popleft().result()
    for future in waiting:
        yield future.result()


def _checked(outcome: Outcome) -> Outcome:
    return outcome if isinstance(outcome, str) or np.isfinite(outcome).all() else NOT_FINITE


def _halved(values: NDArray[np.float32]) -> Embeddings:
    with np.errstate(over="ignore"):  # what overflows is infinite, and not stored
        return values.astype(np.float16)


def _shard_name(clips: Sequence[ClipRow]) -> str:
    """Name a shard by what it holds, so that adding clips never overwrites one."""
    corpus = re.sub(r"\W", "_", clips[0].corpus)  # of a dataset others may have made: no path
    content = "\n".join(f"{clip.clip_id}\t{clip.sha256}" for clip in clips)
    return f"{corpus}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
